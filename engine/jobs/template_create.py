"""Make a template of a VM that does not run: its definition at once, copies of its disks by the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import Conflict
from engine.builtin import BLANK_TEMPLATE
from engine.decide import vm_config
from engine.jobs.disk_create import unmake_image
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import choose_host
from engine.jobs.vm_create import (
    CREATE_DISK,
    AddedDisk,
    disk_locks,
    disk_plan,
    disks_ok,
    drop_disks,
    enter_disks,
    make_disk,
    unique_key,
)
from engine.jobs.vm_parts import NewNic
from engine.jobs.vm_place import DOWN, need_vm
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

BASE_NAME = "base version"
"""oVirt's name of the first version."""


@dataclass(frozen=True)
class CreateTemplate:
    """The template to be made; the caller draws the ids. ``disks``: copies of the VM's. ``base_id``: of which template it is
    a version; empty: it is the first of its own. NICs of a template have no address."""

    template_id: str
    vm_id: str
    name: str
    body: Mapping[str, Any]
    refs: Mapping[str, tuple[str, ...]]
    disks: tuple[AddedDisk, ...] = ()
    nics: tuple[NewNic, ...] = ()
    base_id: str = ""
    version_name: str = ""


def number_of(template: Entity) -> int:
    """Which version of its base it is."""
    return int((template.body.get("version") or {}).get("version_number") or 1)


def enter(entities: Entities, given: CreateTemplate) -> Entity:
    """The rows of a new template. Its own status is seen only if the job is given up."""
    row = Entity("template", given.template_id, given.name, given.body, given.refs, status="illegal")
    row = _as_version(entities, row, given) if given.base_id else _as_base(row, given)
    try:
        made = entities.add(row)
    except Conflict as error:
        if error.code == "entity.exists":
            reason = "Cannot add Template. The Template name is already in use, please choose a unique name and try again"
            raise Conflict(
                "entity.exists", subject=f"template {given.name}", reason=reason, remedy="Choose another name."
            ) from error
        raise
    for nic in given.nics:
        refs = {"vnic_profile": (nic.profile_id,)} if nic.profile_id else {}
        entities.add(Entity("nic", nic.nic_id, nic.name, dict(nic.attributes), refs, parent=made.key))
    return made


def _as_base(row: Entity, given: CreateTemplate) -> Entity:
    version = {"version_name": given.version_name or BASE_NAME, "version_number": 1}
    return replace(row.with_body(version=version), unique_key=unique_key(given.name))


def _as_version(entities: Entities, row: Entity, given: CreateTemplate) -> Entity:
    """The next number of its base, whose row is held: of two at once one comes after the other."""
    base = entities.change("template", given.base_id, lambda before: before)
    others = entities.referring(base.key, "template", "base_template")
    number = 1 + max(number_of(one) for one in (base, *others))
    version = {"version_name": given.version_name, "version_number": number}
    named = replace(row, name=base.name, unique_key=f"{base.id}/{number}")
    return named.with_body(version=version).with_refs(base_template=base.id)


def _number(work: Work) -> int:
    return int(work.arguments["disk"])


def _copy(work: Work) -> Mapping[str, Any]:
    return make_disk(work, work.parameters(CreateTemplate).disks)


def _uncopy(work: Work) -> None:
    unmake_image(work, work.parameters(CreateTemplate).disks[_number(work)].disk)


class TemplateCreate(JobType[CreateTemplate]):
    """The template is ``locked`` and its VM ``image_locked`` until the copies are made; then both may be used, or there is
    no template."""

    name = "template.create"
    parameters = CreateTemplate
    steps = (Step("choose-host", choose_host, weight=0.1), Step("make-image", _copy, _uncopy))
    told = Told("USER_ADD_VM_TEMPLATE", "USER_ADD_VM_TEMPLATE_FINISHED_SUCCESS", "USER_ADD_VM_TEMPLATE_FINISHED_FAILURE")

    def about(self, entities: Entities, given: CreateTemplate) -> Mapping[str, str]:
        return {"template": given.template_id, "vm": given.vm_id}

    def describe(self, entities: Entities, given: CreateTemplate) -> str:
        return f"Creating Template {given.name} from VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: CreateTemplate) -> None:
        vm = need_vm(entities, given.vm_id, "add Template", DOWN)
        vm_config.check(given.name, given.body, "add Template")
        if given.base_id == BLANK_TEMPLATE:
            reason = "Cannot add Template. Blank has no versions"
            raise Conflict("template.blank", subject="template Blank", reason=reason, remedy="Make a template of its own.")
        if given.base_id:
            need_usable(entities, given.base_id, "add Template")
        for one in given.disks:
            CREATE_DISK.check(entities, one.disk)
        mine = {one.ref("disk") for one in entities.children(vm.key, "disk_attachment")}
        gone = [one.disk.name for one in given.disks if one.disk.source_disk_id not in mine]
        if gone:
            reason = f"Cannot add Template. A disk of VM {vm.name} was detached just now"
            raise Conflict("template.disks", subject=f"template {given.name}", reason=reason, remedy="Try again.")

    def locks(self, entities: Entities, given: CreateTemplate) -> Sequence[Lock]:
        base = [Lock("template", given.base_id, "", is_shared=True)] if given.base_id else []
        return (
            Lock("template", given.template_id, "locked"),
            Lock("vm", given.vm_id, "image_locked"),
            *base,
            *disk_locks(entities, given.disks),
        )

    def prepare(self, entities: Entities, given: CreateTemplate) -> None:
        enter_disks(entities, enter(entities, given), given.disks)

    def plan(self, entities: Entities, given: CreateTemplate) -> Sequence[Planned]:
        return disk_plan(given.disks) if given.disks else []

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(CreateTemplate)
        disks_ok(work, given.disks)
        work.entities.set_status("template", {given.template_id: "ok"})
        return {"template": given.template_id}

    def undone(self, work: Work) -> None:
        given = work.parameters(CreateTemplate)
        drop_disks(work.entities, given.disks)
        work.entities.remove("template", given.template_id)


def need_usable(entities: Entities, template_id: str, action: str) -> Entity:
    """The template, if it may be used now. Raises ``NotFound``; ``Conflict`` ``template.not-ok``."""
    found = entities.need("template", template_id)
    if found.shown_status not in ("", "ok"):
        reason = f"Cannot {action}. The Template is {found.shown_status}"
        raise Conflict("template.not-ok", subject=f"template {found.name}", reason=reason, remedy="Wait until it is ok.")
    return found
