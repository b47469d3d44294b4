"""Handing the engine VM over: live migration to another host, as a procedure beside the loop (see :mod:`ha_broker.ports`).

The guest keeps its epoch and takes the disk's lock with it (S4). Before it leaves, the target's agent is told the epoch, so
that the broker there, which finds a running QEMU that it did not start, knows which one it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from appliance.errors import TrivetError
from ha_broker import limits
from ha_broker.memory import Memory
from ha_broker.ports import Ports, Procedure, call
from ha_broker.state import LocalVm, Move, MoveReason, Observation, Work
from ha_broker.tell import Teller

MIGRATE = "migrate the engine VM"
"""The procedure's key."""


@dataclass(frozen=True)
class MoveOrder:
    """Which engine VM goes where, and why."""

    target: str
    epoch: int
    reason: MoveReason


@dataclass
class MoveProgress:
    """Shared between a running migration and the loop."""

    order: MoveOrder
    cancelled: bool = False


@dataclass(frozen=True)
class MoveEnd:
    """How it ended. ``vm`` is the engine VM here as it was left."""

    done: bool
    vm: LocalVm
    sentence: str


def migrate(ports: Ports, order: MoveOrder) -> Procedure[MoveEnd]:
    """Migrate it; what libvirt may answer becomes a sentence and a look at what is left here."""
    told = partial(ports.agents.raise_epoch, (order.target,), order.epoch, limits.AGENT_DEADLINE_S)
    try:
        yield from call(told)
        yield from call(partial(ports.hypervisor.migrate, order.target))
    except (TrivetError, OSError) as error:
        vm = yield from call(ports.hypervisor.engine_vm)
        left = "it is still here" if vm.power == "running" else f"what is left here is {vm.power}"
        return MoveEnd(False, vm, f"the migration to {order.target} failed, {left}: {error}")
    vm = yield from call(ports.hypervisor.engine_vm)
    return MoveEnd(True, vm, f"the engine VM was migrated to {order.target} with epoch {order.epoch}")


class Mover:
    """The source's side of a hand-over: what is under way, what became of it, and for whom this host still speaks."""

    def __init__(self, ports: Ports, memory: Memory, tell: Teller) -> None:
        self._ports = ports
        self._memory = memory
        self._tell = tell
        self._progress: MoveProgress | None = None
        self._handing: tuple[str, float] | None = None

    @property
    def handing_to(self) -> str:
        """The host that took the engine VM and has not said so yet."""
        return self._handing[0] if self._handing is not None else ""

    @property
    def sending_to(self) -> str:
        """The host that the engine VM is going, or has just gone to."""
        if self._progress is not None:
            return self._progress.order.target
        return self._handing[0] if self._handing is not None else ""

    def work(self) -> Work | None:
        """The migration under way."""
        if self._progress is None:
            return None
        for_s = self._ports.beside.pending_s(MIGRATE)
        if for_s is None:
            return None
        target = self._progress.order.target
        return Work(f"migrate to {target}", for_s, self._progress.cancelled, "migrate", target)

    def begin(self, order: MoveOrder, sentence: str) -> None:
        """Begin it, unless one is still under way."""
        if self._ports.beside.ask(MIGRATE, partial(migrate, self._ports, order)):
            self._progress = MoveProgress(order)
            self._memory.change(moving=order.target)
            self._tell.event("move-begun", sentence, order.epoch)

    def cancel(self) -> None:
        """QEMU here is being destroyed meanwhile."""
        if self._progress is not None:
            self._progress.cancelled = True

    def finish(self) -> tuple[LocalVm, float] | None:
        """Take the end of a migration: the engine VM as it left it, and when."""
        if self._progress is None:
            return None
        ended = self._ports.beside.take(MIGRATE)
        if ended is None:
            return None
        order, cancelled, self._progress = self._progress.order, self._progress.cancelled, None
        error = MoveEnd(False, LocalVm("unknown", error=str(ended.error)), f"the migration failed: {ended.error}")
        end: MoveEnd = ended.value if ended.error is None else error
        kept = [move for move in self._memory.notes.moves if ended.ended_s - move.at_s < limits.STARTS_WINDOW_S]
        self._memory.change(moves=(*kept, Move(ended.ended_s, order.reason, end.done)))
        if end.done and order.reason == "unreached":
            self._memory.change(unreached_s=ended.ended_s)
        if end.vm.power == "off" and not cancelled:
            self._hand(order.target, ended.ended_s)
        elif end.vm.power != "unknown":
            self._memory.change(moving="")
        self._tell.event("move-done" if end.done else "move-failed", end.sentence, order.epoch)
        return end.vm, ended.ended_s

    def _hand(self, target: str, now_s: float) -> None:
        self._handing = (target, now_s)
        self._memory.change(held=None, moving="")

    def settle(self, seen: Observation) -> None:
        """After each observation: speak for the target no longer than needed; and find out what became of a migration in
        whose middle an earlier broker died."""
        moving = self._memory.notes.moving
        if moving and seen.work is None:
            if seen.vm.power == "off":
                self._hand(moving, seen.now_s)
            elif seen.vm.power not in ("unknown", "migrating", "paused"):
                self._memory.change(moving="")
        if self._handing is None:
            return
        target, since_s = self._handing
        peer = seen.peer(target)
        arrived = peer is not None and peer.claims and peer.slot is not None and peer.slot.engine == "running"
        if arrived or seen.now_s - since_s >= limits.HANDED_CLAIM_S:
            self._handing = None
