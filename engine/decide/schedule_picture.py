"""The hosts as they will be once all promises are kept: how much room each has, and who is where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.decide.schedule_model import Cluster, Host, Promise, Vm, limit_bytes, need_bytes

GUESSED_CPU_PERCENT = 50.0
"""What a virtual CPU that was not measured yet is taken to use of a CPU: between an idle guest and a busy one, so that ten
VMs started at once are spread although no host is busy yet."""


@dataclass(frozen=True)
class Room:
    """A host with what it has promised. ``promised`` VMs are not seen on it yet."""

    host: Host
    promised: tuple[Vm, ...]
    limit_bytes: int
    committed_bytes: int
    """Needed by the VMs that it has, and by the promised ones."""
    pending_bytes: int
    """Needed by the promised ones."""

    @property
    def vms(self) -> tuple[Vm, ...]:
        return self.host.vms + self.promised

    @property
    def unpromised_bytes(self) -> int:
        """What it may still promise by the rule of over-commitment; less than 0 if that rule was tightened."""
        return self.limit_bytes - self.committed_bytes

    @property
    def left_bytes(self) -> int:
        """What it can still give: the smaller of what may be promised and what is free. Nothing if that is not known."""
        if self.host.free_bytes is None:
            return 0
        return max(0, min(self.unpromised_bytes, self.host.free_bytes - self.pending_bytes))

    @property
    def is_up(self) -> bool:
        return self.host.status == "up"

    @property
    def cpu_percent(self) -> float:
        """How busy its CPUs will be with the promised VMs."""
        return min(100.0, self.host.cpu_percent + sum(cpu_share(vm, self.host) for vm in self.promised))


def cpu_share(vm: Vm, host: Host) -> float:
    """What a VM makes a host busier, in percent of all its CPUs."""
    used = vm.cpus * GUESSED_CPU_PERCENT if vm.cpu_percent is None else vm.cpu_percent
    return used / max(1, host.cpu_threads)


@dataclass(frozen=True)
class Picture:
    """All hosts of a cluster."""

    rooms: tuple[Room, ...]
    cluster: Cluster

    def room(self, identifier: str) -> Room | None:
        return next((room for room in self.rooms if room.host.id == identifier), None)

    def host(self, identifier: str) -> Host | None:
        room = self.room(identifier)
        return room.host if room else None

    def without(self, *vms: str) -> Picture:
        """As if those VMs were nowhere. What they use of a host's measured memory and CPU stays used."""
        gone = frozenset(vms)
        if not any(vm.id in gone for room in self.rooms for vm in room.vms):
            return self
        return replace(self, rooms=tuple(_without(room, gone, self.cluster) for room in self.rooms))

    def promising(self, vm: Vm, host: str) -> Picture:
        """With one more promise."""
        rooms = tuple(
            _room(room.host, (*room.promised, vm), self.cluster) if room.host.id == host else room for room in self.rooms
        )
        return replace(self, rooms=rooms)


def picture(hosts: Sequence[Host], cluster: Cluster, promises: Sequence[Promise] = ()) -> Picture:
    """Put hosts and promises together. A promise whose VM is seen on its host is kept already, and does not count."""
    rooms = []
    for host in hosts:
        there = {vm.id for vm in host.vms}
        promised = {one.vm.id: one.vm for one in promises if one.host == host.id and one.vm.id not in there}
        rooms.append(_room(host, tuple(promised.values()), cluster))
    return Picture(tuple(rooms), cluster)


def _room(host: Host, promised: tuple[Vm, ...], cluster: Cluster) -> Room:
    pending = sum(need_bytes(vm, cluster) for vm in promised)
    committed = pending + sum(need_bytes(vm, cluster) for vm in host.vms)
    return Room(host, promised, limit_bytes(host, cluster), committed, pending)


def _without(room: Room, gone: frozenset[str], cluster: Cluster) -> Room:
    if not any(vm.id in gone for vm in room.vms):
        return room
    host = replace(room.host, vms=tuple(vm for vm in room.host.vms if vm.id not in gone))
    return _room(host, tuple(vm for vm in room.promised if vm.id not in gone), cluster)
