"""Take a snapshot of a VM: from then on its disks are written to new layers, and those of before are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import Conflict, Failed, NotFound
from appliance.model.disk import DiskFile, NewDisk
from appliance.model.vm_live import DiskSnapshot, VmSnapshot
from engine.jobs.backups import refuse_backup
from engine.jobs.fold import drop, exists, fold_into_base, is_plugged, runs_on
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import IMAGES, MEMORY, OVERLAY, Fold, Layer, date_for, layer_file, memory_of, own_layer
from engine.jobs.places import choose_host, host_for_cleaning, need_active_domain, need_room_for_memory
from engine.jobs.preview import refuse_preview
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_config_of import config_of
from engine.jobs.vm_place import DOWN, need_vm
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

SNAPPABLE = frozenset({*DOWN, "up", "paused", "powering_up"})
LAYERS_LIMIT = 26
"""Snapshots of one VM: oVirt's limit. Each layer is a file more that every read may have to look into."""
USABLE = ("", "ok")


@dataclass(frozen=True)
class CreateSnapshot:
    """The snapshot to be taken. ``images``: disk → image id of its new layer, which the caller draws. ``memory_path``
    empty: without memory, else a file on ``memory_domain``. ``now_ms``: what it is dated."""

    vm_id: str
    snapshot_id: str
    description: str
    images: Mapping[str, str]
    now_ms: int
    memory_domain: str = ""
    memory_path: str = ""


def can_be_kept(disk: Entity, attachment: Entity) -> bool:
    """Whether a snapshot can have the disk: one that several VMs write to, or that nobody does, has no moment to go back
    to."""
    return not disk.body.get("shareable") and not attachment.body.get("read_only") and bool(disk.body.get("image_id"))


def _fold_back(work: Work, given: CreateSnapshot, disk_id: str) -> Fold:
    disk = work.entities.need("disk", disk_id)
    return Fold(disk_id, own_layer(disk), Layer(given.images[disk_id], OVERLAY))


def _files(work: Work, given: CreateSnapshot, disk_id: str) -> tuple[DiskFile, DiskFile]:
    """(what is written now, the layer over it)."""
    fold, disk = _fold_back(work, given, disk_id), work.entities.need("disk", disk_id)
    return layer_file(work.entities, disk, fold.base), layer_file(work.entities, disk, fold.top)


def _take(work: Work) -> None:
    given = work.parameters(CreateSnapshot)
    vm = work.entities.need("vm", given.vm_id)
    live = [one for one in given.images if is_plugged(work.entities, vm, one)]
    host = runs_on(work, vm)
    if host and live and _taken_live(work, given, host, live):
        rest = [one for one in given.images if one not in live]
    elif given.memory_path:
        reason = "it has ended while its snapshot was taken, and its memory with it"
        raise Failed("vm.snapshot", subject=f"VM {vm.name}", reason=reason, remedy="Take one without memory.")
    else:
        rest = list(given.images)
    with work.on(host_for_cleaning(work, str(work.found("look")["host"]))) as node:
        for disk_id in rest:
            below, layer = _files(work, given, disk_id)
            if exists(node, layer):
                continue  # made before its VM ended, or by an earlier try of this step
            new = NewDisk(layer, 0, backing=below)
            await_task(work, node, task_id(work, f"layer-{disk_id}"), lambda task, n=new: node.disk_create(task, n))  # type: ignore[misc]


def _taken_live(work: Work, given: CreateSnapshot, host: str, disks: Sequence[str]) -> bool:
    """All disks of the machine at one moment; ``False``: it has ended before."""
    overlays = tuple(DiskSnapshot(one, _files(work, given, one)[1]) for one in disks)
    memory = memory_of(work.entities, work.entities.need("snapshot", given.snapshot_id))
    wanted = VmSnapshot(overlays, memory)
    try:
        with work.at(host) as node:
            await_task(work, node, task_id(work, "take"), lambda task: node.vm_snapshot(task, given.vm_id, wanted))
    except NotFound:
        return False
    return True


def _untake(work: Work) -> None:
    """All is written to the layers of before again, and the new ones are gone. Where there is none, nothing was taken."""
    given = work.parameters(CreateSnapshot)
    for disk_id in given.images:
        layer = _files(work, given, disk_id)[1]
        with work.on(host_for_cleaning(work, str(work.found("look")["host"]))) as node:
            is_there = exists(node, layer)
        if is_there:
            fold_into_base(work, given.vm_id, _fold_back(work, given, disk_id))
            drop(work, disk_id, layer)
    memory = memory_of(work.entities, work.entities.need("snapshot", given.snapshot_id))
    if memory is not None:
        drop(work, "memory", memory)


