"""The official Python SDK and a VM's whole life: the real server over TLS, the jobs beside it, over fake hosts."""

from __future__ import annotations

from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from engine.fakes.hosts import FakeNodes
from tests.engine.sdk_world import gone, until
from tests.engine.vm_world import MIB, PROFILE


@pytest.fixture
def vms(system: Any) -> Any:
    return system.vms_service()


@pytest.mark.timeout(300)
def test_the_life_of_a_vm(vms: Any, hosts: FakeNodes) -> None:
    made = vms.add(
        types.Vm(
            name="sdk",
            cluster=types.Cluster(name="trivet"),
            template=types.Template(name="Blank"),
            memory=256 * MIB,
            os=types.OperatingSystem(boot=types.Boot(devices=[types.BootDevice.HD, types.BootDevice.CDROM])),
            high_availability=types.HighAvailability(enabled=True, priority=5),
        )
    )
    vm = vms.vm_service(made.id)

    def status() -> Any:
        return vm.get().status

    assert (made.status, made.memory_policy.guaranteed) == (types.VmStatus.DOWN, 256 * MIB)
    profile = types.VnicProfile(id=PROFILE)
    nic = vm.nics_service().add(types.Nic(name="nic1", vnic_profile=profile, interface=types.NicInterface.VIRTIO))
    assert nic.mac.address.startswith("56:6f:")
    disk = types.Disk(
        name="root",
        provisioned_size=8 * MIB,
        format=types.DiskFormat.COW,
        storage_domains=[types.StorageDomain(name="vmstore")],
    )
    attachments = vm.disk_attachments_service()
    first = attachments.add(
        types.DiskAttachment(disk=disk, interface=types.DiskInterface.VIRTIO_SCSI, bootable=True, active=True)
    )
    until(lambda: attachments.attachment_service(first.id).get(follow="disk").disk.status == types.DiskStatus.OK)
    vm.start()
    until(lambda: status() == types.VmStatus.UP)
    with pytest.raises(sdk.Error, match="VM is running"):
        vm.start()
    with pytest.raises(sdk.Error, match="VM is running"):
        vm.remove()
    second = vm.nics_service().add(types.Nic(name="nic2", vnic_profile=profile))
    assert second.plugged
    vm.nics_service().nic_service(second.id).remove()
    assert [one.name for one in vm.nics_service().list()] == ["nic1"]
    changed = vm.update(types.Vm(memory=512 * MIB, bios=types.Bios(type=types.BiosType.Q35_OVMF), description="changed"))
    assert (changed.memory, changed.description, changed.next_run_configuration_exists) == (512 * MIB, "changed", True)
    assert vm.get(next_run=True).bios.type == types.BiosType.Q35_OVMF
    two = types.Cpu(topology=types.CpuTopology(sockets=2))
    assert vm.update(types.Vm(cpu=two)).cpu.topology.sockets == 2, "it has them when the call is answered"
    source = vm.get(follow="host").host.name
    target = next(name for name in hosts.ids if name != source)
    vm.migrate(host=types.Host(name=target))
    until(lambda: status() == types.VmStatus.UP and vm.get(follow="host").host.name == target)
    vm.suspend()
    until(lambda: status() == types.VmStatus.SUSPENDED)
    vm.start()
    until(lambda: status() == types.VmStatus.UP)
    vm.shutdown()
    until(lambda: status() == types.VmStatus.POWERING_DOWN)
    where = next(name for name in hosts.ids if hosts.host(name).vm(made.id))
    hosts.host(where).end(made.id)
    until(lambda: status() == types.VmStatus.DOWN)
    assert (vm.get().memory, vm.get().bios.type) == (512 * MIB, types.BiosType.Q35_OVMF)
    vm.start(pause=True)
    until(lambda: status() == types.VmStatus.PAUSED)
    vm.stop()
    until(lambda: status() == types.VmStatus.DOWN)
    vm.remove()
    until(lambda: gone(vm))
    assert vms.list(search="name=sdk") == []


