"""The migration's procedure and the source's book-keeping of it, call by call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.errors import Failed
from ha_broker import limits
from ha_broker.effects.threads import drive
from ha_broker.handover import MIGRATE, MoveOrder, Mover, migrate
from ha_broker.memory import Memory
from ha_broker.ports import Event, Procedure, Result
from ha_broker.state import LocalVm, MoveReason, Notes, Work
from ha_broker.tell import Teller
from tests.ha_broker.observations import HELD, NOW_S, peer, running, seen

ORDER = MoveOrder("node1", 4, "local-maintenance")


@dataclass
class Ports:
    """One node: libvirt that migrates or not, agents, clock, notes, events; procedures run when they are asked for."""

    left: LocalVm = field(default_factory=lambda: LocalVm("off"))
    error: Exception | None = None
    calls: list[object] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    kept: Notes = field(default_factory=lambda: Notes(HELD))
    under_way: Callable[[], Procedure[Any]] | None = None
    ended: Result | None = None

    def __getattr__(self, name: str) -> Any:
        if name in ("clock", "beside", "hypervisor", "agents", "events", "notes"):
            return self
        raise AttributeError(name)

    def monotonic_s(self) -> float:
        return NOW_S

    def wall_s(self) -> float:
        return 0.0

    def load(self) -> Notes:
        return self.kept

    def save(self, notes: Notes) -> None:
        self.kept = notes

    def write(self, event: Event) -> None:
        self.told.append(event)

    def ask(self, key: str, procedure: Callable[[], Procedure[Any]]) -> bool:
        assert key == MIGRATE
        if self.under_way is not None:
            return False
        self.under_way = procedure
        return True

    def pending_s(self, key: str) -> float | None:
        return None if self.under_way is None else 2.0

    def take(self, key: str) -> Result | None:
        result, self.ended = self.ended, None
        return result

    def end(self) -> None:
        assert self.under_way is not None
        self.ended = Result(drive(self.under_way()), None, NOW_S - 2.0, NOW_S)
        self.under_way = None

    def raise_epoch(self, hosts: tuple[str, ...], epoch: int, deadline_s: float) -> None:
        self.calls.append((hosts, epoch))

    def migrate(self, target: str) -> None:
        self.calls.append(target)
        if self.error is not None:
            raise self.error

    def engine_vm(self) -> LocalVm:
        return self.left


def broke() -> Failed:
    return Failed("vm.migrate", subject="HostedEngine", reason="the connection broke", remedy="-")


def test_the_target_knows_the_epoch_before_it_gets_the_guest() -> None:
    ports = Ports()
    end = drive(migrate(ports, ORDER))  # type: ignore[arg-type]
    assert ports.calls == [(("node1",), 4), "node1"]
    assert (end.done, end.vm, end.sentence) == (True, LocalVm("off"), "the engine VM was migrated to node1 with epoch 4")


def test_a_failed_migration_says_what_is_left_here() -> None:
    here = drive(migrate(Ports(LocalVm("running", 7), broke()), ORDER))  # type: ignore[arg-type]
    assert (here.done, here.vm.power) == (False, "running")
    assert here.sentence.startswith("the migration to node1 failed, it is still here: HostedEngine: the connection broke")
    gone = drive(migrate(Ports(LocalVm("off"), OSError("broken pipe")), ORDER))  # type: ignore[arg-type]
    assert gone.sentence == "the migration to node1 failed, what is left here is off: broken pipe"


def mover_of(ports: Ports) -> tuple[Mover, Memory]:
    memory = Memory(ports, NOW_S)
    return Mover(ports, memory, Teller(ports, "node2")), memory  # type: ignore[arg-type]


def test_the_source_speaks_for_the_target_until_that_says_so() -> None:
    ports = Ports()
    mover, memory = mover_of(ports)
    mover.begin(ORDER, "because")
    assert (mover.sending_to, memory.notes.moving) == ("node1", "node1")
    assert mover.work() == Work("migrate to node1", 2.0, kind="migrate", target="node1")
    ports.end()
    assert mover.finish() == (LocalVm("off"), NOW_S)
    assert (mover.handing_to, memory.notes.held, memory.notes.moving) == ("node1", None, "")
    assert [(move.reason, move.done) for move in memory.notes.moves] == [("local-maintenance", True)]
    mover.settle(seen(now_s=NOW_S + 1.0, peers=(peer("node1", engine="incoming"), peer("node3"))))
    assert mover.handing_to == "node1"
    mover.settle(seen(now_s=NOW_S + 2.0, peers=(peer("node1", engine="running"), peer("node3"))))
    assert mover.handing_to == ""
    assert [event.kind for event in ports.told] == ["move-begun", "move-done"]


def test_but_not_for_ever() -> None:
    ports = Ports()
    mover, _ = mover_of(ports)
    mover.begin(ORDER, "because")
    ports.end()
    mover.finish()
    mover.settle(seen(now_s=NOW_S + limits.HANDED_CLAIM_S - 0.1))
    assert mover.sending_to == "node1"
    mover.settle(seen(now_s=NOW_S + limits.HANDED_CLAIM_S))
    assert mover.sending_to == ""


def test_a_failed_migration_is_counted_and_the_guest_stays_ours() -> None:
    ports = Ports(LocalVm("running", 7), broke())
    mover, memory = mover_of(ports)
    mover.begin(ORDER, "because")
    ports.end()
    assert mover.finish() == (LocalVm("running", 7), NOW_S)
    assert (mover.sending_to, memory.notes.held, memory.notes.moving) == ("", HELD, "")
    assert [(move.at_s, move.done) for move in memory.notes.moves] == [(NOW_S, False)]
    assert ports.told[-1].kind == "move-failed"


def test_a_failed_migration_after_which_nothing_is_here_may_have_arrived() -> None:
    ports = Ports(LocalVm("off"), broke())
    mover, memory = mover_of(ports)
    mover.begin(ORDER, "because")
    ports.end()
    mover.finish()
    assert (mover.handing_to, memory.notes.held) == ("node1", None)


def test_one_whose_qemu_was_destroyed_meanwhile_is_handed_to_nobody() -> None:
    ports = Ports(LocalVm("off"), broke())
    mover, memory = mover_of(ports)
    mover.begin(ORDER, "because")
    mover.cancel()
    work = mover.work()
    assert work is not None
    assert work.cancelled
    ports.end()
    mover.finish()
    assert (mover.handing_to, memory.notes.moving) == ("", "")


@pytest.mark.parametrize(("reason", "marked"), [("unreached", True), ("refresh", False)])
def test_a_host_where_nobody_reached_it_is_marked(reason: MoveReason, marked: bool) -> None:
    ports = Ports()
    mover, memory = mover_of(ports)
    mover.begin(MoveOrder("node1", 4, reason), "because")
    ports.end()
    mover.finish()
    assert (memory.notes.unreached_s is not None) is marked


@pytest.mark.parametrize(
    ("power", "handing", "moving"),
    [("off", "node1", ""), ("running", "", ""), ("migrating", "", "node1"), ("unknown", "", "node1")],
)
def test_a_new_broker_finds_out_what_became_of_a_migration(power: str, handing: str, moving: str) -> None:
    ports = Ports(kept=Notes(HELD, moving="node1"))
    mover, memory = mover_of(ports)
    mover.settle(running(vm=LocalVm(power, 7)))  # type: ignore[arg-type]
    assert (mover.handing_to, memory.notes.moving) == (handing, moving)
