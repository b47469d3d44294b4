"""Every time span and count of the broker, each with its because. Seconds are of the reader's monotonic clock."""

from __future__ import annotations

from typing import Final

TURN_S: Final = 1.0
"""One turn: short against the 5.6 s after which a lost host's lock is free, long against the cost of a turn
(milliseconds)."""

HURRIED_TURN_S: Final = 0.3
"""A turn just after a stall, or while nobody has the engine VM or it is being started: these seconds are downtime. 5.6 s of
stall, ``GRACE_S``, such a turn and its own wait of ``SETTLE_S`` together stay below 8 s (L1), whatever the phases; at 0.35
nothing was left for a turn that comes some milliseconds late (seed 8261)."""

SETTLE_S: Final = 0.25
"""How long a turn waits for its own reads before it decides: a good read of a slot takes a few milliseconds, 0.74 s was
the slowest write seen at load 23; whatever is slower is judged one turn later."""

STALL_S: Final = 1.5
"""An own read or write that takes longer is a stall: twice the slowest write seen on a healthy, overloaded volume (0.74
s)."""

SILENT_S: Final = 5.0
"""A slot unchanged for this long may be called silent: a blip shorter than 5 s must not restart anything (L3)."""

SILENT_UNSTALLED_S: Final = 8.0
"""The same while that host's brick is connected and own storage has not stalled since: a cut between two others stalls them
for 5.6 s, and their next slots are written and read within two turns after it."""

GRACE_S: Final = 1.8
"""Own storage must have been good for this long before another is called silent or a start begins: a healthy peer that
was stalled together with us writes its slot within a turn of the end of the stall; 5.6 s of stall + 1.8 s stays below
8 s (L1)."""

UNWRITTEN_DESTROY_S: Final = 8.8
"""A QEMU here is destroyed when the own slot could not be written for this long: longer than the stall that everybody
has when any brick vanishes (5.6 s measured), and with one turn and the destroy itself below the 10 s of S3."""

FAILING_DESTROY_S: Final = 2.0
"""The same when writes do not stall but end in errors: two refused writes in a row are no accident."""

STAGGER_S: Final = 3.0
"""The second-best host tries this long after the best, the third twice as long: the best one's "starting" is on the
board after two turns at most, a third allows for one slow write."""

LOCK_STANDBY_S: Final = 5.0
"""After the image lock refused a start: about the time in which a vanished holder's lock becomes free (5.6 s, part of
it already gone when we tried). Doubles with each refusal in a row, because then the holder lives and only its broker is
silent."""

LOCK_STANDBY_MAX_S: Final = 40.0
"""… up to this: a freed lock is noticed within L5's 30 s on average."""

FAILED_PAUSE_S: Final = 4.0
"""After a failed start of its own a host lets the next one try first: one stagger and a turn."""

LAST_START_PAUSE_S: Final = 20.0
"""… and this long before the last start that L2 leaves it: what passes by itself (a cut that settles after two stalls of
5.6 s, a restart of libvirtd) does not use them all up."""

UNREACHED_PAUSE_S: Final = 2.0
"""After a start whose QEMU did not reach the disk: a client asks for a lost brick every 3 s. Doubles with each in a row."""

UNREACHED_PAUSE_MAX_S: Final = 8.0
"""… up to this: L1's time, once the disk can be reached."""

UNREACHED_ALLOWANCE_S: Final = 60.0
"""So long since the first in a row such starts are waiting, and do not count for L2: a cut settles within two stalls of
5.6 s, a brick's node boots in less. Later it is no accident: each counts as a failed start, and ends in the hold."""

STARTS_MAX: Final = 3
"""Starts of one host within ``STARTS_WINDOW_S`` (L2)."""

STARTS_WINDOW_S: Final = 600.0

START_DEADLINE_S: Final = 60.0
"""From the begin of a start to its resume: libvirt's start took 0.3 s, the volume may stall twice for 6 s; beyond a
minute it hangs."""

AGENT_DEADLINE_S: Final = 1.0
"""Other agents' answer to "which epoch do you know": they are asked in parallel, and the start waits no longer for a
dead one."""

LIBVIRT_SILENT_S: Final = 5.0
"""A look at the engine VM that is older than this is not used: libvirt answers in milliseconds, also while QEMU waits for
its disk. It does not while QEMU stands still and something was asked of it."""

