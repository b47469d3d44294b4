"""Backups of a fake host's VMs. A guest goes on writing around them, so that what is not of one moment is noticed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from appliance.codec import decode, encode
from appliance.errors import Conflict, NotFound, Refused
from appliance.model.vm_backup import BackupDisk, VmBackup, VmBackupState
from appliance.tools.bitmaps import layers_with
from engine.fakes.layers import FakeLayer, file_at
from engine.fakes.vm_layers import disk_of, guest_writes, layers_of

if TYPE_CHECKING:
    from pathlib import Path

    from engine.fakes.vm_node import FakeVmNode


@dataclass(frozen=True)
class FakeBackup:
    """What a VM's QEMU serves. ``content``: disk → what the guest had written at that moment; ``dirty``: … since the earlier
    checkpoint."""

    id: str
    vm: str
    content: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    dirty: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _place(node: FakeVmNode, backup: str) -> Path:
    return node.folder / "backups" / node.name / backup


def served(node: FakeVmNode, backup: str) -> FakeBackup | None:
    """The backup, if a VM of this host serves it."""
    path = _place(node, backup)
    found = decode(FakeBackup, json.loads(path.read_text()), subject=backup) if path.exists() else None
    vm = node.vm(found.vm) if found else None
    return found if vm is not None and vm.backup == backup else None


def states(node: FakeVmNode) -> tuple[VmBackupState, ...]:
    """As :meth:`appliance.verbs.vm_backups.VmBackups.states`."""
    folder = _place(node, "x").parent
    names = sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []
    found = [decode(FakeBackup, json.loads((folder / one).read_text()), subject=one) for one in names]
    return tuple(VmBackupState(one.id, one.vm, served(node, one.id) is not None) for one in found)


def _put(node: FakeVmNode, one: FakeBackup) -> None:
    path = _place(node, one.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{one.id}")
    draft.write_text(json.dumps(encode(one)))
    draft.rename(path)


def begin(node: FakeVmNode, name: str, backup: VmBackup) -> VmBackupState:
    """As :meth:`appliance.verbs.vm_backups.VmBackups.begin`."""
    found = node.vm(name)
    if found is None:
        raise NotFound("vm.unknown", subject=f"VM {name}", reason="libvirt knows no such VM", remedy="Ask the others.")
    if any(one.is_incremental for one in backup.disks) != bool(backup.since) or not backup.disks:
        raise Refused("vm.backup", subject=f"VM {name}", reason="its words do not fit", remedy="Ask for another one.")
    if found.backup == backup.id:
        return VmBackupState(backup.id, name, is_running=True)
    if found.backup:
        raise Conflict("vm.backup-other", subject=f"VM {name}", reason="another one goes on", remedy="End that one.")
    for one in backup.disks:
        _check(node, name, backup, one)
    _put(node, FakeBackup(backup.id, name))
    node.point("the backup is recorded")
    layers = layers_of(node)
    for one in backup.disks:
        layers.put(FakeLayer(one.scratch), 1)
    node.point("the scratch files are made")
    content = {one.disk: layers.content(one.file) for one in backup.disks}
    dirty = {one.disk: tuple(layers.since(one.file, backup.since)) for one in backup.disks if one.is_incremental}
    for one in backup.disks:
        if one.in_checkpoint and backup.checkpoint:
            layer = layers.get(one.file)
            layers.put(replace(layer, bitmaps={**layer.bitmaps, backup.checkpoint: ()}))
    _put(node, FakeBackup(backup.id, name, content, dirty))
    node.put(replace(found, backup=backup.id))
    node.point("the backup has begun")
    for one in backup.disks:
        guest_writes(node, name, one.disk, "during the backup", backup.id)
    return VmBackupState(backup.id, name, is_running=True)


def _check(node: FakeVmNode, name: str, backup: VmBackup, one: BackupDisk) -> None:
    disk = disk_of(node, name, one.disk)
    if file_at(disk.path, disk.format) != one.file:
        raise Conflict("vm.backup-disk", subject=f"VM {name}", reason="it writes elsewhere", remedy="Look at its layers.")
    if one.is_incremental:
        chain = node.infos(one.file)
        try:
            layers_with(chain, backup.since)
        except Conflict as error:
            raise Conflict("vm.checkpoint-lost", subject=error.subject, reason=error.reason, remedy=error.remedy) from error


def end(node: FakeVmNode, name: str, backup: str) -> None:
    """As :meth:`appliance.verbs.vm_backups.VmBackups.end`."""
    found = node.vm(name)
    if found is not None and found.backup == backup:
        node.put(replace(found, backup=""))
        node.point("QEMU serves it no more")
    _place(node, backup).unlink(missing_ok=True)


def drop_checkpoint(node: FakeVmNode, name: str, checkpoint: str, disks: tuple[str, ...]) -> None:
    """As :meth:`appliance.verbs.vm_backups.VmBackups.drop_checkpoint`."""
    found = node.vm(name)
    if found is None:
        raise NotFound("vm.unknown", subject=f"VM {name}", reason="libvirt knows no such VM", remedy="Ask the others.")
    for one in found.spec.disks:
        if one.serial in disks:
            layers_of(node).forget(file_at(one.path, one.format), checkpoint)
            node.point("the checkpoint of a disk is gone")
