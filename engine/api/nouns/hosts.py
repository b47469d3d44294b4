"""Hosts: the nodes, from the cluster file and from what they said last."""

from __future__ import annotations

import re
from typing import Any

from appliance import layout
from appliance.model.ha import HostHa
from appliance.model.node import NodeFacts
from engine.api.documents import BASE, Link
from engine.api.nouns import ref
from engine.core import Engine
from engine.decide.view import HostView, View
from engine.inventory import derived_id

HOST_PACKAGES_VERSION = 4, 5
"""The compatibility level that clients reckon with."""


def rows(engine: Engine) -> list[dict[str, Any]]:
    """All hosts, by name."""
    view = engine.view()
    return sorted((host_object(engine, view, host) for host in view.hosts), key=lambda row: str(row["name"]))


def host_object(engine: Engine, view: View, host: HostView) -> dict[str, Any]:
    """One host with every attribute that clients find always present."""
    member, facts, statistics = host.member, host.facts, host.statistics
    cpu = facts.cpu if facts else None
    place = f"{BASE}/hosts/{member.id}"
    active = sum(vm.power not in ("off", "crashed") for vm in host.vms)
    return {
        "href": place,
        "id": member.id,
        "name": member.name,
        "address": member.address,
        "comment": "",
        "description": "",
        "auto_numa_status": "unknown",
        "certificate": {"organization": engine.cluster.id, "subject": f"O={engine.cluster.id},CN={member.name}"},
        "cluster": ref("clusters", engine.cluster.id),
        "cpu": {
            "name": cpu.model if cpu else None,
            "type": layout.GUEST_CPU_MODEL,
            "speed": 0.0,
            "topology": {"cores": cpu.cores, "sockets": cpu.sockets, "threads": cpu.threads} if cpu else None,
        },
        "device_passthrough": {"enabled": False},
        "external_status": "ok",
        "hardware_information": hardware(facts) if facts else {},
        "hosted_engine": hosted_engine(view, member.name),
        "iscsi": {"initiator": ""},
        "kdump_status": "disabled",
        "ksm": {"enabled": False, "merge_across_nodes": True},
        "libvirt_version": version_of(facts.libvirt_version) if facts else None,
        "max_scheduling_memory": statistics.memory_available_bytes if statistics else 0,
        "memory": facts.memory_bytes if facts else 0,
        "network_operation_in_progress": False,
        "numa_supported": False,
        "os": {
            "type": "Debian",
            "version": {"full_version": "13"},
            "reported_kernel_cmdline": "",
            "custom_kernel_cmdline": "",
            "kernel": facts.kernel if facts else None,
        },
        "override_iptables": False,
        "ovn_configured": False,
        "port": layout.AGENT_PORT,
        "power_management": {"automatic_pm_enabled": True, "enabled": False, "kdump_detection": True, "pm_proxies": []},
        "protocol": "stomp",
        "reinstallation_required": False,
        "se_linux": {"mode": "disabled"},
        "spm": {"priority": 5, "status": "none"},
        "ssh": {"port": 22, "fingerprint": ""},
        "status": host.status,
        "status_detail": detail(host),
        "summary": {
            "active": active,
            "migrating": sum(vm.power == "migrating" for vm in host.vms),
            "total": len(host.vms),
        },
        "transparent_huge_pages": {"enabled": True},
        "type": "ovirt_node",
        "update_available": False,
        "version": version_of(facts.version) if facts else {"full_version": ""},
        "vgpu_placement": "consolidated",
        "link": (Link("nics", f"{place}/nics"), Link("statistics", f"{place}/statistics")),
    }


def hardware(facts: NodeFacts) -> dict[str, Any]:
    """What the node's firmware says of the machine."""
    return {
        "manufacturer": facts.manufacturer,
        "product_name": facts.product,
        "serial_number": facts.serial,
        "uuid": facts.node_id,
        "supported_rng_sources": ["urandom"],
    }