@pytest.mark.timeout(120)
def test_errors_reach_a_client_that_waits(vms: Any, hosts: FakeNodes) -> None:
    cluster, blank = types.Cluster(name="trivet"), types.Template(name="Blank")
    made = vms.add(types.Vm(name="empty", cluster=cluster, template=blank))
    with pytest.raises(sdk.Error, match="already in use"):
        vms.add(types.Vm(name="empty", cluster=cluster, template=blank))
    with pytest.raises(sdk.Error, match=r"Vm \[name"):
        vms.add(types.Vm(cluster=cluster, template=blank))
    vm = vms.vm_service(made.id)
    with pytest.raises(sdk.Error, match="nothing to boot from"):
        vm.start()
    vm.update(
        types.Vm(memory=900 * 1024 * MIB, os=types.OperatingSystem(boot=types.Boot(devices=[types.BootDevice.NETWORK])))
    )
    vm.nics_service().add(types.Nic(name="nic1"))
    with pytest.raises(sdk.Error, match="no host that satisfies current scheduling constraints"):
        vm.start()
    vm.remove()
    until(lambda: gone(vm))


@pytest.mark.timeout(300)
def test_snapshots_of_a_vm_that_runs(vms: Any, hosts: FakeNodes) -> None:
    disk = types.Disk(
        name="snapped",
        provisioned_size=8 * MIB,
        format=types.DiskFormat.RAW,
        storage_domains=[types.StorageDomain(name="vmstore")],
    )
    made = vms.add(
        types.Vm(
            name="snapped",
            cluster=types.Cluster(name="trivet"),
            template=types.Template(name="Blank"),
            memory=256 * MIB,
            disk_attachments=[
                types.DiskAttachment(disk=disk, interface=types.DiskInterface.VIRTIO_SCSI, bootable=True, active=True)
            ],
        )
    )
    vm = vms.vm_service(made.id)
    until(lambda: vm.get().status == types.VmStatus.DOWN)
    vm.start()
    until(lambda: vm.get().status == types.VmStatus.UP)
    snapshots = vm.snapshots_service()
    first = snapshots.add(types.Snapshot(description="first", persist_memorystate=False))
    one = snapshots.snapshot_service(first.id)
    until(lambda: one.get().snapshot_status == types.SnapshotStatus.OK)
    second = snapshots.add(types.Snapshot(description="second"), wait=True)
    until(lambda: snapshots.snapshot_service(second.id).get().snapshot_status == types.SnapshotStatus.OK)
    found = snapshots.list()
    assert [(each.description, each.snapshot_type, each.persist_memorystate) for each in found] == [
        ("first", types.SnapshotType.REGULAR, False),
        ("second", types.SnapshotType.REGULAR, True),
        ("Active VM", types.SnapshotType.ACTIVE, False),
    ]
    assert [each.format for each in one.disks_service().list()] == [types.DiskFormat.RAW]
    assert vm.get().status == types.VmStatus.UP
    one.remove()
    until(lambda: gone(one))
    snapshots.snapshot_service(second.id).remove()
    until(lambda: [each.description for each in snapshots.list()] == ["Active VM"])
    (attached,) = vm.disk_attachments_service().list(follow="disk")
    assert attached.disk.format == types.DiskFormat.RAW, "it is written to its first layer again"
    vm.stop()
    until(lambda: vm.get().status == types.VmStatus.DOWN)
    vm.remove()
    until(lambda: gone(vm))


@pytest.mark.timeout(300)
def test_a_highly_available_vm_outlives_its_host(vms: Any, hosts: FakeNodes) -> None:
    network = types.OperatingSystem(boot=types.Boot(devices=[types.BootDevice.NETWORK]))
    common = {"cluster": types.Cluster(name="trivet"), "template": types.Template(name="Blank"), "os": network}
    ha = types.HighAvailability(enabled=True, priority=50)
    made = vms.add(types.Vm(name="ha", memory=256 * MIB, high_availability=ha, **common))
    plain = vms.add(types.Vm(name="plain", memory=256 * MIB, **common))
    vm, other = vms.vm_service(made.id), vms.vm_service(plain.id)
    vm.nics_service().add(types.Nic(name="nic1"))
    other.nics_service().add(types.Nic(name="nic1"))
    vm.start()
    until(lambda: vm.get().status == types.VmStatus.UP)
    lost = vm.get(follow="host").host
    other.start(vm=types.Vm(placement_policy=types.VmPlacementPolicy(hosts=[types.Host(id=lost.id)])))
    until(lambda: other.get().status == types.VmStatus.UP)
    hosts.down.add(lost.name)

    def runs_elsewhere() -> bool:
        now = vm.get()
        return now.status == types.VmStatus.UP and now.host is not None and now.host.id != lost.id

    until(runs_elsewhere)
    until(lambda: other.get().status == types.VmStatus.DOWN)
    hosts.down.discard(lost.name)
    until(lambda: hosts.host(lost.name).vms() == ())
    assert runs_elsewhere()
    vm.stop()
    until(lambda: vm.get().status == types.VmStatus.DOWN)
