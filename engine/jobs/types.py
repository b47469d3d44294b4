"""Every type of job: a line each. How to add one: engine/DESIGN.md."""

from __future__ import annotations

from typing import Any

from engine.jobs.backup_end import BackupFail, BackupFinalize
from engine.jobs.backup_start import BackupStart
from engine.jobs.checkpoint_remove import CheckpointRemove
from engine.jobs.disk_copy import DiskCopy
from engine.jobs.disk_create import DiskCreate
from engine.jobs.disk_extend import DiskExtend
from engine.jobs.disk_move import DiskMove
from engine.jobs.disk_move_live import DiskMoveLive
from engine.jobs.disk_remove import DiskRemove
from engine.jobs.domain_activate import DomainActivate, DomainAttach
from engine.jobs.domain_create import DomainCreate
from engine.jobs.domain_deactivate import DomainDeactivate
from engine.jobs.domain_describe import DomainDescribe
from engine.jobs.domain_import import DomainImport
from engine.jobs.domain_remove import DomainRemove
from engine.jobs.host_activate import HostActivate
from engine.jobs.host_admit import HostAdmit
from engine.jobs.host_deactivate import HostDeactivate
from engine.jobs.host_evict import HostEvict
from engine.jobs.host_install import HostAdd, HostInstall
from engine.jobs.host_networks import HostNetworks
from engine.jobs.host_remove import HostRemove
from engine.jobs.host_storage import HostStorage
from engine.jobs.job import JobType, by_name
from engine.jobs.pool_admit import PoolAdmit
from engine.jobs.pool_heal import PoolHeal
from engine.jobs.register import DiskRegister, TemplateRegister, VmRegister
from engine.jobs.seed_remove import SeedRemove
from engine.jobs.snapshot_commit import SnapshotCommit, SnapshotUndo
from engine.jobs.snapshot_create import SnapshotCreate
from engine.jobs.snapshot_preview import SnapshotPreview
from engine.jobs.snapshot_remove import SnapshotRemove
from engine.jobs.snapshot_restore import SnapshotRestore
from engine.jobs.template_create import TemplateCreate
from engine.jobs.template_remove import TemplateRemove
from engine.jobs.transfer_end import TransferCancel, TransferFinalize
from engine.jobs.transfer_open import TransferPause, TransferResume, TransferStart
from engine.jobs.vm_cd import VmChangeCd
from engine.jobs.vm_clone import VmClone
from engine.jobs.vm_create import VmCreate
from engine.jobs.vm_disks import VmAddDisk, VmPlugDisk, VmUnplugDisk
from engine.jobs.vm_freeze import VmFreeze, VmThaw
from engine.jobs.vm_grow import VmGrowCpus, VmGrowMemory
from engine.jobs.vm_migrate import VmMigrate
from engine.jobs.vm_nics import VmPlugNic, VmSetNic, VmUnplugNic
from engine.jobs.vm_remove import VmRemove
from engine.jobs.vm_restart import VmRestart
from engine.jobs.vm_start import VmStart
from engine.jobs.vm_start_memory import VmStartMemory
from engine.jobs.vm_stop import VmReboot, VmReset, VmResume, VmShutdown, VmStop
from engine.jobs.vm_suspend import VmSuspend, VmWake

TYPES: tuple[JobType[Any], ...] = (
    DiskCreate(), DiskRemove(), DiskCopy(), DiskMove(), DiskMoveLive(), DiskExtend(),
    HostDeactivate(), HostActivate(), TemplateCreate(), TemplateRemove(),
    VmCreate(), VmRemove(), VmStart(), VmStop(), VmShutdown(), VmReboot(), VmReset(), VmResume(), VmSuspend(), VmWake(),
    VmFreeze(), VmThaw(),
    VmMigrate(), VmAddDisk(), VmPlugDisk(), VmUnplugDisk(), VmPlugNic(), VmUnplugNic(), VmSetNic(), VmChangeCd(),
    VmGrowCpus(), VmGrowMemory(), HostEvict(), HostAdmit(), VmRestart(), SnapshotCreate(), SnapshotRemove(), SeedRemove(),
    SnapshotPreview(), SnapshotCommit(), SnapshotUndo(), SnapshotRestore(), VmStartMemory(), VmClone(),
    TransferStart(), TransferResume(), TransferPause(), TransferFinalize(), TransferCancel(),
    BackupStart(), BackupFinalize(), BackupFail(), CheckpointRemove(),
    DomainCreate(), DomainAttach(), DomainActivate(), DomainDeactivate(), DomainRemove(), HostStorage(),
    DomainDescribe(), DomainImport(), VmRegister(), TemplateRegister(), DiskRegister(),
    HostAdd(), HostInstall(), HostRemove(), HostNetworks(), PoolHeal(), PoolAdmit(),
)  # fmt: skip
BY_NAME = by_name(TYPES)
