"""Where a VM runs: hosts are filtered, those that fit are weighed, and every host has one reason in words. Pure.

This is what jobs call (:func:`place`); moving all VMs of a host, balancing and restarts are built upon it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from appliance.errors import Conflict
from engine.decide.schedule_affinity import rules_for
from engine.decide.schedule_filters import Asked, misfit
from engine.decide.schedule_model import Cluster, Host, Promise, Vm
from engine.decide.schedule_picture import Picture, picture
from engine.decide.schedule_weights import weigh

Verb = Literal["run", "migrate"]


@dataclass(frozen=True)
class Ranked:
    """A host that fits. ``points``: the more, the better; ``reason`` says what they come from."""

    id: str
    name: str
    points: float
    reason: str


@dataclass(frozen=True)
class Misfit:
    """A host that does not fit, and the first reason why."""

    id: str
    name: str
    reason: str


@dataclass(frozen=True)
class Placement:
    """The host that was chosen (``ranking[0]``), what it was chosen from, and who did not fit."""

    vm: str
    host: str
    """Id."""
    host_name: str
    reason: str
    ranking: tuple[Ranked, ...]
    misfits: tuple[Misfit, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """No host fits: each host's reason. ``sentence`` begins as oVirt's does, because people search for that text."""

    vm: str
    verb: Verb
    misfits: tuple[Misfit, ...]

    @property
    def sentence(self) -> str:
        names: dict[str, list[str]] = {}
        for one in self.misfits:
            names.setdefault(one.reason, []).append(one.name)
        details = "; ".join(f"{', '.join(hosts)}: {reason}" for reason, hosts in names.items()) or "there are no hosts"
        return (
            f"Cannot {self.verb} VM. There is no host that satisfies current scheduling constraints. "
            f"See below for details: {details}"
        )

    def error(self, name: str) -> Conflict:
        """The refusal as an error about the VM called ``name`` (``schedule.no-host``)."""
        return Conflict(
            "schedule.no-host",
            subject=f"VM {name}",
            reason=self.sentence,
            remedy="Change what the VM asks for, free resources, or activate another host.",
            facts={"hosts": {one.name: one.reason for one in self.misfits}},
        )


def place(
    vm: Vm,
    hosts: Sequence[Host],
    cluster: Cluster,
    promises: Sequence[Promise] = (),
    *,
    only: frozenset[str] | None = None,
) -> Placement | Refusal:
    """Where to start ``vm``.

    ``hosts``: all of the cluster, those too that are down: each gets its reason. ``promises``: what was placed and is not
    seen running yet; whoever acts upon the answer adds one before the next call. ``only``: ids of the hosts that somebody
    asked for; the others are not considered.
    """
    return decide(vm, picture(hosts, cluster, promises), "run", only)


def target(
    vm: Vm,
    source: str,
    hosts: Sequence[Host],
    cluster: Cluster,
    promises: Sequence[Promise] = (),
    *,
    only: frozenset[str] | None = None,
    by_hand: bool = False,
) -> Placement | Refusal:
    """Where to move ``vm``, which runs on the host with id ``source``. ``by_hand``: a person asked for this move."""
    return decide(vm, picture(hosts, cluster, promises), "migrate", only, source, by_hand=by_hand)


def decide(
    vm: Vm, seen: Picture, verb: Verb, only: frozenset[str] | None = None, source: str = "", *, by_hand: bool = False
) -> Placement | Refusal:
    """As :func:`place` and :func:`target`, upon a picture that was made already. A ``source`` is where it runs now."""
    around = seen.without(vm.id)
    asked = Asked(only, around.host(source), by_hand, rules_for(vm, around))
    misfits, fitting = [], []
    for room in around.rooms:
        reason = misfit(vm, room, around, asked)
        if reason:
            misfits.append(Misfit(room.host.id, room.host.name, reason))
        else:
            fitting.append(room)
    if not fitting:
        return Refusal(vm.id, verb, tuple(misfits))
    weighed = [(weigh(vm, room, around, asked.rules), room.host) for room in fitting]
    ranking = sorted(
        (Ranked(host.id, host.name, points, reason) for (points, reason), host in weighed),
        key=lambda one: (-one.points, one.name, one.id),
    )
    best = ranking[0]
    return Placement(vm.id, best.id, best.name, _why(best, len(ranking)), tuple(ranking), tuple(misfits))


def _why(best: Ranked, count: int) -> str:
    among = f"the best of {count} that fit" if count > 1 else "the only one that fits"
    return f"{best.name}, {among}: {best.reason}"
