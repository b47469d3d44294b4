"""Screens and the CD drive: a few values of the VM (or template) itself, which v4 shows as collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from appliance.errors import Conflict
from engine.api import work
from engine.api.documents import Object
from engine.api.model import model
from engine.api.noun import Call, Done, Made
from engine.api.nouns import vm_making, vm_viewer
from engine.api.nouns.templates import refuse_blank
from engine.api.nouns.vm_devices import vm_of
from engine.api.observed import Rows
from engine.api.stored import gone, owner
from engine.jobs.vm_cd import ChangeCd, VmChangeCd, need_iso
from engine.jobs.vm_place import ANSWERING
from engine.jobs.vm_spec import CONSOLES, SCREENS
from engine.store.entity import Entity

CD_ID = "00000000-0000-0000-0000-000000000000"
"""oVirt's id of the one drive of each VM."""


class _Screens(Rows):
    """Screens of a VM or a template: protocols in its body. An id is made of its protocol, as oVirt's is."""

    kind = "GraphicsConsole"
    parent: ClassVar[str] = ""
    """The struct of whose they are."""

    def rows(self, call: Call) -> Sequence[Object]:
        protocols = self._owner(call).body.get(CONSOLES, SCREENS)
        whose = model().struct(self.parent).singular
        return [{"id": one.encode().hex(), "protocol": one, whose: {"id": call.parent_id}} for one in protocols]

    def serves_below(self, parent: str) -> bool:
        return parent == self.parent

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        protocol = str(given["protocol"])
        self._refuse(call, "add Graphics Console")
        subject = f"{self.parent.upper() if self.parent == 'Vm' else self.parent} {self._owner(call).name}"
        if protocol not in SCREENS:
            reason = f"Cannot add Graphics Console. {protocol} is not supported here, only {', '.join(SCREENS)} is"
            raise Conflict("vm.console", subject=subject, reason=reason, remedy="Ask for vnc.")
        has = tuple(self._owner(call).body.get(CONSOLES, SCREENS))
        if protocol in has:
            reason = f"Cannot add Graphics Console. The {subject.split()[0]} has one of protocol {protocol} already"
            raise Conflict("vm.console", subject=subject, reason=reason, remedy="Nothing is needed.")
        self._set(call, (*has, protocol))
        return Made(next(one for one in self.rows(call) if one["protocol"] == protocol))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """A machine without any is headless, from its next start on."""
        self._refuse(call, "remove Graphics Console")
        has = tuple(self._owner(call).body.get(CONSOLES, SCREENS))
        left = tuple(one for one in has if one.encode().hex() != identifier)
        if left == has:
            raise gone(self.kind, identifier)
        self._set(call, left)
        return Done()

    def _owner(self, call: Call) -> Entity:
        return call.engine.store.entities.need(*owner(call))

    def _refuse(self, call: Call, action: str) -> None:
        """Raises ``Conflict`` for whose screens are not changed."""
        raise NotImplementedError(f"{type(self).__name__} refuses nobody")

    def _set(self, call: Call, protocols: tuple[str, ...]) -> None:
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(owner(call))
            change = {CONSOLES: list(protocols)}
            call.engine.store.entities.change(*owner(call), lambda one: one.with_body(**change))


class TemplateGraphicsConsoles(_Screens):
    """The screens that VMs made of a template begin with."""

    services, parent = ("TemplateGraphicsConsoles",), "Template"

    def _refuse(self, call: Call, action: str) -> None:
        refuse_blank(call.parent_id, action)


class VmGraphicsConsoles(_Screens):
    """A VM's screens. With ``current=true`` those of the machine that runs, and where they are."""

    services, parent = ("VmGraphicsConsoles",), "Vm"
    refused_actions = {
        "proxyticket": (
            "Cannot get proxy ticket. There is no proxy: a screen is reached at its host",
            "Ask for remoteviewerconnectionfile, or for a ticket and the console with current=true.",
        ),
    }
    actions = {"ticket": vm_viewer.ticket, "remoteviewerconnectionfile": vm_viewer.connection_file}
    forms = {vm_viewer.VIEWER_TYPE: ("remoteviewerconnectionfile", vm_viewer.connection_text)}

    def rows(self, call: Call) -> Sequence[Object]:
        if not call.parameters.flag("current"):
            return super().rows(call)
        where = vm_viewer.current(call, vm_of(call))
        return [{**one, **where} for one in super().rows(call)] if where else []

    def _refuse(self, call: Call, action: str) -> None:
        vm_making.refuse_engine(call, call.parent_id, action)


class VmCdroms(Rows):
    """A VM's CD drive: every machine has one."""

    services, kind = ("VmCdroms",), "Cdrom"

    def rows(self, call: Call) -> Sequence[Object]:
        return [self._shown(call)]

    def serves_below(self, parent: str) -> bool:
        return parent == "Vm"

    def _shown(self, call: Call) -> Object:
        iso = vm_of(call).ref("iso")
        disk = call.engine.store.entities.get("disk", iso) if iso else None
        file = {"file": {"id": disk.id, "name": disk.name}} if disk else {}
        return {"id": CD_ID, "vm": {"id": call.parent_id}, **file}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        return Made(self.update(call, CD_ID, given))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        """``file.id`` is an ISO disk; empty: none. With ``current=true`` it goes into a running machine's drive as well."""
        if identifier != CD_ID:
            raise gone(self.kind, identifier)
        vm_making.refuse_engine(call, call.parent_id, "change CD")
        disk_id = str((given.get("file") or {}).get("id") or "")
        if disk_id and not call.rights.sees(("disk", disk_id)):
            raise gone("Disk", disk_id)
        if call.parameters.flag("current") and vm_of(call).status in ANSWERING:
            work.awaited(call, VmChangeCd, ChangeCd(call.parent_id, disk_id))
            return self._shown(call)
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(("vm", call.parent_id))
            if disk_id:
                need_iso(call.engine.store.entities, disk_id)
            call.engine.store.entities.change("vm", call.parent_id, lambda vm: vm.with_refs(iso=disk_id or ()))
        return self._shown(call)


SCREENS_AND_DRIVES = (VmGraphicsConsoles, TemplateGraphicsConsoles, VmCdroms)
"""All of this file."""
