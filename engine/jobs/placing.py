"""From the store and what hosts said last to the scheduler's values (engine/decide/schedule.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from appliance.errors import Conflict
from appliance.model.vm import VmState
from engine.decide import schedule, schedule_model
from engine.decide.schedule import Placement
from engine.decide.schedule_model import AffinityGroup, Host, HostStatus, Migration, Promise, Rule, Vm
from engine.decide.schedule_policies import read_policy
from engine.decide.schedule_words import listed
from engine.decide.vm_growth import Growth, grown
from engine.decide.vm_machine import cpu_model, cpus_of
from engine.jobs import seeds
from engine.jobs.evicted import record_of
from engine.jobs.networks import missing, network_of
from engine.jobs.places import reaches
from engine.jobs.ports import HostReport, Nodes
from engine.jobs.vm_place import ENGINE_MARK, THERE
from engine.jobs.vm_spec import Parts
from engine.jobs.vm_state import GROW, MEMORY, MOVE, RESUME
from engine.store.entities import Entities
from engine.store.entity import Entity

MIB = 1024**2
ARRIVING = (*THERE, "paused-io-error", "incoming")
"""Powers of a VM that takes memory of its host."""


class Sight(Protocol):
    """What is looked with: a step's work, or the world of all jobs."""

    @property
    def entities(self) -> Entities: ...

    @property
    def nodes(self) -> Nodes: ...


@dataclass(frozen=True)
class Scene:
    """A cluster as it is now: what the scheduler decides upon."""

    cluster: schedule_model.Cluster
    hosts: tuple[Host, ...]
    promises: tuple[Promise, ...]


def place(work: Sight, parts: Parts, only: Iterable[str] = (), domains: Sequence[str] = ()) -> Placement:
    """Where to start it. ``domains``: ids of those that it needs besides. To be called in the transaction that writes the
    answer down. Raises ``Conflict`` ``schedule.no-host``."""
    scene = look(work, parts)
    asked = frozenset(only) or None
    found = schedule.place(full_vm(work.entities, parts, domains), scene.hosts, scene.cluster, scene.promises, only=asked)
    return decided(found, parts.vm.name)


def target(work: Sight, parts: Parts, only: Iterable[str] = ()) -> Placement:
    """Where to move it; a person asked for that."""
    scene = look(work, parts)
    asked = frozenset(only) or None
    vm, source = full_vm(work.entities, parts), parts.vm.ref("host")
    found = schedule.target(vm, source, scene.hosts, scene.cluster, scene.promises, only=asked, by_hand=True)
    return decided(found, parts.vm.name)


def decided(found: Placement | schedule.Refusal, name: str) -> Placement:
    """The placement. Raises the refusal."""
    if isinstance(found, schedule.Refusal):
        raise found.error(name)
    return found


def need_room(work: Sight, vm: Entity, wanted: Growth) -> None:
    """Refuse a growth for which the VM's host has no room: no more than a further VM of that size would have. To be called
    in the transaction that writes the promise down. Raises ``Conflict`` ``vm.growth``."""
    scene, host = look_at(work, vm.ref("cluster")), vm.ref("host")
    cluster = work.entities.need("cluster", vm.ref("cluster")).body
    more = extra(vm, cluster, wanted, "?")
    found = schedule.place(more, scene.hosts, scene.cluster, scene.promises, only=frozenset({host}))
    if isinstance(found, schedule.Refusal):
        why = next((f"host {one.name} {one.reason}" for one in found.misfits if one.id == host), "nobody knows its host")
        remedy = "Move it to another host, or let it have it at its next start."
        raise Conflict("vm.growth", subject=f"VM {vm.name}", reason=f"Cannot hot plug. {why}", remedy=remedy)


def extra(vm: Entity, cluster: Mapping[str, Any], wanted: Growth, job_id: str) -> Vm:
    """What a VM grows by, as a VM that is placed beside it. Its CPUs are all that the VM has then."""
    has, after = light_vm(vm, cluster, frozenset()), grown(vm.body, wanted)
    memory = int(after.get("memory") or 0) - has.memory_bytes
    sockets = cpus_of(after)[0]
    return replace(
        has, id=f"{vm.id}+{job_id}", memory_bytes=memory, guaranteed_bytes=memory, sockets=sockets, hosts=frozenset()
    )


def look(work: Sight, parts: Parts) -> Scene:
    """The cluster of a VM. One placement of a cluster at a time: its row is held until the answer is written."""
    return look_at(work, parts.vm.ref("cluster"))