def detail(host: HostView) -> str:
    """How old the picture of this host is, in words."""
    if host.age_s is None:
        return "not heard yet"
    return f"last heard {host.age_s:.0f} s ago" if host.status != "up" else ""


def hosted_engine(view: View, name: str) -> dict[str, Any] | None:
    """The broker's word on a host."""
    ha = view.ha
    found: HostHa | None = next((one for one in ha.hosts if one.name == name), None) if ha else None
    if ha is None or found is None:
        return None
    return {
        "active": found.alive,
        "configured": True,
        "global_maintenance": ha.maintenance == "global",
        "local_maintenance": False,
        "score": found.score,
    }


def version_of(text: str) -> dict[str, Any]:
    """A dotted version as v4's Version."""
    numbers = [int(part) for part in re.findall(r"\d+", text)[:4]]
    names = ("major", "minor", "build", "revision")
    return {"full_version": text, **dict(zip(names, [*numbers, 0, 0, 0, 0][:4], strict=True))}


def statistics(engine: Engine, identifier: str) -> list[dict[str, Any]] | None:
    """A host's statistics under oVirt's names; ``None``: no such host. Empty while it has said nothing."""
    host = engine.view().host(identifier)
    if host is None:
        return None
    found = host.statistics
    if found is None:
        return []
    used = found.memory_total_bytes - found.memory_available_bytes
    values: list[tuple[str, str, float, str, str]] = [
        ("memory.total", "Total memory", found.memory_total_bytes, "bytes", "integer"),
        ("memory.used", "Used memory", used, "bytes", "integer"),
        ("memory.free", "Free memory", found.memory_available_bytes, "bytes", "integer"),
        ("swap.total", "Total swap", found.swap_total_bytes, "bytes", "integer"),
        ("swap.free", "Free swap", found.swap_free_bytes, "bytes", "integer"),
        ("swap.used", "Used swap", found.swap_total_bytes - found.swap_free_bytes, "bytes", "integer"),
        ("cpu.current.user", "User CPU", found.cpu_user_percent, "percent", "decimal"),
        ("cpu.current.system", "System CPU", found.cpu_system_percent, "percent", "decimal"),
        ("cpu.current.idle", "Idle CPU", found.cpu_idle_percent, "percent", "decimal"),
        ("cpu.load.avg.5m", "CPU 5 minute load average", found.load_5, "percent", "decimal"),
        ("boot.time", "Boot time of the machine", engine.clock.wall_s() - found.uptime_s, "none", "integer"),
    ]
    place = f"{BASE}/hosts/{identifier}"
    return [
        {
            "href": f"{place}/statistics/{derived_id(identifier, name)}",
            "id": derived_id(identifier, name),
            "name": name,
            "description": text,
            "kind": "gauge",
            "type": kind,
            "unit": unit,
            "values": [{"datum": round(value, 2) if kind == "decimal" else int(value)}],
            "host": ref("hosts", identifier),
        }
        for name, text, value, unit, kind in values
    ]


def nics(engine: Engine, identifier: str) -> list[dict[str, Any]] | None:
    """A host's network interfaces; ``None``: no such host."""
    host = engine.view().host(identifier)
    if host is None:
        return None
    rows: list[dict[str, Any]] = []
    for nic in host.facts.nics if host.facts else ():
        own = derived_id(identifier, f"nic:{nic.name}")
        address = next((text for text in nic.addresses if ":" not in text), "")
        rows.append(
            {
                "href": f"{BASE}/hosts/{identifier}/nics/{own}",
                "id": own,
                "name": nic.name,
                "comment": "",
                "description": "",
                "bridged": bool(nic.bridge) or nic.name == layout.MANAGEMENT_BRIDGE,
                "boot_protocol": "static" if address else "none",
                "ip": {"address": address.partition("/")[0], "version": "v4"} if address else None,
                "mac": {"address": nic.mac},
                "mtu": nic.mtu,
                "status": "up" if nic.up else "down",
                "host": ref("hosts", identifier),
            }
        )
    return rows
