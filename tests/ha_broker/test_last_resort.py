"""What becomes of the engine VM when its host's broker is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.effects.clock import FakeClock
from appliance.effects.process import Completed
from appliance.errors import Failed, Unavailable
from appliance.fakes.process import ScriptedProcesses
from appliance.model.vm import VmPower
from ha_broker import board, last_resort
from ha_broker.effects.threads import drive
from ha_broker.effects.unit import HandOvers, come_back
from ha_broker.last_resort import STEADY_S, HandOver, Recovery, retry_s, way
from ha_broker.ports import Event, Ports, Procedure, Result
from ha_broker.state import Held, LocalVm, Notes, Register, Slot

HERE, B, C = "node1", "node2", "node3"
RUNS = LocalVm("running", 42)


def slot(host: str, score: int = 1000, **more: Any) -> Slot:
    return Slot(host, f"boot-{host}", 1, score, **more)


# --- the decision


@pytest.mark.parametrize(
    ("power", "act"),
    [("off", "done"), ("crashed", "destroy"), ("paused", "destroy"), ("paused-io-error", "destroy"), ("running", "migrate"),
     ("paused-no-space", "destroy"), ("shutting-down", "stop"), ("migrating", "wait"), ("incoming", "wait")],
)  # fmt: skip
def test_by_what_libvirt_says(power: VmPower, act: str) -> None:
    assert way(LocalVm(power, 42), 0, (slot(B),), "none", False).act == act


def test_the_fittest_of_the_living_gets_it() -> None:
    found = way(RUNS, 7, (slot(B, 700), slot(C, 900)), "none", False)
    assert (found.act, found.target) == ("migrate", C)


@pytest.mark.parametrize(
    "alive", [(), (slot(B, 0),), (slot(B, local_maintenance=True),)], ids=["none", "unfit", "maintenance"]
)
def test_nobody_can_take_it_so_it_is_stopped(alive: tuple[Slot, ...]) -> None:
    found = way(RUNS, 7, alive, "none", False)
    assert (found.act, found.target) == ("stop", "")
    assert "no host with a living broker" in found.sentence


def test_a_failed_migration_is_not_repeated() -> None:
    assert way(RUNS, 7, (slot(B),), "none", True).act == "stop"


def test_in_global_maintenance_it_is_left_running() -> None:
    assert way(RUNS, 7, (slot(B),), "global", False).act == "leave"
    assert way(LocalVm("paused-io-error", 42), 7, (slot(B),), "global", False).act == "destroy"


def test_an_old_engine_is_destroyed() -> None:
    newer = slot(C, engine="running", engine_epoch=8)
    assert way(RUNS, 7, (newer,), "global", False).act == "destroy"
    assert way(RUNS, 8, (newer,), "none", False).act == "migrate", "the same epoch: it was migrated to us"


def test_the_back_off_doubles_and_is_bounded() -> None:
    assert [retry_s(count) for count in (1, 2, 3, 6, 50)] == [60, 120, 240, 1800, 1800]


# --- doing it


@dataclass
class Beside:
    """Runs procedures at once; those of ``hang`` never end."""

    clock: FakeClock
    results: dict[str, Result] = field(default_factory=dict)
    hang: bool = False

    def ask(self, key: str, procedure: Callable[[], Procedure[Any]]) -> bool:
        if self.hang:
            return True
        try:
            self.results[key] = Result(drive(procedure()), None, 0, 0)
        except Exception as error:  # noqa: BLE001 - as the real one does
            self.results[key] = Result(None, error, 0, 0)
        return True

    def take(self, key: str) -> Result | None:
        return self.results.pop(key, None)

    def settle(self, seconds: float) -> None:
        self.clock.sleep(seconds)


@dataclass
class Vm:
    """An engine VM that obeys or does not."""

    power: VmPower = "running"
    migrates: bool = True
    shuts_down: bool = True
    dies: bool = True
    done: list[str] = field(default_factory=list)

    def engine_vm(self) -> LocalVm:
        return LocalVm(self.power, 42)

    def migrate(self, target: str) -> None:
        self.done.append(f"migrate {target}")
        if not self.migrates:
            raise Failed("vm.migrate", subject="VM", reason="no route", remedy="-")
        self.power = "off"

    def shutdown(self) -> None:
        self.done.append("shutdown")
        if self.shuts_down:
            self.power = "off"

    def destroy(self) -> None:
        self.done.append("destroy")
        if self.dies:
            self.power = "off"


class Board:
    """Slots of others; those in ``living`` are written between two readings."""

    def __init__(self, slots: dict[str, Slot], living: tuple[str, ...]) -> None:
        self.slots = slots
        self.living = living

    def read(self, host: str) -> bytes | None:
        if host not in self.slots:
            raise OSError(5, "Input/output error")
        found = self.slots[host]
        if host in self.living:
            self.slots[host] = replace(found, sequence=found.sequence + 1)
        return board.to_bytes(found)


def world(
    vm: Vm, living: tuple[str, ...] = (B, C), maintenance: Register | None = None
) -> tuple[HandOver, list[Event], Beside]:
    clock, events = FakeClock(), list[Event]()
    register = maintenance or Register()
    slots = {B: slot(B, 500, maintenance=register), C: slot(C, 900)}
    ports = SimpleNamespace(
        clock=clock,
        beside=Beside(clock),
        board=Board(slots, living),
        hypervisor=vm,
        notes=SimpleNamespace(load=lambda: Notes(Held(7, 42, ""))),
        events=SimpleNamespace(write=events.append),
    )
    return HandOver(cast(Ports, ports), HERE, (B, C)), events, ports.beside


def test_it_is_migrated_to_a_host_whose_broker_lives() -> None:
    vm = Vm()
    hand_over, events, _ = world(vm, living=(B,))
    assert "migrated to node2" in hand_over.run()
    assert vm.done == ["migrate node2"], "node3 has the better score, but its broker is silent"
    assert [event.kind for event in events] == ["decided", "decided"]


@pytest.mark.parametrize(("shuts_down", "done"), [(True, ["shutdown"]), (False, ["shutdown", "destroy"])])
def test_a_failed_migration_ends_in_a_stop(shuts_down: bool, done: list[str]) -> None:
    vm = Vm(migrates=False, shuts_down=shuts_down)
    said = world(vm)[0].run()
    assert vm.done == ["migrate node3", *done]
    assert "no route" in said
    assert vm.power == "off"


def test_nobody_alive() -> None:
    vm = Vm()
    world(vm, living=())[0].run()
    assert vm.done == ["shutdown"]


def test_global_maintenance_is_obeyed() -> None:
    vm = Vm()
    assert "maintenance" in world(vm, maintenance=Register(3, B, "global"))[0].run()
    assert vm.done == []


def test_a_vm_that_will_not_go_is_told() -> None:
    with pytest.raises(Failed) as caught:
        world(Vm(power="paused", dies=False))[0].run()
    assert caught.value.code == "ha.hand-over"


def test_a_silent_libvirt_is_told_in_time() -> None:
    hand_over, _, beside = world(Vm())
    beside.hang = True
    began_s = beside.clock.monotonic_s()
    with pytest.raises(Unavailable) as caught:
        hand_over.run()
    assert caught.value.code == "ha.hand-over-deadline"
    assert beside.clock.monotonic_s() - began_s <= last_resort.READING_DEADLINE_S + last_resort.LOOK_DEADLINE_S + 2


# --- afterwards


def test_a_broker_that_is_well_again_says_so_once(tmp_path: Path) -> None:
    record, clock, events = HandOvers(tmp_path / "record"), FakeClock(), list[Event]()
    assert record.add() == 1
    assert record.add() == 2
    ports = cast(Ports, SimpleNamespace(clock=clock, events=SimpleNamespace(write=events.append)))
    recovery = Recovery(ports, HERE, record)
    recovery.turned()
    assert (events, record.count()) == ([], 2)
    clock.sleep(STEADY_S)
    recovery.turned()
    recovery.turned()
    assert [(event.kind, event.code) for event in events] == [("alert-over", last_resort.CODE)]
    assert record.count() == 0


@pytest.mark.parametrize("content", ["", "[]", '{"count": "many"}'])
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "record").write_text(content)
    assert HandOvers(tmp_path / "record").count() == 0


def test_the_next_chance_is_a_timer_of_systemd() -> None:
    inactive = Completed(("systemctl",), 3, "", "")
    processes = ScriptedProcesses({"systemctl is-active": inactive, "systemd-run": ""})
    come_back(processes, 240.0)
    ran = processes.ran[-1]
    assert ran[0] == "systemd-run"
    assert "--on-active=240" in ran
    assert "reset-failed" in ran[-1]
