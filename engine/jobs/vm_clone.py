"""Copy a VM: as it is while it does not run, or as a snapshot keeps it, whatever it does meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict
from engine.jobs import vm_create
from engine.jobs.disk_create import unmake_image
from engine.jobs.job import JobType, Planned, Step, Work
from engine.jobs.layers import images
from engine.jobs.places import choose_host
from engine.jobs.preview import IN_PREVIEW
from engine.jobs.vm_create import (
    CREATE_DISK,
    CreateVm,
    VmCreate,
    disk_locks,
    disk_plan,
    disks_ok,
    drop_disks,
    enter,
    enter_disks,
    make_disk,
)
from engine.jobs.vm_place import DOWN, need_vm
from engine.store.entities import Entities
from engine.store.jobs import Lock

WHOLE = ("", "ok", IN_PREVIEW)
"""Statuses of a snapshot that has all that it kept."""


@dataclass(frozen=True)
class CloneVm:
    """The VM to be made, with copies of the disks of ``source_id``: of now, or (``snapshot_id``) of then."""

    new: CreateVm
    source_id: str
    snapshot_id: str = ""


def _make(work: Work) -> Mapping[str, Any]:
    return make_disk(work, work.parameters(CloneVm).new.disks)


def _unmake(work: Work) -> None:
    unmake_image(work, work.parameters(CloneVm).new.disks[int(work.arguments["disk"])].disk)


class VmClone(JobType[CloneVm]):
    """The copy is listed, ``image_locked``, from the order on; it is ``down`` at the end, or gone. A source that is copied
    as it is now is ``image_locked``, too; one that has a snapshot copied runs, starts and stops meanwhile, and only its
    chain stays as it is."""

    name = "vm.clone"
    parameters = CloneVm
    steps = (Step("choose-host", choose_host, weight=0.1), Step("make-image", _make, _unmake))
    told = VmCreate.told

    def about(self, entities: Entities, given: CloneVm) -> Mapping[str, str]:
        return {"vm": given.new.vm_id, **{name: given.new.refs[name][0] for name in ("cluster", "template")}}

    def describe(self, entities: Entities, given: CloneVm) -> str:
        source = entities.name_of("vm", given.source_id)
        if given.snapshot_id:
            snapshot = entities.name_of("snapshot", given.snapshot_id)
            return f"Creating VM {given.new.name} from Snapshot {snapshot} of VM {source}"
        return f"Cloning VM {source} to VM {given.new.name}"

    def check(self, entities: Entities, given: CloneVm) -> None:
        vm_create.check(entities, given.new)
        mine = _of_snapshot(entities, given) if given.snapshot_id else _of_vm(entities, given)
        for one in given.new.disks:
            if one.disk.source_disk_id not in mine:
                reason = f"Cannot add VM. Disk {one.disk.name} has lost its source just now"
                raise Conflict("vm.clone-disks", subject=f"VM {given.new.name}", reason=reason, remedy="Try again.")
            CREATE_DISK.check(entities, one.disk)

    def locks(self, entities: Entities, given: CloneVm) -> Sequence[Lock]:
        source = (
            Lock("snapshot", given.snapshot_id, "", is_shared=True)
            if given.snapshot_id
            else Lock("vm", given.source_id, "image_locked")
        )
        template = [Lock("template", one, "", is_shared=True) for one in given.new.refs.get("template", ())]
        return Lock("vm", given.new.vm_id, "image_locked"), source, *disk_locks(entities, given.new.disks), *template

    def prepare(self, entities: Entities, given: CloneVm) -> None:
        enter_disks(entities, enter(entities, given.new), given.new.disks)

    def plan(self, entities: Entities, given: CloneVm) -> Sequence[Planned]:
        return disk_plan(given.new.disks) if given.new.disks else []

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(CloneVm)
        disks_ok(work, given.new.disks)
        return {"vm": given.new.vm_id}

    def undone(self, work: Work) -> None:
        given = work.parameters(CloneVm)
        drop_disks(work.entities, given.new.disks)
        work.entities.remove("vm", given.new.vm_id)


def _of_snapshot(entities: Entities, given: CloneVm) -> set[str]:
    """The disks that the snapshot keeps. Raises ``NotFound``, ``Conflict`` ``snapshot.not-ok``."""
    snapshot = entities.need("snapshot", given.snapshot_id)
    if snapshot.status not in WHOLE:
        reason = f"Cannot add VM. The snapshot is {snapshot.status}"
        raise Conflict("snapshot.not-ok", subject=f"snapshot {snapshot.name}", reason=reason, remedy="Choose another one.")
    return set(images(snapshot))


def _of_vm(entities: Entities, given: CloneVm) -> set[str]:
    """The disks that the VM has, if nothing writes to them. Raises ``NotFound``, ``Conflict`` ``vm.status``."""
    vm = need_vm(entities, given.source_id, "clone VM", DOWN)
    return {one.ref("disk") for one in entities.children(vm.key, "disk_attachment")}
