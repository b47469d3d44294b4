"""VMs. What they are is in the store; the engine's own VM is seen through what the nodes tell of it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from appliance import layout
from appliance.codec import decode
from appliance.model.cluster import EngineVm
from engine.api.documents import Object
from engine.api.noun import Call, Noun
from engine.api.nouns import ref
from engine.api.nouns.built_in import LARGE_ICON, SMALL_ICON
from engine.api.parameters import Listing
from engine.api.stored import GENERATED, Stored
from engine.builtin import BLANK_TEMPLATE
from engine.core import Engine
from engine.inventory import derived_id
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
    }
    defaults = DEFAULTS
    add = Noun.add
    remove = Noun.remove

    def show(self, call: Call, entity: Entity) -> Object:
        value: dict[str, Any] = {
            "creation_time": entity.created_ms,
            "original_template": ref(BLANK_TEMPLATE),
            "stop_time": entity.created_ms,
            "quota": ref(derived_id(call.engine.cluster.id, "quota")),
            "cpu_profile": ref(derived_id(call.engine.cluster.id, "cpu-profile")),
            "status": "down",
            **super().show(call, entity),
        }
        if entity.id != call.engine.cluster.engine.id:
            return value
        return {**value, **engine_vm(call.engine, entity), GENERATED: _seen(call.engine, entity.generation)}

    def stamps(self, call: Call, listing: Listing) -> Sequence[tuple[str, int]] | None:
        found = super().stamps(call, listing)
        own = call.engine.cluster.engine.id
        return found and [(one, _seen(call.engine, count) if one == own else count) for one, count in found]


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


def statistics(engine: Engine, identifier: str) -> list[dict[str, Any]]:
    """A VM's statistics. Empty while it does not run."""
    entity = engine.store.entities.get("vm", identifier)
    found = engine.view().vm(entity.name) if entity else None
    if found is None:
        return []
    vm = found[1]
    values = (
        ("memory.installed", "Total memory configured", "gauge", "bytes", "integer", float(vm.memory_mib * 1024 * 1024)),
        ("cpu.usage.time", "CPU time used since the start", "counter", "seconds", "decimal", vm.cpu_time_s),
    )
    return [
        {
            "id": derived_id(identifier, name),
            "name": name,
            "description": text,
            "kind": kind,
            "unit": unit,
            "type": shape,
            "values": [{"datum": value if shape == "decimal" else int(value)}],
            "vm": ref(identifier),
        }
        for name, text, kind, unit, shape, value in values
    ]
