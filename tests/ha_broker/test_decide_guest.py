"""A guest that hangs, never comes up, waits for space; and its power button (faults 5, 7, 25 and 35)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ha_broker import limits
from ha_broker.decide import decide
from ha_broker.state import Attempt, Brick, Guest, HostFacts, LocalVm, Notes, Observation, OwnStorage, PoolView, Work
from tests.ha_broker.observations import GLOBAL, HELD, NOW_S, OPEN, name_of, peer, rule, running, seen

HUNG = Guest(running_s=500.0, answered=True, unanswered_s=limits.HEALTH_ALLOWANCE_S)
BOOTING = Guest(running_s=limits.BOOT_ALLOWANCE_S, unanswered_s=limits.BOOT_ALLOWANCE_S)
USED = Notes(HELD, tuple(Attempt(NOW_S - age, "done") for age in (500.0, 300.0, 100.0)))
TIRED = (peer("node1", starts=3), peer("node3", score=0))


def silent_guest(guest: Guest = HUNG, **fields: object) -> Observation:
    return running(engine_up=False, guest=guest, **fields)


def test_a_guest_that_answers_to_nobody_is_shut_down_and_started_here_again() -> None:
    decision = decide(silent_guest())
    assert (decision.action, decision.rule, decision.again) == ("shutdown", "guest-hung", True)
    assert decision.sentence == (
        "the engine VM runs here with epoch 4, but its API has answered to no host for 40 s: "
        "its power button is pressed, then it is started here again"
    )


def test_it_is_waited_for_until_its_allowance_is_over() -> None:
    early = replace(HUNG, unanswered_s=limits.HEALTH_ALLOWANCE_S - 0.1)
    decision = decide(silent_guest(early))
    assert (decision.action, decision.rule) == ("none", "running-unanswered")
    assert decision.sentence == "the engine VM runs here with epoch 4; its API stopped answering: waiting for at most 40 s"
    assert decision.until_s == pytest.approx(NOW_S + 0.1)


def test_a_guest_that_others_reach_is_left_alone() -> None:
    reached = replace(HUNG, reached_by=("node3",))
    sentence = "the engine VM runs here with epoch 4; its API answers others, but not this host"
    assert rule(silent_guest(reached)) == ("none", "running-elsewhere-reached", sentence)


def test_a_slow_engine_is_left_alone() -> None:
    assert name_of(running(guest=replace(HUNG, unanswered_s=11.0, slow_s=300.0))) == "running"


def test_a_boot_has_its_allowance_and_more_where_guests_are_emulated() -> None:
    assert decide(silent_guest(replace(BOOTING, running_s=limits.BOOT_ALLOWANCE_S - 1))).rule == "running-starting"
    assert decide(silent_guest(BOOTING)).rule == "guest-never-up"
    emulated = HostFacts(0.5, 2, 8192, "/i", emulated=True)
    assert decide(silent_guest(BOOTING, facts=emulated)).rule == "running-starting"
    late = replace(BOOTING, running_s=limits.BOOT_ALLOWANCE_S * limits.EMULATION_FACTOR)
    assert decide(silent_guest(late, facts=emulated)).rule == "guest-never-up"


def test_an_engine_that_never_came_up_is_left_to_the_others_first() -> None:
    decision = decide(silent_guest(BOOTING))
    assert (decision.action, decision.again) == ("shutdown", False)
    assert decision.sentence.endswith("of its start: its power button is pressed, then node1, node3 may start it")
    alone = decide(silent_guest(BOOTING, peers=(peer("node1", silent=True), peer("node3", score=0))))
    assert (alone.action, alone.again) == ("shutdown", True)


@pytest.mark.parametrize("guest", [HUNG, BOOTING])
def test_used_up_starts_leave_it_to_another_host(guest: Guest) -> None:
    decision = decide(silent_guest(guest, notes=USED))
    assert (decision.action, decision.again) == ("shutdown", False)


@pytest.mark.parametrize("guest", [HUNG, BOOTING])
def test_used_up_everywhere_it_holds_with_its_console_open(guest: Guest) -> None:
    decision = decide(silent_guest(guest, notes=USED, peers=TIRED))
    assert (decision.action, decision.rule) == ("none", "hold-console")
    assert decision.sentence.endswith(
        "3 starts are used up on every host that is able to: holding, its console stays open for somebody to look at"
    )


def test_global_maintenance_leaves_a_silent_guest_alone() -> None:
    sentence = "the engine VM runs here with epoch 4; its API does not answer; global maintenance is on: it is left alone"
    assert rule(silent_guest(maintenance=GLOBAL)) == ("none", "running-maintenance", sentence)


def test_the_power_button_is_bounded() -> None:
    pressed = running(engine_up=False, guest=replace(HUNG, button_s=5.0))
    decision = decide(pressed)
    assert (decision.action, decision.rule) == ("none", "button-pressed")
    assert decision.sentence == "the guest's power button was pressed: waiting for its end for at most 15 s"
    assert decision.until_s == pytest.approx(NOW_S + 10.0)
    ignored = decide(replace(pressed, guest=replace(HUNG, button_s=limits.SHUTDOWN_ALLOWANCE_S)))
    assert (ignored.action, ignored.rule, ignored.again) == ("destroy", "button-ignored", True)
    given_up = replace(pressed, guest=replace(HUNG, button_s=20.0), notes=Notes())
    assert decide(given_up).again is False


def test_the_button_is_waited_for_while_libvirt_is_asked() -> None:
    asked = silent_guest(work=Work("shut down", 1.0, kind="shutdown"))
    assert rule(asked) == ("none", "shutdown-asked", "libvirt is asked: the guest here is to be shut down")
    resumed = silent_guest(work=Work("resume", 1.0, kind="resume"))
    assert rule(resumed) == ("none", "resume-asked", "libvirt is asked: the guest here is to be resumed")


def test_a_crashed_guest_is_destroyed_and_started_again() -> None:
    decision = decide(running(vm=LocalVm("crashed", 7)))
    assert (decision.action, decision.rule, decision.again) == ("destroy", "guest-crashed", True)
    assert name_of(seen(vm=LocalVm("crashed"))) == "nobody-has-it"


FULL = LocalVm("paused-no-space", 7)


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (None, "no-space"),
        (0, "no-space"),
        (limits.RESUME_FREE_BYTES - 1, "no-space"),
        (limits.RESUME_FREE_BYTES, "space-again"),
    ],
)
def test_a_full_volume_is_waited_for(free: int | None, expected: str) -> None:
    decision = decide(running(vm=FULL, engine_up=False, pool=replace(OPEN, free_bytes=free)))
    assert (decision.rule, decision.action) == (expected, "resume" if expected == "space-again" else "none")


def test_what_a_full_volume_says() -> None:
    waiting = "QEMU here is stopped because the volume engine is full: it goes on once 256 MiB are free"
    assert decide(running(vm=FULL)).sentence == f"{waiting}; make space on the bricks"


def test_a_stopped_guest_that_lost_its_disk_never_goes_on() -> None:
    bricks = (Brick("node1", True, True), Brick("node2", True, False), Brick("node3", False, False))
    lost = running(vm=FULL, pool=PoolView(bricks, free_bytes=1 << 40))
    assert (decide(lost).action, decide(lost).rule) == ("destroy", "no-space-lost")
    blind = running(vm=FULL, pool=PoolView((), free_bytes=1 << 40))
    assert name_of(blind) == "no-space"
    newer = running(vm=FULL, peers=(peer("node1", engine="running", engine_epoch=5), peer("node3")))
    assert name_of(newer) == "superseded"


def test_a_full_volume_is_no_lost_storage() -> None:
    full = OwnStorage(0.0, 60.0, 60.0, "No space left on device", no_space=True)
    assert name_of(running(storage=full)) == "running-full"
    assert name_of(running(storage=replace(full, no_space=False), pool=PoolView())) == "storage-lost"
    assert name_of(seen(storage=full)) == "volume-full"
