"""What makes a node a host, step by step: the installer's steps, for one node, while the cluster runs. Each asks the
world first or may be repeated; after any of them the node is either no member, or one that the next try goes on with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from appliance import layout
from appliance.errors import Conflict, Denied, TrivetError, Unavailable
from appliance.model.cluster import Cluster, Member, Membership
from appliance.tools.systemd import HA_UNITS
from engine.decide.host_join import nic_of
from engine.jobs.evicted import refused
from engine.jobs.job import Work
from engine.jobs.ports import MemberNode
from engine.members import Members, member_of
from engine.store.entities import Entities
from gluster.model import PoolStatus
from gluster.plan import REPLICA, WANTED_VOLUMES, settled

TOKEN = "trivet_token"  # noqa: S105 - the name of an attribute
"""In the row of a host that is to join, until it has: worth nothing afterwards, because it opens its node once. A journal
line would keep it for ever."""
RESTART_S = 60.0
"""An agent restarts in two seconds; a loaded emulated node takes ten times that."""
BLIP_S = 60.0
"""A bridge takes an address over in two seconds; a switch with spanning tree needs 30."""
LIBVIRT_S = 90.0
"""systemd gives a service that does not stop so long before it kills it."""
POOL_S = 60.0
"""Peers greet each other within seconds; glusterd tries a lost one again every three."""
CAME_BACK = ("join.already-member", "join.token-used", "join.fingerprint")
"""What a node says to its token when it has become a member since: killed behind its yes, we ask again."""
LOOK_EVERY_S = 0.5
"""A look is one small call."""


@dataclass(frozen=True)
class Newcomer:
    """Who joins, and the cluster with it."""

    member: Member
    cluster: Cluster

    @property
    def others(self) -> tuple[Member, ...]:
        """All members besides."""
        return tuple(one for one in self.cluster.members if one.id != self.member.id)


def newcomer(work: Work, host_id: str) -> Newcomer:
    """The host that is being installed, and the cluster as it is to be."""
    founded = work.nodes.enrolment.founded
    cluster = Members(founded, work.entities)()
    member = member_of(work.entities.need("host", host_id), founded)
    others = tuple(one for one in cluster.members if one.id != member.id)
    known = len(others) < len(cluster.members)
    return Newcomer(member, cluster if known else replace(cluster, members=(*others, member)))


def node_of(work: Work, member: Member) -> MemberNode:
    """A member's verbs."""
    return work.nodes.enrolment.member(member)


def is_member(work: Work, member: Member) -> bool:
    """Whether it answers as this member of this cluster."""
    try:
        facts = node_of(work, member).facts()
    except TrivetError:
        return False  # any error means "not as a member": the caller asks further, or says so
    return (facts.cluster_id, facts.node_id) == (work.nodes.enrolment.founded.id, member.id)


def join(work: Work, host_id: str) -> Mapping[str, Any]:
    """Its certificate, by the token; then it speaks mutual TLS. The token is forgotten."""
    new = newcomer(work, host_id)
    if not is_member(work, new.member):
        _enrol(work, new, str(work.entities.need("host", host_id).body.get(TOKEN) or ""))
    work.entities.change("host", host_id, lambda host: host.without(TOKEN))
    return {}


def _enrol(work: Work, new: Newcomer, token: str) -> None:
    enrolment, member = work.nodes.enrolment, new.member
    if not token:
        raise Conflict(
            "host.token-missing",
            subject=f"host {member.name}",
            reason="it does not answer as a member of this cluster, and no token is known that would make it one",
            remedy="Install it again, with the token that its screen shows as root_password.",
        )
    bare = enrolment.bare(member.address, token)
    try:
        request = bare.join_csr(token, member.name, member.address)
        certificate = enrolment.sign(member, request)
        bare.join_accept(
            token, certificate, enrolment.ca_pem, new.cluster, Membership(enrolment.founded.id, member.id, member.name)
        )
    except (Conflict, Denied) as error:
        if error.code not in CAME_BACK or error.facts.get("cluster_id", enrolment.founded.id) != enrolment.founded.id:
            raise
        refusal: TrivetError = error
        work.log(f"{member.name} does not take its token any more: it may have joined just now")
    except Unavailable as error:
        refusal = _never_came(member)
        work.log(f"{member.name} went away while it joined: {error}")
    else:
        refusal = _never_came(member)
    _wait(work, lambda: is_member(work, member), RESTART_S, lambda: refusal)
    work.log(f"{member.name} answers as a member")


