"""A fourth real node comes into a cluster that runs, has a VM, and leaves: all through the API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from tests.conftest import UP_S
from tests.lab.cluster import Cluster, wait
from tests.lab.guest import MIB, PATIENCE_S, await_status, await_usable, disk, where
from tests.lab.test_vms import a_vm

pytestmark = [pytest.mark.lab, pytest.mark.measured, pytest.mark.timeout(1500)]

NAME = "node4"
INSTALL_S = 300.0
"""Join, bridge, libvirt and mounts take about 25 s on an idle machine; the engine that orders them is emulated."""
LEAVE_S = 240.0
"""Brokers begin anew, glusterd answers, and an agent restarts: seconds each."""


@pytest.fixture
def fourth(cluster: Cluster) -> Iterator[str]:
    """A bare node beside the cluster's three; its address. Taken out of the lab at the end."""
    cluster.lab("up", "--nodes", "4", timeout_s=UP_S)
    yield str(next(node["address"] for node in cluster.lab("status", "--json").json()["nodes"] if node["name"] == NAME))
    cluster.lab("remove", NAME)


@pytest.fixture
def host(cluster: Cluster, system: Any, fourth: str) -> Iterator[Any]:
    """The service of the host that it has become; removed at the end, if it is still there."""
    token = cluster.on(NAME, "trivet", "node", "token").stdout.strip()
    hosts = system.hosts_service()
    clusters = system.clusters_service().list()
    asked = types.Host(name=NAME, address=fourth, root_password=token, cluster=types.Cluster(id=clusters[0].id))
    with pytest.raises(sdk.Error, match="is not the join token"):
        hosts.add(types.Host(name=NAME, address=fourth, root_password=f"x{token[1:]}", cluster=asked.cluster))
    made = hosts.host_service(hosts.add(asked).id)

    def is_up() -> bool | None:
        now = made.get()
        assert now.status != types.HostStatus.INSTALL_FAILED, now.status_detail
        return now.status == types.HostStatus.UP or None

    wait("the host up", INSTALL_S, is_up)
    yield made
    with contextlib.suppress(sdk.NotFoundError):
        leave(made)


def leave(host: Any) -> None:
    """Into maintenance, and away."""
    if host.get().status != types.HostStatus.MAINTENANCE:
        host.deactivate()
        wait("the host in maintenance", LEAVE_S, lambda: host.get().status == types.HostStatus.MAINTENANCE or None)
    host.remove()

    def is_gone() -> bool | None:
        try:
            host.get()
        except sdk.NotFoundError:
            return True
        return None

    wait("the host gone", LEAVE_S, is_gone)


def peers(cluster: Cluster, node: str) -> set[str]:
    """The pool, as a node's glusterd has it."""
    listed = cluster.shell(node, "gluster --mode=script pool list | tail -n +2")
    return {line.split()[1].replace("localhost", node) for line in listed.splitlines()}


def members(cluster: Cluster, node: str) -> set[str]:
    """The members that a node's broker knows."""
    return {str(one["name"]) for one in cluster.ha(node)["hosts"]}


def test_a_fourth_node_joins_runs_a_vm_and_leaves(cluster: Cluster, system: Any, host: Any) -> None:
    old, everybody = cluster.nodes[:3], {*cluster.nodes[:3], NAME}
    pids = {node: cluster.shell(node, "pidof qemu-system-x86_64 || true") for node in old}
    assert peers(cluster, old[0]) == everybody
    for node in (*old, NAME):
        wait(f"the broker of {node} knows all", PATIENCE_S, lambda node=node: members(cluster, node) == everybody or None)
    bricks = cluster.shell(old[0], "gluster --mode=script volume info engine | grep -c '^Brick[0-9]'").strip()
    assert bricks == "3", "it is in the pool, and has no brick"
    mine = types.VmPlacementPolicy(affinity=types.VmAffinity.MIGRATABLE, hosts=[types.Host(id=host.get().id)])
    with a_vm(cluster, system, "fourth", memory=64 * MIB, placement_policy=mine) as vm:
        attachments = vm.disk_attachments_service()
        await_usable(attachments, attachments.add(disk(f"{vm.get().name}-root", bootable=True)))
        vm.start(vm=types.Vm(placement_policy=mine))
        await_status(vm, types.VmStatus.UP)
        identifier = vm.get().id
        assert identifier in cluster.shell(NAME, "virsh -c qemu:///system list --name")
        host.deactivate()  # the VM leaves it by live migration
        wait("maintenance", LEAVE_S, lambda: host.get().status == types.HostStatus.MAINTENANCE or None)
        (now,) = where(cluster, identifier)
        assert now in old
        assert vm.get().status == types.VmStatus.UP
    leave(host)
    assert peers(cluster, old[0]) == set(old)
    for node in old:
        wait(
            f"the broker of {node} has forgotten it",
            PATIENCE_S,
            lambda node=node: members(cluster, node) == set(old) or None,
        )
    assert cluster.on(NAME, "trivet", "node", "status", "--json", ok=False).json()["member"] is False
    wait("its new token", PATIENCE_S, lambda: cluster.on(NAME, "trivet", "node", "token", ok=False).stdout.strip() or None)
    assert {node: cluster.shell(node, "pidof qemu-system-x86_64 || true") for node in old} == pids, "nobody was restarted"
    words = [one.code for one in system.events_service().list(max=40)]
    assert {42, 504, 44} <= set(words)
