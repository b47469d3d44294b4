"""The routes of VMs: one line each onto the verbs."""

from __future__ import annotations

from appliance.agent.context import AgentContext
from appliance.model.disk import DiskFile
from appliance.model.task import TaskState
from appliance.model.vm import VmDisk, VmNic, VmSpec, VmState
from appliance.model.vm_backup import VmBackup, VmBackupState
from appliance.model.vm_live import (
    BlockJob,
    DiskMerge,
    DiskMirror,
    GuestAnswer,
    MigrationLimits,
    Screen,
    VmSnapshot,
    VmStatistics,
    VncTicket,
)
from appliance.ports import Hypervisor
from appliance.verbs.facts import hardware_virtualization
from appliance.verbs.vm_backups import VmBackups
from appliance.verbs.vm_changes import VmChanges
from appliance.verbs.vm_devices import VmDevices
from appliance.verbs.vm_disks import VmDisks
from appliance.verbs.vm_mirrors import VmMirrors
from appliance.verbs.vm_moves import VmMoves
from appliance.verbs.vms import VmVerbs


class VmRoutes:
    """Implements :class:`appliance.wire.definition.VmApi`."""

    def __init__(self, context: AgentContext) -> None:
        self._verbs = VmVerbs(context.hypervisor, lambda: hardware_virtualization(context.root))

    def vms(self) -> tuple[VmState, ...]:
        return self._verbs.vms()

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState:
        return self._verbs.start(spec, paused)

    def vm_resume(self, name: str) -> None:
        self._verbs.resume(name)

    def vm_pause(self, name: str) -> None:
        self._verbs.pause(name)

    def vm_reboot(self, name: str) -> None:
        self._verbs.reboot(name)

    def vm_freeze(self, name: str) -> None:
        self._verbs.freeze(name)

    def vm_thaw(self, name: str) -> None:
        self._verbs.thaw(name)

    def vm_reset(self, name: str) -> None:
        self._verbs.reset(name)

    def vm_shutdown(self, name: str) -> None:
        self._verbs.shutdown(name)

    def vm_destroy(self, name: str) -> None:
        self._verbs.destroy(name)

    def vm_migrate(self, name: str, target: str) -> None:
        self._verbs.migrate(name, target)


class VmDeviceRoutes:
    """Implements :class:`appliance.wire.vm_api.VmDeviceApi`."""

    def __init__(self, devices: VmDevices) -> None:
        self._devices = devices

    def vm_plug_disk(self, name: str, disk: VmDisk) -> None:
        self._devices.plug_disk(name, disk)

    def vm_unplug_disk(self, name: str, disk: str) -> None:
        self._devices.unplug_disk(name, disk)

    def vm_plug_nic(self, name: str, nic: VmNic) -> None:
        self._devices.plug_nic(name, nic)

    def vm_unplug_nic(self, name: str, mac: str) -> None:
        self._devices.unplug_nic(name, mac)

    def vm_set_nic(self, name: str, mac: str, bridge: str, link_up: bool) -> None:
        self._devices.set_nic(name, mac, bridge, link_up)

    def vm_set_cd(self, name: str, drive: str, path: str, force: bool) -> None:
        self._devices.set_cd(name, drive, path, force)

    def vm_set_cpus(self, name: str, cpus: int) -> None:
        self._devices.set_cpus(name, cpus)

    def vm_set_memory(self, name: str, memory_mib: int) -> int:
        return self._devices.set_memory(name, memory_mib)

    def vm_screen(self, name: str) -> Screen:
        return self._devices.screen(name)

    def vm_set_ticket(self, name: str, word: str, valid_s: float) -> VncTicket:
        return self._devices.set_ticket(name, word, valid_s)


class VmMoveRoutes:
    """Implements :class:`appliance.wire.vm_api.VmMoveApi`."""

    def __init__(self, moves: VmMoves) -> None:
        self._moves = moves

    def vm_move(self, task: str, name: str, target: str, limits: MigrationLimits) -> TaskState:
        return self._moves.migrate(task, name, target, limits)

    def vm_suspend(self, task: str, name: str, file: DiskFile) -> TaskState:
        return self._moves.suspend(task, name, file)

    def vm_wake(self, task: str, spec: VmSpec, file: DiskFile, paused: bool) -> TaskState:
        return self._moves.wake(task, spec, file, paused)


class VmDiskRoutes:
    """Implements :class:`appliance.wire.vm_api.VmDiskApi`."""

    def __init__(self, disks: VmDisks, mirrors: VmMirrors) -> None:
        self._disks = disks
        self._mirrors = mirrors

    def vm_snapshot(self, task: str, name: str, snapshot: VmSnapshot) -> TaskState:
        return self._disks.snapshot(task, name, snapshot)

    def vm_merge(self, task: str, name: str, merge: DiskMerge) -> TaskState:
        return self._disks.merge(task, name, merge)

    def vm_mirror(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        return self._mirrors.mirror(task, name, mirror)

    def vm_pivot(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        return self._mirrors.pivot(task, name, mirror)

    def vm_break_off(self, name: str, mirror: DiskMirror) -> None:
        self._mirrors.break_off(name, mirror)

    def vm_disk_job(self, name: str, disk: str) -> BlockJob | None:
        return self._disks.job(name, disk)

    def vm_disk_resize(self, name: str, disk: str, size_bytes: int) -> None:
        self._disks.resize(name, disk, size_bytes)


class VmBackupRoutes:
    """Implements :class:`appliance.wire.vm_api.VmBackupApi`."""

    def __init__(self, backups: VmBackups) -> None:
        self._backups = backups

    def vm_backups(self) -> tuple[VmBackupState, ...]:
        return self._backups.states()

    def vm_backup_begin(self, name: str, backup: VmBackup) -> VmBackupState:
        return self._backups.begin(name, backup)

    def vm_backup_end(self, name: str, backup: str) -> None:
        self._backups.end(name, backup)

    def vm_checkpoint_drop(self, name: str, checkpoint: str, disks: tuple[str, ...]) -> None:
        self._backups.drop_checkpoint(name, checkpoint, disks)


class GuestRoutes:
    """Implements :class:`appliance.wire.vm_api.GuestApi`."""

    def __init__(self, hypervisor: Hypervisor, changes: VmChanges) -> None:
        self._hypervisor = hypervisor
        self._changes = changes

    def vm_changes(self, mark: str, wait_ms: int) -> str:
        return self._changes.wait(mark, wait_ms)

    def vm_statistics(self) -> tuple[VmStatistics, ...]:
        return self._hypervisor.statistics()

    def vm_guests(self) -> tuple[GuestAnswer, ...]:
        return self._hypervisor.guests()