class SnapshotCreate(JobType[CreateSnapshot]):
    """The snapshot is listed, ``locked``, from the order on; ``ok`` at the end, or gone. A VM that runs runs on."""

    name = "snapshot.create"
    parameters = CreateSnapshot
    steps = (Step("look", choose_host, weight=0.1), Step("take", _take, _untake))
    told = Told("USER_CREATE_SNAPSHOT", "USER_CREATE_SNAPSHOT_FINISHED_SUCCESS", "USER_CREATE_SNAPSHOT_FINISHED_FAILURE")

    def about(self, entities: Entities, given: CreateSnapshot) -> Mapping[str, str]:
        return {"vm": given.vm_id, "snapshot": given.snapshot_id}

    def describe(self, entities: Entities, given: CreateSnapshot) -> str:
        return f"Creating VM Snapshot {given.description} for VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: CreateSnapshot) -> None:
        vm = need_vm(entities, given.vm_id, "create Snapshot", SNAPPABLE)
        refuse_preview(entities, vm.id, "create Snapshot")
        refuse_backup(entities, vm.id, "create Snapshot")
        if len(entities.children(vm.key, "snapshot")) >= LAYERS_LIMIT:
            reason = f"Cannot create Snapshot. The VM has {LAYERS_LIMIT} already"
            raise Conflict("snapshot.too-many", subject=f"VM {vm.name}", reason=reason, remedy="Remove some.")
        if given.memory_path:
            if vm.status in DOWN:
                reason = "Cannot create Snapshot. VM is not running, so it has no memory"
                raise Conflict("snapshot.memory", subject=f"VM {vm.name}", reason=reason, remedy="Take one without.")
            need_room_for_memory(entities, vm, given.memory_domain, "create Snapshot")
        mine = {one.ref("disk"): one for one in entities.children(vm.key, "disk_attachment")}
        for disk_id in given.images:
            _check_disk(entities, vm, disk_id, mine.get(disk_id))

    def locks(self, entities: Entities, given: CreateSnapshot) -> Sequence[Lock]:
        memory = [given.memory_domain] if given.memory_path else []
        return snapshot_locks(entities, given.vm_id, given.snapshot_id, given.images, memory)

    def prepare(self, entities: Entities, given: CreateSnapshot) -> None:
        vm = entities.need("vm", given.vm_id)
        disks = entities.many("disk", given.images)
        body: dict[str, Any] = {
            "description": given.description,
            "date": date_for(entities, given.vm_id, given.now_ms),
            "persist_memorystate": bool(given.memory_path),
            "snapshot_type": "regular",
            **config_of(entities, vm),
            IMAGES: {one.id: own_layer(one).__dict__ for one in disks.values()},
        }
        if given.memory_path:
            body[MEMORY] = {"domain": given.memory_domain, "path": given.memory_path}
        # Its own status is seen only if the job is given up.
        row = Entity("snapshot", given.snapshot_id, given.description, body, parent=vm.key, status="locked")
        entities.add(row.with_refs(disks=tuple(given.images)))

    def plan(self, entities: Entities, given: CreateSnapshot) -> Sequence[Planned]:
        return Planned("look", "Choosing a host"), Planned("take", "Putting a new layer over its disks")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(CreateSnapshot)
        self._gone_over(work, given)
        work.entities.change("snapshot", given.snapshot_id, lambda one: replace(one, status="ok"))
        return {"snapshot": given.snapshot_id}

    def undone(self, work: Work) -> None:
        work.entities.remove("snapshot", work.parameters(CreateSnapshot).snapshot_id)

    def given_up(self, work: Work) -> None:
        """Nobody can say to which layers its disks are written: they are not to be used until that is found out."""
        given = work.parameters(CreateSnapshot)
        self._gone_over(work, given)  # as if they were: then removing the snapshot puts both cases right
        work.entities.set_status("disk", dict.fromkeys(given.images, "illegal"))

    @staticmethod
    def _gone_over(work: Work, given: CreateSnapshot) -> None:
        for disk_id, image in given.images.items():
            work.entities.change(
                "disk",
                disk_id,
                lambda disk, i=image: disk.with_body(image_id=i, format=OVERLAY),  # type: ignore[misc]
            )


def snapshot_locks(
    entities: Entities, vm_id: str, snapshot_id: str, disks: Mapping[str, Any], memories: Sequence[str] = ()
) -> Sequence[Lock]:
    """VM, snapshot and disks are held; their domains must stay, and ``memories``, those of the memory that is written or
    dropped. A VM that runs shows no other status meanwhile."""
    vm = entities.need("vm", vm_id)
    found = entities.many("disk", disks)
    mine = [name for one in found.values() for name in one.refs.get("storage_domains", ())]
    domains = dict.fromkeys([*mine, *memories])
    return (
        Lock("vm", vm_id, "image_locked" if vm.status in DOWN else ""),
        Lock("snapshot", snapshot_id),
        *(Lock("disk", one) for one in found),
        *(Lock("storage_domain", one, "", is_shared=True) for one in domains),
    )


def _check_disk(entities: Entities, vm: Entity, disk_id: str, attachment: Entity | None) -> None:
    disk = entities.need("disk", disk_id)
    reason = ""
    if attachment is None:
        reason = f"The disk is not attached to VM {vm.name}"
    elif not can_be_kept(disk, attachment):
        reason = "A snapshot cannot have a disk that is shareable, read-only or no image"
    elif disk.status not in USABLE:
        reason = f"Its disk {disk.name} is {disk.status}"
    if reason:
        raise Conflict(
            "snapshot.disk",
            subject=f"disk {disk.name}",
            reason=f"Cannot create Snapshot. {reason}",
            remedy="Leave that disk out.",
        )
    need_active_domain(entities, disk.ref("storage_domains"), "create Snapshot")
