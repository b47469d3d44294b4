"""Preview a snapshot: the VM is what it was then, on new layers over those that the snapshot keeps. What it is now stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import Conflict
from appliance.model.disk import DiskFile, NewDisk
from engine.jobs.backups import refuse_backup
from engine.jobs.fold import drop, exists
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import MEMORY, OVERLAY, Layer, images, layer_file, memory_of
from engine.jobs.places import choose_host, host_for_cleaning, need_active_domain
from engine.jobs.preview import PreviewSnapshot, begin, refuse_preview
from engine.jobs.snapshot_create import USABLE, snapshot_locks
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_config_of import other_disks
from engine.jobs.vm_place import DOWN, need_vm
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


def _files(work: Work, given: PreviewSnapshot, disk_id: str) -> tuple[DiskFile, DiskFile]:
    """(what the snapshot keeps, the new layer over it)."""
    disk = work.entities.need("disk", disk_id)
    kept = images(work.entities.need("snapshot", given.snapshot_id))[disk_id]
    new = Layer(given.images[disk_id], OVERLAY)
    return layer_file(work.entities, disk, kept), layer_file(work.entities, disk, new)


def branch(work: Work) -> Mapping[str, Any]:
    """A step's ``do``: the new layers are there, as large as the disks were then. Nobody uses them yet."""
    given = work.parameters(PreviewSnapshot)
    sizes: dict[str, int] = {}
    for disk_id in given.images:
        below, layer = _files(work, given, disk_id)
        new = NewDisk(layer, 0, backing=below)
        with work.on(host_for_cleaning(work, str(work.found("look")["host"]))) as node:
            if not exists(node, layer):
                await_task(work, node, task_id(work, f"layer-{disk_id}"), lambda task, n=new: node.disk_create(task, n))  # type: ignore[misc]
            sizes[disk_id] = node.disk_chain(layer)[0].virtual_bytes
    return {"sizes": sizes}


def unbranch(work: Work) -> None:
    """A step's ``undo``: they are gone."""
    given = work.parameters(PreviewSnapshot)
    for disk_id in given.images:
        drop(work, disk_id, _files(work, given, disk_id)[1])


def check_preview(entities: Entities, given: PreviewSnapshot, action: str) -> Entity:
    """The snapshot, if its VM can go back to it. Raises ``NotFound``; ``Conflict`` ``vm.status``, ``vm.in-preview``,
    ``snapshot.not-ok``, ``snapshot.disk``, ``snapshot.memory``, ``domain.not-active``."""
    vm = need_vm(entities, given.vm_id, action, DOWN)
    refuse_preview(entities, vm.id, action)
    refuse_backup(entities, vm.id, action)
    snapshot = entities.need("snapshot", given.snapshot_id)
    if snapshot.status != "ok":
        reason = f"Cannot {action}. The snapshot is {snapshot.status}"
        raise Conflict("snapshot.not-ok", subject=f"snapshot {snapshot.name}", reason=reason, remedy="Remove it.")
    kept = images(snapshot)
    for disk_id in given.images:
        disk = entities.need("disk", disk_id)
        reason = "" if disk_id in kept else "The snapshot does not have that disk"
        reason = reason or ("" if disk.status in USABLE else f"Its disk {disk.name} is {disk.status}")
        if reason:
            remedy = "Leave that disk out; the snapshot's `disks` are those that it has."
            raise Conflict("snapshot.disk", subject=f"disk {disk.name}", reason=f"Cannot {action}. {reason}", remedy=remedy)
        need_active_domain(entities, disk.ref("storage_domains"), action)
    if given.with_memory:
        _check_memory(entities, vm, snapshot, given, action)
    return snapshot


def _check_memory(entities: Entities, vm: Entity, snapshot: Entity, given: PreviewSnapshot, action: str) -> None:
    """A memory goes on with the disks of its time, all of them and no others."""
    reason, others = "", other_disks(entities, vm, snapshot)
    if memory_of(entities, snapshot) is None:
        reason = "The snapshot has no memory"
    elif given.images.keys() != images(snapshot).keys():
        reason = "Its memory can only be restored with all of its disks"
    elif others:
        reason = f"The VM had other disks, or on another interface, when its memory was saved: {', '.join(others)}"
    if reason:
        remedy = "Leave `restore_memory` out, or bring its disks into the state of that time."
        raise Conflict(
            "snapshot.memory", subject=f"snapshot {snapshot.name}", reason=f"Cannot {action}. {reason}", remedy=remedy
        )
    need_active_domain(entities, str(snapshot.body[MEMORY]["domain"]), action)


def begun(work: Work) -> PreviewSnapshot:
    """The order, once the VM is on its new layers as :func:`branch` has made them."""
    given = work.parameters(PreviewSnapshot)
    begin(work.entities, given, work.found("branch").get("sizes", {}))
    return given


class BranchJob(JobType[PreviewSnapshot]):
    """What going back to a snapshot has in common, for a while or for good."""

    parameters = PreviewSnapshot

    def about(self, entities: Entities, given: PreviewSnapshot) -> Mapping[str, str]:
        return {"vm": given.vm_id, "snapshot": given.snapshot_id}


class SnapshotPreview(BranchJob):
    """The snapshot is ``locked`` meanwhile and ``in_preview`` at the end, or everything is as before. Its VM is down; it may
    be started then, as often as one likes, until the preview is committed or undone."""

    name = "snapshot.preview"
    steps = (Step("look", choose_host, weight=0.1), Step("branch", branch, unbranch))
    told = Told(
        "USER_TRY_BACK_TO_SNAPSHOT",
        "USER_TRY_BACK_TO_SNAPSHOT_FINISH_SUCCESS",
        "USER_TRY_BACK_TO_SNAPSHOT_FINISH_FAILURE",
    )

    def describe(self, entities: Entities, given: PreviewSnapshot) -> str:
        snapshot, vm = entities.name_of("snapshot", given.snapshot_id), entities.name_of("vm", given.vm_id)
        return f"Preview VM Snapshot {snapshot} for VM {vm}"

    def check(self, entities: Entities, given: PreviewSnapshot) -> None:
        check_preview(entities, given, "preview Snapshot")

    def locks(self, entities: Entities, given: PreviewSnapshot) -> Sequence[Lock]:
        return snapshot_locks(entities, given.vm_id, given.snapshot_id, given.images)

    def plan(self, entities: Entities, given: PreviewSnapshot) -> Sequence[Planned]:
        return Planned("look", "Choosing a host"), Planned("branch", "Putting new layers over the snapshot's")

    def finish(self, work: Work) -> Mapping[str, Any]:
        return {"snapshot": begun(work).snapshot_id}
