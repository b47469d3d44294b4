"""The official Python SDK on the way back to a snapshot: the real server over TLS, the jobs beside it, over fake hosts."""

from __future__ import annotations

from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from engine.fakes.hosts import FakeNodes
from engine.fakes.layers import FakeLayers, file_at
from engine.fakes.vm_layers import guest_writes
from engine.fakes.vm_node import FakeVmNode
from tests.engine.sdk_world import gone, until
from tests.engine.vm_world import MIB


class Machine:
    """A VM with one disk, as a client of the SDK has it, and its guest."""

    def __init__(self, system: Any, hosts: FakeNodes, name: str) -> None:
        self.hosts = hosts
        disk = types.Disk(
            name=name,
            provisioned_size=8 * MIB,
            format=types.DiskFormat.COW,
            storage_domains=[types.StorageDomain(name="vmstore")],
        )
        attachment = types.DiskAttachment(disk=disk, interface=types.DiskInterface.VIRTIO_SCSI, bootable=True, active=True)
        made = system.vms_service().add(
            types.Vm(
                name=name,
                cluster=types.Cluster(name="trivet"),
                template=types.Template(name="Blank"),
                memory=256 * MIB,
                disk_attachments=[attachment],
            )
        )
        self.id, self.vm = made.id, system.vms_service().vm_service(made.id)
        self.snapshots = self.vm.snapshots_service()
        until(lambda: self.status == types.VmStatus.DOWN)

    @property
    def status(self) -> Any:
        return self.vm.get().status

    def starts(self) -> None:
        self.vm.start()
        until(lambda: self.status == types.VmStatus.UP)

    def stops(self) -> None:
        self.vm.stop()
        until(lambda: self.status == types.VmStatus.DOWN)

    def _host(self) -> FakeVmNode:
        return next(one for one in map(self.hosts.host, self.hosts.ids) if one.vm(self.id))

    def writes(self, value: str) -> None:
        (attached,) = self.vm.disk_attachments_service().list()
        guest_writes(self._host(), self.id, attached.id, "file", value)

    def reads(self) -> str:
        """What its guest has in its file while it runs."""
        host = self._host()
        found = host.vm(self.id)
        assert found is not None
        disk = next(one for one in found.spec.disks if one.path)
        return FakeLayers(host.folder).content(file_at(disk.path, disk.format))["file"]

    def taken(self, name: str, *, memory: bool = False) -> Any:
        """The service of a new snapshot."""
        made = self.snapshots.add(types.Snapshot(description=name, persist_memorystate=memory))
        one = self.snapshots.snapshot_service(made.id)
        until(lambda: one.get().snapshot_status == types.SnapshotStatus.OK)
        return one

    def shown(self) -> dict[str, tuple[Any, Any]]:
        """Description → type and status."""
        return {one.description: (one.snapshot_type, one.snapshot_status) for one in self.snapshots.list()}

    def removed(self) -> None:
        self.vm.remove()
        until(lambda: gone(self.vm))


REGULAR = (types.SnapshotType.REGULAR, types.SnapshotStatus.OK)
ACTIVE = (types.SnapshotType.ACTIVE, types.SnapshotStatus.OK)


@pytest.mark.timeout(300)
def test_a_snapshot_is_previewed_undone_and_committed(system: Any, hosts: FakeNodes) -> None:
    machine = Machine(system, hosts, "back")
    machine.starts()
    machine.writes("then")
    then = machine.taken("then")
    machine.writes("now")
    with pytest.raises(sdk.Error, match="VM is running"):
        machine.vm.preview_snapshot(snapshot=types.Snapshot(id=then.get().id))
    machine.stops()
    with pytest.raises(sdk.Error, match="not previewing"):
        machine.vm.undo_snapshot()
    machine.vm.preview_snapshot(snapshot=types.Snapshot(id=then.get().id))
    until(lambda: then.get().snapshot_status == types.SnapshotStatus.IN_PREVIEW)
    assert machine.shown()["Active VM before the preview"][0] == types.SnapshotType.PREVIEW
    machine.starts()
    assert machine.reads() == "then"
    with pytest.raises(sdk.Error, match="previewing a Snapshot"):
        then.remove()
    machine.stops()
    machine.vm.undo_snapshot()
    until(lambda: machine.shown() == {"then": REGULAR, "Active VM": ACTIVE})
    machine.starts()
    assert machine.reads() == "now"
    machine.stops()
    (attached,) = machine.vm.disk_attachments_service().list()
    machine.vm.preview_snapshot(snapshot=types.Snapshot(id=then.get().id), disks=[types.Disk(id=attached.id)])
    until(lambda: then.get().snapshot_status == types.SnapshotStatus.IN_PREVIEW)
    machine.vm.commit_snapshot()
    until(lambda: machine.shown() == {"then": REGULAR, "Active VM": ACTIVE})
    machine.starts()
    assert machine.reads() == "then"
    machine.stops()
    machine.removed()


@pytest.mark.timeout(300)
def test_a_vm_is_restored_and_goes_on_from_the_memory(system: Any, hosts: FakeNodes) -> None:
    machine = Machine(system, hosts, "restored")
    machine.starts()
    machine.writes("then")
    then = machine.taken("then", memory=True)
    machine.writes("later")
    machine.taken("later")
    machine.stops()
    then.restore(restore_memory=True)
    until(lambda: machine.shown() == {"then": REGULAR, "Active VM": ACTIVE})
    machine.vm.start()
    until(lambda: machine.status == types.VmStatus.UP)
    assert machine.reads() == "then"
    machine.writes("went on")
    machine.stops()
    then.remove()
    until(lambda: machine.shown() == {"Active VM": ACTIVE})
    machine.starts()
    assert machine.reads() == "went on"
    machine.stops()
    machine.removed()


@pytest.mark.timeout(300)
def test_a_vm_begins_as_a_snapshot_and_another_as_the_vm(system: Any, hosts: FakeNodes) -> None:
    machine = Machine(system, hosts, "source")
    machine.starts()
    machine.writes("then")
    then = machine.taken("then")
    machine.writes("now")
    vms = system.vms_service()
    cluster, snapshot = types.Cluster(name="trivet"), types.Snapshot(id=then.get().id)
    made = vms.vm_service(vms.add(types.Vm(name="of-then", cluster=cluster, snapshots=[snapshot])).id)
    until(lambda: made.get().status == types.VmStatus.DOWN)
    assert machine.status == types.VmStatus.UP
    with pytest.raises(sdk.Error, match="VM is running"):
        machine.vm.clone(vm=types.Vm(name="of-now"))
    machine.stops()
    machine.vm.clone(vm=types.Vm(name="of-now"))
    (found,) = vms.list(search="name=of-now")
    cloned = vms.vm_service(found.id)
    until(lambda: cloned.get().status == types.VmStatus.DOWN and machine.status == types.VmStatus.DOWN)
    sizes = [[one.disk.provisioned_size for one in each.disk_attachments_service().list(follow="disk")]
             for each in (made, cloned)]  # fmt: skip
    assert sizes == [[8 * MIB], [8 * MIB]]
    for vm in (machine.vm, made, cloned):
        vm.remove()
        until(lambda vm=vm: gone(vm))
