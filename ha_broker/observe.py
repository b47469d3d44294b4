"""Turns readings of the ports into an :class:`~ha_broker.state.Observation`. Holds what a reader must remember between
turns."""

from __future__ import annotations

import errno
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

from appliance.model.cluster import Cluster
from ha_broker import board, limits
from ha_broker.decide import lost_storage
from ha_broker.ports import Ports, Result, call
from ha_broker.readings import HealthReadings, PoolReadings
from ha_broker.score import Fitness, score
from ha_broker.state import (
    LocalVm,
    Notes,
    Observation,
    OwnStorage,
    Peer,
    PoolView,
    ProcessState,
    QemuProcess,
    Register,
    Slot,
    Work,
    own_epoch,
)

WRITE = "write own slot"
LOOK = "look at the engine VM"
_END = attrgetter("ended_s")
NO_SETTING = Register()
"""Of maintenance: nobody has set anything yet."""


def reading(host: str) -> str:
    """The key of reading that host's slot: one read a slot under way at most."""
    return f"read slot {host}"


@dataclass(frozen=True)
class Doing:
    """What the broker itself is doing, as an observation tells it."""

    work: Work | None = None
    button_s: float | None = None
    """Since it pressed the guest's power button."""
    handing_to: str = ""


class Observer:
    """One broker's eyes. ``ask`` begins readings, ``collect`` makes the observation out of those that ended."""

    def __init__(self, ports: Ports, cluster: Cluster, host: str) -> None:
        now_s = ports.clock.monotonic_s()
        self._ports = ports
        self._cluster = cluster
        self._host = host
        self._others = tuple(member.name for member in cluster.members if member.name != host)
        self._keys = {name: reading(name) for name in (*self._others, host)}
        self._reads = {name: partial(call, partial(ports.board.read, name)) for name in self._keys}
        self._look = partial(call, ports.hypervisor.engine_vm)
        self._under_way: set[str] = set()
        """Own reads and writes of the board whose end was not seen yet."""
        self._tracks = {name: board.Track(now_s) for name in self._keys}
        self._looked_s = dict.fromkeys(self._keys, now_s)
        """When the last read of each slot that ended began."""
        self._io = board.Io(now_s, now_s)
        self._turn_s = now_s
        self.planned_s = limits.TURN_S
        """How long after the last turn this one was to come."""
        self._vm = LocalVm("unknown", error="it was not asked yet")
        self._vm_seen_s = now_s
        self._silent_since_s: float | None = None
        """Since when libvirt says nothing of the engine VM."""
        self._pool = PoolReadings(ports)
        self._health = HealthReadings(ports)
        self._nobody_since_s: float | None = None
        self._incoming_since_s: float | None = None
        self.board_version = board.VERSION
        """The payload version to write: the newest that all hosts read of which a slot was read."""
        self._was_good = False
        self._losses: deque[float] = deque(maxlen=limits.LOSSES_MAX)
        self._claimed = False
        self._no_space = False
        """The last start here found the volume full."""
        self._own_lost = False
        self.register = NO_SETTING
        self._writing = NO_SETTING
        """The one that the last write puts on the board."""
        self.written: Register | None = None
        """The one that is on the board for sure."""

    @property
    def own_slot_read(self) -> bool:
        """The own slot of before this broker was looked at: what it knew (maintenance, epoch) is not overwritten unread,
        unless it alone cannot be read."""
        return self._tracks[self._host].read or self._own_lost

    def ask(self, engine_up: bool) -> None:
        """Begin this turn's readings; one still under way is not begun twice."""
        beside, own_read = self._ports.beside, self.own_slot_read
        for name, key in self._keys.items():
            if (name != self._host or not own_read) and beside.ask(key, self._reads[name]):
                self._under_way.add(key)
        beside.ask(LOOK, self._look)
        self._pool.ask(self._vm, self._nobody_since_s is not None, self._no_space)
        self._health.ask(self._vm, engine_up, self._claimed)

    def write(self, data: bytes, register: Register) -> None:
        """Begin writing the own slot, unless the last write is still under way."""
        if self._ports.beside.ask(WRITE, partial(call, partial(self._ports.board.write, data))):
            self._under_way.add(WRITE)
            self._writing = register

    def set_vm(self, vm: LocalVm, seen_s: float) -> None:
        """What a start or destroy saw at its end; looks that began before are dropped."""
        self._vm, self._vm_seen_s = vm, seen_s

    def collect(self, notes: Notes, doing: Doing) -> Observation:
        """The observation of this turn."""
        now_s = self._ports.clock.monotonic_s()
        self._no_space = bool(notes.attempts) and notes.attempts[-1].outcome == "no-space"
        self._collect_io(now_s)
        self._collect_vm(now_s)
        self._health.collect()
        storage = board.own_storage(self._io, now_s)
        pool = self._pool.view(now_s)
        tracks, bricks = self._tracks, pool.bricks
        found: list[Peer] = []
        for name in self._others:
            found.append(board.peer(name, tracks[name], storage, now_s, bricks, now_s - self._looked_s[name]))
        peers = tuple(found)
        for track in tracks.values():
            slot = track.slot
            if slot is not None and slot.maintenance is not self.register and slot.maintenance > self.register:
                self.register = slot.maintenance
        claims: list[Slot] = []
        self._claimed = False
        for peer in peers:
            slot = peer.slot
            if slot is not None and slot.engine != "none" and peer.claims:
                claims.append(slot)
                self._claimed = self._claimed or slot.engine in ("running", "migrating")
        self._count_loss(storage, pool, now_s)
        self._follow(doing, claims, now_s)
        own = self._tracks[self._host].slot
        fitness = self._fitness(storage, pool, notes, now_s)
        local_epoch = self._ports.epochs.local()
        if own is not None and own.epoch_known > local_epoch:
            local_epoch = own.epoch_known
        epoch = own_epoch(notes, self._vm, local_epoch)
        return Observation(
            now_s=now_s,
            host=self._host,
            vm=self._vm,
            storage=storage,
            peers=peers,
            score=score(fitness),
            maintenance=self.register,
            notes=notes,
            work=doing.work,
            nobody_for_s=_since(self._nobody_since_s, now_s),
            local_epoch=local_epoch,
            engine_up=fitness.engine_here and self._health.up(epoch, now_s),
            facts=fitness.facts,
            pool=pool,
            guest=self._health.guest(self._vm, epoch, peers, doing.button_s, now_s),
            local_maintenance=fitness.local_maintenance,
            forced=self._ports.requests.forced_start(),
            handing_to=doing.handing_to,
            engine_reached=self._health.reached(self._vm, peers, now_s),
            losses=fitness.losses,
            source_gone_s=_since(self._incoming_since_s, now_s),
        )

    def _fitness(self, storage: OwnStorage, pool: PoolView, notes: Notes, now_s: float) -> Fitness:
        return Fitness(
            host=self._host,
            facts=self._ports.host.facts(),
            storage=storage,
            engine_memory_mib=self._cluster.engine.memory_mib,
            now_s=now_s,
            notes=notes,
            pool=pool,
            engine_here=self._vm.here,
            local_maintenance=self._ports.requests.local_maintenance(),
            losses=self._recent_losses(now_s),
            libvirt_silent_s=_since(self._silent_since_s, now_s),
        )

    def _follow(self, doing: Doing, claims: list[Slot], now_s: float) -> None:
        """Since when nobody has the engine VM, and since when it has been arriving here without a sender."""
        if claims or self._vm.here or doing.work is not None or doing.handing_to:
            self._nobody_since_s = None
        elif self._nobody_since_s is None:
            self._nobody_since_s = now_s
        if self._vm.power != "incoming" or any(slot.handing_to == self._host for slot in claims):
            self._incoming_since_s = None
        elif self._incoming_since_s is None:
            self._incoming_since_s = now_s

    def _count_loss(self, storage: OwnStorage, pool: PoolView, now_s: float) -> None:
        if self._was_good and lost_storage(storage, pool):
            self._losses.append(now_s)
            self._was_good = False
        elif storage.good_for_s >= limits.GRACE_S:
            self._was_good = True

    def _recent_losses(self, now_s: float) -> int:
        return sum([now_s - at_s < limits.STARTS_WINDOW_S for at_s in self._losses]) if self._losses else 0

    def _collect_io(self, now_s: float) -> None:
        ended: list[board.Ended] = []
        take, pending_s = self._ports.beside.take, self._ports.beside.pending_s
        for name, key in self._keys.items():
            if key not in self._under_way or (result := take(key)) is None:
                continue
            self._under_way.remove(key)
            bad = name == self._host and result.error is not None
            if bad or result.ended_s - result.began_s > limits.STALL_S:  # others say nothing about own storage
                ended.append(_ended(bad, result))
            self._read(name, result)
        self._own_lost = self._tracks[self._host].finding != "" and any(self._tracks[name].read for name in self._others)
        if WRITE in self._under_way and (result := take(WRITE)) is not None:
            self._under_way.remove(WRITE)
            ended.append(_ended(True, result))
            if result.error is None:
                self.written = self._writing
        # A turn that comes late is a stall of one's own: this host stood still, and others perhaps because of that.
        since_s, self._turn_s = now_s - self._turn_s, now_s
        late_s, stood_s = since_s - limits.TURN_S, since_s - self.planned_s - limits.SETTLE_S
        oldest_s = max([late_s, *[pending_s(key) or 0.0 for key in self._under_way]]) if self._under_way else late_s
        if len(ended) > 1:
            ended.sort(key=_END)
        self._io = board.stood_still(board.account(self._io, tuple(ended), oldest_s, now_s), stood_s, now_s)

    def _read(self, name: str, result: Result) -> None:
        """A reading of that host's slot ended."""
        before = self._tracks[name]
        self._looked_s[name] = result.began_s
        if result.error is not None:
            self._tracks[name] = board.unreadable(before, str(result.error))
            return
        track = self._tracks[name] = board.track(before, name, result.value, result.began_s)
        if track.reads != before.reads:
            self.board_version = board.version_for([one.reads for one in self._tracks.values()])

    def _collect_vm(self, now_s: float) -> None:
        result = self._ports.beside.take(LOOK)
        if result is not None and result.began_s >= self._vm_seen_s:
            self._vm_seen_s = result.ended_s
            self._vm = result.value if result.error is None else LocalVm("unknown", error=str(result.error))
        elif now_s - self._vm_seen_s > limits.LIBVIRT_SILENT_S:
            self._vm = LocalVm("unknown", error=f"no answer within {limits.LIBVIRT_SILENT_S:g} s")
        if self._vm.power != "unknown":
            self._silent_since_s = None
        elif self._silent_since_s is None:
            self._silent_since_s = now_s
        if self._vm.pid or self._vm.power == "unknown":
            self._vm = _with_process(self._vm, self._ports.hypervisor.qemu_process())


def _ended(write: bool, result: Result) -> board.Ended:
    error = result.error
    if error is None:
        return board.Ended(write, result.began_s, result.ended_s)
    no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return board.Ended(write, result.began_s, result.ended_s, str(error), no_space)


def _with_process(vm: LocalVm, process: QemuProcess) -> LocalVm:
    if vm.power == "unknown":
        return replace(vm, pid=process.pid, process=process.state)
    state: ProcessState = process.state if process.pid == vm.pid else ""
    return vm if vm.process == state else replace(vm, process=state)


def _since(at_s: float | None, now_s: float) -> float:
    return 0.0 if at_s is None else now_s - at_s
