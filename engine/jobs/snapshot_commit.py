"""Commit a preview: the VM goes on from the snapshot, and what was written after it is dropped. Or undo it: the VM goes on
from where it was, and what was written in the preview is dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from appliance.codec import decode, encode
from appliance.errors import Conflict
from engine.jobs.fold import drop
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import PREVIEWED, images, layer_file, memory_domains, memory_of, own_layer
from engine.jobs.places import choose_host, need_active_domain
from engine.jobs.preview import (
    HALF_DROPPED,
    Doomed,
    commit,
    doomed,
    need_preview,
    undo,
    younger_than,
)
from engine.jobs.snapshot_create import snapshot_locks
from engine.jobs.vm_place import DOWN, need_vm
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class EndPreview:
    """Of which VM."""

    vm_id: str


def drop_doomed(work: Work) -> None:
    """A final step's ``do``: what step ``look`` found is gone, the uppermost layers first."""
    gone = decode(Doomed, work.found("look")["doomed"], subject=f"job {work.job_id}")
    for number, (disk_id, layer) in enumerate(gone.layers):
        disk = work.entities.need("disk", disk_id)
        wipe = bool(disk.body.get("wipe_after_delete"))
        drop(work, layer.image, layer_file(work.entities, disk, layer), wipe=wipe)
        work.progress(100 * (number + 1) / len(gone.layers))
    for snapshot in gone.memories:
        memory = memory_of(work.entities, work.entities.need("snapshot", snapshot))
        if memory is not None:
            drop(work, f"memory-{snapshot}", memory)


def _look_to_commit(work: Work) -> Mapping[str, Any]:
    given = work.parameters(EndPreview)
    row = need_preview(work.entities, given.vm_id, "commit Snapshot")
    found = doomed(work.entities, given.vm_id, str(row.body[PREVIEWED]), images(row))
    return {**choose_host(work), "doomed": encode(found)}


def _look_to_undo(work: Work) -> Mapping[str, Any]:
    given = work.parameters(EndPreview)
    row = need_preview(work.entities, given.vm_id, "undo Snapshot")
    disks = work.entities.many("disk", images(row)).values()
    return {**choose_host(work), "doomed": encode(Doomed(tuple((one.id, own_layer(one)) for one in disks)))}


class _EndPreview(JobType[EndPreview]):
    """Of a preview that ends: the VM is down, and held with all that the preview is about."""

    parameters = EndPreview
    action: ClassVar[str]
    """In the words of a refusal."""
    doing: ClassVar[str]
    """In the words of the list of jobs."""

    def _row(self, entities: Entities, given: EndPreview) -> Entity:
        return need_preview(entities, given.vm_id, self.action)

    def about(self, entities: Entities, given: EndPreview) -> Mapping[str, str]:
        return {"vm": given.vm_id}

    def describe(self, entities: Entities, given: EndPreview) -> str:
        return f"{self.doing} VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: EndPreview) -> None:
        need_vm(entities, given.vm_id, self.action, DOWN)
        for disk in entities.many("disk", images(self._row(entities, given))).values():
            need_active_domain(entities, disk.ref("storage_domains"), self.action)

    def locks(self, entities: Entities, given: EndPreview) -> Sequence[Lock]:
        row = self._row(entities, given)
        previewed = str(row.body[PREVIEWED])
        younger = younger_than(entities, given.vm_id, previewed)
        held = snapshot_locks(entities, given.vm_id, previewed, images(row), memory_domains(younger))
        return *held, *(Lock("snapshot", one.id) for one in younger)

    def plan(self, entities: Entities, given: EndPreview) -> Sequence[Planned]:
        return Planned("look", "Finding the layers that go"), Planned("drop", "Removing them")


class SnapshotCommit(_EndPreview):
    """The snapshot is ``ok`` at the end, and the younger ones have gone. Once a layer is touched there is no way back: if
    it cannot be finished the preview stays, and can only be committed again."""

    name, action, doing = "snapshot.commit", "commit Snapshot", "Committing Snapshot-Preview of"
    steps = (Step("look", _look_to_commit, weight=0.1), Step("drop", drop_doomed, is_final=True))
    told = Told(
        "USER_COMMIT_RESTORE_FROM_SNAPSHOT_START",
        "USER_COMMIT_RESTORE_FROM_SNAPSHOT_FINISH_SUCCESS",
        "USER_COMMIT_RESTORE_FROM_SNAPSHOT_FINISH_FAILURE",
    )

    def check(self, entities: Entities, given: EndPreview) -> None:
        super().check(entities, given)
        previewed = str(self._row(entities, given).body[PREVIEWED])
        for domain in memory_domains(younger_than(entities, given.vm_id, previewed)):
            need_active_domain(entities, domain, self.action)
        for disk in entities.many("disk", images(self._row(entities, given))).values():
            if disk.status not in ("", "ok"):
                reason = f"Cannot commit Snapshot. Its disk {disk.name} is {disk.status}: undoing had begun"
                remedy = "Undo the preview again (`undosnapshot`)."
                raise Conflict("snapshot.half-undone", subject=f"disk {disk.name}", reason=reason, remedy=remedy)

    def finish(self, work: Work) -> Mapping[str, Any]:
        commit(work.entities, work.parameters(EndPreview).vm_id)
        return {}

    def given_up(self, work: Work) -> None:
        row = self._row(work.entities, work.parameters(EndPreview))
        work.entities.change("snapshot", row.id, lambda one: replace(one, status=HALF_DROPPED))


class SnapshotUndo(_EndPreview):
    """The snapshot is ``ok`` at the end and the VM what it was before. If it cannot be finished, the preview's disks are
    ``illegal`` until it is undone again."""

    name, action, doing = "snapshot.undo", "undo Snapshot", "Undoing Snapshot-Preview of"
    steps = (Step("look", _look_to_undo, weight=0.1), Step("drop", drop_doomed, is_final=True))
    told = Told(
        "USER_UNDO_RESTORE_FROM_SNAPSHOT_START",
        "USER_UNDO_RESTORE_FROM_SNAPSHOT_FINISH_SUCCESS",
        "USER_UNDO_RESTORE_FROM_SNAPSHOT_FINISH_FAILURE",
    )

    def check(self, entities: Entities, given: EndPreview) -> None:
        super().check(entities, given)
        row = self._row(entities, given)
        if row.status == HALF_DROPPED:
            reason = "Cannot undo Snapshot. A part of what there was before is gone, since committing had begun"
            remedy = "Commit the preview again (`commitsnapshot`)."
            raise Conflict("snapshot.half-committed", subject=f"snapshot {row.name}", reason=reason, remedy=remedy)

    def finish(self, work: Work) -> Mapping[str, Any]:
        undo(work.entities, work.parameters(EndPreview).vm_id)
        return {}

    def given_up(self, work: Work) -> None:
        row = self._row(work.entities, work.parameters(EndPreview))
        work.entities.set_status("disk", dict.fromkeys(images(row), "illegal"))
