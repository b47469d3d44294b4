"""From a body to the template that it describes: what ``POST …/templates`` means."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from engine.api.noun import Call
from engine.api.nouns import template_disks, vm_making
from engine.api.references import unknown
from engine.decide import vm_config
from engine.decide.permit import may
from engine.decide.roles import TEMPLATE_OWNER
from engine.jobs.template_create import CreateTemplate
from engine.jobs.vm_create import AddedDisk
from engine.store.entities import Entities
from engine.store.entity import Entity

REFERENCES = ("cluster", "cpu_profile", "quota")
"""What a template refers to, as its VM does."""
NOT_TAKEN = frozenset({"description", "comment", "delete_protected", "stop_reason"})
"""What a template does not take over from its VM."""
OWN = frozenset({"id", "href", "name", "status", "version", "vm", "creation_time", "storage_domain", "quota"})
"""Of a template's body: what is no attribute of the VM that it describes."""


def translated(call: Call, given: Mapping[str, Any]) -> CreateTemplate:
    """The template that a body describes. Raises what permits and references refuse."""
    entities = call.engine.store.entities
    vm = entities.need("vm", _vm_id(call, given.get("vm") or {}))
    vm_making.refuse_engine(call, vm.id, "add Template")
    version = given.get("version") or {}
    base = _base_of(entities, str((version.get("base_template") or {}).get("id") or ""))
    refs = {name: vm.refs[name] for name in REFERENCES if vm.refs.get(name)}
    refs |= {name: (str(given[name]["id"]),) for name in REFERENCES if (given.get(name) or {}).get("id")}
    plain = vm_config.without(given, {*OWN, *REFERENCES, *vm_making.SUB_COLLECTIONS, *vm_config.TOLD})
    return CreateTemplate(
        str(uuid.uuid4()),
        vm.id,
        base.name if base else str(given.get("name") or ""),
        vm_config.new_body(plain, _definition(vm)),
        refs,
        _copies(call, vm, (given.get("vm") or {}).get("disk_attachments") or given.get("disk_attachments") or ()),
        template_disks.nics_of(entities, vm),
        base.id if base else "",
        str(version.get("version_name") or ""),
    )


def _vm_id(call: Call, given: Mapping[str, Any]) -> str:
    """The VM that is named, also in a body that says more of it (the formats of its disks)."""
    noun, at_root = call.nouns["Vms"], call.below("Vms", "")
    identifier = str(given.get("id") or noun.named(at_root, str(given.get("name") or "")) or "")
    if not identifier or not noun.exists(at_root, identifier):
        raise unknown("Vm", identifier or str(given.get("name")), "vms")
    return identifier


def _base_of(entities: Entities, identifier: str) -> Entity | None:
    """The first version of the template that is named: versions have no versions."""
    found = entities.need("template", identifier) if identifier else None
    if found is not None and found.ref("base_template"):
        return entities.need("template", found.ref("base_template"))
    return found


def _definition(vm: Entity) -> dict[str, Any]:
    """What a template takes over from its VM."""
    return vm_config.without(vm_making.definition_of(vm.body), NOT_TAKEN)


def _copies(call: Call, vm: Entity, wishes: Any) -> tuple[AddedDisk, ...]:
    """Copies of the VM's disks; shared ones are nobody's alone and stay out."""
    found = []
    for attachment, disk in template_disks.disks_of(call.engine.store.entities, vm):
        if not disk.body.get("shareable"):
            wish = template_disks.wish_for(wishes, disk.id)
            found.append(
                template_disks.new_disk(
                    call, attachment.body, disk, wish, str(wish.get("name") or wish.get("alias") or disk.name)
                )
            )
    return tuple(found)


def own(call: Call, template_id: str) -> None:
    """Who makes a template may use it."""
    permits = call.rights.permits
    if not may(call.rights.grants, "edit_template_properties", permits.chain(("template", template_id))).allowed:
        permits.give(TEMPLATE_OWNER, ("user", call.account.id), ("template", template_id))
