"""VMs: for now the engine's own, whose state the nodes tell."""

from __future__ import annotations

from typing import Any

from appliance import layout
from appliance.codec import decode
from appliance.model.cluster import EngineVm
from engine.api.documents import BASE, Link
from engine.api.nouns import ref, when
from engine.core import Engine
from engine.decide.view import View
from engine.inventory import derived_id
from engine.store.records import ItemRecord

BLANK_TEMPLATE = "00000000-0000-0000-0000-000000000000"
"""oVirt's id of the template Blank: part of the API."""
POWER = {
    "running": "up",
    "paused": "paused",
    "paused-io-error": "paused",
    "shutting-down": "powering_down",
    "off": "down",
    "crashed": "down",
    "migrating": "migrating",
}


def rows(engine: Engine) -> list[dict[str, Any]]:
    """All VMs, by name."""
    view = engine.view()
    return [_vm(engine, view, item) for item in engine.store.items("vm")]


def _vm(engine: Engine, view: View, item: ItemRecord) -> dict[str, Any]:
    shape = decode(EngineVm, item.body["engine"], subject=f"VM {item.name}", ignore_unknown=True)
    found = view.vm(item.name)
    place = f"{BASE}/vms/{item.id}"
    memory = shape.memory_mib * 1024 * 1024
    host = found[0].member if found else engine.cluster.member(engine.start.host)
    starts = engine.store.starts()
    began = starts[0].wall_ms if starts else engine.now_ms()
    return {
        "href": place,
        "id": item.id,
        "name": item.name,
        "comment": "",
        "description": "The engine itself",
        "bios": {"boot_menu": {"enabled": False}, "type": "q35_sea_bios"},
        "cluster": ref("clusters", str(item.body["cluster"])),
        "cpu": {"architecture": "x86_64", "topology": {"cores": 1, "sockets": shape.cpus, "threads": 1}},
        "cpu_profile": {"id": derived_id(engine.cluster.id, "cpu-profile")},
        "cpu_shares": 1024,
        "creation_time": when(starts[-1].wall_ms if starts else began),
        "custom_cpu_model": layout.GUEST_CPU_MODEL,
        "delete_protected": True,
        "display": {
            "allow_override": False,
            "copy_paste_enabled": False,
            "disconnect_action": "LOCK_SCREEN",
            "file_transfer_enabled": False,
            "monitors": 1,
            "smartcard_enabled": False,
            "type": "vnc",
        },
        "fqdn": shape.fqdn,
        "has_illegal_images": False,
        "high_availability": {"enabled": True, "priority": 100},
        "host": ref("hosts", host.id) if host else None,
        "io": {"threads": 0},
        "large_icon": {"id": derived_id(engine.cluster.id, "large-icon")},
        "small_icon": {"id": derived_id(engine.cluster.id, "small-icon")},
        "memory": memory,
        "memory_policy": {"ballooning": False, "guaranteed": memory, "max": memory},
        "migration": {"auto_converge": "inherit", "compressed": "inherit", "encrypted": "true"},
        "migration_downtime": -1,
        "multi_queues_enabled": True,
        "next_run_configuration_exists": False,
        "origin": "managed_hosted_engine",
        "original_template": ref("templates", BLANK_TEMPLATE),
        "os": {"boot": {"devices": ["hd"]}, "type": "other_linux"},
        "placement_policy": {"affinity": "migratable"},
        "quota": {"id": derived_id(engine.cluster.id, "quota")},
        "run_once": False,
        "sso": {"methods": []},
        "start_paused": False,
        "start_time": when(began),
        "stateless": False,
        # We answer, so the VM runs, even before a node has said so.
        "status": POWER[found[1].power] if found else "up",
        "stop_time": when(began),
        "storage_error_resume_behaviour": "kill",
        "template": ref("templates", BLANK_TEMPLATE),
        "time_zone": {"name": "Etc/GMT"},
        "type": "server",
        "usb": {"enabled": False},
        "virtio_scsi": {"enabled": True},
        "link": (Link("statistics", f"{place}/statistics"),),
    }


def statistics(engine: Engine, identifier: str) -> list[dict[str, Any]] | None:
    """A VM's statistics; ``None``: no such VM."""
    item = engine.store.item("vm", identifier)
    if item is None:
        return None
    found = engine.view().vm(item.name)
    if found is None:
        return []
    vm = found[1]
    values = (
        ("memory.installed", "Total memory configured", "gauge", "bytes", "integer", float(vm.memory_mib * 1024 * 1024)),
        ("cpu.usage.time", "CPU time used since the start", "counter", "seconds", "decimal", vm.cpu_time_s),
    )
    place = f"{BASE}/vms/{identifier}/statistics"
    return [
        {
            "href": f"{place}/{derived_id(identifier, name)}",
            "id": derived_id(identifier, name),
            "name": name,
            "description": text,
            "kind": kind,
            "unit": unit,
            "type": shape,
            "values": [{"datum": value if shape == "decimal" else int(value)}],
            "vm": ref("vms", identifier),
        }
        for name, text, kind, unit, shape, value in values
    ]
