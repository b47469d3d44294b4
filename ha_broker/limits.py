"""Every time span and count of the broker, each with its because. Seconds are of the reader's monotonic clock."""

from __future__ import annotations

from typing import Final

TURN_S: Final = 1.0
"""One turn: short against the 5.6 s after which a lost host's lock is free, long against the cost of a turn
(milliseconds)."""

HURRIED_TURN_S: Final = 0.5
"""A turn just after a stall, or while nobody has the engine VM or it is being started: these seconds are downtime."""

SETTLE_S: Final = 0.25
"""How long a turn waits for its own reads before it decides: a good read of a slot takes a few milliseconds, 0.74 s was
the slowest write seen at load 23; whatever is slower is judged one turn later."""

STALL_S: Final = 1.5
"""An own read or write that takes longer is a stall: twice the slowest write seen on a healthy, overloaded volume (0.74
s)."""

SILENT_S: Final = 5.0
"""A slot unchanged for this long may be called silent: a blip shorter than 5 s must not restart anything (L3)."""

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
"""A look at the engine VM that is older than this is not used: libvirt answers in milliseconds, also while QEMU stalls."""

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

LOAD_PENALTY_POINTS: Final = 100
"""For each unit of load above one per CPU: a host twice overcommitted comes after an idle one with one failed start."""

LOAD_PENALTY_MAX: Final = 400
"""Load alone never makes a host ineligible (fault 45)."""

FAILURE_PENALTY_POINTS: Final = 250
"""For each failed start within the window: a failing host comes after every healthy one, however loaded those are but
not idle."""

MEMORY_RESERVE_MIB: Final = 256
"""Beyond the guest's own memory: QEMU's overhead (about 150 MiB measured under emulation) and some air."""
