"""The rules one by one, each with its sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ha_broker import limits
from ha_broker.decide import decide, engine_seen, lost_storage
from ha_broker.state import Attempt, Held, LocalVm, Notes, OwnStorage, PoolView, Register, Score, Work
from tests.ha_broker.observations import GOOD, NOW_S, peer, rule, seen

NO_VIEW = PoolView()
RUNNING = {"vm": LocalVm("running", 7), "notes": Notes(Held(4, 7, "2026-01-01T00:00:00+00:00"), (Attempt(900.0, "done"),))}


def test_starts_when_nobody_has_it_and_everybody_answers() -> None:
    sentence = "nobody has the engine VM (all hosts answer): this host starts it"
    assert rule(seen()) == ("start", "nobody-has-it", sentence)


def test_names_the_silent_when_starting() -> None:
    peers = (peer("node1", silent=True, engine="running", engine_epoch=3), peer("node3"))
    sentence = "nobody has the engine VM (node1 silent): this host starts it"
    assert rule(seen(peers=peers)) == ("start", "nobody-has-it", sentence)


def test_a_better_host_goes_first_and_the_next_after_a_stagger() -> None:
    early = seen(nobody_for_s=1.0)
    decision = decide(early)
    assert (decision.action, decision.rule) == ("none", "stagger")
    assert decision.sentence == "nobody has the engine VM; node1 may try before this host"
    assert decision.until_s == NOW_S + limits.STAGGER_S - 1.0
    assert decide(replace(early, nobody_for_s=limits.STAGGER_S)).action == "start"


def test_score_goes_before_name() -> None:
    peers = (peer("node1", score=900), peer("node3", score=1000))
    assert decide(seen(peers=peers, nobody_for_s=0.0)).action == "start"
    assert decide(seen(score=Score(800), nobody_for_s=4.0)).sentence.startswith(
        "nobody has the engine VM; node1, node3 may try"
    )


def test_hosts_that_cannot_start_are_not_waited_for() -> None:
    peers = (peer("node1", score=0), peer("node3", starts=limits.STARTS_MAX, score=2000))
    assert decide(seen(peers=peers, nobody_for_s=0.0)).action == "start"


def test_stands_by_for_a_host_that_runs_it() -> None:
    peers = (peer("node1", engine="running", engine_epoch=9), peer("node3"))
    assert rule(seen(peers=peers)) == ("none", "runs-elsewhere", "node1 runs the engine VM with epoch 9: standing by")


def test_stands_by_for_a_host_that_starts_it() -> None:
    peers = (peer("node1", engine="starting"), peer("node3"))
    assert rule(seen(peers=peers)) == ("none", "starts-elsewhere", "node1 is starting the engine VM: standing by")


def test_global_maintenance_comes_before_every_start() -> None:
    on = Register(3, "node1", "global")
    sentence = "global maintenance is on (set on node1): the engine VM is not started"
    assert rule(seen(maintenance=on)) == ("none", "maintenance", sentence)
    crashed = seen(maintenance=on, notes=RUNNING["notes"])
    assert decide(crashed).rule == "maintenance"


def test_own_stall_is_told_apart_from_silence() -> None:
    stalled = OwnStorage(0.0, 4.0)
    sentence = "own storage stalls: nothing is started from here, nobody is called silent"
    assert rule(seen(storage=stalled)) == ("none", "own-storage-stalled", sentence)


def test_own_storage_refused() -> None:
    storage = OwnStorage(0.0, 4.0, 1.0, "Read-only file system")
    refused = "own writes to the board are refused (Read-only file system)"
    sentence = f"{refused}: no quorum from here, nothing is started; bring another host, its brick or the network back"
    assert rule(seen(storage=storage, pool=NO_VIEW)) == ("none", "own-storage-refused", sentence)


def test_after_a_stall_the_others_get_a_grace() -> None:
    decision = decide(seen(storage=OwnStorage(0.5, 0.4)))
    assert decision.rule == "grace"
    assert decision.sentence == "own storage is good again: 1.8 s for the others to show themselves"
    assert decision.until_s == pytest.approx(NOW_S + 1.3)


def test_an_unread_slot_is_waited_for() -> None:
    peers = (peer("node1"), peer("node3", read=False, slot=False))
    assert rule(seen(peers=peers)) == (
        "none",
        "board-unread",
        "the board's slot of node3 was not read yet: no start before it is",
    )


def test_an_old_slot_is_waited_for_until_it_is_news_or_silent() -> None:
    """Also by a host that only has to start its own again: another may have done so meanwhile."""
    old = replace(peer("node3"), old=True)
    sentence = "the board's slot of node3 is from before own storage was good: no start until it is news or silent"
    for notes in (Notes(), RUNNING["notes"]):
        waits = seen(peers=(peer("node1"), old), notes=notes)
        assert rule(waits) == ("none", "board-old", sentence)
        assert decide(replace(waits, peers=(peer("node1"), replace(old, silent=True)))).action == "start"
        assert decide(replace(waits, peers=(peer("node1"), replace(old, old=False)))).action == "start"
        assert decide(replace(waits, forced=True)).rule == "forced-refused"


def test_a_damaged_slot_is_waited_for_until_it_counts_as_silent() -> None:
    damaged = peer("node3", slot=False, finding="board.checksum: its checksum is wrong")
    decision = decide(seen(peers=(peer("node1"), damaged)))
    assert decision.rule == "board-damaged"
    assert decision.sentence == "the slot of node3 cannot be understood: that host counts as silent after 5 s"
    assert decide(seen(peers=(peer("node1"), replace(damaged, silent=True)))).action == "start"


def test_an_ineligible_host_says_why() -> None:
    barred = Score(0, ("600 MiB of memory available, 1280 MiB needed",))
    sentence = "this host is not eligible: 600 MiB of memory available, 1280 MiB needed"
    assert rule(seen(score=barred)) == ("none", "not-eligible", sentence)


def test_the_lock_refused_stand_by_grows_and_names_the_holder() -> None:
    peers = (peer("node1", silent=True, engine="running", engine_epoch=3), peer("node3"))
    one = seen(peers=peers, notes=Notes(None, (Attempt(NOW_S - 1, "locked"),)))
    decision = decide(one)
    assert decision.rule == "lock-refused"
    assert decision.sentence == (
        "the disk's lock refused the start: node1 probably still has it, its broker is silent; next try after 5 s"
    )
    assert decision.until_s == NOW_S + 4
    twice = replace(one, notes=Notes(None, (Attempt(NOW_S - 20, "locked"), Attempt(NOW_S - 6, "locked"))))
    assert decide(twice).until_s == NOW_S + 4
    assert decide(replace(one, now_s=NOW_S + 4)).action == "start"


def test_the_lock_refused_and_nobody_admits_to_it() -> None:
    decision = decide(seen(notes=Notes(None, (Attempt(NOW_S - 1, "locked"),))))
    assert "nobody on the board says that it has it" in decision.sentence


def test_three_starts_then_others_then_hold() -> None:
    used = Notes(None, tuple(Attempt(NOW_S - age, "failed") for age in (500.0, 300.0, 100.0)))
    assert rule(seen(notes=used)) == (
        "none",
        "starts-used",
        "3 starts within 10 min are used up here: left to node1, node3",
    )
    tired = (peer("node1", starts=3), peer("node3", score=0))
    used_up = "3 starts within 10 min are used up here and no other host is able to"
    sentence = f"{used_up}: holding, somebody has to look at the engine VM"
    assert rule(seen(notes=used, peers=tired)) == ("none", "hold", sentence)
    assert decide(seen(notes=used, now_s=NOW_S + 101, peers=tired)).action == "start"


def test_starts_refused_by_the_lock_do_not_count() -> None:
    refused = Notes(None, tuple(Attempt(NOW_S - age, "locked") for age in (500.0, 300.0, 100.0)))
    assert decide(seen(notes=refused)).action == "start"


def test_after_a_failed_start_another_host_may_try_first() -> None:
    failed = Notes(None, (Attempt(NOW_S - 1, "failed"),))
    assert rule(seen(notes=failed)) == ("none", "failed-pause", "the last start here failed: another host may try first")
    alone = (peer("node1", silent=True), peer("node3", silent=True))
    assert decide(seen(notes=failed, peers=alone)).rule == "failed-pause", "nobody else: what broke it may pass"
    assert decide(seen(now_s=NOW_S + limits.FAILED_PAUSE_S, notes=failed, peers=alone)).action == "start"


def test_a_qemu_that_has_gone_is_restarted_in_place_without_waiting() -> None:
    crashed = seen(notes=RUNNING["notes"], nobody_for_s=0.0, score=Score(1))
    assert rule(crashed) == ("start", "restart-in-place", "QEMU here has gone (epoch 4): restarting it in place")


def test_an_io_error_ends_qemu_at_once() -> None:
    sentence = "QEMU here is paused by an I/O error of its disk: it is destroyed, never resumed"
    assert rule(seen(vm=LocalVm("paused-io-error", 7))) == ("destroy", "io-error", sentence)


def test_an_io_error_ends_qemu_also_in_maintenance() -> None:
    observation = seen(vm=LocalVm("paused-io-error", 7), maintenance=Register(1, "node1", "global"))
    assert decide(observation).action == "destroy"


def test_a_vm_left_paused_is_destroyed() -> None:
    sentence = "QEMU here was left paused by a start that broke off: it is destroyed"
    assert rule(seen(vm=LocalVm("paused", 7))) == ("destroy", "left-paused", sentence)


def test_a_qemu_here_is_destroyed_when_the_own_slot_cannot_be_written() -> None:
    stalled = seen(**RUNNING, storage=OwnStorage(0.0, limits.UNWRITTEN_DESTROY_S))
    assert rule(stalled) == (
        "destroy",
        "storage-lost",
        "the own slot could not be written for 8.8 s: QEMU here is destroyed, so that it does not linger",
    )
    refused = seen(**RUNNING, storage=OwnStorage(0.0, 3.0, limits.FAILING_DESTROY_S, "Input/output error"), pool=NO_VIEW)
    assert decide(refused).sentence.startswith("own writes to the board are refused (Input/output error): QEMU here is")


def test_a_stall_like_everybodys_is_waited_out() -> None:
    decision = decide(seen(**RUNNING, storage=OwnStorage(0.0, 6.0)))
    assert (decision.action, decision.rule) == ("none", "running-stalled")
    assert decision.sentence == "the engine VM runs here with epoch 4; own storage stalls: waiting for at most 8.8 s"


def test_a_higher_epoch_elsewhere_proves_that_the_lock_is_lost() -> None:
    peers = (peer("node1", engine="running", engine_epoch=5), peer("node3"))
    assert rule(seen(**RUNNING, peers=peers)) == (
        "destroy",
        "superseded",
        "node1 started the engine VM with epoch 5, above 4 here: "
        "the disk's lock is not ours any more, QEMU here is destroyed",
    )


def test_two_claims_leave_it_to_the_lock() -> None:
    peers = (peer("node1", engine="running", engine_epoch=3), peer("node3"))
    sentence = "the engine VM runs here with epoch 4; node1 claims it too: the disk's lock decides"
    assert rule(seen(**RUNNING, peers=peers)) == ("none", "two-claims", sentence)


def test_keeps_a_running_engine() -> None:
    assert rule(seen(**RUNNING)) == (
        "none",
        "running-starting",
        "the engine VM runs here with epoch 4; its API does not answer yet",
    )
    assert rule(seen(**RUNNING, engine_up=True)) == (
        "none",
        "running",
        "the engine VM runs here with epoch 4 and its API answers",
    )


def test_adopts_a_running_engine_that_it_did_not_start() -> None:
    adopted = seen(vm=LocalVm("running", 8), local_epoch=6, engine_up=True)
    assert decide(adopted).sentence == "the engine VM runs here with epoch 6 and its API answers"


@pytest.mark.parametrize(("power", "expected"), [("migrating", "migrating"), ("shutting-down", "shutting-down")])
def test_leaves_transitions_alone(power: str, expected: str) -> None:
    decision = decide(seen(**{**RUNNING, "vm": LocalVm(power, 7)}))  # type: ignore[arg-type]
    assert (decision.action, decision.rule) == ("none", expected)


def test_says_when_libvirt_is_silent() -> None:
    sentence = "libvirt does not answer (no answer within 5 s): nothing is started from here"
    assert rule(seen(vm=LocalVm("unknown", error="no answer within 5 s"))) == ("none", "libvirt-silent", sentence)


def test_a_start_under_way_goes_on() -> None:
    decision = decide(seen(work=Work("resume", 2.0), vm=LocalVm("paused", 7)))
    assert (decision.action, decision.sentence) == ("none", "this host is starting the engine VM")
    assert decision.until_s == NOW_S + limits.START_DEADLINE_S - 2.0


def test_a_start_that_hangs_is_broken_off() -> None:
    assert rule(seen(work=Work("write the seed", limits.START_DEADLINE_S))) == (
        "destroy",
        "start-deadline",
        "the start here is broken off: step “write the seed” was not done 60 s after the start began",
    )


def test_a_start_without_storage_is_broken_off() -> None:
    decision = decide(seen(work=Work("write the seed", 9.0), storage=OwnStorage(0.0, 9.0)))
    assert (decision.action, decision.rule) == ("destroy", "start-storage-lost")


def test_a_start_that_was_broken_off_is_waited_for() -> None:
    decision = decide(seen(work=Work("write the seed", 70.0, cancelled=True)))
    assert (decision.action, decision.rule) == ("none", "start-ending")
    assert decision.sentence == "a start here was broken off: waiting for its step “write the seed” to end"


def test_nothing_is_started_while_a_destroy_is_under_way() -> None:
    assert rule(seen(work=Work("destroy", 1.0, kind="destroy"))) == ("none", "destroying", "QEMU here is being destroyed")


def test_good_storage_is_not_lost() -> None:
    assert lost_storage(GOOD, PoolView()) == ""


@pytest.mark.parametrize(
    ("power", "working", "expected"),
    [
        ("off", False, "none"),
        ("off", True, "starting"),
        ("paused", False, "paused"),
        ("paused-io-error", False, "paused"),
        ("running", False, "running"),
        ("migrating", False, "migrating"),
        ("incoming", False, "incoming"),
        ("paused-no-space", False, "paused"),
        ("unknown", False, "running"),
    ],
)
def test_what_the_slot_says(power: str, working: bool, expected: str) -> None:
    assert engine_seen(LocalVm(power), working, "running") == expected  # type: ignore[arg-type]
