"""The official Python SDK and backups, as its own example of a backup program uses them: a running VM's, over fake hosts."""

from __future__ import annotations

from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types

from engine.fakes.hosts import FakeNodes
from engine.fakes.vm_backups import served
from tests.engine.sdk_world import gone, until
from tests.engine.vm_world import CLUSTER, MIB

Phase = types.BackupPhase
COW, RAW = types.DiskFormat.COW, types.DiskFormat.RAW


def new_vm(system: Any, name: str) -> tuple[Any, Any]:
    """The services of a VM, and of its one disk, which is enabled for incremental backups."""
    wanted = types.Vm(name=name, cluster=types.Cluster(id=CLUSTER), template=types.Template(name="Blank"))
    vm = system.vms_service().vm_service(system.vms_service().add(wanted).id)
    made = vm.disk_attachments_service().add(
        types.DiskAttachment(
            bootable=True,
            interface=types.DiskInterface.VIRTIO_SCSI,
            active=True,
            disk=types.Disk(
                name=f"{name}-root",
                format=COW,
                provisioned_size=8 * MIB,
                backup=types.DiskBackup.INCREMENTAL,
                storage_domains=[types.StorageDomain(name="vmstore")],
            ),
        )
    )
    disk = system.disks_service().disk_service(made.disk.id)
    until(lambda: disk.get().status == types.DiskStatus.OK)
    return vm, disk


def begun(vm: Any, disk: Any, since: str | None = None) -> Any:
    """The service of a backup that is ready."""
    wanted = types.Backup(disks=[types.Disk(id=disk.get().id)], from_checkpoint_id=since, description="nightly")
    backup = vm.backups_service().backup_service(vm.backups_service().add(wanted).id)
    until(lambda: backup.get().phase not in (Phase.INITIALIZING, Phase.STARTING))
    assert backup.get().phase == Phase.READY
    return backup


def transfer_of(system: Any, disk: Any, backup: Any) -> Any:
    """The service of a download that is under way."""
    wanted = types.ImageTransfer(
        disk=types.Disk(id=disk.get().id),
        backup=types.Backup(id=backup.get().id),
        direction=types.ImageTransferDirection.DOWNLOAD,
        format=RAW,
    )
    made = system.image_transfers_service().add(wanted)
    transfer = system.image_transfers_service().image_transfer_service(made.id)
    until(lambda: transfer.get().phase == types.ImageTransferPhase.TRANSFERRING)
    return transfer


def finalized(backup: Any) -> None:
    backup.finalize()
    until(lambda: backup.get().phase == Phase.SUCCEEDED)


@pytest.mark.timeout(300)
def test_a_running_vms_backups(system: Any, hosts: FakeNodes) -> None:
    vm, disk = new_vm(system, "sdk-live")
    vm.start()
    until(lambda: vm.get().status == types.VmStatus.UP)
    first = begun(vm, disk)
    now = first.get()
    assert (now.description, now.from_checkpoint_id, now.host.id) == ("nightly", None, vm.get().host.id)
    (kept,) = first.disks_service().list()
    assert (kept.id, kept.backup_mode) == (disk.get().id, types.DiskBackupMode.FULL)
    assert disk.get().status == types.DiskStatus.LOCKED
    assert any(served(hosts.host(name), now.id) for name in hosts.nodes)
    with pytest.raises(sdk.Error, match="during a backup"):
        vm.stop()
    transfer = transfer_of(system, disk, first)
    with pytest.raises(sdk.Error, match="being transferred"):
        first.finalize()
    transfer.finalize()
    until(lambda: transfer.get().phase == types.ImageTransferPhase.FINISHED_SUCCESS)
    finalized(first)
    assert disk.get().status == types.DiskStatus.OK
    second = begun(vm, disk, now.to_checkpoint_id)
    (kept,) = second.disks_service().list()
    assert kept.backup_mode == types.DiskBackupMode.INCREMENTAL
    finalized(second)
    rows = {one.id: one for one in vm.checkpoints_service().list()}
    assert rows[second.get().to_checkpoint_id].parent_id == now.to_checkpoint_id
    assert {one.state for one in rows.values()} == {types.CheckpointState.CREATED}
    checkpoint = vm.checkpoints_service().checkpoint_service(now.to_checkpoint_id)
    assert [one.id for one in checkpoint.disks_service().list()] == [disk.get().id]
    checkpoint.remove()
    until(lambda: gone(checkpoint))
    (left,) = vm.checkpoints_service().list()
    assert (left.id, left.parent_id) == (second.get().to_checkpoint_id, None)
    with pytest.raises(sdk.NotFoundError):
        vm.backups_service().add(types.Backup(disks=[types.Disk(id=disk.get().id)], from_checkpoint_id=now.to_checkpoint_id))
