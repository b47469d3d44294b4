"""Turns readings of the ports into an :class:`~ha_broker.state.Observation`. Holds what a reader must remember between
turns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from appliance.model.cluster import Cluster
from ha_broker import board, limits
from ha_broker.ports import Ports, Procedure, Result, call
from ha_broker.score import score
from ha_broker.state import LocalVm, Notes, Observation, Register, Work

WRITE = "write own slot"
LOOK = "look at the engine VM"
HEALTH = "ask the engine's health"


def reading(host: str) -> str:
    """The key of reading that host's slot: one read a slot under way at most."""
    return f"read slot {host}"


@dataclass(frozen=True)
class Written:
    """What a write put on the board, remembered until it ends."""

    register: Register


class Observer:
    """One broker's eyes. ``ask`` begins readings, ``collect`` makes the observation out of those that ended."""

    def __init__(self, ports: Ports, cluster: Cluster, host: str) -> None:
        now_s = ports.clock.monotonic_s()
        self._ports = ports
        self._cluster = cluster
        self._host = host
        self._others = tuple(member.name for member in cluster.members if member.name != host)
        self._tracks = {name: board.Track(now_s) for name in (*self._others, host)}
        self._io = board.Io(now_s, now_s)
        self._vm = LocalVm("unknown", error="it was not asked yet")
        self._vm_seen_s = now_s
        self._health: tuple[float, int] | None = None
        self._health_asked_s = now_s - limits.HEALTH_EVERY_S
        self._nobody_since_s: float | None = None
        self._own_lost = False
        self.register = Register()
        self.written: Register | None = None
        """The register that is on the board for sure."""

    @property
    def own_slot_read(self) -> bool:
        """The own slot of before this broker was looked at: what it knew (maintenance, epoch) is not overwritten unread,
        unless it alone cannot be read."""
        return self._tracks[self._host].read or self._own_lost

    def ask(self, engine_here: bool, engine_up: bool) -> None:
        """Begin this turn's readings; one still under way is not begun twice."""
        beside, now_s = self._ports.beside, self._ports.clock.monotonic_s()
        for name in self._others if self.own_slot_read else (*self._others, self._host):
            beside.ask(reading(name), partial(call, partial(self._ports.board.read, name)))
        beside.ask(LOOK, partial(call, self._ports.hypervisor.engine_vm))
        every_s = limits.HEALTH_EVERY_S if engine_up else limits.HEALTH_EVERY_STARTING_S
        if engine_here and now_s - self._health_asked_s >= every_s:
            self._health_asked_s = now_s
            beside.ask(HEALTH, partial(call, partial(self._ports.health.epoch_up, limits.HEALTH_DEADLINE_S)))

    def write(self, data: bytes, register: Register) -> None:
        """Begin writing the own slot, unless the last write is still under way."""
        self._ports.beside.ask(WRITE, partial(_write, self._ports, data, register))

    def set_vm(self, vm: LocalVm, seen_s: float) -> None:
        """What a start or destroy saw at its end; looks that began before are dropped."""
        self._vm, self._vm_seen_s = vm, seen_s

    def collect(self, notes: Notes, work: Work | None) -> Observation:
        """The observation of this turn."""
        now_s = self._ports.clock.monotonic_s()
        self._collect_io(now_s)
        self._collect_vm(now_s)
        self._collect_health()
        storage = board.own_storage(self._io, now_s)
        peers = tuple(board.peer(name, self._tracks[name], storage, now_s) for name in self._others)
        slots = [track.slot for track in self._tracks.values() if track.slot is not None]
        self.register = max([self.register, *(slot.maintenance for slot in slots)])
        running = self._vm.power not in ("off", "crashed", "unknown")
        if running or work is not None or any(peer.claims for peer in peers):
            self._nobody_since_s = None
        elif self._nobody_since_s is None:
            self._nobody_since_s = now_s
        own = self._tracks[self._host].slot
        local_epoch = max(self._ports.epochs.local(), own.epoch_known if own else 0)
        memory_mib = self._cluster.engine.memory_mib
        seen = Observation(
            now_s=now_s,
            host=self._host,
            vm=self._vm,
            storage=storage,
            peers=peers,
            score=score(self._ports.host.facts(), storage, notes.attempts, memory_mib, running, now_s),
            maintenance=self.register,
            notes=notes,
            work=work,
            nobody_for_s=0.0 if self._nobody_since_s is None else now_s - self._nobody_since_s,
            local_epoch=local_epoch,
        )
        return replace(seen, engine_up=running and self._healthy(seen.own_epoch, now_s))

    def _healthy(self, epoch: int, now_s: float) -> bool:
        return self._health is not None and self._health[1] == epoch and now_s - self._health[0] < limits.HEALTH_FRESH_S

    def _collect_io(self, now_s: float) -> None:
        ended: list[board.Ended] = []
        for name in (*self._others, self._host):
            result = self._ports.beside.take(reading(name))
            if result is None:
                continue
            ended.append(_ended(name == self._host and result.error is not None, result))
            if result.error is None:
                self._tracks[name] = board.track(self._tracks[name], name, result.value, result.began_s)
            else:
                self._tracks[name] = board.unreadable(self._tracks[name], str(result.error))
        self._own_lost = self._tracks[self._host].finding != "" and any(self._tracks[name].read for name in self._others)
        result = self._ports.beside.take(WRITE)
        if result is not None:
            ended.append(_ended(True, result))
            if result.error is None:
                self.written = result.value.register
        pending = [self._ports.beside.pending_s(key) for key in (WRITE, *map(reading, (*self._others, self._host)))]
        oldest_s = max((age_s for age_s in pending if age_s is not None), default=None)
        ended.sort(key=lambda one: one.ended_s)
        self._io = board.account(self._io, tuple(ended), oldest_s, now_s)

    def _collect_vm(self, now_s: float) -> None:
        result = self._ports.beside.take(LOOK)
        if result is not None and result.began_s >= self._vm_seen_s:
            self._vm_seen_s = result.ended_s
            self._vm = result.value if result.error is None else LocalVm("unknown", error=str(result.error))
        elif now_s - self._vm_seen_s > limits.LIBVIRT_SILENT_S:
            self._vm = LocalVm("unknown", error=f"no answer within {limits.LIBVIRT_SILENT_S:g} s")

    def _collect_health(self) -> None:
        result = self._ports.beside.take(HEALTH)
        if result is not None and result.error is None:
            self._health = None if result.value is None else (result.ended_s, result.value)


def _write(ports: Ports, data: bytes, register: Register) -> Procedure[Written]:
    yield from call(lambda: ports.board.write(data))
    return Written(register)


def _ended(write: bool, result: Result) -> board.Ended:
    return board.Ended(write, result.began_s, result.ended_s, "" if result.error is None else str(result.error))
