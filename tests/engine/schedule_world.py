"""Hosts, VMs and clusters for the scheduler's tests: short to write in tables, and as strategies for properties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from engine.decide.schedule_model import GIB, AffinityGroup, Cluster, Host, Promise, Rule, Vm, limit_bytes, need_bytes
from engine.decide.schedule_policies import built_in
from engine.decide.schedule_units import POLICIES, PolicyName

NETWORKS, DOMAINS = frozenset({"ovirtmgmt"}), frozenset({"vmstore"})
HARD_APART, HARD_TOGETHER = Rule(True, False, True), Rule(True, True, True)
SOFT_APART, SOFT_TOGETHER = Rule(True, False, False), Rule(True, True, False)


def vm(name: str, gib: float = 1.0, **fields: Any) -> Vm:
    """A VM whose id is its name."""
    given = {"networks": NETWORKS, "storage_domains": DOMAINS, **fields}
    return Vm(name, name, int(gib * GIB), **given)


def host(name: str, gib: float = 16.0, *vms: Vm, free: float | None = None, **fields: Any) -> Host:
    """A host that is up; ``free``: GiB measured, else what its VMs leave."""
    used = sum(need_bytes(one, Cluster()) for one in vms)
    measured = int(gib * GIB) - used if free is None else int(free * GIB)
    given = {"cpu_threads": 8, "networks": NETWORKS, "storage_domains": DOMAINS, **fields}
    return Host(name, name, memory_bytes=int(gib * GIB), free_bytes=max(0, measured), vms=vms, **given)


def cluster(policy: PolicyName = "none", *groups: AffinityGroup, **fields: Any) -> Cluster:
    """A cluster with one of oVirt's policies."""
    return Cluster(policy=built_in(policy), affinity_groups=groups, **fields)


def fits_by_promise(one: Host, vms: tuple[Vm, ...], around: Cluster) -> bool:
    """The rule of over-commitment, said again without the scheduler's own code."""
    return sum(need_bytes(each, around) for each in vms) <= limit_bytes(one, around)


# strategies: small numbers, so that things collide

NAMES = [f"vm{number}" for number in range(10)]
HOSTS = ["a", "b", "c", "d"]


@st.composite
def vms(draw: st.DrawFn, name: str) -> Vm:
    """A VM of any kind."""
    size = draw(st.integers(1, 8))
    return vm(
        name,
        size / 2,
        guaranteed_bytes=draw(st.sampled_from([0, GIB // 4])),
        sockets=draw(st.sampled_from([1, 2, 16])),
        networks=draw(st.sampled_from([NETWORKS, NETWORKS, frozenset({"ovirtmgmt", "blue"})])),
        hosts=draw(st.frozensets(st.sampled_from(HOSTS), max_size=2)),
        migration=draw(st.sampled_from(["migratable", "migratable", "migratable", "user_migratable", "pinned"])),
        labels=draw(st.frozensets(st.sampled_from(["gpu", "web"]), max_size=1)),
        highly_available=draw(st.booleans()),
        priority=draw(st.integers(1, 3)),
        cpu_percent=draw(st.sampled_from([None, 0.0, 50.0, 200.0])),
    )


@st.composite
def groups(draw: st.DrawFn) -> AffinityGroup:
    """An affinity group of any kind."""
    rules = st.builds(Rule, st.booleans(), st.booleans(), st.booleans())
    return AffinityGroup(
        draw(st.sampled_from(["red", "green"])),
        draw(st.frozensets(st.sampled_from(NAMES), min_size=1, max_size=4)),
        draw(st.frozensets(st.sampled_from(HOSTS), max_size=2)),
        draw(st.frozensets(st.sampled_from(["web"]), max_size=1)),
        vms_rule=draw(rules),
        hosts_rule=draw(rules),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[tuple[Host, ...], Cluster, tuple[Promise, ...], Vm]:
    """Hosts with VMs, a cluster, promises, and a VM that runs nowhere yet."""
    around = cluster(
        draw(st.sampled_from([policy.name for policy in POLICIES])),
        *draw(st.lists(groups(), max_size=2)),
        over_commit_percent=draw(st.sampled_from([100, 150])),
        ha_reservation=draw(st.booleans()),
        implicit_labels=draw(st.sampled_from([frozenset(), frozenset({"gpu"})])),
        engine_bytes=GIB,
    )
    around = replace(around, policy=replace(around.policy, engine_spares=draw(st.integers(0, 2))))
    names = iter(NAMES)
    found = []
    for name in HOSTS[: draw(st.integers(1, 4))]:
        there = tuple(draw(vms(next(names))) for _ in range(draw(st.integers(0, 2))))
        one = host(
            name,
            draw(st.integers(1, 16)),
            *there,
            free=draw(st.integers(0, 12)),
            status=draw(st.sampled_from(["up", "up", "up", "up", "maintenance", "non_responsive"])),
            cpu_percent=draw(st.sampled_from([5.0, 50.0, 95.0])),
            busy_s=draw(st.sampled_from([0.0, 300.0])),
            networks=draw(st.sampled_from([NETWORKS, frozenset({"ovirtmgmt", "blue"})])),
            labels=draw(st.frozensets(st.sampled_from(["gpu"]))),
        )
        found.append(one)
    promised = tuple(
        Promise(draw(vms(name)), draw(st.sampled_from([one.id for one in found])))
        for name in ("vm8", "vm9")[: draw(st.integers(0, 2))]
    )
    return tuple(found), around, promised, draw(vms("new"))
