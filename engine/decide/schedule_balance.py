"""Load balancing: which one VM is moved where now, or why none is. Called every minute; it never swings to and fro.

Against swinging: a host counts as over-utilized only after the policy's time; after a move the target must stay clearly
below what would make *it* a source; a VM that was just moved rests; and nothing is decided while a move is under way,
because its effect is not measured yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engine.decide.schedule import Placement, decide
from engine.decide.schedule_evacuate import evacuate_seen
from engine.decide.schedule_model import Cluster, Host, Promise, Vm, need_bytes
from engine.decide.schedule_picture import Picture, Room, cpu_share, picture
from engine.decide.schedule_units import BalanceName
from engine.decide.schedule_weights import vm_count
from engine.decide.schedule_words import counted, size

REST_S = 600.0
"""A VM that was moved is left alone for so long: five times the two minutes after which a load counts."""
MARGIN_PERCENT = 10.0
"""How far below HighUtilization a target must stay with the VM: loads of guests move by some percent all the time."""


@dataclass(frozen=True)
class Shift:
    """Move ``vm`` from ``source`` (an id) as placed."""

    vm: Vm
    source: str
    placement: Placement
    reason: str


@dataclass(frozen=True)
class Stay:
    """Nothing is moved, and why."""

    reason: str


def balance(hosts: Sequence[Host], cluster: Cluster, promises: Sequence[Promise] = ()) -> Shift | Stay:
    """The next move of the cluster's policy."""
    moving = [one.vm.name for one in promises if one.is_move]
    if moving:
        return Stay(f"{', '.join(moving)} is still being moved")
    seen = picture(hosts, cluster, promises)
    return BALANCES[cluster.policy.balance](seen)


def _none(seen: Picture) -> Shift | Stay:
    return Stay(f"policy {seen.cluster.policy.name} moves nothing")


def _even(seen: Picture) -> Shift | Stay:
    """Relieve the busiest host that is too busy, else one that is short of memory."""
    policy, up = seen.cluster.policy, [room for room in seen.rooms if room.is_up]
    busy = [room for room in up if room.host.cpu_percent >= policy.high_percent and room.host.busy_s >= policy.high_s]
    for source in sorted(busy, key=lambda room: (-room.host.cpu_percent, room.host.name)):
        shift = _relieve_cpu(source, up, seen)
        if shift is not None:
            return shift
    tight = [room for room in up if policy.tight_bytes and room.left_bytes < policy.tight_bytes]
    for source in sorted(tight, key=lambda room: (room.left_bytes, room.host.name)):
        shift = _relieve_memory(source, up, seen)
        if shift is not None:
            return shift
    if busy or tight:
        names = ", ".join(sorted({room.host.name for room in (*busy, *tight)}))
        return Stay(f"{names}: over-utilized, but no VM can be moved to a host that would stay below the thresholds")
    return Stay("no host is over-utilized")


def _relieve_cpu(source: Room, up: Iterable[Room], seen: Picture) -> Shift | None:
    top = seen.cluster.policy.high_percent - MARGIN_PERCENT

    def takes(vm: Vm, room: Room) -> bool:
        return room.cpu_percent + cpu_share(vm, room.host) <= top and _keeps_memory(vm, room, seen)

    # of those that relieve the host enough, the one with the least memory to copy; one that does nothing relieves nobody
    excess = source.host.cpu_percent - seen.cluster.policy.high_percent
    working = [vm for vm in _movable(source) if vm.cpu_percent is not None and cpu_share(vm, source.host) >= 1.0]
    order = sorted(working, key=lambda vm: (cpu_share(vm, source.host) <= excess, vm.memory_bytes, vm.name, vm.id))
    why = f"{source.host.name} is {source.host.cpu_percent:.0f} % busy for {source.host.busy_s:.0f} s"
    return _first(order, source, up, seen, takes, why)


def _relieve_memory(source: Room, up: Iterable[Room], seen: Picture) -> Shift | None:
    policy = seen.cluster.policy

    def takes(vm: Vm, room: Room) -> bool:
        busy = room.cpu_percent + cpu_share(vm, room.host)
        return busy <= policy.high_percent - MARGIN_PERCENT and _keeps_memory(vm, room, seen)

    lacking = policy.tight_bytes - source.left_bytes
    order = sorted(
        _movable(source), key=lambda vm: (need_bytes(vm, seen.cluster) < lacking, vm.memory_bytes, vm.name, vm.id)
    )
    return _first(order, source, up, seen, takes, f"{source.host.name} has {size(source.left_bytes)} left")


