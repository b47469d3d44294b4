"""NICs and disk attachments of a VM. While it does not run they are rows; while it runs a change is a job that plugs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from appliance.errors import Conflict
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns import vm_making
from engine.api.stored import Child, Stored
from engine.api.tell import tell
from engine.decide import vm_config
from engine.decide.mac import normal
from engine.decide.merge import merged
from engine.jobs import vm_nics
from engine.jobs.layers import refuse_kept
from engine.jobs.vm_create import AddedDisk
from engine.jobs.vm_disks import AddVmDisk, PlugDisk, UnplugDisk, VmAddDisk, VmPlugDisk, VmUnplugDisk, is_hot
from engine.jobs.vm_nics import PlugNic, SetNic, UnplugNic, VmPlugNic, VmSetNic, VmUnplugNic
from engine.jobs.vm_parts import (
    NewAttachment,
    add_nic,
    attach,
    attachment_of,
    check_only_bootable,
    mac_used,
    need_free_name,
)
from engine.jobs.vm_place import ANSWERING, runs
from engine.store.entity import Entity


def vm_of(call: Call) -> Entity:
    """The VM that a collection belongs to."""
    return call.engine.store.entities.need("vm", call.parent_id)


def need_quiet(vm: Entity, action: str) -> None:
    """Raises ``Conflict`` ``vm.status`` for a change of what a machine is made of, where it has one that cannot change
    now."""
    if vm.status == "suspended" or (runs(vm) and vm.status not in ANSWERING):
        reason = f"Cannot {action}. VM is {vm.status}"
        raise Conflict("vm.status", subject=f"VM {vm.name}", reason=reason, remedy="Wait until it is up or down.")


class VmNics(Stored):
    """A VM's NICs."""

    services, kind, entity, refs = ("VmNics",), "Nic", "nic", {"vnic_profile": "vnic_profile"}
    scopes, parent_attribute = {"Vm": Child()}, "vm"
    defaults = {"interface": "virtio", "linked": True, "plugged": True, "synced": True}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        vm, new = vm_of(call), vm_making.new_nic(call, given)
        vm_making.refuse_engine(call, vm.id, "add VM Interface")
        need_quiet(vm, "add VM Interface")
        if vm.status in ANSWERING and new.attributes.get("plugged") is not False:
            job = work.awaited(call, VmPlugNic, PlugNic(vm.id, new.nic_id, new))
            return Made(self._now(call, new.nic_id), work.unfinished(job))
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(vm.key)
            add_nic(self.entities(call), vm, new)
            tell(call, "NETWORK_ADD_VM_INTERFACE", {"vm": vm.id, "nic": new.nic_id})
        return Made(self._now(call, new.nic_id))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        nic, vm = self.mine(call, identifier), vm_of(call)
        wanted = self._wanted(call, nic, given)
        need_quiet(vm, "edit VM Interface")
        is_in = nic.body.get("plugged") is not False
        if vm.status in ANSWERING and is_in and self._needs_unplug(nic, wanted):
            reason = "Cannot edit VM Interface. Its address and model can be changed only while it is unplugged"
            raise Conflict("nic.plugged", subject=f"NIC {nic.name}", reason=reason, remedy="Deactivate it first.")
        if vm.status in ANSWERING and is_in:
            work.awaited(call, VmSetNic, wanted)
        else:
            with call.engine.store.connection.transaction():
                call.engine.jobs.refuse_held(vm.key, nic.key)
                self.entities(call).change("nic", nic.id, lambda one: self._keyed_mac(call, vm, one, wanted))
                tell(call, "NETWORK_UPDATE_VM_INTERFACE", {"vm": vm.id, "nic": nic.id})
        if "plugged" in given and bool(given["plugged"]) != is_in:
            self._plug(call, nic.id, is_in=bool(given["plugged"]))
        return self._now(call, identifier)

    def _wanted(self, call: Call, nic: Entity, given: Mapping[str, Any]) -> SetNic:
        name = str(given.get("name") or nic.name)
        if name != nic.name:
            need_free_name(self.entities(call), vm_of(call), name, but=nic.id)
        attributes = {
            **vm_making.new_nic(call, given).attributes,
            **(
                {"mac": {"address": normal(str(given["mac"]["address"]))}} if (given.get("mac") or {}).get("address") else {}
            ),
        }
        kept = vm_config.without(attributes, {"plugged"})
        return SetNic(str(nic.parent and nic.parent[1]), nic.id, name, kept, vm_making.profile_of(call, given))

    @staticmethod
    def _needs_unplug(nic: Entity, wanted: SetNic) -> bool:
        return any(
            name in wanted.attributes and wanted.attributes[name] != nic.body.get(name, VmNics.defaults.get(name))
            for name in ("mac", "interface")
        )

    def _keyed_mac(self, call: Call, vm: Entity, before: Entity, wanted: SetNic) -> Entity:
        after = vm_nics.changed_nic(self.entities(call), before, wanted)
        address = str(after.body["mac"]["address"])
        if address == before.body["mac"]["address"]:
            return after
        if address in self.entities(call).unique_keys("nic"):
            raise mac_used(vm, address)
        return replace(after, unique_key=address)

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        nic, vm = self.mine(call, identifier), vm_of(call)
        need_quiet(vm, "remove VM Interface")
        if vm.status in ANSWERING and nic.body.get("plugged") is not False:
            return work.told(work.awaited(call, VmUnplugNic, UnplugNic(vm.id, nic.id, remove=True)))
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(vm.key, nic.key)
            tell(call, "NETWORK_REMOVE_VM_INTERFACE", {"vm": vm.id, "nic": nic.id})
            self.entities(call).remove("nic", nic.id)
        return Done()

    def _plug(self, call: Call, nic_id: str, *, is_in: bool) -> Done:
        vm = vm_of(call)
        need_quiet(vm, "plug VM Interface" if is_in else "unplug VM Interface")
        if (self.mine(call, nic_id).body.get("plugged") is not False) == is_in:
            return Done()
        if vm.status in ANSWERING:
            if is_in:
                return work.told(work.awaited(call, VmPlugNic, PlugNic(vm.id, nic_id)))
            return work.told(work.awaited(call, VmUnplugNic, UnplugNic(vm.id, nic_id, remove=False)))
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(vm.key, ("nic", nic_id))
            vm_nics.plugged(self.entities(call), nic_id, is_in=is_in)
            word = "ACTIVATE" if is_in else "DEACTIVATE"
            tell(call, f"NETWORK_{word}_VM_INTERFACE_SUCCESS", {"vm": vm.id, "nic": nic_id})
        return Done()

    def _activate(self, call: Call, identifier: str, given: Object) -> Done:
        return self._plug(call, identifier, is_in=True)

    def _deactivate(self, call: Call, identifier: str, given: Object) -> Done:
        return self._plug(call, identifier, is_in=False)

    actions = {"activate": _activate, "deactivate": _deactivate}

    def _now(self, call: Call, identifier: str) -> Object:
        return self.show(call, self.entities(call).need("nic", identifier))