def inspect(work: Work, host_id: str) -> Mapping[str, Any]:
    """What only a member tells: can it run the engine's VM, whose memory was saved for one kind of CPU?"""
    member = newcomer(work, host_id).member
    models = node_of(work, member).capabilities().cpu_models
    if layout.GUEST_CPU_MODEL not in models:
        raise Conflict(
            "host.cpu-model",
            subject=f"host {member.name}",
            reason=f"its CPU does not match the Cluster's: guests cannot have a {layout.GUEST_CPU_MODEL} on it",
            remedy="Use a machine with a newer CPU.",
        )
    return {}


def settle(work: Work, host_id: str) -> Mapping[str, Any]:
    """Its own settings: names, bridge, glusterd's time-outs, libvirt's TLS."""
    new = newcomer(work, host_id)
    node, engine = node_of(work, new.member), new.cluster.engine
    node.set_names(new.cluster.members, engine.fqdn, engine.address)
    _bridge(work, new.member, node)
    node.gluster_configure()
    _libvirt(work, node)
    return {}


def _libvirt(work: Work, node: MemberNode) -> None:
    """Asked again for a while: a libvirtd that has just woken up was seen not to stop within the agent's deadline."""
    until_s = work.clock.monotonic_s() + LIBVIRT_S
    while True:
        try:
            node.configure_libvirt()
            return
        except Unavailable:
            if work.clock.monotonic_s() >= until_s:
                raise
        work.check_cancel()
        work.clock.sleep(LOOK_EVERY_S)


def _bridge(work: Work, member: Member, node: MemberNode) -> None:
    nic = nic_of(node.facts(), member.address)

    def bridged() -> bool:
        try:
            return any(one.name == nic and one.bridge == layout.MANAGEMENT_BRIDGE for one in node.facts().nics)
        except Unavailable:
            return False  # its address is on the way from the interface to the bridge

    if bridged():
        return
    try:
        node.ensure_management_bridge(nic)
    except Unavailable:
        work.log(f"the connection to {member.name} broke while its address moved to the bridge; waiting for it")
    _wait(work, bridged, BLIP_S, lambda: _no_bridge(member, nic))


def tell(work: Work, host_id: str) -> Mapping[str, Any]:
    """Every member learns of it: brokers begin anew with it, agents let it in, names resolve. All must answer, because
    whoever did not hear of it would refuse it."""
    new = newcomer(work, host_id)
    tell_members(work, new.cluster, new.cluster.members)
    return {"told": [one.name for one in new.cluster.members]}


def tell_members(work: Work, cluster: Cluster, whom: tuple[Member, ...]) -> None:
    """Part of a step: those members know who the members are."""
    for member in whom:
        node = node_of(work, member)
        node.set_cluster(cluster)
        node.set_names(cluster.members, cluster.engine.fqdn, cluster.engine.address)


def pool(work: Work, host_id: str) -> Mapping[str, Any]:
    """Into the pool. The volumes get no brick: they are on three nodes, and more of them would need three further ones."""
    new = newcomer(work, host_id)
    speaker = speaker_of(work, new.others)
    first, own = node_of(work, speaker), node_of(work, new.member)
    first.gluster_probe(new.member.name)

    def both() -> bool:
        return settled(first.gluster_pool(), new.member) and settled(own.gluster_pool(), speaker)

    _wait(work, both, POOL_S, lambda: _no_peer(speaker, new.member))
    admit(work, speaker, new.member.address)
    return {"through": speaker.name}