def look_at(sight: Sight, cluster_id: str) -> Scene:
    """A cluster, its row held until the transaction ends."""
    entities = sight.entities
    cluster = entities.change("cluster", cluster_id, lambda before: before)
    vms = entities.referring(cluster.key, "vm", "cluster")
    labels = _labels(entities)
    light = {one.id: light_vm(one, cluster.body, labels.get(one.key, frozenset())) for one in vms}
    mine = {one.id: one for one in entities.referring(cluster.key, "host", "cluster")}
    reports = [one for one in sight.nodes.reports() if one.id in mine]
    rows = entities.list("network")
    networks, names = {network_of(one).bridge: one.name for one in rows}, {one.id: one.name for one in rows}
    # A domain that is on its way to maintenance gets no VM any more, although its own status says nothing of that yet.
    domains = [one for one in entities.list("storage_domain") if one.shown_status in ("", "active")]
    hosts = tuple(
        host_of(one, mine[one.id], light, networks, domains, labels.get(("host", one.id), frozenset())) for one in reports
    )
    lacks = missing(cluster, names, {one.id: one.networks for one in hosts if one.status == "up" and one.networks})
    hosts = tuple(_without(one, lacks.get(one.id, ())) for one in hosts)
    return Scene(cluster_of(entities, cluster, vms), hosts, tuple(promises_of(vms, light)))


def _without(host: Host, lacks: Sequence[str]) -> Host:
    """A host that lacks networks which its cluster requires and its other hosts have gets no VM."""
    return replace(host, status="non_operational", status_reason=f"without network {listed(lacks)}") if lacks else host


def light_vm(vm: Entity, cluster: Mapping[str, Any], labels: frozenset[str]) -> Vm:
    """A VM with what counts while it is on a host."""
    body = vm.body
    sockets, cores, threads, _count = cpus_of(body)
    policy, high = body.get("memory_policy") or {}, body.get("high_availability") or {}
    affinity = body.get("placement_policy") or {}
    return Vm(
        vm.id,
        vm.name,
        int(body.get("memory") or 0) or int((body.get(ENGINE_MARK) or {}).get("memory_mib") or 0) * MIB,
        int(policy.get("guaranteed") or 0),
        policy.get("ballooning") is not False,
        sockets,
        cores,
        threads,
        cpu_model(body, cluster),
        hosts=frozenset(str(one["id"]) for one in affinity.get("hosts") or () if one.get("id")),
        migration=cast(Migration, str(affinity.get("affinity") or "migratable")),
        labels=labels,
        highly_available=bool(high.get("enabled")),
        priority=int(high.get("priority") or 1),
        is_engine=ENGINE_MARK in body,
    )


def full_vm(entities: Entities, parts: Parts, needed: Sequence[str] = ()) -> Vm:
    """The VM that is to be placed, with what it needs of a host: also the domains of cloud-init's CD that it has, and of the
    memory that it goes on from. ``needed``: ids of further ones."""
    vm = Entity("vm", parts.vm.id, parts.vm.name, parts.body, parts.vm.refs)
    labels = _labels(entities).get(vm.key, frozenset())
    nics = [one for one in entities.children(vm.key, "nic") if one.body.get("plugged") is not False]
    profiles = entities.many("vnic_profile", [one.ref("vnic_profile") for one in nics])
    networks = entities.many("network", [one.ref("network") for one in profiles.values()])
    disks = entities.many("disk", [*(one.id for one in parts.disks), *parts.vm.refs.get("iso", ())])
    beside = [str(parts.vm.body[name]["domain"]) for name in (MEMORY, RESUME) if name in parts.vm.body]
    seed = seeds.of(entities, parts.vm)
    beside += [seed.ref("storage_domain")] if seed else []
    domains = entities.many("storage_domain", [*(one.ref("storage_domains") for one in disks.values()), *beside, *needed])
    found = light_vm(vm, parts.cluster, labels)
    return Vm(
        **{
            **found.__dict__,
            "networks": frozenset(one.name for one in networks.values()),
            "storage_domains": frozenset(one.name for one in domains.values()),
        }
    )


