"""Remove a snapshot: what it kept and the layers over it become one, while the VM runs or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.codec import decode, encode
from engine.jobs.backups import refuse_backup
from engine.jobs.fold import drop, fold_into_base
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import Fold, folds, images, layer_file, memory_domains, memory_of, record_fold
from engine.jobs.places import choose_host, need_active_domain
from engine.jobs.preview import refuse_preview
from engine.jobs.snapshot_create import SNAPPABLE, snapshot_locks
from engine.jobs.vm_place import need_vm
from engine.jobs.vm_state import forget_memory
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class RemoveSnapshot:
    """Which snapshot of which VM."""

    vm_id: str
    snapshot_id: str


def _look(work: Work) -> Mapping[str, Any]:
    """What is to be folded into what, decided once: afterwards the rows say something else."""
    snapshot = work.entities.need("snapshot", work.parameters(RemoveSnapshot).snapshot_id)
    return {**choose_host(work), "folds": encode(tuple(folds(work.entities, snapshot)))}


def _planned(work: Work) -> tuple[Fold, ...]:
    return decode(tuple[Fold, ...], work.found("look")["folds"], subject=f"job {work.job_id}")


def _fold(work: Work) -> None:
    given = work.parameters(RemoveSnapshot)
    todo = _planned(work)
    for number, fold in enumerate(todo):
        if fold.disk in images(work.entities.need("snapshot", given.snapshot_id)):
            fold_into_base(work, given.vm_id, fold)
            record_fold(work.entities, given.snapshot_id, fold)
        work.progress(100 * (number + 1) / len(todo))


def _drop(work: Work) -> None:
    """The layers that were folded, and its memory."""
    given = work.parameters(RemoveSnapshot)
    for fold in _planned(work):
        disk = work.entities.need("disk", fold.disk)
        wipe = bool(disk.body.get("wipe_after_delete"))
        drop(work, fold.disk, layer_file(work.entities, disk, fold.top), wipe=wipe)
    memory = memory_of(work.entities, work.entities.need("snapshot", given.snapshot_id))
    if memory is not None:
        drop(work, "memory", memory)


class SnapshotRemove(JobType[RemoveSnapshot]):
    """The snapshot is ``locked`` until it has gone. Once its layer is touched there is no way back: what it kept is no
    longer what it was. If that cannot be finished it stays, and may be removed again."""

    name = "snapshot.remove"
    parameters = RemoveSnapshot
    steps = (
        Step("look", _look, weight=0.1),
        Step("fold", _fold, is_final=True),
        Step("drop", _drop, is_final=True, weight=0.1),
    )
    told = Told("USER_REMOVE_SNAPSHOT", "USER_REMOVE_SNAPSHOT_FINISHED_SUCCESS", "USER_REMOVE_SNAPSHOT_FINISHED_FAILURE")

    def about(self, entities: Entities, given: RemoveSnapshot) -> Mapping[str, str]:
        return {"vm": given.vm_id, "snapshot": given.snapshot_id}

    def describe(self, entities: Entities, given: RemoveSnapshot) -> str:
        snapshot, vm = entities.name_of("snapshot", given.snapshot_id), entities.name_of("vm", given.vm_id)
        return f"Removing Snapshot {snapshot} of VM {vm}"

    def check(self, entities: Entities, given: RemoveSnapshot) -> None:
        need_vm(entities, given.vm_id, "remove Snapshot", SNAPPABLE)
        refuse_preview(entities, given.vm_id, "remove Snapshot")
        refuse_backup(entities, given.vm_id, "remove Snapshot")
        for disk in self._disks(entities, given):
            need_active_domain(entities, disk.ref("storage_domains"), "remove Snapshot")
        for domain in memory_domains([entities.need("snapshot", given.snapshot_id)]):
            need_active_domain(entities, domain, "remove Snapshot")

    @staticmethod
    def _disks(entities: Entities, given: RemoveSnapshot) -> Sequence[Entity]:
        return list(entities.many("disk", images(entities.need("snapshot", given.snapshot_id))).values())

    def locks(self, entities: Entities, given: RemoveSnapshot) -> Sequence[Lock]:
        disks = {one.id: one for one in self._disks(entities, given)}
        memory = memory_domains([entities.need("snapshot", given.snapshot_id)])
        return snapshot_locks(entities, given.vm_id, given.snapshot_id, disks, memory)

    def plan(self, entities: Entities, given: RemoveSnapshot) -> Sequence[Planned]:
        return (
            Planned("look", "Finding its layers"),
            Planned("fold", "Merging its layers with those over them"),
            Planned("drop", "Removing what was merged"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(RemoveSnapshot)
        work.entities.set_status("disk", {one.disk: "ok" for one in _planned(work)})
        work.entities.change("vm", given.vm_id, lambda vm: forget_memory(vm, given.snapshot_id))
        work.entities.remove("snapshot", given.snapshot_id)
        return {}

    def given_up(self, work: Work) -> None:
        """Of a disk that its VM may have gone over with, nobody knows which layer is the newer one: the hosts' mark
        tells whoever removes the snapshot again, and until then it is not started with."""
        given = work.parameters(RemoveSnapshot)
        vm = work.entities.need("vm", given.vm_id)
        left = images(work.entities.need("snapshot", given.snapshot_id))
        unsure = [one.disk for one in _planned(work) if one.disk in left and one.is_active and vm.ref("host")]
        work.entities.set_status("disk", dict.fromkeys(unsure, "illegal"))
