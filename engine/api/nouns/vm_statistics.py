"""What VMs, their NICs and disks use, under oVirt's names: as their hosts measured it last (engine/decide/vm_usage.py)."""

from __future__ import annotations

from typing import Any

from engine.api.nouns import ref
from engine.core import Engine
from engine.decide.mac import address_of
from engine.decide.vm_usage import Value, of_disk, of_nic, of_vm
from engine.inventory import derived_id

MIB = 1024**2


def vm_statistics(engine: Engine, identifier: str) -> list[dict[str, Any]]:
    """A VM's statistics. Empty while it does not run."""
    found = engine.view().vm_of(identifier)
    if found is None:
        return []
    vm = found[1]
    values = (
        Value("memory.installed", "Total memory configured", "gauge", "bytes", float(vm.memory_mib * MIB), whole=True),
        Value("cpu.usage.time", "CPU time used since the start", "counter", "seconds", vm.cpu_time_s),
        *(of_vm(found[0].measured, identifier) if found[0].measured else ()),
    )
    return [{**shown_value(one, identifier), "vm": ref(identifier)} for one in values]


def shown_value(value: Value, of: str) -> dict[str, Any]:
    """A statistic of the object ``of``."""
    return {
        "id": derived_id(of, value.name),
        "name": value.name,
        "description": value.text,
        "kind": value.kind,
        "unit": value.unit,
        "type": "integer" if value.whole else "decimal",
        "values": [{"datum": int(value.number) if value.whole else value.number}],
    }


def vm_nic_statistics(engine: Engine, vm_id: str, nic_id: str) -> list[dict[str, Any]]:
    """What goes through a VM's NIC. Empty while the VM does not run."""
    nic, found = engine.store.entities.get("nic", nic_id), engine.view().vm_of(vm_id)
    if nic is None or found is None or found[0].measured is None:
        return []
    values = of_nic(found[0].measured, vm_id, address_of(nic.body))
    return [{**shown_value(one, nic_id), "nic": ref(nic_id)} for one in values]


def disk_statistics(engine: Engine, disk_id: str) -> list[dict[str, Any]]:
    """What goes through a disk. Empty while no VM that runs has it; of a shared one, on the first host that has it."""
    for host in engine.view().hosts:
        values = of_disk(host.measured, disk_id) if host.measured and host.status == "up" else ()
        if values:
            return [{**shown_value(one, disk_id), "disk": ref(disk_id)} for one in values]
    return []
