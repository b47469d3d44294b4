"""The agent's interface for running VMs: devices, moves, the files under them, what they say of themselves.

Disks are named by their serial, NICs by their address. Unknown: 404 ``vm.unknown``. What takes a task is long work: see
:mod:`appliance.wire.disk_api`.
"""

from __future__ import annotations

from typing import Protocol

from appliance.model.disk import DiskFile
from appliance.model.task import TaskState
from appliance.model.vm import VmDisk, VmNic, VmSpec
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
from appliance.wire.route import route


class VmDeviceApi(Protocol):
    """Devices of a running VM. Asked twice, the second call finds it so."""

    @route("POST", "/v1/vms/{name}/disks/plug", "command", 60.0)
    def vm_plug_disk(self, name: str, disk: VmDisk) -> None:
        """virtio-scsi or virtio. 409 ``vm.disk-locked``, ``vm.disk-exists``; 500 ``vm.attach``."""

    @route("POST", "/v1/vms/{name}/disks/unplug", "command", 60.0)
    def vm_unplug_disk(self, name: str, disk: str) -> None:
        """The guest has let go of it when this returns; it does not: 409 ``vm.unplug-refused``."""

    @route("POST", "/v1/vms/{name}/nics/plug", "command", 60.0)
    def vm_plug_nic(self, name: str, nic: VmNic) -> None: ...

    @route("POST", "/v1/vms/{name}/nics/unplug", "command", 60.0)
    def vm_unplug_nic(self, name: str, mac: str) -> None: ...

    @route("POST", "/v1/vms/{name}/nics/set", "command", 30.0)
    def vm_set_nic(self, name: str, mac: str, bridge: str, link_up: bool) -> None:
        """Another bridge (empty: the same), cable in or out. 404 ``vm.nic-unknown``."""

    @route("POST", "/v1/vms/{name}/cd", "command", 30.0)
    def vm_set_cd(self, name: str, drive: str, path: str, force: bool) -> None:
        """``path`` absolute; empty: no CD. 404 ``vm.drive-unknown``; kept shut by the guest: 500 ``vm.update``."""

    @route("POST", "/v1/vms/{name}/cpus", "command", 60.0)
    def vm_set_cpus(self, name: str, cpus: int) -> None:
        """Up to its maximum (400 ``vm.cpus``)."""

    @route("POST", "/v1/vms/{name}/memory", "command", 60.0)
    def vm_set_memory(self, name: str, memory_mib: int) -> int:
        """Plug in or balloon; answers what is plugged in then. Beyond its maximum or guarantee: 400 ``vm.memory``."""

    @route("GET", "/v1/vms/{name}/screen", "node", 10.0)
    def vm_screen(self, name: str) -> Screen:
        """Where it is now. 404 ``vm.unknown``, ``vm.no-screen``."""

    @route("POST", "/v1/vms/{name}/ticket", "command", 30.0)
    def vm_set_ticket(self, name: str, word: str, valid_s: float) -> VncTicket:
        """``word`` (at most 8 characters) opens its screen for so long; empty: shut it. 404 ``vm.no-screen``."""


class VmMoveApi(Protocol):
    """VMs that move. Cancelled: they go on where they are."""

    @route("POST", "/v1/vms/{name}/move", "command", 30.0)
    def vm_move(self, task: str, name: str, target: str, limits: MigrationLimits) -> TaskState:
        """Live-migrate to member ``target``. Errors: ``vm.unknown`` (gone: ask ``target``), ``vm.not-running``,
        ``vm.migrate``, ``vm.broken-off``."""

    @route("POST", "/v1/vms/{name}/suspend", "command", 30.0)
    def vm_suspend(self, task: str, name: str, file: DiskFile) -> TaskState:
        """Memory to a file, then its QEMU ends. Errors: ``vm.save``, ``vm.broken-off``, ``disk.exists``."""

    @route("POST", "/v1/vms/wake", "command", 30.0)
    def vm_wake(self, task: str, spec: VmSpec, file: DiskFile, paused: bool) -> TaskState:
        """Go on from such a file, which stays. Errors: ``vm.saved-memory``, ``vm.restore``, ``vm.disk-locked``."""


