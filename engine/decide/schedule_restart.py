"""Which VMs of lost hosts are started again, where, and in which order; for every other one, what is waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.decide.schedule import Placement, decide
from engine.decide.schedule_fence import Fate, Ran, Verdict, cannot_write
from engine.decide.schedule_model import Cluster, Host, Promise, Vm
from engine.decide.schedule_picture import picture


@dataclass(frozen=True)
class Lost:
    """A VM that ran and is not heard of. ``ran``: every host that may have it (source and target of a move)."""

    vm: Vm
    ran: tuple[Ran, ...]
    writes: frozenset[str] = frozenset()
    """Storage domains of its disks that are not read-only."""
    locked: frozenset[str] = frozenset()
    """Domains on which a new holder has the locks of all its disks."""
    over: str = ""
    """Why its old run is certainly over, if that was found out before and written down."""


@dataclass(frozen=True)
class Restart:
    """Start it there now. ``certainty`` says why that cannot harm its disks."""

    vm: Vm
    placement: Placement
    certainty: str


@dataclass(frozen=True)
class Waiting:
    """It is not started now, and why. ``is_over``: its old run certainly is, so it may be shown as down."""

    vm: Vm
    reason: str
    is_over: bool


@dataclass(frozen=True)
class Restarts:
    """Every lost VM is in exactly one of the two. ``starts`` are in the order in which they are to be begun."""

    starts: tuple[Restart, ...]
    waiting: tuple[Waiting, ...]


def restarts(
    lost: Sequence[Lost],
    fates: Mapping[str, Fate],
    hosts: Sequence[Host],
    cluster: Cluster,
    promises: Sequence[Promise] = (),
    fencing: frozenset[str] = frozenset(),
) -> Restarts:
    """Decide. ``fates`` by host id; a host without one is waited for. ``fencing``: domains whose locks fence.

    Order: priority (the higher first), then memory (what is hard to place goes first), then name. One that fits nowhere does
    not hold up the others: waiting would help nobody. Where a lost VM was does not count any more for room and affinity.
    """
    under_way = {promise.vm.id for promise in promises}
    seen = picture(hosts, cluster, promises).without(*(one.vm.id for one in lost if one.vm.id not in under_way))
    starts: list[Restart] = []
    waiting: list[Waiting] = []
    for one in sorted(lost, key=lambda each: (-each.vm.priority, -each.vm.memory_bytes, each.vm.name, each.vm.id)):
        verdict = is_over(one, fates, fencing)
        if one.vm.id in under_way:
            waiting.append(Waiting(one.vm, "it is being started or moved already", is_over=False))
        elif not verdict.certain:
            waiting.append(Waiting(one.vm, verdict.reason, is_over=False))
        elif one.vm.is_engine:
            waiting.append(Waiting(one.vm, "the HA brokers start the engine's own VM", is_over=True))
        elif not one.vm.highly_available:
            waiting.append(Waiting(one.vm, f"it is not highly available and stays down ({verdict.reason})", is_over=True))
        else:
            placed = decide(one.vm, seen, "run")
            if isinstance(placed, Placement):
                starts.append(Restart(one.vm, placed, verdict.reason))
                seen = seen.promising(one.vm, placed.host)
            else:
                waiting.append(Waiting(one.vm, placed.sentence, is_over=True))
    return Restarts(tuple(starts), tuple(waiting))


def is_over(lost: Lost, fates: Mapping[str, Fate], fencing: frozenset[str] = frozenset()) -> Verdict:
    """Whether all hosts that may have the VM certainly cannot write its disks; the first doubt is the reason."""
    found = next((fate.name for fate in fates.values() if fate.answers and lost.vm.id in fate.vms), "")
    if found:
        return Verdict(False, f"{found} answers and has the VM")
    if lost.over:
        return Verdict(True, lost.over)
    if not lost.ran:
        return Verdict(False, "nobody knows where it ran")
    said = []
    for ran in lost.ran:
        fate = fates.get(ran.host)
        if fate is None:
            return Verdict(False, f"nothing is known of the host {ran.host} that may have it")
        verdict = cannot_write(lost.vm.id, ran, fate, lost.writes, fencing, lost.locked)
        if not verdict.certain:
            return verdict
        said.append(verdict.reason)
    return Verdict(True, "; ".join(said))
