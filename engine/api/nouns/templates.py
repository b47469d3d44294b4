"""Templates: made of VMs that do not run, and removed, by jobs; and what of VMs and templates is only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from appliance.errors import Conflict
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns import template_making, vm_making
from engine.api.nouns.built_in import LARGE_ICON, SMALL_ICON
from engine.api.nouns.vm_devices import DiskAttachments, VmNics
from engine.api.nouns.vms import DEFAULTS
from engine.api.parameters import Listing
from engine.api.stored import Child, ReadOnlyStored, Stored, need_expected
from engine.api.tell import tell
from engine.builtin import BLANK_TEMPLATE
from engine.decide import vm_config
from engine.decide.merge import merged
from engine.decide.search import And, Compare, Expression, Or, Query
from engine.jobs.template_create import TemplateCreate, number_of
from engine.jobs.template_remove import RemoveTemplate, TemplateRemove
from engine.jobs.vm_parts import need_free_name, with_profile
from engine.store.entity import Entity

CENTER = frozenset({"datacenter", "data_center", "datacenters"})


class Templates(Stored):
    """Templates. Blank belongs to every data center: clients look for it as ``name=Blank and datacenter=X``. It can be
    neither changed nor removed."""

    services, kind, entity = ("Templates",), "Template", "template"
    refs = {"cluster": "cluster", "cpu_profile": "cpu_profile", "quota": "quota"}
    defaults = {name: value for name, value in DEFAULTS.items() if name not in ("run_once", "next_run_configuration_exists")}

    def _select(self, call: Call, listing: Listing) -> Any:
        found = list(super()._select(call, listing))
        where = listing.query.where
        if not found and where is not None and "blank" in _names(where):
            without = _anywhere(where)
            query = Query(without, listing.query.sort, listing.query.page)
            found = list(super()._select(call, Listing(query, listing.limit, listing.case_sensitive)))
        return found

    def stamps(self, call: Call, listing: Listing) -> Any:
        return [(one.id, one.generation) for one in self._select(call, listing)]

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """Listed at once, ``locked``; ``ok`` when its VM's disks are copied."""
        wanted = template_making.translated(call, given)
        job = work.order(call, TemplateCreate, wanted)
        template_making.own(call, wanted.template_id)
        return Made(self.show(call, self.entities(call).need("template", wanted.template_id)), work.unfinished(job))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        """What it is called and says of new VMs; its disks, its VM and its number stay."""
        refuse_blank(identifier, "edit Template")
        fixed = {"vm", "cluster", "storage_domain", *vm_making.SUB_COLLECTIONS, *vm_config.TOLD}
        wanted = vm_config.without(given, fixed - {"status"})
        if "version" in wanted:
            wanted["version"] = {name: one for name, one in wanted["version"].items() if name == "version_name"}
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(("template", identifier))
            made = super().update(call, identifier, wanted)
            found = self.entities(call).need("template", identifier)
            vm_config.check(found.name, merged(self.defaults, found.body), "edit Template")
            tell(call, "USER_UPDATE_VM_TEMPLATE", {"template": identifier})
        return made

    def _keyed(self, entity: Entity) -> Entity:
        """Versions have the name of their base, and are told apart by their number."""
        base = entity.ref("base_template")
        keyed = super()._keyed(entity)
        return replace(keyed, unique_key=f"{base}/{number_of(entity)}") if base else keyed

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        refuse_blank(identifier, "delete Template")
        return work.done(call, TemplateRemove, RemoveTemplate(identifier))

    def show(self, call: Call, entity: Entity) -> Object:
        shown = self._shown(call, entity)
        base = entity.ref("base_template") or entity.id
        return {**shown, "version": {"version_number": 1, **(shown.get("version") or {}), "base_template": {"id": base}}}

    def _shown(self, call: Call, entity: Entity) -> Object:
        icons = {"large_icon": {"id": LARGE_ICON}, "small_icon": {"id": SMALL_ICON}}
        return {"creation_time": entity.created_ms, **icons, **super().show(call, entity)}


def refuse_blank(identifier: str, action: str) -> None:
    """Raises ``Conflict`` ``template.blank``."""
    if identifier == BLANK_TEMPLATE:
        reason = f"Cannot {action}. Blank Template cannot be edited or removed"
        raise Conflict("template.blank", subject="template Blank", reason=reason, remedy="Make a template of your own.")


def _names(where: Expression) -> set[str]:
    if isinstance(where, Compare):
        return {where.value.lower()} if where.path[-1].lower() == "name" and where.op == "=" else set()
    return {name for part in getattr(where, "parts", ()) for name in _names(part)}


def _anywhere(where: Expression) -> Expression | None:
    """The search without the data center."""
    if isinstance(where, Compare) and where.path[0].lower() in CENTER:
        return None
    if isinstance(where, And | Or):
        parts = tuple(part for part in map(_anywhere, where.parts) if part is not None)
        return parts[0] if len(parts) == 1 else type(where)(parts) if parts else None
    return where


class TemplateDiskAttachments(ReadOnlyStored):
    """The disks that a template has."""

    services, kind, entity = ("TemplateDiskAttachments",), "DiskAttachment", "disk_attachment"
    refs, parent_attribute = {"disk": "disk"}, "template"
    scopes, defaults = {"Template": Child()}, DiskAttachments.defaults


class TemplateNics(Stored):
    """A template's NICs: without addresses, which the NICs of VMs made from it get."""

    services, kind, entity, refs = ("TemplateNics",), "Nic", "nic", {"vnic_profile": "vnic_profile"}
    scopes, parent_attribute, defaults = {"Template": Child()}, "template", VmNics.defaults
    unique = False

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        with self._held(call) as template:
            new = vm_making.new_nic(call, given)
            need_free_name(self.entities(call), template, new.name)
            nic = Entity("nic", new.nic_id, new.name, new.attributes, parent=template.key)
            return Made(self.show(call, self.entities(call).add(with_profile(self.entities(call), nic, new.profile_id))))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        with self._held(call) as template:
            before, profile = self.mine(call, identifier), vm_making.profile_of(call, given)
            name = str(given.get("name") or before.name)
            need_free_name(self.entities(call), template, name, but=identifier)
            kept = {**vm_config.without(given, {"mac", "vnic_profile", "network"}), "name": name}

            def how(one: Entity) -> Entity:
                need_expected(call, one)
                after = self.apply(call, one, kept)
                return after if profile is None else with_profile(self.entities(call), after, profile)

            return self.show(call, self.entities(call).change("nic", identifier, how))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        with self._held(call):
            return super().remove(call, identifier, given)

    @contextmanager
    def _held(self, call: Call) -> Iterator[Entity]:
        """The template, while no job copies it and nobody else changes it."""
        with self.entities(call).connection.transaction():
            refuse_blank(call.parent_id, "edit Template")
            template = self.entities(call).change("template", call.parent_id, lambda before: before)
            call.engine.jobs.refuse_held(template.key)
            yield template


READ = (Templates, TemplateDiskAttachments, TemplateNics)
"""All of this file."""
