"""End a backup of a VM: well, as its client says; or because nobody serves it any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict
from engine.decide.transfer import FINISHED
from engine.jobs.backups import (
    CHECKPOINT,
    CHECKPOINT_NAME,
    KIND,
    disks_of,
    drop_scratch,
    end,
    end_at_host,
    forget_checkpoint,
    locks_of,
    locks_of_domains,
    marked_disks,
    remove_checkpoint,
    set_phase,
)
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.transfers import BACKUP
from engine.jobs.transfers import KIND as TRANSFER
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class EndBackup:
    """Which one. ``reason``: the system does it, and why."""

    backup_id: str
    reason: str = ""


def transfers_of(entities: Entities, backup_id: str) -> list[Entity]:
    """The image transfers of a backup that have not ended."""
    return [one for one in entities.list(TRANSFER) if one.body.get(BACKUP) == backup_id and one.status not in FINISHED]


def _row(work: Work) -> Entity:
    return work.entities.need(KIND, work.parameters(EndBackup).backup_id)


def _vm_id(row: Entity) -> str:
    return row.parent[1] if row.parent else ""


def _end(work: Work) -> None:
    end_at_host(work, _row(work))


def _clean(work: Work) -> None:
    drop_scratch(work, _row(work))


def _forget(work: Work) -> None:
    row = _row(work)
    name = str(row.body.get(CHECKPOINT_NAME) or "")
    if name:
        forget_checkpoint(work, _vm_id(row), name, marked_disks(row))


class _EndJob(JobType[EndBackup]):
    """What both ends have in common."""

    parameters = EndBackup
    steps = (
        Step("end", _end, is_final=True),
        Step("clean", _clean, is_final=True),
        Step("forget", _forget, is_final=True),
    )

    def about(self, entities: Entities, given: EndBackup) -> Mapping[str, str]:
        return {"vm": _vm_id(entities.need(KIND, given.backup_id))}

    def values(self, work: Work) -> Mapping[str, object]:
        given = work.parameters(EndBackup)
        return {"backup": given.backup_id, **({"reason": f"Because {given.reason}."} if given.reason else {})}

    def check(self, entities: Entities, given: EndBackup) -> None:
        row = entities.need(KIND, given.backup_id)
        if row.status != "ready":
            raise _refused(row, f"It is {row.status}", "Only a backup that is ready is finalized.", "backup.phase")
        if transfers_of(entities, row.id):
            remedy = "Finalize or cancel those image transfers first."
            raise _refused(row, "Disks of it are being transferred", remedy, "backup.transfers")

    def prepare(self, entities: Entities, given: EndBackup) -> None:
        row = entities.need(KIND, given.backup_id)
        set_phase(entities, row.id, "finalizing", int(row.body["modification_date"]))


def _refused(row: Entity, why: str, remedy: str, code: str) -> Conflict:
    reason = f"Cannot stop VM backup. {why}"
    return Conflict(code, subject=f"backup {row.id}", reason=reason, remedy=remedy, facts={"phase": row.status})


class BackupFinalize(_EndJob):
    """It has ``succeeded``: its disks are free, and its checkpoint stays."""

    name = "backup.finalize"
    told = Told("", "VM_BACKUP_SUCCEEDED", "VM_BACKUP_FAILED_TO_FINALIZE")

    def describe(self, entities: Entities, given: EndBackup) -> str:
        vm = entities.name_of("vm", _vm_id(entities.need(KIND, given.backup_id)))
        return f"Finalizing Backup of VM {vm}"

    def locks(self, entities: Entities, given: EndBackup) -> Sequence[Lock]:
        row = entities.need(KIND, given.backup_id)
        return Lock(KIND, row.id, ""), *locks_of_domains(entities, list(disks_of(row)))

    def plan(self, entities: Entities, given: EndBackup) -> Sequence[Planned]:
        return Planned("end", "Serving its disks no more"), Planned("clean", "Removing what was kept for it")

    def finish(self, work: Work) -> Mapping[str, Any]:
        end(work, work.parameters(EndBackup).backup_id, "succeeded", "finished")
        return {}

    def given_up(self, work: Work) -> None:
        """What is still served is swept by the keeper; all that was transferred is as good as ever."""
        end(work, work.parameters(EndBackup).backup_id, "failed", "failed")


class BackupFail(_EndJob):
    """It has ``failed``, and its checkpoint goes: nobody has what that would go on from."""

    name = "backup.fail"
    told = Told("", "VM_BACKUP_FAILED", "VM_BACKUP_FAILED")

    def describe(self, entities: Entities, given: EndBackup) -> str:
        vm = entities.name_of("vm", _vm_id(entities.need(KIND, given.backup_id)))
        return f"Ending the failed Backup of VM {vm}"

    def locks(self, entities: Entities, given: EndBackup) -> Sequence[Lock]:
        row = entities.need(KIND, given.backup_id)
        return locks_of(entities, _vm_id(row), row.id, list(disks_of(row)))

    def plan(self, entities: Entities, given: EndBackup) -> Sequence[Planned]:
        return (
            Planned("end", "Serving its disks no more"),
            Planned("clean", "Removing what was kept for it"),
            Planned("forget", "Forgetting its checkpoint"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        row = _row(work)
        made = work.entities.get(CHECKPOINT, str(row.body.get(CHECKPOINT_NAME) or ""))
        if made is not None:
            remove_checkpoint(work.entities, made)
        end(work, row.id, "failed", "failed")
        return {}

    def given_up(self, work: Work) -> None:
        """A bitmap may be left; nobody asks for it, because its checkpoint is gone."""
        self.finish(work)
