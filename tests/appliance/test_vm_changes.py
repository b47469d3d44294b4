"""Waiting for a VM to change its state."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.effects.clock import FakeClock
from appliance.model.vm_live import GuestAnswer, VmStatistics
from appliance.verbs.vm_changes import LOOK_EVERY_S, WAIT_MAX_S, VmChanges


@dataclass
class Told:
    """What libvirt says, one answer after the other; the last one stays."""

    answers: list[str] = field(default_factory=list)
    looks: int = 0

    def states(self) -> tuple[tuple[str, str], ...]:
        self.looks += 1
        return (("web", self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]),)

    def statistics(self) -> tuple[VmStatistics, ...]:
        return ()

    def guests(self) -> tuple[GuestAnswer, ...]:
        return ()


def test_an_unknown_mark_is_answered_at_once_and_a_known_one_when_it_changes() -> None:
    clock, told = FakeClock(), Told(["running"])
    changes = VmChanges(told, clock)
    began_s = clock.monotonic_s()
    running = changes.wait("none", 5000)
    assert clock.monotonic_s() == began_s and told.looks == 1
    told.answers = ["running", "running", "paused"]
    paused = changes.wait(running, 5000)
    assert paused != running
    assert abs(clock.monotonic_s() - began_s - 2 * LOOK_EVERY_S) < 1e-6


def test_nobody_waits_longer_than_asked_nor_than_a_thread_can_be_spared() -> None:
    clock, told = FakeClock(), Told(["running"])
    changes = VmChanges(told, clock)
    mark = changes.wait("none", 0)
    for wait_ms, waits_s in ((700, 0.7), (600_000, WAIT_MAX_S)):
        began_s = clock.monotonic_s()
        assert changes.wait(mark, wait_ms) == mark
        assert abs(clock.monotonic_s() - began_s - waits_s) < 1e-6
