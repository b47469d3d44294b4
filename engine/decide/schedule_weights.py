"""Which of the hosts that fit is the best: one function a weight, points from 0 to 100 for evenness, 1,000 for a wish kept.

A wish is what somebody wrote down (preferred hosts, soft affinity): it goes before any evenness, whatever the factors are.
The factors are the policy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.decide.schedule_affinity import RuleFor
from engine.decide.schedule_model import Vm, need_bytes
from engine.decide.schedule_picture import Picture, Room, cpu_share
from engine.decide.schedule_units import WeightName
from engine.decide.schedule_words import counted, size

WISH = 1000.0
EMPTY_POINTS = 25.0
"""Power saving: an empty host is worse than any used one, and better than an over-utilized one."""

Weight = Callable[[Vm, Room, Picture, tuple[RuleFor, ...]], tuple[float, str]]


def weigh(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
    """Points of a host that fits, and where they come from."""
    total, words = 0.0, []
    for name, factor in seen.cluster.policy.weights:
        points, said = WEIGHTS[name](vm, room, seen, rules)
        total += factor * points
        if said:
            words.append(said)
    return total, ", ".join(words) or "nothing is weighed"


def _busy(vm: Vm, room: Room) -> float:
    return min(100.0, room.cpu_percent + cpu_share(vm, room.host))


def _left(vm: Vm, room: Room, seen: Picture) -> int:
    return max(0, room.left_bytes - need_bytes(vm, seen.cluster))


def _even_cpu(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
    return 100.0 - _busy(vm, room), f"CPU {room.cpu_percent:.0f} % busy"


def _even_memory(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
    largest = max((each.limit_bytes for each in seen.rooms), default=0)
    return min(100.0, 100.0 * _left(vm, room, seen) / max(1, largest)), f"{size(room.left_bytes)} left"


def _even_vms(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
    return 100.0 / (1 + vm_count(room, seen)), counted(len(room.vms), "VM")


def vm_count(room: Room, seen: Picture) -> int:
    """VMs of a host, the engine VM counted as the policy says."""
    grace = seen.cluster.policy.engine_grace
    return sum(grace if vm.is_engine else 1 for vm in room.vms)


def _pack_cpu(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
    busy = _busy(vm, room)
    said = f"CPU {room.cpu_percent:.0f} % busy"
    if busy >= seen.cluster.policy.high_percent:
        return 0.0, f"{said}, too busy to be filled"
    return (50.0 + busy / 2, said) if room.vms else (EMPTY_POINTS, "no VMs yet")


def _pack_memory(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
    said = f"{size(room.left_bytes)} left"
    if not room.vms or _busy(vm, room) >= seen.cluster.policy.high_percent:
        return 0.0, said
    return max(0.0, 100.0 - 100.0 * _left(vm, room, seen) / max(1, room.limit_bytes)), said


def _preferred(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
    if not vm.hosts:
        return 0.0, ""
    return (WISH, "preferred for this VM") if room.host.id in vm.hosts else (0.0, "not preferred for this VM")


def _ha(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
    if not vm.highly_available:
        return 0.0, ""
    count = sum(other.highly_available for other in room.vms)
    return 100.0 / (1 + count), counted(count, "highly available VM")


def _wishes(kind: str) -> Weight:
    def weigh_wishes(vm: Vm, room: Room, seen: Picture, rules: tuple[RuleFor, ...]) -> tuple[float, str]:
        soft = [rule for rule in rules if rule.kind == kind and not rule.hard]
        broken = [rule for rule in soft if rule.breaks(room.host.id)]
        kept = sum(rule.priority for rule in soft) - sum(rule.priority for rule in broken)
        return WISH * kept, "; ".join(f"not as wished: {rule.words}" for rule in broken)

    return weigh_wishes


WEIGHTS: Mapping[WeightName, Weight] = {
    "even_cpu": _even_cpu,
    "even_memory": _even_memory,
    "even_vms": _even_vms,
    "pack_cpu": _pack_cpu,
    "pack_memory": _pack_memory,
    "preferred": _preferred,
    "ha": _ha,
    "vms": _wishes("vms"),
    "hosts": _wishes("hosts"),
}
