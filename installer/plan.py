"""Which cluster the answers mean, and which steps lead to it. Pure but for the ids, which are drawn from a port."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from appliance.errors import Conflict
from appliance.model.cluster import Cluster, EngineVm, Member
from installer.answers import Answers
from installer.ports import InstallingNode
from installer.probe import View
from installer.steps.engine_vm import engine_vm_steps, ha_steps
from installer.steps.host import bridge_steps, libvirt_steps, names_steps
from installer.steps.membership import membership_steps
from installer.steps.record import record_steps
from installer.steps.step import InstallStep
from installer.steps.storage import mount_steps, pool_steps, volume_steps

GIB = 1024**3
ANEW = "Go on with the same answers, or begin anew with nodes that carry a fresh image."
QEMU_MAC_PREFIX = "52:54:00"
"""The prefix that QEMU's own interfaces have; locally administered, so it meets no bought card's."""


def cluster_of(answers: Answers, view: View, draft: Cluster | None, installing: InstallingNode) -> Cluster:
    """The cluster to make: that of the interrupted run when there is one, else a new one.

    Raises ``Conflict`` (``install.other-answers``) when this machine has begun, or is, another cluster than the answers say.
    """
    if draft is None:
        return _new(answers, view, installing)
    wanted = _described(_like(answers, view, draft))
    for (what, found), (_, needed) in zip(_described(draft), wanted, strict=False):
        if found != needed:
            raise Conflict(
                "install.other-answers",
                subject=f"cluster {draft.name}",
                reason=f"this node has begun to install it with {what} {found}, the answers say {needed}",
                remedy=ANEW,
            )
    if len(_described(draft)) != len(wanted):
        raise Conflict(
            "install.other-answers",
            subject=f"cluster {draft.name}",
            reason=f"this node has begun it with {len(draft.members)} nodes, the answers have {len(answers.nodes)}",
            remedy=ANEW,
        )
    return draft


def steps_of(answers: Answers, cluster: Cluster, here: str) -> tuple[InstallStep, ...]:
    """Every step from bare nodes to a running engine, in order. ``here`` names the member that installs."""
    return tuple(_steps(answers, cluster, here))


def _steps(answers: Answers, cluster: Cluster, here: str) -> Iterator[InstallStep]:
    yield from membership_steps(answers, cluster, here)
    yield from names_steps(cluster)
    yield from bridge_steps(answers, cluster)
    yield from pool_steps(answers, cluster, here)
    yield from volume_steps(answers, cluster, here)
    yield from mount_steps(cluster)
    yield from libvirt_steps(cluster)
    yield from engine_vm_steps(cluster, here, answers.engine.ssh_authorized_keys)
    yield from ha_steps(cluster, here)
    yield from record_steps()


def _new(answers: Answers, view: View, installing: InstallingNode) -> Cluster:
    engine_id = installing.new_id("engine")
    members = tuple(
        Member((node.facts.node_id if node.facts else "") or installing.new_id(node.name), node.name, node.address)
        for node in view.nodes
    )
    return Cluster(
        installing.new_id("cluster"), answers.cluster.name, members, _engine(answers, engine_id, mac_of(engine_id))
    )


def _like(answers: Answers, view: View, draft: Cluster) -> Cluster:
    """The cluster of the answers, with the ids that ``draft`` has for the same names."""
    members = tuple(
        Member(known.id if (known := draft.member(node.name)) else "", node.name, node.address) for node in view.nodes
    )
    return Cluster(draft.id, answers.cluster.name, members, _engine(answers, draft.engine.id, draft.engine.mac))


def _engine(answers: Answers, engine_id: str, mac: str) -> EngineVm:
    engine = answers.engine
    return EngineVm(
        id=engine_id,
        fqdn=engine.fqdn,
        address=engine.address,
        prefix=engine.prefix,
        gateway=engine.gateway,
        dns=engine.dns,
        mac=mac,
        memory_mib=engine.memory_mib,
        cpus=engine.cpus,
        data_disk_bytes=engine.data_disk_gib * GIB,
    )


def mac_of(engine_id: str) -> str:
    """The engine's MAC address: follows from its id, so that two clusters in one network differ."""
    digest = hashlib.sha256(engine_id.encode()).hexdigest()
    return ":".join([QEMU_MAC_PREFIX, digest[0:2], digest[2:4], digest[4:6]])


def _described(cluster: Cluster) -> list[tuple[str, object]]:
    described: list[tuple[str, object]] = [("the name", cluster.name)]
    described += [(f"engine.{key}", value) for key, value in vars(cluster.engine).items()]
    described += [(f"node {index + 1}", f"{one.name} at {one.address}") for index, one in enumerate(cluster.members)]
    return described
