"""A VM's backups and checkpoints, and the disks in them. What changes a phase is a job."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Action, Call, Done, Made, Noun
from engine.api.nouns import vm_making
from engine.api.observed import Rows
from engine.api.stored import Child, ReadOnlyStored, Stored
from engine.jobs.backup_end import BackupFinalize, EndBackup
from engine.jobs.backup_start import ACTION, BackupStart, StartBackup
from engine.jobs.backups import CHECKPOINT, DISKS, KIND, disks_of
from engine.jobs.checkpoint_remove import CheckpointRemove, RemoveCheckpoint
from engine.store.entity import Entity


def _finalize(noun: VmBackups, call: Call, identifier: str, parameters: Object) -> Done:
    """Serve it no more; callers take it for done when they are answered."""
    noun.mine(call, identifier)
    return work.told(work.awaited(call, BackupFinalize, EndBackup(identifier)))


class VmBackups(Stored):
    """A backup lives from its order until some minutes after its end; its disks are transferred while it is ``ready``."""

    services, kind, entity, unique = ("VmBackups",), "Backup", KIND, False
    scopes, parent_attribute = {"Vm": Child()}, "vm"
    refs = {"host": "host"}
    update = Noun.update
    remove = Noun.remove

    def show(self, call: Call, entity: Entity) -> Object:
        value = {name: held for name, held in super().show(call, entity).items() if name != "status"}
        return {**value, "phase": entity.status}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """``use_active=false`` (a snapshot in between) is not needed: QEMU keeps the moment by itself."""
        vm_making.refuse_engine(call, call.parent_id, ACTION)
        disks = tuple(str(one.get("id") or "") for one in given["disks"])
        for one in disks:
            call.rights.need("backup_disk", ("disk", one))
        wanted = StartBackup(
            str(given.get("id") or uuid.uuid4()),
            call.parent_id,
            disks,
            str(given.get("to_checkpoint_id") or uuid.uuid4()),
            str(uuid.uuid4()),
            call.account.id,
            call.correlation_id,
            str(given.get("from_checkpoint_id") or ""),
            str(given.get("description") or ""),
            bool(call.parameters.flag("require_consistency")),
        )
        job = work.awaited(call, BackupStart, wanted)
        return Made(self.show(call, self.entities(call).need(KIND, wanted.backup_id)), work.unfinished(job))

    actions: ClassVar[Mapping[str, Action]] = {"finalize": _finalize}


class VmCheckpoints(ReadOnlyStored):
    """What backups can go on from: a moment, since which is remembered what was written."""

    services, kind, entity, unique = ("VmCheckpoints",), "Checkpoint", CHECKPOINT, False
    scopes, parent_attribute = {"Vm": Child()}, "vm"

    def show(self, call: Call, entity: Entity) -> Object:
        value = {name: held for name, held in super().show(call, entity).items() if name != "status"}
        return {**value, "state": entity.status}

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """Any of them; who waits is told when it is forgotten."""
        self.mine(call, identifier)
        return work.told(work.awaited(call, CheckpointRemove, RemoveCheckpoint(call.parent_id, identifier)))


class _DisksOf(Rows):
    """The disks of a row above, as they are now."""

    kind = "Disk"
    of: ClassVar[str]

    def rows(self, call: Call) -> Sequence[Object]:
        row = call.engine.store.entities.get(self.of, call.parent_id)
        mine = [identifier for kind, identifier in call.parents if kind == "Vm"]
        if row is None or row.parent is None or row.parent[1] not in mine:
            return []
        noun = call.nouns["Disks"]
        shown = noun.many(call.below("Disks", ""), sorted(row.body.get(DISKS) or {}))
        return [self.as_kept(row, one) for one in shown.values()]

    def as_kept(self, row: Entity, disk: Object) -> Object:
        """The disk with what the row says of it."""
        return disk


class VmBackupDisks(_DisksOf):
    """``backup_mode`` says what there is of each: all of it, or what was written since the earlier checkpoint."""

    services, of = ("VmBackupDisks",), KIND

    def as_kept(self, row: Entity, disk: Object) -> Object:
        return {**disk, "image_id": disks_of(row)[disk["id"]]["image"], "backup_mode": disks_of(row)[disk["id"]]["mode"]}


class VmCheckpointDisks(_DisksOf):
    """The disks whose changes it remembers."""

    services, of = ("VmCheckpointDisks",), CHECKPOINT


BACKUPS = (VmBackups, VmCheckpoints, VmBackupDisks, VmCheckpointDisks)
"""All of this file."""
