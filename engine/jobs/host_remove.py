"""Take a host out of the cluster: out of the pool, out of the brokers' board, its certificate denied; one that answers is
a bare node again and can join anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance import layout
from appliance.errors import Conflict, TrivetError, Unavailable
from appliance.model.cluster import Cluster, Member
from appliance.model.vm import VmState
from appliance.tools.systemd import HA_UNITS, WARM_UNITS
from engine.decide.schedule_words import listed
from engine.jobs.enrol import node_of, refuse_another, speaker_of, tell_members
from engine.jobs.evicted import refused
from engine.jobs.host_install import FAILED, INSTALLING, LEAVING
from engine.jobs.host_vms import vms_on
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import MOUNTED_ON
from engine.members import OUTSIDE, Members, member_of
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock
from gluster.model import PoolStatus
from gluster.plan import WANTED_VOLUMES, bricks_of, peer_has_bricks

LOOK = "look"
"""The step that decides whether it can be: who orders the job waits for it."""
MEMBERSHIPS = ("affinity_group", "affinity_label")
"""What a host may be in: it leaves them."""


@dataclass(frozen=True)
class RemoveHost:
    """Which host; ``force``: although it does not answer. ``member``: as the nodes know it."""

    host_id: str
    member: Member
    force: bool = False


def _others(work: Work) -> Cluster:
    """The cluster without it."""
    given = work.parameters(RemoveHost)
    cluster = Members(work.nodes.enrolment.founded, work.entities)()
    left = tuple(one for one in cluster.members if one.id != given.host_id)
    return Cluster(cluster.id, cluster.name, left, cluster.engine)


def _look(work: Work) -> Mapping[str, Any]:
    """What only the pool and the host itself can say. Changes nothing."""
    given, others = work.parameters(RemoveHost), _others(work)
    name = given.member.name
    speaker = speaker_of(work, others.members)
    status = node_of(work, speaker).gluster_pool()
    held = bricks_of(status.volumes, (name, given.member.address))
    if held:
        raise peer_has_bricks(name, held)
    try:
        facts = node_of(work, given.member).facts()
    except TrivetError as error:
        return {"answers": _may_be_silent(work, given, error)}
    if facts.cluster_id != work.nodes.enrolment.founded.id:
        return {"answers": False}
    if name in work.nodes.up():
        here = [one.name for one in _vms_there(work, name) if one.name != layout.STANDBY_VM_NAME]
        if here:
            raise _kept(name, [f"VM {one} runs on it" for one in here])
    return {"answers": True}


def _may_be_silent(work: Work, given: RemoveHost, error: TrivetError) -> bool:
    """``False``: it goes without being asked. Raises ``Unavailable`` ``host.silent``."""
    is_outside = bool(work.entities.need("host", given.host_id).body.get(OUTSIDE))
    if given.force or is_outside:
        work.log(f"{given.member.name} does not answer as a member, and is not asked: {error}")
        return False
    raise Unavailable(
        "host.silent",
        subject=f"host {given.member.name}",
        reason=f"Cannot remove Host. It does not answer ({error.reason}), so nobody can tell it to leave",
        remedy="Switch it on; or, if it is gone for good, remove it with force=true: it may come back only as a bare node.",
    )


def _vms_there(work: Work, host: str) -> Sequence[VmState]:
    return [one for one in work.nodes.vms(host).vms() if one.power not in ("off", "crashed")]


def _stop(work: Work) -> None:
    """It stops serving: its broker, its page, its mounts."""
    given = work.parameters(RemoveHost)
    if not work.found(LOOK)["answers"]:
        return
    node = node_of(work, given.member)
    if _is_bare(work):
        return
    for unit in (*HA_UNITS, *WARM_UNITS):
        node.unit(unit, "stop-disable")
    if given.member.name in work.nodes.up():
        for one in _vms_there(work, given.member.name):
            if one.name == layout.STANDBY_VM_NAME:  # its broker was about to save the memory of it
                work.nodes.vms(given.member.name).vm_destroy(one.name)
    for state in node.domains():
        if state.mounted:
            node.domain_unmount(state.domain)


def _is_bare(work: Work) -> bool:
    """Whether it has left already: this step is repeated."""
    try:
        node_of(work, work.parameters(RemoveHost).member).facts()
    except Unavailable:
        raise
    except TrivetError:
        return True  # it answers, and not as a member
    return False


def _detach(work: Work) -> None:
    """Out of the pool. One that was not asked is refused by the bricks besides: it may still be on somewhere, and write."""
    given, others = work.parameters(RemoveHost), _others(work)
    answers = bool(work.found(LOOK)["answers"])
    node = node_of(work, speaker_of(work, others.members))
    if not answers:
        _reject(work, node.gluster_pool(), node, given.member.address)
    node.gluster_detach(given.member.name, not answers)


def _reject(work: Work, status: PoolStatus, node: Any, address: str) -> None:
    for volume in WANTED_VOLUMES:
        now = refused(status, volume)
        if address not in now:
            node.gluster_reject(volume, tuple(sorted(now | {address})))
            work.log(f"volume {volume} refuses {address}, until a host of that address is added")


def _forget(work: Work) -> None:
    """Nobody knows it any more: agents deny its certificate, brokers look for no slot of it."""
    given, others = work.parameters(RemoveHost), _others(work)
    tell_members(work, others, others.members)
    slot = f"{layout.BOARD.relative_to(layout.ENGINE_MOUNT)}/{given.member.name}.slot"
    node_of(work, speaker_of(work, others.members)).remove_file(layout.ENGINE_VOLUME, slot)


def _leave(work: Work) -> None:
    """It forgets the cluster. Last, because nobody can tell it anything afterwards."""
    if work.found(LOOK)["answers"] and not _is_bare(work):
        node_of(work, work.parameters(RemoveHost).member).leave_cluster()


class HostRemove(JobType[RemoveHost]):
    """The host is ``down`` meanwhile. Once it has begun to leave there is no way back; if it cannot be finished it is in
    maintenance, or ``install_failed``, as before, and the removal can be asked for again."""

    name = "host.remove"
    parameters = RemoveHost
    steps = (
        Step(LOOK, _look, weight=0.5),
        Step("stop", _stop, is_final=True, weight=2.0),
        Step("detach", _detach, is_final=True, weight=2.0),
        Step("forget", _forget, is_final=True),
        Step("leave", _leave, is_final=True),
    )
    told = Told("", "USER_REMOVE_VDS", "USER_FAILED_REMOVE_VDS")

    def about(self, entities: Entities, given: RemoveHost) -> Mapping[str, str]:
        return {"host": given.host_id}

    def describe(self, entities: Entities, given: RemoveHost) -> str:
        return f"Removing Host {entities.name_of('host', given.host_id)}"

    def check(self, entities: Entities, given: RemoveHost) -> None:
        host = entities.need("host", given.host_id)
        refuse_another(entities, given.host_id, (INSTALLING, LEAVING))
        if host.status not in ("maintenance", FAILED):
            why = "Cannot remove Host. Host is not in Maintenance mode"
            raise Conflict("host.status", subject=f"host {host.name}", reason=why, remedy="Deactivate it first.")
        found = [f"VM {one.name} is on it" for one in vms_on(entities, host.id)]
        found += [
            f"image transfer {one.id} is served by it" for one in entities.referring(host.key, "image_transfer", "host")
        ]
        found += [f"storage domain {one.name} is on its own disks" for one in _bound(entities, host)]
        if found:
            raise _kept(host.name, found)

    def locks(self, entities: Entities, given: RemoveHost) -> Sequence[Lock]:
        return (Lock("host", given.host_id, LEAVING),)

    def plan(self, entities: Entities, given: RemoveHost) -> Sequence[Planned]:
        name = entities.need("host", given.host_id).name
        return (
            Planned(LOOK, f"Asking whether {name} can go"),
            Planned("stop", f"Stopping the broker of {name}, and its mounts"),
            Planned("detach", f"Taking {name} out of the pool"),
            Planned("forget", f"Telling all hosts that {name} has gone"),
            Planned("leave", f"Letting {name} forget the cluster"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        entities, host_id = work.entities, work.parameters(RemoveHost).host_id
        for kind in MEMBERSHIPS:
            for one in entities.referring(("host", host_id), kind, "hosts"):
                entities.change(*one.key, lambda held: held.with_refs(hosts=_without(held.refs.get("hosts", ()), host_id)))
        for domain in entities.list("storage_domain"):
            if host_id in domain.body.get(MOUNTED_ON, ()):
                entities.change(*domain.key, lambda one: _unmounted(one, host_id))
        entities.remove("host", host_id)
        return {}


def _without(ids: Sequence[str], gone: str) -> tuple[str, ...]:
    return tuple(one for one in ids if one != gone)


def _unmounted(domain: Entity, host_id: str) -> Entity:
    return domain.with_body(**{MOUNTED_ON: list(_without(domain.body[MOUNTED_ON], host_id))})


def _bound(entities: Entities, host: Entity) -> Sequence[Entity]:
    """Storage domains that only this host can have."""
    return entities.referring(host.key, "storage_domain", "host")


def _kept(name: str, reasons: Sequence[str]) -> Conflict:
    return Conflict(
        "host.in-use",
        subject=f"host {name}",
        reason=f"Cannot remove Host. {listed(reasons)}",
        remedy="Stop or move them; of a host that is lost, confirm that it is off (fence, manual), and its VMs are down.",
    )


def removal_of(founded: Cluster, host: Entity, force: bool) -> RemoveHost:
    """What to order for a host."""
    return RemoveHost(host.id, member_of(host, founded), force)
