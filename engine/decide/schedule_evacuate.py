"""All VMs of a host moved elsewhere: for its maintenance. Each is placed with those before it counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.decide.schedule import Placement, Refusal, decide
from engine.decide.schedule_model import Cluster, Host, Promise, Vm, need_bytes
from engine.decide.schedule_picture import Picture, picture


@dataclass(frozen=True)
class Move:
    """A VM and where it goes."""

    vm: Vm
    placement: Placement


@dataclass(frozen=True)
class Stuck:
    """A VM that cannot leave, and why."""

    vm: Vm
    reason: str


@dataclass(frozen=True)
class Evacuation:
    """``moves`` in their order. If anything is stuck the host cannot be emptied: do not begin, or begin knowingly."""

    host: str
    moves: tuple[Move, ...]
    stuck: tuple[Stuck, ...]
    left_to_brokers: tuple[Vm, ...] = ()
    """The engine's own VM: a broker moves it."""


def evacuate(host: str, hosts: Sequence[Host], cluster: Cluster, promises: Sequence[Promise] = ()) -> Evacuation:
    """Where all VMs of the host with id ``host`` go.

    Largest first, because what is hard to place must choose before the room is cut up. VMs that hard affinity keeps
    together are placed as one, on one host, or none of them; they move one after the other, so they are apart for a while.
    A VM that is only promised to the host cannot be moved yet, so it is stuck.
    """
    return evacuate_seen(host, picture(hosts, cluster, promises))


def evacuate_seen(host: str, seen: Picture, only: frozenset[str] | None = None) -> Evacuation:
    """As :func:`evacuate`, upon a picture that was made already; ``only``: to one of the hosts with these ids."""
    cluster, room = seen.cluster, seen.room(host)
    if room is None:
        return Evacuation(host, (), ())
    engine = tuple(vm for vm in room.vms if vm.is_engine)
    leaving = [vm for vm in room.host.vms if not vm.is_engine]
    around = seen.without(*(vm.id for vm in leaving))
    moves: list[Move] = []
    late = f"it is on its way to {room.host.name} and does not run there yet"
    stuck = [Stuck(vm, late) for vm in room.promised if not vm.is_engine]
    groups = together(leaving, cluster)
    for group in sorted(groups, key=lambda vms: (-sum(need_bytes(vm, cluster) for vm in vms), vms[0].name, vms[0].id)):
        placed = _place_group(group, around, host, only)
        if isinstance(placed, Stuck):
            others = [vm for vm in group if vm.id != placed.vm.id]
            stuck.append(placed)
            stuck += [Stuck(vm, f"it stays together with {placed.vm.name}, which is stuck") for vm in others]
            for vm in group:  # they stay, so they are there for those that come after them
                around = around.promising(vm, host)
        else:
            for move in placed:
                around = around.promising(move.vm, move.placement.host)
            moves += placed
    return Evacuation(host, tuple(moves), tuple(stuck), engine)


def together(vms: Sequence[Vm], cluster: Cluster) -> list[list[Vm]]:
    """The VMs in groups that a hard positive rule keeps on one host; each in one group, the largest first in it."""
    groups: list[list[Vm]] = [[vm] for vm in vms]
    for rule in cluster.affinity_groups:
        if rule.vms_rule.enabled and rule.vms_rule.positive and rule.vms_rule.enforcing:
            bound = [group for group in groups if any(rule.has_vm(vm) for vm in group)]
            groups = [group for group in groups if group not in bound]
            groups += [[vm for group in bound for vm in group]] if bound else []
    return [sorted(group, key=lambda vm: (-need_bytes(vm, cluster), vm.name, vm.id)) for group in groups]


def _place_group(group: list[Vm], seen: Picture, source: str, only: frozenset[str] | None) -> list[Move] | Stuck:
    first = decide(group[0], seen, "migrate", only, source)
    if isinstance(first, Refusal):
        return Stuck(group[0], first.sentence)
    trouble = Stuck(group[0], "no host takes all of the VMs that stay together")
    for ranked in first.ranking:
        moves, around = [], seen
        for vm in group:
            placed = decide(vm, around, "migrate", frozenset({ranked.id}), source)
            if isinstance(placed, Refusal):
                trouble = Stuck(vm, placed.sentence)
                break
            moves.append(Move(vm, placed))
            around = around.promising(vm, ranked.id)
        else:
            return moves
    return trouble
