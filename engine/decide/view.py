"""The engine's picture of the cluster: inventory and what was heard, joined into typed, frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from appliance.codec import decode
from appliance.model.cluster import Cluster, Member
from appliance.model.ha import HaStatus
from appliance.model.node import Nic, NodeFacts, NodeStatistics
from appliance.model.vm import VmState
from engine.decide.follow import SILENCE_S, HostStatus, host_status
from engine.decide.vm_usage import Measured
from gluster.model import PoolStatus, Volume

T = TypeVar("T")

Said = Mapping[tuple[str, str], tuple[object, float]]
"""(node, kind) → (JSON data, age in seconds)."""


@dataclass(frozen=True)
class HostView:
    """A host as it is known. ``age_s``: how long ago it was heard, ``None`` never."""

    member: Member
    status: HostStatus
    age_s: float | None
    facts: NodeFacts | None
    statistics: NodeStatistics | None
    vms: tuple[VmState, ...]
    measured: Measured | None = None
    """What its VMs use; ``None``: it was not asked, because it has none."""

    @property
    def nics(self) -> tuple[Nic, ...]:
        """Its interfaces, as far as it has told."""
        return self.facts.nics if self.facts is not None else ()


@dataclass(frozen=True)
class View:
    """The whole picture. Ages in seconds, ``None`` for never."""

    cluster: Cluster
    hosts: tuple[HostView, ...]
    pool: PoolStatus | None
    pool_age_s: float | None
    ha: HaStatus | None
    ha_age_s: float | None

    def host(self, identifier: str) -> HostView | None:
        return next((host for host in self.hosts if host.member.id == identifier), None)

    def vm(self, name: str) -> tuple[HostView, VmState] | None:
        """Where a VM runs, from hosts that are up; a running one before any other state."""
        found = [(host, vm) for host in self.hosts if host.status == "up" for vm in host.vms if vm.name == name]
        return next((pair for pair in found if pair[1].power == "running"), found[0] if found else None)

    def vm_of(self, identifier: str) -> tuple[HostView, VmState] | None:
        """The same by its id, which is all by which VMs other than the engine's are known there."""
        found = [(host, vm) for host in self.hosts if host.status == "up" for vm in host.vms if vm.id.lower() == identifier]
        return next((pair for pair in found if pair[1].power == "running"), found[0] if found else None)

    def volume(self, name: str) -> Volume | None:
        return self.pool.volume(name) if self.pool else None


class Read:
    """Reads what hosts said into types. Data that is the very object of last time was read then: each request looks at what
    all hosts said, and they say something new once in seconds."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[object, object]] = {}

    def __call__(self, kind: type[T], node: str, name: str, body: object) -> T:
        """What ``node`` said of ``name``. Raises what :func:`appliance.codec.decode` raises."""
        kept = self._kept.get((node, name))
        if kept is None or kept[0] is not body:
            subject = f"what {node} said of {name}"
            kept = body, decode(kind, body, subject=subject, code="engine.observation", ignore_unknown=True)
            self._kept[node, name] = kept
        return cast(T, kept[1])

    def of(self, said: Said, kind: type[T], node: str, name: str) -> T | None:
        """The same out of all that was said; None: nothing."""
        found = said.get((node, name))
        return None if found is None else self(kind, node, name, found[0])


def look(cluster: Cluster, said: Said, since_start_s: float = SILENCE_S, read: Read | None = None) -> View:
    """Join. ``since_start_s``: how long the nodes have been asked."""
    hosts, read = [], read or Read()
    for member in cluster.members:
        age_s = _age(said, member.name, "heard")
        hosts.append(
            HostView(
                member,
                host_status(age_s, since_start_s),
                age_s,
                read.of(said, NodeFacts, member.name, "facts"),
                read.of(said, NodeStatistics, member.name, "statistics"),
                read.of(said, tuple[VmState, ...], member.name, "vms") or (),
                read.of(said, Measured, member.name, "vm-statistics"),
            )
        )
    pool_of = _freshest(cluster, said, "pool")
    ha_of = _freshest(cluster, said, "ha")
    return View(
        cluster,
        tuple(hosts),
        read.of(said, PoolStatus, pool_of, "pool"),
        _age(said, pool_of, "pool"),
        read.of(said, HaStatus, ha_of, "ha"),
        _age(said, ha_of, "ha"),
    )


def runs_on(cluster: Cluster, said: Said, name: str, read: Read | None = None) -> str:
    """The member on which the VM ``name`` runs, by the newest word of a node that has it running; else the one that it is
    leaving, where it runs until it has left; empty: none said so."""
    read = read or Read()
    running = [
        (vm.power == "migrating", said[member.name, "vms"][1], member.name)
        for member in cluster.members
        for vm in read.of(said, tuple[VmState, ...], member.name, "vms") or ()
        if vm.name == name and vm.power in ("running", "migrating")
    ]
    return min(running, default=(False, 0.0, ""))[2]


def _freshest(cluster: Cluster, said: Said, kind: str) -> str:
    known = [member.name for member in cluster.members if (member.name, kind) in said]
    return min(known, key=lambda name: said[name, kind][1], default="")


def _age(said: Said, node: str, kind: str) -> float | None:
    found = said.get((node, kind))
    return found[1] if found else None
