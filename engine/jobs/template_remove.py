"""Remove a template and its disks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict
from engine.jobs.disk_remove import remove_image
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import choose_host, need_active_domain
from engine.store.entities import Entities, Entity
from engine.store.jobs import Lock

NAMED_LIMIT = 5
"""So many users of a template are named in a refusal: more are a list, not a sentence."""


@dataclass(frozen=True)
class RemoveTemplate:
    """Which template."""

    template_id: str


def disks_of(entities: Entities, template_id: str) -> list[Entity]:
    """Its disks."""
    mine = entities.children(("template", template_id), "disk_attachment")
    return list(entities.many("disk", [one.ref("disk") for one in mine]).values())


def made_of(entities: Entities, template: Entity) -> str:
    """What was made of it and names it, in words; empty: nothing."""
    for kind, reference, word in (
        ("vm", "template", "VMs"),
        ("template", "base_template", "versions"),
        ("vm_pool", "template", "pools"),
    ):
        found = entities.referring(template.key, kind, reference)
        if found:
            return f"{word} {_listed(found)}"
    return ""


def users_of(entities: Entities, template: Entity) -> str:
    """Who needs it, in words; empty: nobody."""
    made = made_of(entities, template)
    if made:
        return made
    for disk in disks_of(entities, template.id):
        above = entities.referring(disk.key, "disk", "backing_disk")
        if above:
            return f"disks {_listed(above)}, which are written over its own"
    return ""


def _listed(found: Sequence[Entity]) -> str:
    names = ", ".join(one.name for one in found[:NAMED_LIMIT])
    return f"{names} and {len(found) - NAMED_LIMIT} more" if len(found) > NAMED_LIMIT else names


def _remove(work: Work) -> None:
    remove_image(work, str(work.arguments["disk"]))


class TemplateRemove(JobType[RemoveTemplate]):
    """The template is ``locked`` until it has gone. Once an image is touched there is no way back: if it cannot be finished,
    the template is ``illegal``, and may be removed again."""

    name = "template.remove"
    parameters = RemoveTemplate
    steps = (Step("choose-host", choose_host, weight=0.1), Step("remove-image", _remove, is_final=True))
    told = Told("USER_REMOVE_VM_TEMPLATE", "USER_REMOVE_VM_TEMPLATE_FINISHED", "USER_FAILED_REMOVE_VM_TEMPLATE")

    def about(self, entities: Entities, given: RemoveTemplate) -> Mapping[str, str]:
        return {"template": given.template_id}

    def describe(self, entities: Entities, given: RemoveTemplate) -> str:
        return f"Removing Template {entities.name_of('template', given.template_id)}"

    def check(self, entities: Entities, given: RemoveTemplate) -> None:
        template = entities.need("template", given.template_id)
        if template.body.get("delete_protected"):
            why = "Delete protection is enabled. In order to delete, disable Delete protection first"
            raise refused(template, why, "Set delete_protected to false.", "template.protected")
        users = users_of(entities, template)
        if users:
            raise refused(template, f"It is being used by the following {users}", "Remove these first.", "template.in-use")
        for disk in disks_of(entities, template.id):
            need_active_domain(entities, disk.ref("storage_domains"), "remove Template")

    def locks(self, entities: Entities, given: RemoveTemplate) -> Sequence[Lock]:
        disks = disks_of(entities, given.template_id)
        domains = dict.fromkeys(one for disk in disks for one in disk.refs.get("storage_domains", ()))
        return (
            Lock("template", given.template_id, "locked"),
            *(Lock("disk", disk.id) for disk in disks),
            *(Lock("storage_domain", one, "", is_shared=True) for one in domains),
        )

    def plan(self, entities: Entities, given: RemoveTemplate) -> Sequence[Planned]:
        disks = disks_of(entities, given.template_id)
        removes = [Planned("remove-image", f"Removing the image of {disk.name}", {"disk": disk.id}) for disk in disks]
        return [Planned("choose-host", "Choosing a host"), *removes] if disks else []

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(RemoveTemplate)
        disks = disks_of(work.entities, given.template_id)
        work.entities.remove("template", given.template_id)
        for disk in disks:
            work.entities.remove("disk", disk.id)
        return {}

    def given_up(self, work: Work) -> None:
        given = work.parameters(RemoveTemplate)
        work.entities.set_status("disk", {disk.id: "illegal" for disk in disks_of(work.entities, given.template_id)})
        work.entities.set_status("template", {given.template_id: "illegal"})


def refused(template: Entity, why: str, remedy: str, code: str) -> Conflict:
    """It stays."""
    return Conflict(code, subject=f"template {template.name}", reason=f"Cannot delete Template. {why}", remedy=remedy)
