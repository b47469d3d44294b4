"""The official Python SDK at storage domains and disks: the real server over TLS, the jobs beside it, over fake hosts."""

from __future__ import annotations

from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from engine.fakes.hosts import FakeNodes
from tests.engine.sdk_world import gone, until
from tests.engine.vm_world import MIB

NFS = types.HostStorage(type=types.StorageType.POSIXFS, vfs_type="nfs4", address="nas", path="/export/sdk")


def new_domain(system: Any, name: str, **given: Any) -> tuple[Any, Any]:
    """A domain that is attached and active: its service, and the one of the data center's."""
    domains = system.storage_domains_service()
    described = types.StorageDomain(
        name=name, type=types.StorageDomainType.DATA, host=types.Host(name="node1"), **{"storage": NFS, **given}
    )
    made = domains.add(described)
    domain = domains.storage_domain_service(made.id)
    until(lambda: domain.get().status == types.StorageDomainStatus.UNATTACHED)
    mine = attach(system, made.id)
    until(lambda: mine.get().status == types.StorageDomainStatus.ACTIVE)
    return domain, mine


def attach(system: Any, identifier: str) -> Any:
    """Attach a domain to the first data center; its service there."""
    center = system.data_centers_service().list()[0]
    attached = system.data_centers_service().data_center_service(center.id).storage_domains_service()
    attached.add(types.StorageDomain(id=identifier))
    return attached.storage_domain_service(identifier)


@pytest.mark.timeout(300)
def test_the_life_of_a_storage_domain(system: Any, hosts: FakeNodes) -> None:
    domain, mine = new_domain(system, "sdk-data")
    found = domain.get()
    assert (found.storage.type, found.storage.vfs_type, found.available) == (
        types.StorageType.POSIXFS,
        "nfs4",
        400 * 1024**3,
    )
    assert all(hosts.storage(name).domain(found.id).mounted for name in hosts.ids)
    disk = types.Disk(name="x", provisioned_size=MIB, format=types.DiskFormat.RAW, storage_domains=[found])
    disks = system.disks_service()
    disk_id = disks.add(disk).id
    made = disks.disk_service(disk_id)
    until(lambda: made.get().status == types.DiskStatus.OK)
    with pytest.raises(sdk.Error, match="is attached to a Data Center"):
        domain.remove(host="node1", format=True)
    mine.deactivate()
    until(lambda: mine.get().status == types.StorageDomainStatus.MAINTENANCE)
    mine.remove()
    assert gone(made)
    assert [one.name for one in domain.disks_service().list(unregistered=True)] == ["x"]
    mine = attach(system, found.id)
    until(lambda: mine.get().status == types.StorageDomainStatus.ACTIVE)
    domain.disks_service().add(types.Disk(id=disk_id), unregistered=True)
    until(lambda: made.get().status == types.DiskStatus.OK)
    made.remove()
    until(lambda: gone(made))
    mine.deactivate()
    until(lambda: mine.get().status == types.StorageDomainStatus.MAINTENANCE)
    mine.remove()
    assert domain.get().status == types.StorageDomainStatus.UNATTACHED
    domain.remove(host="node1", format=True)
    until(lambda: gone(domain))
    again, attached = new_domain(system, "sdk-data")
    attached.deactivate()
    until(lambda: attached.get().status == types.StorageDomainStatus.MAINTENANCE)
    again.remove(destroy=True)
    until(lambda: gone(again))


@pytest.mark.timeout(300)
def test_disks_are_copied_moved_and_grow(system: Any) -> None:
    place = types.HostStorage(type=types.StorageType.POSIXFS, vfs_type="nfs4", address="nas", path="/export/other")
    domain, _mine = new_domain(system, "sdk-other", storage=place)
    target, disks = types.StorageDomain(id=domain.get().id), system.disks_service()
    described = types.Disk(
        name="mover",
        provisioned_size=MIB,
        format=types.DiskFormat.RAW,
        storage_domains=[types.StorageDomain(name="vmstore")],
    )
    profiles = {one.storage_domain.id: one for one in system.disk_profiles_service().list()}
    described.disk_profile = types.DiskProfile(id=profiles[target.id].id)
    with pytest.raises(sdk.Error, match="is not one of its Storage Domain"):
        disks.add(described)
    (home,) = system.storage_domains_service().list(search="name=vmstore")
    described.disk_profile = types.DiskProfile(id=profiles[home.id].id)
    disk = disks.disk_service(disks.add(described).id)
    assert disk.get().disk_profile.id == profiles[home.id].id

    def is_ok(service: Any) -> bool:
        return bool(service.get().status == types.DiskStatus.OK)

    until(lambda: is_ok(disk))
    disk.move(storage_domain=target)
    until(lambda: is_ok(disk))
    assert [one.id for one in disk.get().storage_domains] == [target.id]
    with pytest.raises(sdk.Error, match="on Storage Domain sdk-other already"):
        disk.move(storage_domain=target)
    disk.copy(disk=types.Disk(name="twin"), storage_domain=types.StorageDomain(name="vmstore"))
    until(lambda: [is_ok(disks.disk_service(one.id)) for one in disks.list(search="name=twin")] == [True])
    until(lambda: is_ok(disk))
    disk.update(types.Disk(name="moved", provisioned_size=4 * MIB))
    until(lambda: is_ok(disk))
    assert (disk.get().name, disk.get().provisioned_size) == ("moved", 4 * MIB)
    with pytest.raises(sdk.Error, match="must be larger"):
        disk.update(types.Disk(provisioned_size=MIB))
    vm = started_with(system, disk.get())
    began = vm.get().start_time
    disk.move(storage_domain=types.StorageDomain(name="vmstore"))
    until(lambda: is_ok(disk))
    assert [one.id for one in disk.get().storage_domains] == [home.id]
    until(lambda: vm.get().status == types.VmStatus.UP)  # it stands still while the disk is exchanged, which may be seen
    assert began and vm.get().start_time == began, "it ran all the time"
    vm.stop()
    until(lambda: vm.get().status == types.VmStatus.DOWN)
    vm.remove()
    until(lambda: gone(vm))


def started_with(system: Any, disk: Any) -> Any:
    """A VM that runs with that disk."""
    vms = system.vms_service()
    cluster = types.Cluster(id=system.clusters_service().list()[0].id)
    made = vms.add(types.Vm(name="mover", cluster=cluster, template=types.Template(name="Blank")))
    vm = vms.vm_service(made.id)
    attachment = types.DiskAttachment(
        disk=types.Disk(id=disk.id), interface=types.DiskInterface.VIRTIO_SCSI, bootable=True, active=True
    )
    vm.disk_attachments_service().add(attachment)
    vm.start()
    until(lambda: vm.get().status == types.VmStatus.UP)
    return vm
