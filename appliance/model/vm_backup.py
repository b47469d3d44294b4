"""Backups of running VMs: what is served, and what of it was written since an earlier one."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.model.disk import DiskFile
from appliance.model.vm_live import Quiesce


@dataclass(frozen=True)
class BackupDisk:
    """``disk`` (its serial), which is written to ``file``, is served as it is when the backup begins. What the guest writes
    over meanwhile is kept in ``scratch``, a new file on a domain. ``is_incremental``: what was written since the backup's
    earlier checkpoint is told; ``in_checkpoint``: it is part of the new one (qcow2 only)."""

    disk: str
    file: DiskFile
    scratch: DiskFile
    is_incremental: bool = False
    in_checkpoint: bool = False


@dataclass(frozen=True)
class VmBackup:
    """A backup of these disks, all of one moment. ``checkpoint`` is the name of the one made at that moment (empty: none),
    ``since`` that of the earlier one. ``quiesce`` as in :class:`appliance.model.vm_live.VmSnapshot`."""

    id: str
    disks: tuple[BackupDisk, ...]
    checkpoint: str = ""
    since: str = ""
    quiesce: Quiesce = "no"


@dataclass(frozen=True)
class VmBackupState:
    """A backup that was begun on a node and not ended. ``is_running`` False: its QEMU has ended, or has ended it: nothing is
    served any more."""

    id: str
    vm: str
    is_running: bool
