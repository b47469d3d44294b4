"""Move a disk that no VM has open to another storage domain: copied, used from there, and then removed where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict
from appliance.model.disk import DiskCopy, DiskFile
from engine.jobs.disk_use import need_idle, need_no_template, need_ok, need_shared_host, owner_locks
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import refuse_kept
from engine.jobs.places import choose_host, disk_file, host_for_cleaning, need_active_domain, need_room
from engine.jobs.task import await_task, task_id
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

ACTION = "move Virtual Disk"


@dataclass(frozen=True)
class MoveDisk:
    """Which disk, from where, to where. ``backing_id``: the template's disk that it is a layer over; it is none after the
    move, for it takes all that is below along."""

    disk_id: str
    source_id: str
    target_id: str
    backing_id: str = ""


def _file(work: Work, domain_id: str) -> DiskFile:
    disk = work.entities.need("disk", work.parameters(MoveDisk).disk_id)
    domain = work.entities.need("storage_domain", domain_id)
    return disk_file(domain, disk.id, str(disk.body["image_id"]), str(disk.body["format"]))


def _host(work: Work) -> str:
    return host_for_cleaning(work, str(work.found("choose-host")["host"]))


def _copy(work: Work) -> Mapping[str, Any]:
    given = work.parameters(MoveDisk)
    disk = work.entities.need("disk", given.disk_id)
    source, target = _file(work, given.source_id), _file(work, given.target_id)
    copy = DiskCopy(source, target, "falloc" if disk.body.get("sparse") is False else "off")
    with work.on(str(work.found("choose-host")["host"])) as node:
        await_task(work, node, task_id(work, "copy"), lambda task: node.disk_copy(task, copy))
        return {"actual_bytes": node.disk_chain(target)[0].actual_bytes}


def _drop(work: Work, domain_id: str, what: str, *, wipe: bool) -> None:
    file = _file(work, domain_id)
    with work.on(_host(work)) as node:
        await_task(work, node, task_id(work, what), lambda task: node.disk_remove(task, file, wipe))


def _uncopy(work: Work) -> None:
    _drop(work, work.parameters(MoveDisk).target_id, "undo", wipe=False)


def _use(work: Work) -> None:
    given = work.parameters(MoveDisk)
    size = int(work.found("copy")["actual_bytes"])

    def how(disk: Entity) -> Entity:
        return disk.with_body(actual_size=size).with_refs(storage_domains=given.target_id, backing_disk=(), disk_profile=())

    work.entities.change("disk", given.disk_id, how)


def _use_again(work: Work) -> None:
    given = work.parameters(MoveDisk)

    def how(disk: Entity) -> Entity:
        return disk.with_refs(storage_domains=given.source_id, backing_disk=given.backing_id or ())

    work.entities.change("disk", given.disk_id, how)


def _drop_source(work: Work) -> None:
    given = work.parameters(MoveDisk)
    wipe = bool(work.entities.need("disk", given.disk_id).body.get("wipe_after_delete"))
    _drop(work, given.source_id, "drop", wipe=wipe)


class DiskMove(JobType[MoveDisk]):
    """The disk is ``locked``; at the end it is on the target alone, or where it was. If what it was made of cannot be
    removed it is used from the target all the same, and the job says so."""

    name = "disk.move"
    parameters = MoveDisk
    steps = (
        Step("choose-host", choose_host, weight=0.1),
        Step("copy", _copy, _uncopy),
        Step("use", _use, _use_again, weight=0.1),
        Step("drop-source", _drop_source, is_final=True, weight=0.2),
    )
    told = Told("USER_MOVED_DISK", "USER_MOVED_DISK_FINISHED_SUCCESS", "USER_MOVED_DISK_FINISHED_FAILURE")

    def about(self, entities: Entities, given: MoveDisk) -> Mapping[str, str]:
        return {"disk": given.disk_id, "storage_domain": given.target_id}

    def describe(self, entities: Entities, given: MoveDisk) -> str:
        source, target = (entities.name_of("storage_domain", one) for one in (given.source_id, given.target_id))
        return f"Moving Disk {entities.name_of('disk', given.disk_id)} from Storage Domain {source} to {target}"

    def check(self, entities: Entities, given: MoveDisk) -> None:
        disk = entities.need("disk", given.disk_id)
        if disk.ref("storage_domains") != given.source_id or given.source_id == given.target_id:
            where = entities.name_of("storage_domain", disk.ref("storage_domains"))
            reason = f"Cannot {ACTION}. Disk {disk.name} is on Storage Domain {where} already"
            raise Conflict("disk.there", subject=f"disk {disk.name}", reason=reason, remedy="Name another domain.")
        need_ok(disk, ACTION)
        need_no_template(entities, disk, ACTION)
        need_idle(entities, disk, ACTION)
        refuse_kept(entities, disk, ACTION)
        need_active_domain(entities, given.source_id, ACTION)
        need_shared_host(entities, disk, need_active_domain(entities, given.target_id, ACTION), ACTION)
        size = int(disk.body.get("provisioned_size") or 0)
        need_room(entities, given.target_id, ACTION, size if disk.body.get("sparse") is False else 0)

    def locks(self, entities: Entities, given: MoveDisk) -> Sequence[Lock]:
        disk = entities.need("disk", given.disk_id)
        target = Lock("storage_domain", given.target_id, "", is_shared=True)
        return tuple(dict.fromkeys((Lock("disk", disk.id), target, *owner_locks(entities, disk))))

    def plan(self, entities: Entities, given: MoveDisk) -> Sequence[Planned]:
        name = entities.name_of("disk", given.disk_id)
        return (
            Planned("choose-host", "Choosing a host"),
            Planned("copy", f"Copying {name}"),
            Planned("use", "Using the copy"),
            Planned("drop-source", "Removing it where it was"),
        )
