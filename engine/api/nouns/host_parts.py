"""What hosts tell of themselves: their NICs, and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance import layout
from engine.api.documents import Object
from engine.api.noun import Call
from engine.api.nouns import ref
from engine.api.nouns.vm_statistics import disk_statistics, shown_value, vm_nic_statistics, vm_statistics
from engine.api.observed import Rows
from engine.builtin import MANAGEMENT_NETWORK
from engine.core import Engine
from engine.decide.vm_usage import Value
from engine.inventory import derived_id
from engine.jobs.networks import attached, network_of


class Statistics(Rows):
    """Statistics of hosts, their NICs, VMs, their NICs and disks; those of steps are empty."""

    services, kind = ("Statistics",), "Statistic"

    def rows(self, call: Call) -> Sequence[Object]:
        if call.parent_kind == "HostNic":
            return nic_statistics(call.engine, call.parents[0][1], call.parent_id)
        if call.parent_kind == "Nic":
            return vm_nic_statistics(call.engine, call.parents[0][1], call.parent_id)
        of = {"Host": statistics, "Vm": vm_statistics, "Disk": disk_statistics}.get(call.parent_kind)
        return of(call.engine, call.parent_id) if of else []


class HostNics(Rows):
    """A host's network interfaces."""

    services, kind = ("HostNics",), "HostNic"

    def rows(self, call: Call) -> Sequence[Object]:
        return nics(call.engine, call.parent_id)


def statistics(engine: Engine, identifier: str) -> list[dict[str, Any]]:
    """A host's statistics under oVirt's names. Empty while it has said nothing."""
    host = engine.view().host(identifier)
    found = host.statistics if host else None
    if found is None:
        return []
    used = found.memory_total_bytes - found.memory_available_bytes
    whole: tuple[tuple[str, str, float, str], ...] = (
        ("memory.total", "Total memory", found.memory_total_bytes, "bytes"),
        ("memory.used", "Used memory", used, "bytes"),
        ("memory.free", "Free memory", found.memory_available_bytes, "bytes"),
        ("swap.total", "Total swap", found.swap_total_bytes, "bytes"),
        ("swap.free", "Free swap", found.swap_free_bytes, "bytes"),
        ("swap.used", "Used swap", found.swap_total_bytes - found.swap_free_bytes, "bytes"),
    )
    percents: tuple[tuple[str, str, float], ...] = (
        ("cpu.current.user", "User CPU", found.cpu_user_percent),
        ("cpu.current.system", "System CPU", found.cpu_system_percent),
        ("cpu.current.idle", "Idle CPU", found.cpu_idle_percent),
        ("cpu.load.avg.5m", "CPU 5 minute load average", found.load_5),
    )
    boot_s = engine.clock.wall_s() - found.uptime_s
    values = (
        *(Value(name, text, "gauge", unit, number, whole=True) for name, text, number, unit in whole),
        *(Value(name, text, "gauge", "percent", round(number, 2)) for name, text, number in percents),
        Value("boot.time", "Boot time of the machine", "gauge", "none", boot_s, whole=True),
    )
    return [{**shown_value(one, identifier), "host": ref(identifier)} for one in values]


def nic_statistics(engine: Engine, host_id: str, nic_id: str) -> list[dict[str, Any]]:
    """What went through a host's NIC since it came up."""
    host = engine.view().host(host_id)
    traffic = host.statistics.nics if host and host.statistics else ()
    found = next((one for one in traffic if nic_id_of(host_id, one.name) == nic_id), None)
    if found is None:
        return []
    values = (
        Value("data.total.rx", "Total received data", "counter", "bytes", float(found.received_bytes)),
        Value("data.total.tx", "Total transmitted data", "counter", "bytes", float(found.sent_bytes)),
    )
    return [{**shown_value(one, nic_id), "host_nic": ref(nic_id)} for one in values]


def nic_id_of(host_id: str, name: str) -> str:
    """The id of a host's NIC: always the same."""
    return derived_id(host_id, f"nic:{name}")


def nics(engine: Engine, identifier: str) -> list[dict[str, Any]]:
    """A host's network interfaces."""
    host = engine.view().host(identifier)
    if host is None:
        return []
    rows: list[dict[str, Any]] = []
    carried = carriers(engine, identifier)
    for nic in host.nics:
        own = nic_id_of(identifier, nic.name)
        address = next((text for text in nic.addresses if ":" not in text), "")
        rows.append(
            {
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
                "host": ref(identifier),
                **carried.get(nic.name, {}),
                **({"network": ref(MANAGEMENT_NETWORK)} if nic.physical and nic.bridge == layout.MANAGEMENT_BRIDGE else {}),
            }
        )
    return rows


def carriers(engine: Engine, identifier: str) -> dict[str, dict[str, Any]]:
    """Interface → which network it carries on a host, and for a VLAN's over which NIC."""
    found: dict[str, dict[str, Any]] = {}
    for one in attached(engine.store.entities, identifier):
        network = network_of(engine.store.entities.need("network", one.network))
        if network.vlan:
            vlan = {"vlan": {"id": network.vlan}, "base_interface": one.nic}
            found[f"{one.nic}.{network.vlan}"] = {"network": ref(one.network), **vlan}
        else:
            found[one.nic] = {"network": ref(one.network)}
    return found
