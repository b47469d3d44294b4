"""Templates, as far as they are read: jobs make and change them."""

from __future__ import annotations

from typing import Any

from engine.api.documents import Object
from engine.api.noun import Call
from engine.api.nouns.built_in import LARGE_ICON, SMALL_ICON
from engine.api.nouns.vm_devices import DiskAttachments, VmNics
from engine.api.nouns.vms import DEFAULTS
from engine.api.parameters import Listing
from engine.api.stored import Child, ReadOnlyStored
from engine.decide.search import And, Compare, Expression, Or, Query
from engine.store.entity import Entity

CENTER = frozenset({"datacenter", "data_center", "datacenters"})


class Templates(ReadOnlyStored):
    """Templates. Blank belongs to every data center: clients look for it as ``name=Blank and datacenter=X``."""

    services, kind, entity = ("Templates",), "Template", "template"
    refs = {"cluster": "cluster"}
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

    def show(self, call: Call, entity: Entity) -> Object:
        icons = {"large_icon": {"id": LARGE_ICON}, "small_icon": {"id": SMALL_ICON}}
        return {"creation_time": entity.created_ms, **icons, **super().show(call, entity)}


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


class TemplateNics(ReadOnlyStored):
    """A template's NICs."""

    services, kind, entity, refs = ("TemplateNics",), "Nic", "nic", {"vnic_profile": "vnic_profile"}
    scopes, parent_attribute, defaults = {"Template": Child()}, "template", VmNics.defaults


READ = (Templates, TemplateDiskAttachments, TemplateNics)
"""All of this file."""
