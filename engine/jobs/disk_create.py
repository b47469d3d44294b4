"""Create a disk on a storage domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from appliance.errors import Conflict, Refused
from appliance.model.disk import DiskCopy, DiskFile, NewDisk, Preallocation
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import images, layer_file
from engine.jobs.places import choose_host, chosen_host, chosen_or_another, disk_file, file_of, need_active_domain, need_room
from engine.jobs.task import await_task, task_id
from engine.store.entities import Entities, Entity
from engine.store.jobs import Lock

SMALLEST_BYTES = 1024**2
"""A disk below a MiB is a mistake of units (somebody wrote GiB)."""
LARGEST_BYTES = 8 * 1024**4
"""oVirt's MaxDiskSize for file domains."""


@dataclass(frozen=True)
class CreateDisk:
    """The disk to be made. The caller draws the ids. ``attributes`` are those of the v4 disk that are only kept.
    ``source_disk_id``: the disk that it begins as a copy of, or, ``is_thin``, that it is a layer over;
    ``source_snapshot_id``: of what that snapshot keeps of it, instead of what it is now."""

    disk_id: str
    image_id: str
    name: str
    domain_id: str
    size_bytes: int
    format: Literal["raw", "cow"] = "raw"
    is_sparse: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source_disk_id: str = ""
    is_thin: bool = False
    source_snapshot_id: str = ""
    refs: Mapping[str, str] = field(default_factory=dict)
    """Its ``disk_profile`` and ``quota``, by id."""


def refs_of(disk: Mapping[str, Any]) -> Mapping[str, str]:
    """What a v4 disk says of its profile and quota."""
    named = ((name, disk.get(name) or {}) for name in ("disk_profile", "quota"))
    return {name: str(one["id"]) for name, one in named if one.get("id")}


def make_image(work: Work, given: CreateDisk) -> Mapping[str, Any]:
    """Part of a step's ``do``: the image of a new disk, on the host of step ``choose-host``."""
    host = chosen_host(work)
    domain = work.entities.need("storage_domain", given.domain_id)
    file = disk_file(domain, given.disk_id, given.image_id, given.format)
    room: Preallocation = "off" if given.is_sparse else "falloc"
    source = _source_of(work.entities, given)
    new = NewDisk(file, given.size_bytes, room, source if given.is_thin else None)
    with work.on(host) as node:
        if source is not None and not given.is_thin:
            copy = DiskCopy(source, file, room)
            await_task(work, node, task_id(work, "copy"), lambda task: node.disk_copy(task, copy))
        else:
            await_task(work, node, task_id(work, "create"), lambda task: node.disk_create(task, new))
        made = node.disk_chain(file)[0]
        return {"actual_bytes": made.actual_bytes, "virtual_bytes": made.virtual_bytes}


def _source_of(entities: Entities, given: CreateDisk) -> DiskFile | None:
    """The image that it begins as; ``None``: it begins empty."""
    if not given.source_disk_id:
        return None
    disk = entities.need("disk", given.source_disk_id)
    if not given.source_snapshot_id:
        return file_of(entities, disk)
    return layer_file(entities, disk, images(entities.need("snapshot", given.source_snapshot_id))[disk.id])


def unmake_image(work: Work, given: CreateDisk) -> None:
    """Part of a step's ``undo``: nothing of the image is left."""
    domain = work.entities.need("storage_domain", given.domain_id)
    file = disk_file(domain, given.disk_id, given.image_id, given.format)
    with work.on(chosen_or_another(work)) as node:
        await_task(work, node, task_id(work, "undo"), lambda task: node.disk_remove(task, file, False))


def _make(work: Work) -> Mapping[str, Any]:
    return make_image(work, work.parameters(CreateDisk))


def _unmake(work: Work) -> None:
    unmake_image(work, work.parameters(CreateDisk))