def host_of(
    report: HostReport,
    entity: Entity,
    vms: Mapping[str, Vm],
    networks: Mapping[str, str],
    domains: Sequence[Entity],
    labels: frozenset[str],
) -> Host:
    """A host. A built-in domain that a host has lost is not known yet as such."""
    facts, numbers = report.facts, report.statistics
    cpu = facts.cpu if facts else None
    bridges = {one.name for one in facts.nics} if facts else set()
    status = entity.shown_status or ("up" if report.is_up else "non_responsive")
    lost = record_of(entity).get("domains", ())
    return Host(
        report.id,
        report.name,
        cast(HostStatus, "non_operational" if lost and report.is_up else status),
        f"cut off from {listed(lost)}" if lost else "",
        memory_bytes=numbers.memory_total_bytes if numbers else 0,
        free_bytes=numbers.memory_available_bytes if numbers else None,
        cpu_threads=cpu.sockets * cpu.cores * cpu.threads if cpu else 0,
        cpu_cores=cpu.sockets * cpu.cores if cpu else 0,
        cpu_name=cpu.model if cpu else "",
        emulated=bool(cpu) and not (cpu and cpu.hardware_virtualization),
        networks=frozenset(name for bridge, name in networks.items() if bridge in bridges),
        storage_domains=frozenset(one.name for one in domains if reaches(one, report.id)),
        labels=labels,
        vms=tuple(vms.get(one.id.lower()) or _stranger(one) for one in report.vms if one.power in ARRIVING),
        cpu_percent=numbers.cpu_user_percent + numbers.cpu_system_percent if numbers else 0.0,
    )


def _stranger(state: VmState) -> Vm:
    """A VM that a host has and nobody here made: it takes memory all the same."""
    return Vm(state.id, state.name, state.memory_mib * MIB, ballooning=False, sockets=state.cpus)


def promises_of(vms: Sequence[Entity], light: Mapping[str, Vm]) -> Iterable[Promise]:
    """What was given to a host, seen there or not; the scheduler drops those that are seen."""
    for vm in vms:
        if vm.ref("host"):
            yield Promise(light[vm.id], vm.ref("host"))
        move = vm.body.get(MOVE)
        if move:
            yield Promise(light[vm.id], str(move["host"]), is_move=True)
        for job_id, grow in (vm.body.get(GROW) or {}).items():
            yield Promise(extra(vm, {}, Growth(**grow), job_id), vm.ref("host"))


def cluster_of(entities: Entities, cluster: Entity, vms: Sequence[Entity]) -> schedule_model.Cluster:
    """What holds for the whole cluster."""
    body = cluster.body
    policy = (
        entities.get("scheduling_policy", cluster.ref("scheduling_policy")) if cluster.ref("scheduling_policy") else None
    )
    given = [
        *(policy.body.get("properties") or () if policy else ()),
        *(body.get("custom_scheduling_policy_properties") or ()),
    ]
    properties = {str(one["name"]): str(one.get("value", "")) for one in given}
    engine = next((one for one in vms if ENGINE_MARK in one.body), None)
    labels = entities.list("affinity_label")
    names = {one.id: one.name for one in labels}
    over_commit = ((body.get("memory_policy") or {}).get("over_commit") or {}).get("percent") or 100
    return schedule_model.Cluster(
        cluster.name,
        int(over_commit),
        bool(body.get("ballooning_enabled")),
        bool(body.get("threads_as_cores")),
        read_policy(policy.name if policy else "none", properties),
        tuple(group_of(one, names) for one in entities.children(cluster.key, "affinity_group")),
        frozenset(one.name for one in labels if one.body.get("has_implicit_affinity_group")),
        bool(body.get("ha_reservation")),
        int(engine.body[ENGINE_MARK].get("memory_mib", 0)) * MIB if engine else 0,
    )


def group_of(group: Entity, labels: Mapping[str, str]) -> AffinityGroup:
    """An affinity group. ``labels``: id → name of all labels."""

    def rule(name: str, positive: bool) -> Rule:
        given = group.body.get(name) or {}
        return Rule(bool(given.get("enabled")), bool(given.get("positive", positive)), bool(given.get("enforcing")))

    def names(of: str) -> frozenset[str]:
        return frozenset(labels[one] for one in group.refs.get(of, ()) if one in labels)

    return AffinityGroup(
        group.name,
        frozenset(group.refs.get("vms", ())),
        frozenset(group.refs.get("hosts", ())),
        names("vm_labels"),
        names("host_labels"),
        vms_rule=rule("vms_rule", False),
        hosts_rule=rule("hosts_rule", True),
        priority=float(group.body.get("priority") or 1.0),
    )


def _labels(entities: Entities) -> dict[tuple[str, str], frozenset[str]]:
    """(kind, id) of VMs and hosts → the names of their affinity labels."""
    found: dict[tuple[str, str], set[str]] = {}
    for label in entities.list("affinity_label"):
        for reference, kind in (("vms", "vm"), ("hosts", "host")):
            for identifier in label.refs.get(reference, ()):
                found.setdefault((kind, identifier), set()).add(label.name)
    return {key: frozenset(names) for key, names in found.items()}