def _keeps_memory(vm: Vm, room: Room, seen: Picture) -> bool:
    """Whether the host, with the VM, does not become short of memory itself."""
    policy = seen.cluster.policy
    floor = max(policy.tight_bytes, policy.ample_bytes)
    return not floor or room.left_bytes - need_bytes(vm, seen.cluster) >= floor


def _power_saving(seen: Picture) -> Shift | Stay:
    """As :func:`_even`; if nothing is over-utilized, empty the least used host, if that is possible as a whole."""
    shift = _even(seen)
    if isinstance(shift, Shift):
        return shift
    policy, up = seen.cluster.policy, [room for room in seen.rooms if room.is_up]
    used = sorted((room for room in up if room.vms), key=lambda room: (len(room.vms), room.cpu_percent, room.host.name))
    top = policy.high_percent - MARGIN_PERCENT
    for source in used[:-1]:
        if source.cpu_percent >= policy.low_percent or any(vm.is_engine for vm in source.vms):
            continue
        fuller = {room.host.id: room for room in used[used.index(source) + 1 :]}  # used more than it: never back
        plan = evacuate_seen(source.host.id, seen, frozenset(fuller))
        if plan.stuck or not plan.moves or len(plan.moves) > len(_movable(source)):
            continue
        load = {identifier: room.cpu_percent for identifier, room in fuller.items()}
        for move in plan.moves:
            load[move.placement.host] += cpu_share(move.vm, fuller[move.placement.host].host)
        if all(load[move.placement.host] <= top for move in plan.moves):
            move = plan.moves[0]
            why = f"{source.host.name} is {source.cpu_percent:.0f} % busy, and all it has fits elsewhere"
            return Shift(move.vm, source.host.id, move.placement, f"{why}: {move.vm.name} to {move.placement.host_name}")
    return shift


def _even_vms(seen: Picture) -> Shift | Stay:
    policy, up = seen.cluster.policy, [room for room in seen.rooms if room.is_up]
    if len(up) < 2:
        return Stay("there is one host at most")
    counts = {room.host.id: vm_count(room, seen) for room in up}
    many = [room for room in up if counts[room.host.id] >= policy.high_vms]
    for source in sorted(many, key=lambda room: (-counts[room.host.id], room.host.name)):
        count = counts[source.host.id]

        def takes(vm: Vm, room: Room, count: int = count) -> bool:
            return count - counts[room.host.id] >= policy.vms_apart

        order = sorted(_movable(source), key=lambda vm: (vm.memory_bytes, vm.name, vm.id))
        shift = _first(order, source, up, seen, takes, f"{source.host.name} has {counted(count, 'VM')}")
        if shift is not None:
            return shift
    if not many:
        return Stay(f"no host has {policy.high_vms} VMs")
    return Stay(f"no host has {policy.vms_apart} VMs fewer than another and takes one of that other's")


def _movable(room: Room) -> list[Vm]:
    """The VMs that may be moved by themselves now. A VM that is arriving is not seen running yet, so it does not count."""
    return [
        vm
        for vm in room.host.vms
        if vm.migration == "migratable"
        and not vm.is_engine
        and not vm.held_because
        and (vm.moved_ago_s is None or vm.moved_ago_s >= REST_S)
    ]


def _first(
    order: Iterable[Vm], source: Room, up: Iterable[Room], seen: Picture, takes: Callable[[Vm, Room], bool], why: str
) -> Shift | None:
    others = [room for room in up if room.host.id != source.host.id]
    for vm in order:
        only = frozenset(room.host.id for room in others if takes(vm, room))
        placed = decide(vm, seen, "migrate", only, source.host.id) if only else None
        if isinstance(placed, Placement):
            return Shift(vm, source.host.id, placed, f"{why}: {vm.name} to {placed.host_name}")
    return None


BALANCES: dict[BalanceName, Callable[[Picture], Shift | Stay]] = {
    "none": _none,
    "even": _even,
    "power_saving": _power_saving,
    "even_vms": _even_vms,
}
