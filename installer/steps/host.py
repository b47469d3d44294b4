"""What each member needs on itself: names, the management bridge, libvirt's settings."""

from __future__ import annotations

from collections.abc import Iterator

from appliance import layout
from appliance.errors import Unavailable
from appliance.journal import Log
from appliance.model.cluster import Cluster, Member
from installer.answers import Answers
from installer.ports import World
from installer.probe import at_once
from installer.steps.step import InstallStep, patiently, wait_until

BLIP_S = 60.0  # because a bridge takes over an address in about two seconds; a switch with spanning tree needs 30


LIBVIRT_S = 90.0  # because systemd gives a service that does not stop that long before it kills it


def names_steps(cluster: Cluster) -> Iterator[InstallStep]:
    """Every member knows every member's and the engine's name. All at once: a name whose owner is silent takes seconds."""
    wanted = [(one.name, one.address, layout.AGENT_PORT) for one in cluster.members]
    wanted.append((cluster.engine.fqdn, cluster.engine.address, layout.ENGINE_PORT))

    def knows(world: World, member: Member) -> bool:
        api = world.agents.node(member)
        return all(api.reach(name=name, port=port).resolved == address for name, address, port in wanted)

    def tell(world: World, member: Member) -> None:
        world.agents.node(member).set_names(
            members=cluster.members, engine_fqdn=cluster.engine.fqdn, engine_address=cluster.engine.address
        )

    def probe(world: World) -> bool:
        return all(at_once(lambda member: knows(world, member), cluster.members))

    def action(world: World, log: Log) -> None:
        for member in cluster.members:
            tell(world, member)

    yield InstallStep("names", "Write the cluster's names on all nodes", 1.0, probe, action)


def bridge_steps(answers: Answers, cluster: Cluster) -> Iterator[InstallStep]:
    """The management bridge, on which the engine VM's interface hangs."""
    for member, node in zip(cluster.members, answers.nodes, strict=True):
        yield _bridge(member, node.nic)


def _bridge(member: Member, nic: str) -> InstallStep:
    def bridged(world: World) -> bool:
        facts = patiently(world, lambda: world.agents.node(member).facts(), BLIP_S)
        return any(one.name == nic and one.bridge == layout.MANAGEMENT_BRIDGE for one in facts.nics)

    def action(world: World, log: Log) -> None:
        try:
            world.agents.node(member).ensure_management_bridge(nic=nic)
        except Unavailable:
            log(f"the connection to {member.name} broke while its address moved to the bridge; waiting for it")
        wait_until(world, lambda: bridged(world), BLIP_S, lambda: _no_bridge(member, nic))

    title = f"Make the bridge {layout.MANAGEMENT_BRIDGE} over {nic} of {member.name}"
    return InstallStep(f"bridge.{member.name}", title, 3.0, bridged, action)


def _no_bridge(member: Member, nic: str) -> Unavailable:
    return Unavailable(
        "install.bridge",
        subject=member.name,
        reason=f"{nic} is not a port of {layout.MANAGEMENT_BRIDGE} after {BLIP_S:g} s",
        remedy=f"Look at `networkctl status` on {member.name}, then run the same command again.",
    )


def libvirt_steps(cluster: Cluster) -> Iterator[InstallStep]:
    """libvirt's certificates, its TLS listener and QEMU's migration settings."""
    for member in cluster.members:
        yield _libvirt(member)


def _libvirt(member: Member) -> InstallStep:
    def probe(world: World) -> bool:
        # The listener starts only when the certificates are in place and the settings name them.
        return world.agents.node(member).reach(name=member.name, port=layout.LIBVIRT_TLS_PORT).answered

    def action(world: World, log: Log) -> None:
        # Seen once: libvirtd, just woken up from its idle exit, did not stop within the agent's deadline.
        patiently(world, lambda: world.agents.node(member).configure_libvirt(), LIBVIRT_S)

    return InstallStep(f"libvirt.{member.name}", f"Let libvirt of {member.name} speak TLS", 3.0, probe, action)
