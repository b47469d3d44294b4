"""A VM's screens and its CD drive: a few values of the VM itself, which v4 shows as collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.errors import Conflict
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns import vm_making, vm_viewer
from engine.api.nouns.vm_devices import vm_of
from engine.api.observed import Rows
from engine.api.stored import gone
from engine.jobs.vm_cd import ChangeCd, VmChangeCd, need_iso
from engine.jobs.vm_place import ANSWERING
from engine.jobs.vm_spec import CONSOLES, SCREENS

CD_ID = "00000000-0000-0000-0000-000000000000"
"""oVirt's id of the one drive of each VM."""


class VmGraphicsConsoles(Rows):
    """A VM's screens. Its id is made of its protocol, as oVirt's is."""

    services, kind = ("VmGraphicsConsoles",), "GraphicsConsole"
    actions = {"ticket": vm_viewer.ticket, "remoteviewerconnectionfile": vm_viewer.connection_file}
    forms = {vm_viewer.VIEWER_TYPE: ("remoteviewerconnectionfile", vm_viewer.connection_text)}

    def rows(self, call: Call) -> Sequence[Object]:
        protocols = vm_of(call).body.get(CONSOLES, SCREENS)
        return [{"id": one.encode().hex(), "protocol": one, "vm": {"id": call.parent_id}} for one in protocols]

    def serves_below(self, parent: str) -> bool:
        return parent == "Vm"

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        protocol = str(given["protocol"])
        vm_making.refuse_engine(call, call.parent_id, "add Graphics Console")
        if protocol not in SCREENS:
            reason = f"Cannot add Graphics Console. {protocol} is not supported here, only {', '.join(SCREENS)} is"
            raise Conflict("vm.console", subject=f"VM {vm_of(call).name}", reason=reason, remedy="Ask for vnc.")
        has = tuple(vm_of(call).body.get(CONSOLES, SCREENS))
        if protocol in has:
            reason = f"Cannot add Graphics Console. The VM has one of protocol {protocol} already"
            raise Conflict("vm.console", subject=f"VM {vm_of(call).name}", reason=reason, remedy="Nothing is needed.")
        self._set(call, (*has, protocol))
        return Made({"id": protocol.encode().hex(), "protocol": protocol, "vm": {"id": call.parent_id}})

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """A VM without any is headless, from its next start on."""
        vm_making.refuse_engine(call, call.parent_id, "remove Graphics Console")
        has = tuple(vm_of(call).body.get(CONSOLES, SCREENS))
        left = tuple(one for one in has if one.encode().hex() != identifier)
        if left == has:
            raise gone(self.kind, identifier)
        self._set(call, left)
        return Done()

    @staticmethod
    def _set(call: Call, protocols: tuple[str, ...]) -> None:
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(("vm", call.parent_id))
            change = {CONSOLES: list(protocols)}
            call.engine.store.entities.change("vm", call.parent_id, lambda vm: vm.with_body(**change))


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


SCREENS_AND_DRIVES = (VmGraphicsConsoles, VmCdroms)
"""All of this file."""
