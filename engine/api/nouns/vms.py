"""VMs. What they are is in the store; the engine's own VM is seen through what the nodes tell of it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from appliance import layout
from appliance.codec import decode
from appliance.errors import Conflict, TrivetError
from appliance.model.cluster import EngineVm
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns import ref, vm_cloning, vm_growing, vm_guest, vm_making, vm_ovf, vm_viewer
from engine.api.nouns.built_in import LARGE_ICON, SMALL_ICON
from engine.api.nouns.vm_actions import ACTIONS
from engine.api.parameters import Listing
from engine.api.stored import GENERATED, NOT_BODY, Stored, gone, need_expected
from engine.api.tell import tell
from engine.builtin import BLANK_TEMPLATE
from engine.core import Engine
from engine.decide import vm_config
from engine.decide.merge import merged
from engine.decide.vm_config import NEXT_EXISTS
from engine.inventory import derived_id
from engine.jobs import vm_create
from engine.jobs.vm_create import VmCreate
from engine.jobs.vm_remove import RemoveVm, VmRemove
from engine.store.entity import Entity

POWER = {
    "running": "up",
    "paused": "paused",
    "paused-io-error": "paused",
    "shutting-down": "powering_down",
    "off": "down",
    "crashed": "down",
    "migrating": "migrating",
}


DEFAULTS: Mapping[str, Any] = {
    "bios": {"boot_menu": {"enabled": False}, "type": "q35_sea_bios"},
    "cpu": {"architecture": "x86_64", "topology": {"cores": 1, "sockets": 1, "threads": 1}},
    "cpu_shares": 0,
    "delete_protected": False,
    "display": {
        "allow_override": False,
        "copy_paste_enabled": True,
        "disconnect_action": "LOCK_SCREEN",
        "file_transfer_enabled": True,
        "monitors": 1,
        "smartcard_enabled": False,
        "type": "vnc",
    },
    "has_illegal_images": False,
    "high_availability": {"enabled": False, "priority": 0},
    "io": {"threads": 0},
    "large_icon": {"id": LARGE_ICON},
    "small_icon": {"id": SMALL_ICON},
    "memory": 1024**3,
    "memory_policy": {"ballooning": True, "guaranteed": 1024**3, "max": 4 * 1024**3},
    "migration": {"auto_converge": "inherit", "compressed": "inherit", "encrypted": "inherit"},
    "migration_downtime": -1,
    "multi_queues_enabled": True,
    "next_run_configuration_exists": False,
    "origin": "ovirt",
    "os": {"boot": {"devices": ["hd"]}, "type": "other"},
    "placement_policy": {"affinity": "migratable"},
    "run_once": False,
    "sso": {"methods": []},
    "start_paused": False,
    "stateless": False,
    "storage_error_resume_behaviour": "auto_resume",
    "time_zone": {"name": "Etc/GMT"},
    "type": "server",
    "usb": {"enabled": False},
    "virtio_scsi": {"enabled": True},
}
"""What v4 always sends of a VM that says nothing else."""


class Vms(Stored):
    """All VMs. What depends on more than the entity (the engine's own) is part of what :meth:`stamps` counts as a change."""

    services: ClassVar[tuple[str, ...]] = ("Vms",)
    kind, entity = "Vm", "vm"
    refs = {
        "cluster": "cluster",
        "template": "template",
        "host": "host",
        "cpu_profile": "cpu_profile",
        "quota": "quota",
        "vm_pool": "vm_pool",
        "instance_type": "instance_type",
    }
    defaults = DEFAULTS
    actions = ACTIONS

    def get(self, call: Call, identifier: str) -> Object | None:
        found = self.find(call, identifier)
        if found is not None and call.parameters.flag("next_run"):
            found = replace(found, body={**vm_config.with_next_run(found.body), NEXT_EXISTS: NEXT_EXISTS in found.body})
        return None if found is None else self._with_screen(call, found)

    def _with_screen(self, call: Call, vm: Entity) -> Object:
        """With the address and port of its screen while it runs. Only its host knows the port, which libvirt gives at each
        start and move: so it is asked when somebody reads one VM, and lists, which say nothing of it, ask nobody."""
        shown = self.show(call, vm)
        if vm.id == call.engine.founded.engine.id or vm.status not in vm_viewer.SEEN:
            return shown
        if call.engine.view().vm_of(vm.id) is None:
            return shown  # no host has said lately that it has it: a silent one would keep the caller waiting
        try:
            where = vm_viewer.current(call, vm)
        except TrivetError:
            return shown  # it ended, or moved on, between its host's last word and ours
        return {**shown, "display": {**shown["display"], **where}}

    def show(self, call: Call, entity: Entity) -> Object:
        value: dict[str, Any] = {
            "creation_time": entity.created_ms,
            "original_template": ref(BLANK_TEMPLATE),
            "stop_time": entity.created_ms,
            "quota": ref(derived_id(call.engine.founded.id, "quota")),
            "cpu_profile": ref(derived_id(call.engine.founded.id, "cpu-profile")),
            "status": "down",
            **super().show(call, entity),
            **vm_guest.told(entity),
        }
        if entity.id != call.engine.founded.engine.id:
            return vm_ovf.shown(call, entity, value)
        return {**value, **engine_vm(call.engine, entity), GENERATED: _seen(call.engine, entity.generation)}

    def stamps(self, call: Call, listing: Listing) -> Sequence[tuple[str, int]] | None:
        if call.parameters.flag("all_content"):
            return None  # its OVF has its disks and NICs, which change without it
        found = super().stamps(call, listing)
        own = call.engine.founded.engine.id
        return found and [(one, _seen(call.engine, count) if one == own else count) for one, count in found]

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """A VM without new disks is there at once; one with new disks when a job has made their images. With ``snapshots``
        it is a copy of what that snapshot keeps."""
        if given.get("snapshots"):
            cloned = vm_cloning.of_snapshot(call, given)
            job = vm_cloning.order(call, cloned)
            return Made(self.show(call, self.entities(call).need("vm", cloned.new.vm_id)), work.unfinished(job))
        wanted = vm_making.translated(call, vm_ovf.completed(call, given))
        if wanted.disks:
            job = work.order(call, VmCreate, wanted)
            vm_making.own(call, wanted)
            return Made(self.show(call, self.entities(call).need("vm", wanted.vm_id)), work.unfinished(job))
        with call.engine.store.connection.transaction():
            vm_create.check(self.entities(call), wanted)
            vm_create.enter(self.entities(call), wanted)
            vm_making.own(call, wanted)
            tell(call, "USER_ADD_VM", {"vm": wanted.vm_id})
        return Made(self.show(call, self.entities(call).need("vm", wanted.vm_id)))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        """What a running machine is made of changes when it starts next, but for what it can be given while it runs."""
        if self.find(call, identifier) is None:
            raise gone(self.kind, identifier)
        if "template" in given or "cluster" in given:
            _same_place(self.entities(call).need("vm", identifier), given)
        given = vm_config.without(given, {*vm_making.SUB_COLLECTIONS, *vm_config.TOLD, "template"})
        given = vm_ovf.without_ovf(given)
        all_later = bool(call.parameters.flag("next_run"))

        def how(before: Entity) -> Entity:
            need_expected(call, before)
            refs = {name: value for name, value in given.items() if name in self.refs}
            body = vm_config.without(given, {*refs, *NOT_BODY})
            after = self.apply(call, before, {**refs, **({"name": given["name"]} if "name" in given else {})})
            if identifier == call.engine.founded.engine.id:
                return self._keyed(self.apply(call, after, body))
            runs = before.status not in ("", "down")
            definition, _waiting = vm_config.with_changes(before.body, body, runs=runs, all_later=all_later)
            vm_config.check(after.name, merged(self.defaults, vm_config.with_next_run(definition)), "edit VM")
            return self._keyed(replace(after, body=definition))

        with call.engine.store.connection.transaction():
            call.engine.jobs.refuse_held(("vm", identifier))
            made = self.entities(call).change(self.entity, identifier, how)
            tell(call, "USER_UPDATE_VM", {"vm": identifier})
        if all_later or identifier == call.engine.founded.engine.id:
            return self.show(call, made)
        vm_growing.grow(call, made, given.keys())
        return self.show(call, self.entities(call).need("vm", identifier))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """Its disks go with it, unless ``detach_only`` says otherwise."""
        vm_making.refuse_engine(call, identifier, "remove VM")
        return work.done(call, VmRemove, RemoveVm(identifier, bool(call.parameters.flag("detach_only"))))


def _same_place(before: Entity, given: dict[str, Any]) -> None:
    """A VM stays what it was made of, and moves to another cluster only while it does not run."""
    template, cluster = (str((given.get(name) or {}).get("id") or "") for name in ("template", "cluster"))
    if template and template != before.ref("template"):
        reason = "Cannot edit VM. Its template cannot be changed"
        raise Conflict("vm.template", subject=f"VM {before.name}", reason=reason, remedy="Make a new VM from that template.")
    if cluster and cluster != before.ref("cluster") and before.status not in ("", "down"):
        reason = f"Cannot edit VM. Its cluster can be changed only while it is down, it is {before.status}"
        raise Conflict("vm.runs", subject=f"VM {before.name}", reason=reason, remedy="Shut it down first.")


def _seen(engine: Engine, generation: int) -> int:
    """A number for the engine VM that changes with what is shown of it."""
    found = engine.view().vm(layout.ENGINE_VM_NAME)
    told = f"{generation} {found[1].power if found else ''} {found[0].member.id if found else ''} {engine.start.epoch}"
    return zlib.crc32(told.encode()) + 2**32


def engine_vm(engine: Engine, entity: Entity) -> dict[str, Any]:
    """What is special about the VM that we run in."""
    shape = decode(EngineVm, entity.body["trivet_engine"], subject=f"VM {entity.name}", ignore_unknown=True)
    found = engine.view().vm(entity.name)
    memory = shape.memory_mib * 1024 * 1024
    host = found[0].member if found else engine.cluster.member(engine.start.host)
    starts = engine.store.starts()
    began = starts[0].wall_ms if starts else engine.now_ms()
    return {
        "description": "The engine itself",
        "cpu": {"architecture": "x86_64", "topology": {"cores": 1, "sockets": shape.cpus, "threads": 1}},
        "cpu_shares": 1024,
        "creation_time": starts[-1].wall_ms if starts else began,
        "custom_cpu_model": layout.GUEST_CPU_MODEL,
        "delete_protected": True,
        "fqdn": shape.fqdn,
        "high_availability": {"enabled": True, "priority": 100},
        "host": ref(host.id) if host else None,
        "memory": memory,
        "memory_policy": {"ballooning": False, "guaranteed": memory, "max": memory},
        "migration": {"auto_converge": "inherit", "compressed": "inherit", "encrypted": "true"},
        "origin": "managed_hosted_engine",
        "os": {"boot": {"devices": ["hd"]}, "type": "other_linux"},
        "start_time": began,
        # We answer, so the VM runs, even before a node has said so.
        "status": POWER[found[1].power] if found else "up",
        "stop_time": began,
        "storage_error_resume_behaviour": "kill",
    }