def admit(work: Work, speaker: Member, address: str) -> None:
    """Part of a step: no volume refuses that address any more, which a host that had it before may have earned."""
    node = node_of(work, speaker)
    status = node.gluster_pool()
    for volume in WANTED_VOLUMES:
        now = refused(status, volume)
        if address in now:
            node.gluster_reject(volume, tuple(sorted(now - {address})))
            work.log(f"volume {volume} lets {address} in again")


def speaker_of(work: Work, members: tuple[Member, ...]) -> Member:
    """One of them that is up: its glusterd acts for the pool. Raises ``Unavailable`` ``job.no-host``."""
    up = work.nodes.up()
    found = next((one for name in up for one in members if one.name == name), None)
    if found is None:
        raise Unavailable("job.no-host", subject="the job", reason="no other host is up", remedy="Wait until one answers.")
    return found


def mount(work: Work, host_id: str) -> Mapping[str, Any]:
    """The cluster's two volumes; those of other storage domains follow by themselves (:mod:`engine.jobs.keep_domains`)."""
    new = newcomer(work, host_id)
    node = node_of(work, new.member)
    status = node.gluster_pool()
    for volume in WANTED_VOLUMES:
        node.mount_volume(volume, servers_of(status, volume, new))
        work.log(f"volume {volume} is mounted")
    return {}


def servers_of(status: PoolStatus, volume: str, new: Newcomer) -> tuple[str, ...]:
    """Whom a node asks for a volume: itself first if it has a brick, then who else has."""
    found = status.volume(volume)
    names = list(dict.fromkeys(one.host for one in found.bricks)) if found else []
    names = names or [one.name for one in new.cluster.members[:REPLICA]]
    return tuple(sorted(names[:REPLICA], key=lambda name: name != new.member.name))


def serve(work: Work, host_id: str) -> Mapping[str, Any]:
    """Its broker: it may run the engine from now on, as every host."""
    node = node_of(work, newcomer(work, host_id).member)
    node.ha_local_maintenance(on=False)
    for unit in HA_UNITS:
        node.unit(unit, "enable-start")
    return {}


def refuse_another(entities: Entities, host_id: str, busy: tuple[str, ...]) -> None:
    """Raises ``Conflict`` ``host.another``: hosts come and go one at a time, because each step tells all members who they
    are."""
    for one in entities.list("host"):
        if one.id != host_id and one.locked_as in busy:
            raise Conflict(
                "host.another",
                subject="the cluster",
                reason=f"Host {one.name} is being added, installed or removed: one at a time, because all are told of each",
                remedy="Try again when that is done.",
            )


def _wait(work: Work, is_so: Callable[[], bool], within_s: float, otherwise: Callable[[], TrivetError]) -> None:
    until_s = work.clock.monotonic_s() + within_s
    while not is_so():
        work.check_cancel()
        if work.clock.monotonic_s() >= until_s:
            raise otherwise()
        work.clock.sleep(LOOK_EVERY_S)


def _never_came(member: Member) -> Unavailable:
    reason = f"its agent did not answer as a member within {RESTART_S:g} s"
    remedy = f"Look at `journalctl -u trivet-agent` on {member.name}, then install it again."
    return Unavailable("host.agent-silent", subject=f"host {member.name}", reason=reason, remedy=remedy)


def _no_bridge(member: Member, nic: str) -> Unavailable:
    reason = f"{nic} is not a port of {layout.MANAGEMENT_BRIDGE} after {BLIP_S:g} s"
    remedy = f"Look at `networkctl status` on {member.name}, then install it again."
    return Unavailable("host.bridge", subject=f"host {member.name}", reason=reason, remedy=remedy)


def _no_peer(speaker: Member, member: Member) -> Unavailable:
    reason = f"it and {speaker.name} do not both see each other in the pool after {POOL_S:g} s"
    remedy = "Look at `gluster peer status` on both and at TCP port 24007 between them, then install it again."
    return Unavailable("host.peer", subject=f"host {member.name}", reason=reason, remedy=remedy)