ENDING_S: Final = 4.0
"""So long libvirt may take to end QEMU (0.2 s, seconds under load) before it is killed by its process id: half of S3's
10 s, because a storage that errs was watched for 2 s before."""

GONE_S: Final = 5.0
"""A killed process is gone in milliseconds; one that waits for the kernel, after the stall of the volume (5.6 s)."""

HEALTH_FRESH_S: Final = 12.0
"""An "up" older than this is not shown any more: two questions and a deadline."""

HEALTH_EVERY_S: Final = 5.0
"""How often the engine's /health is asked once it is up: a TLS handshake is dear for an emulated CPU."""

HEALTH_EVERY_STARTING_S: Final = 2.0

HEALTH_DEADLINE_S: Final = 4.0
"""An emulated engine under load answered /health within a second; slow is not down."""

BROKER_SILENT_S: Final = 5.0
"""Age of the status file from which ``trivet ha status`` says that the broker is silent: five missed turns."""

MAINTENANCE_DEADLINE_S: Final = 20.0
"""How long ``trivet ha maintenance`` waits for its register to be on the board: outlasts two stalls of the volume."""

EVENTS_MAX_BYTES: Final = 1_048_576
"""Size at which the event file is turned (one old file is kept): about 5,000 decisions, months of a quiet cluster."""

EVENTS_KEPT: Final = 200
"""Events kept in memory while the event file cannot be written: an incident has some dozens; 200 take 100 KiB."""

DECISIONS_KEPT: Final = 50
"""Decisions shown in the status: more than an incident has, few enough to be written every turn."""

BASE_SCORE: Final = 1000

MEMORY_RESERVE_MIB: Final = 256
"""Beyond the guest's own memory: QEMU's overhead (about 150 MiB measured under emulation) and some air."""

BRICKS_EVERY_S: Final = 5.0
"""How often a host without the engine VM looks at its bricks (with it: every turn): only its own brick matters there."""

BRICKS_FRESH_S: Final = 3.0
"""A view of the bricks that is older proves nothing about the storage now: two turns and a slow read."""

HEAL_EVERY_S: Final = 15.0
"""How often the volume is asked what is to be healed: each question compares a dozen files on all bricks."""

HEAL_EVERY_IDLE_S: Final = 60.0
"""The same on a host that stands by."""

HEAL_EVERY_WAITING_S: Final = 6.0
"""The same while a refresh waits for the answer."""

FREE_EVERY_S: Final = 4.0
"""How often free space is asked for while the guest waits for it."""

RESUME_FREE_BYTES: Final = 256 * 1024 * 1024
"""A guest that was stopped by a full volume goes on above this: a database's checkpoint and minutes of its log; less
would stop it again at once."""

NO_SPACE_PAUSE_S: Final = 4.0
"""After a start for which the volume had no space; doubles with each in a row, because what says that there is some again
may be wrong (inodes, reserves, a quota)."""

NO_SPACE_PAUSE_MAX_S: Final = 40.0
"""… up to this: space that somebody has made is used within L5's 30 s on average."""

HEALTH_EVERY_OTHER_S: Final = 10.0
"""How often a host without the engine VM asks its /health: a look from outside, for half the price."""

HEALTH_PATIENT_S: Final = 20.0
"""Deadline of the questions after one was missed: slow is not down (fault 7), and an engine that takes longer helps
nobody."""

REACHED_FRESH_S: Final = 30.0
"""A host says that it does not reach the engine after this long without an answer: a patient question and an interval."""

HEALTH_ALLOWANCE_S: Final = 40.0
"""An engine that was up and answers to nobody for this long hangs: twice the time in which the guest's own systemd
starts a crashed engine again under emulation (a whole cold boot to HTTP took 19 s)."""

STOPPED_ALLOWANCE_S: Final = 10.0
"""A QEMU process that was stopped by a signal for this long is ended: unlike one that is slow it certainly does nothing,
and who stops it for a moment (a dump of its memory takes 3 s) lets it go on sooner."""

OVERLOAD: Final = 4.0
"""Load for each processor from which a guest starves rather than hangs: the engine of a host at 8 on 2 processors answered
to nobody for 40 s and then did; restarting it there only adds a boot to the load (fault 45)."""

