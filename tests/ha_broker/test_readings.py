"""The slower readings: when they are asked for, what is made of the answers; and a broker's notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ha_broker import limits
from ha_broker.memory import Memory
from ha_broker.ports import Procedure, Result
from ha_broker.readings import BRICKS, FREE, HEAL, HEALTH, PATIENT, HealthReadings, PoolReadings
from ha_broker.state import Attempt, Brick, Guest, Heal, Held, LocalVm, Notes
from tests.ha_broker.observations import HELD, NOW_S, peer, running

OFF, HERE = LocalVm("off"), LocalVm("running", 7)
ALL = tuple(Brick(name, True, True) for name in ("node1", "node2", "node3"))


@dataclass
class Ports:
    """Clock and procedures: what is asked is listed, answers are put in by the test. Nothing else is touched."""

    now_s: float = 1000.0
    asked: list[str] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name in ("clock", "beside", "pool", "health"):
            return self
        return lambda *_arguments: None

    def monotonic_s(self) -> float:
        return self.now_s

    def ask(self, key: str, procedure: Callable[[], Procedure[Any]]) -> bool:
        self.asked.append(key)
        return True

    def take(self, key: str) -> Result | None:
        return self.results.pop(key, None)

    def answer(self, key: str, value: Any, error: Exception | None = None, took_s: float = 0.1) -> None:
        self.results[key] = Result(value, error, self.now_s - took_s, self.now_s)

    def asked_now(self) -> list[str]:
        found, self.asked = self.asked, []
        return found


def test_the_pool_is_asked_often_by_the_holder_and_rarely_elsewhere() -> None:
    ports = Ports()
    pool = PoolReadings(ports)  # type: ignore[arg-type]
    counts = {BRICKS: 0, HEAL: 0}
    for _ in range(60):
        pool.ask(HERE, False)
        ports.now_s += 1.0
        for key in ports.asked_now():
            counts[key] += 1
    assert counts == {BRICKS: 60, HEAL: 4}
    idle = PoolReadings(ports)  # type: ignore[arg-type]
    counts = {BRICKS: 0, HEAL: 0}
    for _ in range(60):
        idle.ask(OFF, False)
        ports.now_s += 1.0
        for key in ports.asked_now():
            counts[key] += 1
    assert counts == {BRICKS: 12, HEAL: 1}


def test_the_heal_is_asked_for_at_once_when_something_happens_to_the_disk() -> None:
    ports = Ports()
    pool = PoolReadings(ports)  # type: ignore[arg-type]
    pool.ask(OFF, False)
    ports.asked_now()
    ports.now_s += 1.0
    pool.ask(OFF, True)
    assert HEAL in ports.asked_now()
    ports.now_s += 1.0
    pool.ask(OFF, True)
    assert HEAL not in ports.asked_now()


def test_free_space_is_asked_for_only_while_it_is_waited_for() -> None:
    ports = Ports()
    pool = PoolReadings(ports)  # type: ignore[arg-type]
    pool.ask(HERE, False, True)
    pool.ask(OFF, True)
    assert FREE not in ports.asked_now()
    pool.ask(OFF, True, True)
    assert FREE in ports.asked_now(), "a start here found the volume full"
    ports.now_s += 60.0
    pool.ask(LocalVm("paused-no-space", 7), False)
    assert FREE in ports.asked_now()
    ports.answer(FREE, 1 << 30)
    assert pool.view(ports.now_s).free_bytes == 1 << 30
    ports.answer(FREE, None, OSError("gone"))
    assert pool.view(ports.now_s).free_bytes is None


def test_since_when_a_brick_is_not_open_and_connections_are_steady() -> None:
    ports = Ports()
    pool = PoolReadings(ports)  # type: ignore[arg-type]
    pool.ask(HERE, False)
    ports.answer(BRICKS, ALL)
    assert pool.view(1000.0).stale_s == 0.0
    ports.now_s = 1010.0
    ports.answer(BRICKS, (*ALL[:2], Brick("node3", False, False)))
    assert (pool.view(1010.0).stale_s, pool.view(1010.0).steady_s) == (0.0, 0.0)
    ports.now_s = 1020.0
    ports.answer(BRICKS, (*ALL[:2], Brick("node3", True, False)))
    pool.view(1020.0)
    assert (pool.view(1022.0).stale_s, pool.view(1022.0).steady_s) == (2.0, 2.0)
    assert pool.view(1022.0).to_open == ("node3",)
    ports.now_s = 1024.0
    ports.answer(BRICKS, ALL)
    assert (pool.view(1024.0).stale_s, pool.view(1024.0).steady_s) == (0.0, 4.0)


def test_an_old_or_failed_view_of_the_bricks_proves_nothing() -> None:
    ports = Ports()
    pool = PoolReadings(ports)  # type: ignore[arg-type]
    pool.ask(HERE, False)
    ports.answer(BRICKS, ALL)
    assert pool.view(1000.0).firm
    assert pool.view(1000.0 + limits.BRICKS_FRESH_S).bricks == ()
    assert not pool.view(1000.0 + limits.BRICKS_FRESH_S).firm
    ports.answer(BRICKS, None, OSError("not mounted"))
    assert pool.view(1000.0).bricks == ()


def test_how_old_an_answer_about_the_heal_is() -> None:
    ports = Ports()
    pool = PoolReadings(ports)  # type: ignore[arg-type]
    ports.answer(HEAL, Heal(pending=3), took_s=4.0)
    view = pool.view(1001.0)
    assert (view.heal, view.heal_age_s) == (Heal(pending=3), 5.0)
    ports.answer(HEAL, None, OSError("gone"))
    assert pool.view(1002.0).heal == Heal(pending=3)


# --- health


def health_of(ports: Ports, seconds: int, up: bool = True, claimed: bool = False, vm: LocalVm = HERE) -> list[str]:
    health = HealthReadings(ports)  # type: ignore[arg-type]
    health.guest(vm, 4, (), None, ports.now_s)
    for _ in range(seconds):
        health.ask(vm, up, claimed)
        if HEALTH in ports.asked[-2:]:
            ports.answer(HEALTH, 4)
        health.collect()
        ports.now_s += 1.0
    return ports.asked_now()


def test_how_often_health_is_asked() -> None:
    assert len(health_of(Ports(), 20)) == 4
    assert len(health_of(Ports(), 20, up=False)) == 10
    assert len(health_of(Ports(), 20, claimed=True, vm=OFF)) == 2
    assert health_of(Ports(), 20, vm=OFF) == []


def test_a_missed_answer_makes_it_ask_patiently_beside() -> None:
    ports = Ports()
    health = HealthReadings(ports)  # type: ignore[arg-type]
    ports.answer(HEALTH, 4)
    health.collect()
    health.guest(HERE, 4, (), None, ports.now_s)
    ports.now_s += 5.0
    ports.answer(HEALTH, 4)
    health.collect()
    health.guest(HERE, 4, (), None, ports.now_s)
    health.ask(HERE, True, False)
    assert ports.asked_now() == [HEALTH]
    ports.now_s += 5.0
    ports.answer(HEALTH, None)
    health.collect()
    health.ask(HERE, True, False)
    assert ports.asked_now() == [HEALTH, PATIENT]
    ports.answer(PATIENT, 4)
    health.collect()
    assert health.up(4, ports.now_s)


def test_answers_of_another_epoch_are_not_this_engine() -> None:
    ports = Ports()
    health = HealthReadings(ports)  # type: ignore[arg-type]
    ports.answer(HEALTH, 3)
    health.collect()
    assert not health.up(4, ports.now_s)
    ports.answer(HEALTH, 4)
    health.collect()
    ports.answer(PATIENT, 3)  # a late answer of the old one
    health.collect()
    assert health.up(4, ports.now_s)
    assert not health.up(4, ports.now_s + limits.HEALTH_FRESH_S)


def test_a_guest_since_it_runs_here() -> None:
    ports = Ports()
    health = HealthReadings(ports)  # type: ignore[arg-type]
    others = (peer("node1", engine_reached=False), peer("node3", engine_reached=True), peer("node9", silent=True))
    first = health.guest(HERE, 4, others, None, 1000.0)
    assert (first.running_s, first.answered, first.unanswered_s, first.reached_by) == (0.0, False, 0.0, ("node3",))
    ports.now_s = 1010.0
    ports.answer(HEALTH, 4)
    health.collect()
    later = health.guest(HERE, 4, others, 3.0, 1030.0)
    assert (later.running_s, later.answered, later.unanswered_s, later.button_s) == (30.0, True, 20.0, 3.0)
    moved = health.guest(replace(HERE, power="migrating"), 4, others, None, 1031.0)
    assert moved.running_s == 31.0
    other = health.guest(LocalVm("running", 8), 5, others, None, 1032.0)
    assert (other.running_s, other.answered) == (0.0, False)
    assert health.guest(OFF, 5, others, None, 1033.0).running_s == 0.0


def test_a_guest_is_asked_and_remembered_while_libvirt_is_silent_and_its_process_is_here() -> None:
    ports = Ports()
    health = HealthReadings(ports)  # type: ignore[arg-type]
    silent = LocalVm("unknown", 7, "no answer", "runs")
    health.guest(HERE, 4, (), None, ports.now_s)
    ports.answer(HEALTH, 4)
    health.collect()
    ports.now_s += 10.0
    health.ask(silent, False, False)
    assert ports.asked_now() == [HEALTH]
    guest = health.guest(silent, 4, (), None, ports.now_s)
    assert (guest.answered, guest.running_s, guest.unanswered_s) == (True, 10.0, 10.0)
    assert health.reached(silent, (), ports.now_s)
    assert health.guest(LocalVm("unknown"), 4, (), None, ports.now_s) == Guest(), "no process: no guest"


def test_for_how_long_a_qemu_has_been_stopped() -> None:
    ports = Ports()
    health = HealthReadings(ports)  # type: ignore[arg-type]
    ages = []
    for process in ("runs", "stopped", "stopped", "waits", "stopped", "stopped"):
        vm = LocalVm("running", 7, process=process)  # type: ignore[arg-type]
        ages.append(health.guest(vm, 4, (), None, ports.now_s).still_s)
        ports.now_s += 2.0
    assert ages == [0.0, 0.0, 2.0, 0.0, 0.0, 2.0]


def test_nobody_else_reaches_it() -> None:
    ports = Ports()
    health = HealthReadings(ports)  # type: ignore[arg-type]
    blind = (peer("node1", engine_reached=False), peer("node3", engine_reached=False))
    ports.answer(HEALTH, 4)
    health.collect()
    health.guest(HERE, 4, blind, None, 1000.0)
    assert health.guest(HERE, 4, blind, None, 1006.0).unreached_s == 6.0
    assert health.guest(HERE, 4, (blind[0], peer("node3")), None, 1007.0).unreached_s == 0.0
    assert health.guest(HERE, 4, (), None, 1008.0).unreached_s == 0.0


def test_what_a_standby_says_of_the_engine() -> None:
    ports = Ports()
    health = HealthReadings(ports)  # type: ignore[arg-type]
    claim = (peer("node1", engine="running", engine_epoch=4),)
    assert health.reached(OFF, (), 1000.0)
    assert health.reached(OFF, claim, 1000.0)
    assert health.reached(OFF, claim, 999.0 + limits.REACHED_FRESH_S)
    assert not health.reached(OFF, claim, 1000.0 + limits.REACHED_FRESH_S)
    ports.now_s = 1040.0
    ports.answer(HEALTH, 4)
    health.collect()
    assert health.reached(OFF, claim, 1041.0)
    assert not health.reached(OFF, claim, 1040.0 + limits.REACHED_FRESH_S)
    assert health.reached(OFF, (peer("node1", engine="running", engine_epoch=5),), 1080.0)
    assert health.reached(HERE, claim, 2000.0)


def test_slow_answers_are_counted_until_a_quick_one() -> None:
    ports = Ports()
    health = HealthReadings(ports)  # type: ignore[arg-type]
    health.guest(HERE, 4, (), None, 1000.0)
    ports.answer(HEALTH, 4, took_s=3.0)
    health.collect()
    assert health.guest(HERE, 4, (), None, 1010.0).slow_s == 13.0
    ports.now_s = 1011.0
    ports.answer(HEALTH, 4)
    health.collect()
    assert health.guest(HERE, 4, (), None, 1012.0).slow_s == 0.0


# --- notes


@dataclass
class NotesFile:
    notes: Notes = field(default_factory=Notes)
    saved: int = 0

    def load(self) -> Notes:
        return self.notes

    def save(self, notes: Notes) -> None:
        self.notes = notes
        self.saved += 1


def test_each_start_of_the_broker_is_noted_and_old_ones_forgotten() -> None:
    file = NotesFile(Notes(broker_starts=(10.0, 900.0)))
    assert Memory(file, 1000.0).notes.broker_starts == (900.0, 1000.0)
    assert file.saved == 1
    for at_s in range(1001, 1101):
        Memory(file, float(at_s))
    assert len(file.notes.broker_starts) == 2 * limits.CRASHES_MAX


def test_a_change_that_changes_nothing_is_not_saved() -> None:
    file = NotesFile()
    memory = Memory(file, 1000.0)
    memory.change(moving="")
    memory.healthy()
    assert file.saved == 1


def test_an_engine_that_never_answered_is_remembered_until_one_does() -> None:
    memory = Memory(NotesFile(Notes(HELD, (Attempt(900.0, "done"),))), 1000.0)
    memory.unhealthy(1000.0)
    memory.unhealthy(1001.0)
    assert memory.notes.attempts == (Attempt(1000.0, "unhealthy"),)
    memory.healthy()
    assert memory.notes.attempts == (Attempt(1000.0, "failed"),)


def test_a_start_forgets_what_counts_no_more() -> None:
    old = (Attempt(100.0, "failed"), Attempt(101.0, "unhealthy"), Attempt(900.0, "done"))
    memory = Memory(NotesFile(Notes(HELD, old)), 1000.0)
    notes = memory.begin(1000.0)
    assert notes.attempts == (Attempt(101.0, "unhealthy"), Attempt(900.0, "done"), Attempt(1000.0, "begun"))
    assert notes.held is None


SENDER = peer("node1", engine="migrating", engine_epoch=4, handing_to="node2", engine_since="yesterday")


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        ({"peers": (SENDER, peer("node3"))}, Held(4, 7, "yesterday")),
        ({}, Held(4, 7, "now")),
        ({"peers": (peer("node1", engine="running"), peer("node3"))}, None),
        ({"vm": LocalVm("incoming", 7)}, None),
        ({"local_epoch": 0}, None),
    ],
)
def test_what_arrives_is_adopted(fields: dict[str, object], held: Held | None) -> None:
    memory = Memory(NotesFile(), NOW_S)
    observation = running(**{"notes": Notes(), "local_epoch": 4, **fields})
    assert memory.adopt(observation, lambda: "now") is (held is not None)
    assert memory.notes.held == held
    assert memory.adopt(observation, lambda: "now") is False


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"peers": (peer("node1", engine="running", engine_epoch=4), peer("node3"))}, False),
        ({"peers": (peer("node1", engine="running", engine_epoch=5), peer("node3"))}, False),
        ({"peers": (peer("node1", engine="running", engine_epoch=3), peer("node3"))}, True),
        ({"peers": (peer("node1", engine="starting", engine_epoch=4), peer("node3"))}, True),
        ({"peers": (peer("node1"), peer("node3"))}, True),
        ({"peers": (peer("node1", engine="running", engine_epoch=4),), "vm": LocalVm("running", 7)}, True),
        ({"peers": (peer("node1", engine="running", engine_epoch=4),), "vm": LocalVm("unknown", 0)}, True),
    ],
)
def test_what_was_moved_away_meanwhile_is_let_go(fields: dict[str, object], kept: bool) -> None:
    memory = Memory(NotesFile(Notes(Held(4, 7, "now"))), NOW_S)
    memory.let_go(running(**{"vm": LocalVm("off", 0), **fields}))
    assert memory.notes.held == (Held(4, 7, "now") if kept else None)
