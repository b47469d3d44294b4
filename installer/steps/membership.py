"""The cluster's identity, its CA, and the nodes' certificates."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.errors import TrivetError, Unavailable
from appliance.journal import Log
from appliance.model.cluster import Cluster, Member, Membership
from installer.answers import Answers
from installer.ports import World
from installer.steps.step import POLL_S, InstallStep, wait_until

AGENT_RESTART_S = 60.0  # because an agent restarts in about two seconds, and a loaded emulated node takes ten times that


def membership_steps(answers: Answers, cluster: Cluster, here: str) -> Iterator[InstallStep]:
    """``here`` joins first: with its certificate this node then speaks with the others."""
    yield InstallStep(
        "cluster.identity",
        "Keep the identity of the cluster",
        0.1,
        lambda world: world.installing.draft() == world.cluster,
        lambda world, log: world.installing.keep_draft(world.cluster),
    )
    yield InstallStep(
        "pki.ca", "Make the cluster's certificate authority", 0.2, lambda w: bool(w.installing.ca_pem()), _make_ca
    )
    for member in sorted(cluster.members, key=lambda one: one.name != here):
        yield join_step(answers, member)


def _make_ca(world: World, log: Log) -> None:
    world.installing.make_ca(world.cluster)


def join_step(answers: Answers, member: Member) -> InstallStep:
    """The join of one node."""
    token = next(node.token for node in answers.nodes if node.name == member.name)

    def probe(world: World) -> bool:
        # Interrupted right after the node accepted, its agent may just be restarting: neither bare nor member for a moment.
        end_s = world.clock.monotonic_s() + AGENT_RESTART_S
        while not is_member(world, member):
            if _is_bare(world, member, token) or world.clock.monotonic_s() >= end_s:
                return False
            world.clock.sleep(POLL_S)
        return True

    def action(world: World, log: Log) -> None:
        api = world.agents.bare(member.name, member.address, token)
        request = api.join_csr(token=token, name=member.name, address=member.address)
        certificate = world.installing.sign_node(world.cluster, member, request)
        try:
            api.join_accept(
                token=token,
                certificate_pem=certificate,
                ca_pem=world.installing.ca_pem(),
                cluster=world.cluster,
                membership=Membership(world.cluster.id, member.id, member.name),
            )
        except Unavailable:
            log(f"{member.name} went away while it accepted its certificate; waiting for it")
        wait_until(world, lambda: is_member(world, member), AGENT_RESTART_S, lambda: _never_came(member))
        log(f"{member.name} answers as a member")

    return InstallStep(f"join.{member.name}", f"Give {member.name} its certificate and make it a member", 4.0, probe, action)


def is_member(world: World, member: Member) -> bool:
    """Does ``member`` answer mutual TLS as a member of this cluster?"""
    try:
        return world.agents.node(member).facts().cluster_id == world.cluster.id
    except TrivetError:
        return False  # any error means "not as a member": the caller asks further, or says so


def _is_bare(world: World, member: Member, token: str) -> bool:
    try:
        world.agents.bare(member.name, member.address, token).join_hello(token=token)
    except TrivetError:
        return False  # as above
    return True


def _never_came(member: Member) -> Unavailable:
    return Unavailable(
        "install.agent-silent",
        subject=member.name,
        reason=f"after it got its certificate its agent did not answer as a member within {AGENT_RESTART_S:g} s",
        remedy=f"Look at `journalctl -u trivet-agent` on {member.name}, then run the same command again.",
    )