OVERLOAD_FACTOR: Final = 3.0
"""… then it gets this many times the allowance: two minutes, after which nobody would wait any longer either."""

BOOT_ALLOWANCE_S: Final = 60.0
"""A started engine that has answered to nobody for this long will not: a cold start has to take less than 45 s."""

EMULATION_FACTOR: Final = 3.0
"""… times this where guests are emulated, because three busy nodes may share the processors of one machine."""

SHUTDOWN_ALLOWANCE_S: Final = 15.0
"""How long a guest may take after its power button was pressed: stopping its services takes 5 s; one that hangs does not
even notice."""

HEALTH_SLOW_S: Final = 2.0
"""An answer that took longer is slow: an emulated engine under load answered within a second."""

SLOW_ALERT_S: Final = 30.0
"""Slow for this long is worth an alert: a backup or a heal may slow it for seconds."""

UNREACHED_S: Final = 5.0
"""The others' word that they do not reach the engine is believed after this long: each of them waited
``REACHED_FRESH_S`` before it said so."""

UNREACHED_MARK_S: Final = 3600.0
"""For this long the engine VM is not handed back to a host where nobody reached it: whatever the cause was, a ping-pong
does not repair it."""

CRASHES_MAX: Final = 5
"""Starts of the broker within ``CRASHES_WINDOW_S`` that make a crash loop: systemd starts it again after a second, so a
real one gets there within ten."""

CRASHES_WINDOW_S: Final = 120.0

CRASHES_STEADY_S: Final = 30.0
"""A broker that has lived this long is well again: one that keeps dying does so within a few turns."""

MOVE_DEADLINE_S: Final = 60.0
"""A migration takes 1.3 to 2.0 s; the volume may stall twice for 6 s; beyond a minute it is not going to end."""

MOVE_RETRY_S: Final = 10.0
"""After a failed migration the next try waits this long: a stall of the volume is over by then."""

MOVES_FAILED_MAX: Final = 3
"""Failed migrations within ``STARTS_WINDOW_S`` after which no more are tried."""

REFRESH_EVERY_S: Final = 60.0
"""A refresh at most this often: each one costs the guest a pause."""

REFRESHES_MAX: Final = 6
"""… and at most this many within ``STARTS_WINDOW_S``: a rolling restart of three nodes needs three; more means that bricks
keep failing."""

REFRESH_STEADY_S: Final = 15.0
"""Bricks must have been as connected as they are for this long before a refresh: a link that flaps every 15 s brings its
brick back for 12 s at a time (a client asks every 3 s), and each such refresh would be followed by the next."""

REFRESH_HEAL_S: Final = 20.0
"""For so long a refresh waits for the end of the heal. Not for ever: what the guest writes through a handle that is bad on
one brick blames that brick again, so the heal of a disk in use does not end (195 writes were owed after one that had ended).
Opened anew, the disk is written on all bricks and the heal ends; a sink may be open while it is healed."""

HANDED_CLAIM_S: Final = 5.0
"""How long the source of a finished migration speaks for the target: two of the target's turns and a slow write."""

ORPHAN_S: Final = 3.0
"""An arriving engine VM whose sender is silent (or not sending) for this long is not going to arrive. The sender's
silence itself took ``SILENT_S`` already."""

RELEASED_PAUSE_S: Final = 60.0
"""A host that gave the engine VM up lets the others start it for this long."""

LOSSES_MAX: Final = 3
"""Losses of the own storage within ``STARTS_WINDOW_S`` that make a flapping link (fault 17)."""

LOSSES_STEADY_S: Final = 20.0
"""… after which a start waits until storage was good for this long: longer than a link that flaps every 15 s is good."""

UNHEALTHY_WINDOW_S: Final = 3600.0
"""A start whose engine never answered counts this long, or until one answers: nine of them take longer than the window
of L2, and would go on for ever (fault 35)."""

STALE_CALL_ALERT_S: Final = 600.0
"""An engine that was refused for its old epoch is an alert for this long after its last call: one that is told stops, so
there may be no second call, and somebody has to have a chance to see it in the status."""

CERTIFICATE_ALERT_DAYS: Final = 7.0
"""Certificates renew by themselves a month before; one with so few days left was not renewed."""
