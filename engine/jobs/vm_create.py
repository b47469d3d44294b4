"""Make a VM: its rows at once, and the images of its new disks by a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import Conflict
from engine.decide import vm_config
from engine.jobs.disk_create import CreateDisk, DiskCreate, make_image, unmake_image
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import choose_host
from engine.jobs.vm_parts import NewAttachment, NewNic, add_nic, attach
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

CREATE_DISK = DiskCreate()
"""Asked for what a new disk may be."""


@dataclass(frozen=True)
class AddedDisk:
    """A new disk and how the VM has it."""

    disk: CreateDisk
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CreateVm:
    """The VM to be made; the caller draws the ids. ``refs`` by the store's names."""

    vm_id: str
    name: str
    body: Mapping[str, Any]
    refs: Mapping[str, tuple[str, ...]]
    nics: tuple[NewNic, ...] = ()
    attachments: tuple[NewAttachment, ...] = ()
    disks: tuple[AddedDisk, ...] = ()


def unique_key(name: str) -> str:
    """As :class:`engine.api.stored.Stored` keys names."""
    return f"/{name.casefold()}"


def enter(entities: Entities, given: CreateVm) -> Entity:
    """The rows of a new VM, ``down``. Inside the caller's transaction."""
    vm = Entity("vm", given.vm_id, given.name, given.body, given.refs, status="down", unique_key=unique_key(given.name))
    try:
        made = entities.add(vm)
    except Conflict as error:
        if error.code == "entity.exists":
            raise Conflict(
                "entity.exists",
                subject=f"VM {given.name}",
                reason="Cannot add VM. The VM name is already in use, please choose a unique name and try again",
                remedy="Choose another name.",
            ) from error
        raise
    for nic in given.nics:
        add_nic(entities, made, nic)
    for attachment in given.attachments:
        attach(entities, made, attachment)
    return made


def check(entities: Entities, given: CreateVm) -> None:
    """Refuse a definition that nothing could run."""
    vm_config.check(given.name, given.body, "add VM")
    for name in ("cluster", "template"):
        for target in given.refs.get(name, ()):
            found = entities.need(name, target)
            if name == "template" and found.shown_status not in ("", "ok"):
                reason = f"Cannot add VM. The Template is {found.shown_status}"
                remedy = "Wait until it is ok."
                raise Conflict("template.not-ok", subject=f"template {found.name}", reason=reason, remedy=remedy)


def _number(work: Work) -> int:
    return int(work.arguments["disk"])


def make_disk(work: Work, disks: Sequence[AddedDisk]) -> Mapping[str, Any]:
    """A step's ``do``: the image of one new disk. What it takes is written down at once: a later disk has its own step."""
    new = disks[_number(work)].disk
    answer = make_image(work, new)
    sizes = {"actual_size": int(answer["actual_bytes"])}
    if new.source_snapshot_id:  # its source may have grown since
        sizes["provisioned_size"] = int(answer["virtual_bytes"])
    work.entities.change("disk", new.disk_id, lambda disk: disk.with_body(**sizes))
    return answer


def enter_disks(entities: Entities, vm: Entity, disks: Sequence[AddedDisk]) -> None:
    """The rows of new disks, attached."""
    for one in disks:
        CREATE_DISK.prepare(entities, one.disk)
        attach(entities, vm, NewAttachment(one.disk.disk_id, one.attributes), is_new=True)


def disks_ok(work: Work, disks: Sequence[AddedDisk]) -> None:
    """All images are there."""
    work.entities.set_status("disk", {one.disk.disk_id: "ok" for one in disks})


def drop_disks(entities: Entities, disks: Sequence[AddedDisk]) -> None:
    """Take back what :func:`enter_disks` made."""
    for one in disks:
        for row in entities.referring(("disk", one.disk.disk_id), "disk_attachment", "disk"):
            entities.remove(row.kind, row.id)
        entities.remove("disk", one.disk.disk_id)


def disk_locks(entities: Entities, disks: Sequence[AddedDisk]) -> list[Lock]:
    """New disks are held; their domains, and what they begin as, must stay. So must the domains of that: the host that
    makes the disks is one that has all of them mounted."""
    sources = dict.fromkeys(one.disk.source_disk_id for one in disks if one.disk.source_disk_id)
    read = [name for one in entities.many("disk", sources).values() for name in one.refs.get("storage_domains", ())]
    domains = dict.fromkeys([*(one.disk.domain_id for one in disks), *read])
    return [
        *(Lock("disk", one.disk.disk_id) for one in disks),
        *(Lock("disk", one, "", is_shared=True) for one in sources),
        *(Lock("storage_domain", one, "", is_shared=True) for one in domains),
    ]


def disk_plan(disks: Sequence[AddedDisk], first: int = 0) -> list[Planned]:
    """A host, then a step a disk."""
    makes = [
        Planned("make-image", f"Creating the image of {one.disk.name}", {"disk": number})
        for number, one in enumerate(disks, start=first)
    ]
    return [Planned("choose-host", "Choosing a host"), *makes]


def _make(work: Work) -> Mapping[str, Any]:
    return make_disk(work, work.parameters(CreateVm).disks)


def _unmake(work: Work) -> None:
    unmake_image(work, work.parameters(CreateVm).disks[_number(work)].disk)


class VmCreate(JobType[CreateVm]):
    """A VM with new disks is listed, ``image_locked``, from the order on; it is ``down`` at the end, or gone."""

    name = "vm.create"
    parameters = CreateVm
    steps = (Step("choose-host", choose_host, weight=0.1), Step("make-image", _make, _unmake))
    told = Told("USER_ADD_VM_STARTED", "USER_ADD_VM_FINISHED_SUCCESS", "USER_ADD_VM_FINISHED_FAILURE")

    def about(self, entities: Entities, given: CreateVm) -> Mapping[str, str]:
        return {"vm": given.vm_id, **{name: ids[0] for name, ids in given.refs.items() if name in ("cluster", "template")}}

    def describe(self, entities: Entities, given: CreateVm) -> str:
        cluster = entities.get("cluster", next(iter(given.refs.get("cluster", ())), ""))
        return f"Creating VM {given.name} in Cluster {cluster.name if cluster else ''}"

    def check(self, entities: Entities, given: CreateVm) -> None:
        check(entities, given)
        for one in given.disks:
            CREATE_DISK.check(entities, one.disk)

    def locks(self, entities: Entities, given: CreateVm) -> Sequence[Lock]:
        template = [Lock("template", one, "", is_shared=True) for one in given.refs.get("template", ())]
        return Lock("vm", given.vm_id, "image_locked"), *disk_locks(entities, given.disks), *template

    def prepare(self, entities: Entities, given: CreateVm) -> None:
        enter_disks(entities, enter(entities, given), given.disks)

    def plan(self, entities: Entities, given: CreateVm) -> Sequence[Planned]:
        return disk_plan(given.disks)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(CreateVm)
        disks_ok(work, given.disks)
        return {"vm": given.vm_id}

    def undone(self, work: Work) -> None:
        given = work.parameters(CreateVm)
        drop_disks(work.entities, given.disks)
        work.entities.remove("vm", given.vm_id)