class DiskCreate(JobType[CreateDisk]):
    """The disk is listed, ``locked``, from the order on; it is ``ok`` at the end, or gone."""

    name = "disk.create"
    parameters = CreateDisk
    steps = (Step("choose-host", choose_host, weight=0.1), Step("make-image", _make, _unmake))

    told = Told("USER_ADD_DISK", "USER_ADD_DISK_FINISHED_SUCCESS", "USER_ADD_DISK_FINISHED_FAILURE")

    def about(self, entities: Entities, given: CreateDisk) -> Mapping[str, str]:
        return {"disk": given.disk_id, "storage_domain": given.domain_id}

    def describe(self, entities: Entities, given: CreateDisk) -> str:
        return f"Creating Virtual Disk {given.name} on Storage Domain {entities.name_of('storage_domain', given.domain_id)}"

    def check(self, entities: Entities, given: CreateDisk) -> None:
        need_active_domain(entities, given.domain_id, "add Virtual Disk")
        need_room(entities, given.domain_id, "add Virtual Disk", 0 if given.is_sparse else given.size_bytes)
        if not SMALLEST_BYTES <= given.size_bytes <= LARGEST_BYTES:
            raise Refused(
                "disk.size",
                subject=f"disk {given.name}",
                reason=f"Cannot add Virtual Disk. Its size of {given.size_bytes} bytes is not between 1 MiB and 8 TiB",
                remedy="provisioned_size is in bytes.",
            )
        if given.format == "raw" and given.attributes.get("backup") == "incremental":
            raise Conflict(
                "disk.backup-format",
                subject=f"disk {given.name}",
                reason="Cannot add Virtual Disk. Incremental backup needs the format cow",
                remedy="Ask for format cow, or for no incremental backup.",
            )
        profile = entities.get("disk_profile", given.refs.get("disk_profile", ""))
        if profile is not None and profile.ref("storage_domain") != given.domain_id:
            raise Refused(
                "disk.profile",
                subject=f"disk {given.name}",
                reason=f"Cannot add Virtual Disk. Disk profile {profile.name} is not one of its Storage Domain",
                remedy="Name one of that domain, or none.",
            )
        if given.source_disk_id:
            check_source(entities, given)

    def locks(self, entities: Entities, given: CreateDisk) -> Sequence[Lock]:
        return Lock("disk", given.disk_id), Lock("storage_domain", given.domain_id, "", is_shared=True)

    def prepare(self, entities: Entities, given: CreateDisk) -> None:
        body = {
            **given.attributes,
            "image_id": given.image_id,
            "provisioned_size": given.size_bytes,
            "format": given.format,
            "sparse": given.is_sparse,
            "actual_size": 0,
        }
        # Its own status is seen only if the job is given up.
        refs = {"storage_domains": (given.domain_id,), **{name: (one,) for name, one in given.refs.items()}}
        if given.is_thin:
            refs["backing_disk"] = (given.source_disk_id,)
        entities.add(Entity("disk", given.disk_id, given.name, body, refs, status="illegal"))

    def plan(self, entities: Entities, given: CreateDisk) -> Sequence[Planned]:
        return Planned("choose-host", "Choosing a host"), Planned("make-image", f"Creating the image of {given.name}")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(CreateDisk)
        size = int(work.found("make-image")["actual_bytes"])
        work.entities.change("disk", given.disk_id, lambda disk: replace(disk.with_body(actual_size=size), status="ok"))
        return {"disk": given.disk_id}

    def undone(self, work: Work) -> None:
        work.entities.remove("disk", work.parameters(CreateDisk).disk_id)


def check_source(entities: Entities, given: CreateDisk) -> None:
    """Refuse (``disk.not-ok``, ``disk.backing-domain``) what cannot begin as that disk."""
    source = entities.need("disk", given.source_disk_id)
    need_active_domain(entities, source.ref("storage_domains"), "add Virtual Disk")
    if source.status not in ("", "ok"):
        reason = f"Cannot add Virtual Disk. Disk {source.name}, of which it is made, is {source.status}"
        raise Conflict("disk.not-ok", subject=f"disk {given.name}", reason=reason, remedy="Remove that disk.")
    if given.is_thin and given.domain_id != source.ref("storage_domains"):
        reason = (
            f"Cannot add Virtual Disk. Its template's disk {source.name} is not on the Storage Domain that was asked for"
        )
        remedy = "Leave the domain out, or ask for a clone (`clone=true`)."
        raise Conflict("disk.backing-domain", subject=f"disk {given.name}", reason=reason, remedy=remedy)
