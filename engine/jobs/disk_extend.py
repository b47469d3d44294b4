"""Make a disk larger, while its VM runs or while none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict, NotFound, Refused
from engine.jobs.disk_create import LARGEST_BYTES
from engine.jobs.disk_use import need_no_template, need_ok, owner_locks, owners_of
from engine.jobs.fold import is_plugged, runs_on
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import choose_host, chosen_or_another, file_of, need_active_domain, need_room
from engine.jobs.preview import refuse_preview
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_place import ANSWERING, runs
from engine.jobs.vm_state import RESUME
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

ACTION = "extend Virtual Disk"
GIB = 1024**3


@dataclass(frozen=True)
class ExtendDisk:
    """Which disk, how large it is to be."""

    disk_id: str
    size_bytes: int


def _grow(work: Work) -> None:
    """By the VM's host while it runs, else by any: looked at anew each time."""
    given = work.parameters(ExtendDisk)
    disk = work.entities.need("disk", given.disk_id)
    for vm in owners_of(work.entities, disk):
        host = runs_on(work, vm) if is_plugged(work.entities, vm, disk.id) else ""
        if not host:
            continue
        try:
            with work.at(host) as node:
                node.vm_disk_resize(vm.id, disk.id, given.size_bytes)
            return
        except NotFound:
            work.log(f"VM {vm.name} has ended meanwhile")
    file = file_of(work.entities, disk)
    with work.on(chosen_or_another(work)) as node:
        await_task(work, node, task_id(work, "grow"), lambda task: node.disk_resize(task, file, given.size_bytes))


class DiskExtend(JobType[ExtendDisk]):
    """The disk has the new size at the end. Nothing shrinks it again: once the growing has begun it is tried until it is
    done, or refused by the storage, and then the disk is as it was."""

    name = "disk.extend"
    parameters = ExtendDisk
    steps = (Step("choose-host", choose_host, weight=0.1), Step("grow", _grow, is_final=True))
    told = Told("", "USER_EXTEND_DISK_SIZE_SUCCESS", "USER_EXTEND_DISK_SIZE_FAILURE")

    def about(self, entities: Entities, given: ExtendDisk) -> Mapping[str, str]:
        return {"disk": given.disk_id}

    def values(self, work: Work) -> Mapping[str, object]:
        return {"size": round(work.parameters(ExtendDisk).size_bytes / GIB, 2)}

    def describe(self, entities: Entities, given: ExtendDisk) -> str:
        return f"Extending Virtual Disk {entities.name_of('disk', given.disk_id)}"

    def check(self, entities: Entities, given: ExtendDisk) -> None:
        disk = entities.need("disk", given.disk_id)
        size = int(disk.body.get("provisioned_size") or 0)
        if given.size_bytes < size or given.size_bytes > LARGEST_BYTES:
            why = f"New disk size must be larger than the current {size} bytes, and at most 8 TiB"
            raise Refused("disk.shrink", subject=f"disk {disk.name}", reason=f"Cannot {ACTION}. {why}",
                          remedy="provisioned_size is in bytes; disks only grow.")  # fmt: skip
        need_ok(disk, ACTION)
        need_no_template(entities, disk, ACTION)
        need_active_domain(entities, disk.ref("storage_domains"), ACTION)
        more = given.size_bytes - size if disk.body.get("sparse") is False else 0
        need_room(entities, disk.ref("storage_domains"), ACTION, more)
        for owner in owners_of(entities, disk):
            refuse_preview(entities, owner.id, ACTION)
            refuse_memory(disk, owner)
        check_vms(disk, [one for one in owners_of(entities, disk) if runs(one) or one.status == "suspended"])

    def locks(self, entities: Entities, given: ExtendDisk) -> Sequence[Lock]:
        disk = entities.need("disk", given.disk_id)
        return Lock("disk", disk.id), *owner_locks(entities, disk)

    def plan(self, entities: Entities, given: ExtendDisk) -> Sequence[Planned]:
        name = entities.name_of("disk", given.disk_id)
        return Planned("choose-host", "Choosing a host"), Planned("grow", f"Extending {name}")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(ExtendDisk)
        work.entities.change("disk", given.disk_id, lambda disk: disk.with_body(provisioned_size=given.size_bytes))
        return {"disk": given.disk_id}


def refuse_memory(disk: Entity, vm: Entity) -> None:
    """Raises ``Conflict`` ``disk.in-use``: the memory that its next start goes on from knows the size of then."""
    if RESUME in vm.body:
        why = f"VM {vm.name} goes on from a snapshot's memory at its next start"
        remedy = "Start it first, or start it without its memory."
        raise Conflict("disk.in-use", subject=f"disk {disk.name}", reason=f"Cannot {ACTION}. {why}", remedy=remedy)


def check_vms(disk: Entity, busy: Sequence[Entity]) -> None:
    """Raises ``Conflict`` ``disk.in-use``: a QEMU that cannot be told, or more than one that would have to be."""
    wrong = [one for one in busy if one.status not in ANSWERING]
    if not wrong and len(busy) < 2:
        return
    vm = wrong[0] if wrong else busy[1]
    why = f"VM {vm.name} has it and is {vm.shown_status}" if wrong else f"VMs {busy[0].name} and {vm.name} run with it"
    raise Conflict("disk.in-use", subject=f"disk {disk.name}", reason=f"Cannot {ACTION}. {why}", remedy="Shut it down.")
