"""A VM's life on three real nodes: the official SDK asks the engine, real QEMUs answer for it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from tests.lab.cluster import VIRSH_LIST, Cluster, wait

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

MIB = 1024**2
PATIENCE_S = 120.0
"""A job's journal is written by an emulated engine; each step of it takes a second or two on a busy machine."""


@pytest.fixture
def system(cluster: Cluster) -> Iterator[Any]:
    """The API as the administrator sees it."""
    cluster.settled()
    made = sdk.Connection(
        url=f"{cluster.url.rstrip('/')}/ovirt-engine/api",
        username="admin@internal",
        password=cluster.password,
        ca_file=cluster.ca_file,
        timeout=60,
    )
    yield made.system_service()
    made.close()


def _where(cluster: Cluster, identifier: str) -> list[str]:
    """The nodes whose libvirt has that VM (there it is named by its id), running or paused."""
    return [node for node in cluster.nodes if identifier in cluster.shell(node, VIRSH_LIST).split()]


def _is(vm: Any, status: Any) -> None:
    begun_s = time.monotonic()
    wait(f"the VM {status}", PATIENCE_S, lambda: vm.get().status == status or None)
    print(f"{status.name} after {time.monotonic() - begun_s:.1f} s")


def test_the_life_of_a_vm(cluster: Cluster, system: Any) -> None:
    """Made, given a disk and a NIC, started, changed while it runs, moved, paused, suspended, stopped and removed; after
    each of them libvirt of the nodes says what the API says."""
    name = f"vm-{uuid.uuid4().hex[:6]}"
    vms, clusters = system.vms_service(), system.clusters_service().list()
    made = vms.add(
        types.Vm(name=name, cluster=types.Cluster(id=clusters[0].id), template=types.Template(name="Blank"), memory=64 * MIB)
    )
    vm = vms.vm_service(made.id)
    attachments, nics = vm.disk_attachments_service(), vm.nics_service()
    try:
        nics.add(types.Nic(name="nic1", interface=types.NicInterface.VIRTIO))
        first = attachments.add(_disk(f"{name}-root", bootable=True))
        _usable(attachments, first)
        vm.start()
        _is(vm, types.VmStatus.UP)
        source = vm.get(follow="host").host.name
        assert _where(cluster, made.id) == [source]
        second = attachments.add(_disk(f"{name}-data", bootable=False))
        _usable(attachments, second)
        assert cluster.shell(source, f"virsh -c qemu:///system domblklist {made.id} | grep -c vmstore").strip() == "2"
        target = next(node for node in cluster.nodes if node != source)
        vm.migrate(host=types.Host(name=target))
        wait("the VM on its new host", PATIENCE_S, lambda: _where(cluster, made.id) == [target] or None)
        wait("the API says so", PATIENCE_S, lambda: vm.get(follow="host").host.name == target or None)
        _is(vm, types.VmStatus.UP)
        vm.suspend()
        _is(vm, types.VmStatus.SUSPENDED)
        assert _where(cluster, made.id) == []
        vm.start()
        _is(vm, types.VmStatus.UP)
        cluster.shell(_where(cluster, made.id)[0], f"virsh -c qemu:///system destroy {made.id}")
        _is(vm, types.VmStatus.DOWN)
        vm.start(pause=True)
        _is(vm, types.VmStatus.PAUSED)
    finally:
        if _where(cluster, made.id):
            vm.stop()
            _is(vm, types.VmStatus.DOWN)
        vm.remove()
        wait("the VM gone", PATIENCE_S, lambda: not vms.list(search=f"name={name}"))
    left = cluster.shell(cluster.nodes[0], "find /var/lib/trivet/volumes/vmstore")
    assert not [one for one in (made.id, first.id, second.id) if one in left], left


def _disk(alias: str, bootable: bool) -> Any:
    disk = types.Disk(
        name=alias,
        provisioned_size=64 * MIB,
        format=types.DiskFormat.COW,
        sparse=True,
        storage_domains=[types.StorageDomain(name="vmstore")],
    )
    return types.DiskAttachment(disk=disk, interface=types.DiskInterface.VIRTIO, bootable=bootable, active=True)


def _usable(attachments: Any, one: Any) -> None:
    service = attachments.attachment_service(one.id)
    wait("the disk usable", PATIENCE_S, lambda: service.get(follow="disk").disk.status == types.DiskStatus.OK or None)
