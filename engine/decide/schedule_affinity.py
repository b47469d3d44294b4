"""What affinity groups and labels say about one VM: the same rules are filters where they are hard, and wishes where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.decide.schedule_model import AffinityGroup, Vm
from engine.decide.schedule_picture import Picture, Room


@dataclass(frozen=True)
class RuleFor:
    """A rule as it stands for one VM now. ``hosts``: ids of the hosts where it is to run, or not to run (``positive``)."""

    group: str
    kind: Literal["vms", "hosts"]
    positive: bool
    hard: bool
    hosts: frozenset[str]
    words: str
    """Why a host breaks it, as what follows the host's name."""
    priority: float = 1.0

    def breaks(self, host: str) -> bool:
        return (host in self.hosts) != self.positive


def rules_for(vm: Vm, seen: Picture) -> tuple[RuleFor, ...]:
    """All rules that say something about ``vm``, which itself is nowhere in the picture.

    Others count only where they are on a host that is up: who is on a lost host, or on one that is being emptied, is about
    to be elsewhere, and no other VM is placed there.
    """
    found: list[RuleFor] = []
    for group in seen.cluster.affinity_groups:
        if group.has_vm(vm):
            found.extend(_of_group(group, vm, seen))
    for label in sorted(vm.labels & seen.cluster.implicit_labels):
        having = frozenset(room.host.id for room in seen.rooms if label in room.host.labels)
        found.append(RuleFor(label, "hosts", True, True, having, f"lacks its affinity label {label}"))
    return tuple(found)


def _of_group(group: AffinityGroup, vm: Vm, seen: Picture) -> list[RuleFor]:
    found = []
    rule = group.vms_rule
    if rule.enabled:
        peers = [
            (room.host, other.name)
            for room in seen.rooms
            for other in room.vms
            if other.id != vm.id and group.has_vm(other) and room.is_up
        ]
        if peers:
            names = ", ".join(sorted({name for _host, name in peers}))
            where = ", ".join(sorted({host.name for host, _name in peers}))
            if rule.positive:
                words = f"affinity group {group.name} keeps it together with {names} on {where}"
            else:
                words = f"affinity group {group.name} keeps it apart from {names} on {where}"
            hosts = frozenset(host.id for host, _name in peers)
            found.append(RuleFor(group.name, "vms", rule.positive, rule.enforcing, hosts, words, group.priority))
    rule = group.hosts_rule
    hosts = frozenset(room.host.id for room in seen.rooms if group.has_host(room.host))
    if rule.enabled and (hosts or group.hosts or group.host_labels):
        words = f"affinity group {group.name} keeps it {'on other hosts' if rule.positive else 'off this host'}"
        found.append(RuleFor(group.name, "hosts", rule.positive, rule.enforcing, hosts, words, group.priority))
    return found


def first_hard(rules: tuple[RuleFor, ...], room: Room) -> str:
    """Why a hard rule forbids a host; empty: none does."""
    return next((rule.words for rule in rules if rule.hard and rule.breaks(room.host.id)), "")