class DiskAttachments(Stored):
    """How a VM has its disks: the id of an attachment is its disk's."""

    services, kind, entity, unique = ("DiskAttachments",), "DiskAttachment", "disk_attachment", False
    refs, parent_attribute = {"disk": "disk"}, "vm"
    scopes = {"Vm": Child()}
    defaults = {
        "active": True,
        "bootable": False,
        "interface": "virtio_scsi",
        "logical_name": "",
        "pass_discard": False,
        "read_only": False,
        "uses_scsi_reservation": False,
    }

    def find(self, call: Call, identifier: str) -> Entity | None:
        return attachment_of(self.entities(call), call.parent_id, identifier)

    def show(self, call: Call, entity: Entity) -> Object:
        return {**super().show(call, entity), "id": entity.ref("disk") or entity.id}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """A disk that is there is attached; one that is only described is made, attached, and plugged in if the VM runs."""
        vm = vm_of(call)
        vm_making.refuse_engine(call, vm.id, "add Virtual Disk")
        need_quiet(vm, "add Virtual Disk")
        disk_id = str((given.get("disk") or {}).get("id") or "")
        if not disk_id:
            count = len(self.entities(call).children(vm.key, "disk_attachment"))
            return self._make(call, vm, vm_making.new_disk(call, given, vm.name, count + 1))
        call.rights.need("attach_disk", ("disk", disk_id))
        attributes = vm_making.attributes_of(given)
        if is_hot(vm, attributes):
            job = work.awaited(call, VmPlugDisk, PlugDisk(vm.id, disk_id, attributes))
            return Made(self._now(call, disk_id), work.unfinished(job))
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(vm.key, ("disk", disk_id))
            attach(self.entities(call), vm, NewAttachment(disk_id, attributes))
            tell(call, "USER_ATTACH_DISK_TO_VM", {"vm": vm.id, "disk": disk_id})
        return Made(self._now(call, disk_id))

    def _make(self, call: Call, vm: Entity, new: AddedDisk) -> Made:
        job = work.order(call, VmAddDisk, AddVmDisk(vm.id, new))
        return Made(self._now(call, new.disk.disk_id), work.unfinished(job))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        attachment, vm = self.mine(call, identifier), vm_of(call)
        disk_id = attachment.ref("disk")
        need_quiet(vm, "edit Virtual Disk")
        wanted = vm_making.attributes_of(given)
        is_in = attachment.body.get("active") is not False
        to_be = wanted.pop("active", is_in)
        differs = {name for name, value in wanted.items() if value != attachment.body.get(name, self.defaults.get(name))}
        if (
            vm.status in ANSWERING
            and is_in
            and differs & {"interface", "read_only", "pass_discard", "uses_scsi_reservation"}
        ):
            reason = "Cannot edit Virtual Disk. How a disk is plugged in can be changed only while it is not"
            raise Conflict("disk.plugged", subject=f"disk {disk_id}", reason=reason, remedy="Deactivate it first.")
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(vm.key, ("disk", disk_id))
            if wanted.get("bootable"):
                others = self.entities(call).children(vm.key, "disk_attachment")
                check_only_bootable(vm, [one for one in others if one.id != attachment.id])
            self.entities(call).change(
                "disk_attachment", attachment.id, lambda one: one.with_body(**merged(one.body, wanted))
            )
        if bool(to_be) != is_in:
            self._activate(call, vm, disk_id, active=bool(to_be))
        if set(given.get("disk") or {}) - {"id", "href"}:
            below = call.below("Disks", "")
            call.nouns["Disks"].update(below, disk_id, dict(given["disk"]))
        return self._now(call, disk_id)

    def _activate(self, call: Call, vm: Entity, disk_id: str, *, active: bool) -> None:
        if vm.status in ANSWERING:
            if active:
                work.awaited(call, VmPlugDisk, PlugDisk(vm.id, disk_id))
            else:
                work.awaited(call, VmUnplugDisk, UnplugDisk(vm.id, disk_id, detach=False))
            return
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(vm.key, ("disk", disk_id))
            attachment = self.mine(call, disk_id)
            self.entities(call).change("disk_attachment", attachment.id, lambda one: one.with_body(active=active))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """Detach it; ``detach_only=false`` removes the disk itself, too."""
        attachment, vm = self.mine(call, identifier), vm_of(call)
        disk_id = attachment.ref("disk")
        need_quiet(vm, "detach Virtual Disk")
        if call.parameters.flag("detach_only") is False:
            return self._remove_disk(call, vm, disk_id)
        if vm.status in ANSWERING and attachment.body.get("active") is not False:
            return work.told(work.awaited(call, VmUnplugDisk, UnplugDisk(vm.id, disk_id, detach=True)))
        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(vm.key, ("disk", disk_id))
            refuse_kept(self.entities(call), self.entities(call).need("disk", disk_id), "detach Virtual Disk")
            tell(call, "USER_DETACH_DISK_FROM_VM", {"vm": vm.id, "disk": disk_id})
            self.entities(call).remove("disk_attachment", attachment.id)
        return Done()

    def _remove_disk(self, call: Call, vm: Entity, disk_id: str) -> Done:
        call.rights.need("delete_disk", ("disk", disk_id))
        if runs(vm) and self.mine(call, disk_id).body.get("active") is not False:
            reason = "Cannot remove Virtual Disk. It is plugged into a VM that runs"
            raise Conflict("disk.in-use", subject=f"disk {disk_id}", reason=reason, remedy="Deactivate it first.")
        return call.nouns["Disks"].remove(call.below("Disks", ""), disk_id, {})

    def _now(self, call: Call, disk_id: str) -> Object:
        found = self.find(call, disk_id)
        return self.show(call, found) if found else {"id": disk_id}


DEVICES: Sequence[type[Stored]] = (VmNics, DiskAttachments)
"""All of this file."""
