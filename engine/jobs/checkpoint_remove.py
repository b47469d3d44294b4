"""Remove a checkpoint of a VM: what was written since is remembered no more. Any of them can go; each remembers for
itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.jobs.backups import (
    CHECKPOINT,
    DISKS,
    INVALID,
    forget_checkpoint,
    locks_of_domains,
    refuse_backup,
    remove_checkpoint,
)
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.vm_parts import attachment_of
from engine.jobs.vm_place import DOWN, need_vm
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

ASKABLE = frozenset({*DOWN, "up", "powering_up", "paused", "reboot_in_progress"})
ACTION = "remove Checkpoint"


@dataclass(frozen=True)
class RemoveCheckpoint:
    """Which one, of which VM."""

    vm_id: str
    checkpoint_id: str


def _disks(entities: Entities, given: RemoveCheckpoint) -> list[str]:
    """Its disks that are still the VM's."""
    held = entities.need(CHECKPOINT, given.checkpoint_id).body.get(DISKS) or {}
    return sorted(one for one in held if attachment_of(entities, given.vm_id, one) is not None)


def _forget(work: Work) -> None:
    given = work.parameters(RemoveCheckpoint)
    forget_checkpoint(work, given.vm_id, given.checkpoint_id, _disks(work.entities, given))


class CheckpointRemove(JobType[RemoveCheckpoint]):
    """The VM is held meanwhile, and so are its disks. If it cannot be finished the checkpoint is ``invalid``, and may be
    removed again."""

    name = "checkpoint.remove"
    parameters = RemoveCheckpoint
    steps = (Step("forget", _forget, is_final=True),)
    told = Told("", "VM_CHECKPOINT_DELETED", "VM_CHECKPOINT_FAILED_TO_DELETE")

    def about(self, entities: Entities, given: RemoveCheckpoint) -> Mapping[str, str]:
        return {"vm": given.vm_id}

    def values(self, work: Work) -> Mapping[str, object]:
        return {"checkpoint": work.parameters(RemoveCheckpoint).checkpoint_id}

    def describe(self, entities: Entities, given: RemoveCheckpoint) -> str:
        return f"Removing a Checkpoint of VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: RemoveCheckpoint) -> None:
        need_vm(entities, given.vm_id, ACTION, ASKABLE)
        refuse_backup(entities, given.vm_id, ACTION)
        entities.need(CHECKPOINT, given.checkpoint_id)

    def locks(self, entities: Entities, given: RemoveCheckpoint) -> Sequence[Lock]:
        disks = _disks(entities, given)
        mine = tuple(Lock("disk", one, "") for one in disks)
        return Lock("vm", given.vm_id, ""), Lock(CHECKPOINT, given.checkpoint_id), *mine, *locks_of_domains(entities, disks)

    def plan(self, entities: Entities, given: RemoveCheckpoint) -> Sequence[Planned]:
        return (Planned("forget", "Forgetting what was written since"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        remove_checkpoint(work.entities, self._mine(work))
        return {}

    def given_up(self, work: Work) -> None:
        work.entities.change(CHECKPOINT, self._mine(work).id, lambda one: replace(one, status=INVALID))

    @staticmethod
    def _mine(work: Work) -> Entity:
        return work.entities.need(CHECKPOINT, work.parameters(RemoveCheckpoint).checkpoint_id)