class VmDiskApi(Protocol):
    """The files under running VMs. Of VMs that are off: :class:`appliance.wire.disk_api.DiskApi`."""

    @route("POST", "/v1/vms/{name}/snapshot", "command", 30.0)
    def vm_snapshot(self, task: str, name: str, snapshot: VmSnapshot) -> TaskState:
        """Makes the overlays, then all disks go over at one moment, or none does. Errors: ``vm.snapshot``, ``vm.no-agent``,
        ``vm.broken-off``, ``disk.exists``, ``vm.disk-unknown``."""

    @route("POST", "/v1/vms/{name}/merge", "command", 30.0)
    def vm_merge(self, task: str, name: str, merge: DiskMerge) -> TaskState:
        """Into the base; the merged files stay, remove them afterwards. Errors: ``vm.merge``, ``disk.chain``."""

    @route("POST", "/v1/vms/{name}/mirror", "command", 30.0)
    def vm_mirror(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        """Make the target and write to both; done when they are equal. Errors: ``vm.mirror``, ``vm.broken-off``,
        ``disk.exists``, ``disk.no-space``."""

    @route("POST", "/v1/vms/{name}/pivot", "command", 30.0)
    def vm_pivot(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        """Go over to the target. Error ``vm.mirror``: it goes on where it wrote; after any other, ask again."""

    @route("POST", "/v1/vms/{name}/break-off", "command", 90.0)
    def vm_break_off(self, name: str, mirror: DiskMirror) -> None:
        """Mirror no more; the target stays. 409 ``vm.mirror``: it has gone over."""

    @route("POST", "/v1/vms/{name}/disks/job", "node", 30.0)
    def vm_disk_job(self, name: str, disk: str) -> BlockJob | None:
        """What goes on on a disk's chain."""

    @route("POST", "/v1/vms/{name}/disks/resize", "command", 60.0)
    def vm_disk_resize(self, name: str, disk: str, size_bytes: int) -> None:
        """Grow it; the guest sees it at once. 400 ``disk.shrink``."""


class VmBackupApi(Protocol):
    """Backups of running VMs: their QEMU serves their disks as they were at one moment, for image tickets."""

    @route("GET", "/v1/vm-backups", "node", 20.0)
    def vm_backups(self) -> tuple[VmBackupState, ...]:
        """All of this boot that were not ended."""

    @route("POST", "/v1/vms/{name}/backup/begin", "command", 180.0)
    def vm_backup_begin(self, name: str, backup: VmBackup) -> VmBackupState:
        """Begun already: nothing. 409 ``vm.backup-other``, ``vm.backup-disk``, ``vm.checkpoint-lost``, ``vm.no-agent``; 404
        ``vm.disk-unknown``; 400 ``vm.backup``; 500 ``vm.backup``."""

    @route("POST", "/v1/vms/{name}/backup/end", "command", 90.0)
    def vm_backup_end(self, name: str, backup: str) -> None:
        """Not there, also its VM: nothing. The scratch files stay: remove them afterwards."""

    @route("POST", "/v1/vms/{name}/checkpoints/drop", "command", 90.0)
    def vm_checkpoint_drop(self, name: str, checkpoint: str, disks: tuple[str, ...]) -> None:
        """What was written since is remembered no more; not there: nothing."""


class GuestApi(Protocol):
    """What VMs and their guests say of themselves."""

    @route("GET", "/v1/vm-statistics", "node", 15.0)
    def vm_statistics(self) -> tuple[VmStatistics, ...]:
        """Of all running VMs of this node."""

    @route("GET", "/v1/vm-changes/{mark}/{wait_ms}", "node", 20.0)
    def vm_changes(self, mark: str, wait_ms: int) -> str:
        """A mark of the states of this node's VMs: as soon as it is another one than ``mark``, and after ``wait_ms`` (10 s
        at most) anyhow. Any other word for ``mark`` is answered at once."""

    @route("GET", "/v1/guests", "node", 30.0)
    def vm_guests(self) -> tuple[GuestAnswer, ...]:
        """What the guest agents of this node's running VMs tell; none there: ``agent`` is false. Who hangs is left out."""
