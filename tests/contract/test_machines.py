"""The machines that the engine makes of definitions start and grow: under the fake libvirt, and under QEMU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.decide.vm_growth import most_memory, most_sockets
from engine.decide.vm_machine import MIB, machine
from tests.contract.hosts import SPEC
from tests.contract.live_node import NAME, LiveNode

DEFINITIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "topology": {
        "cpu": {
            "topology": {"sockets": 2, "cores": 2, "threads": 2},
            "cpu_tune": {"vcpu_pins": [{"vcpu": 1, "cpu_set": "0"}]},
        }
    },
    "i440fx": {"bios": {"type": "i440fx_sea_bios"}, "console": {"enabled": True}},
    "uefi": {"bios": {"type": "q35_ovmf"}, "console": {"enabled": True}},
    "odd": {"memory": 300 * MIB, "memory_policy": {"guaranteed": 100 * MIB, "max": 1111 * MIB}},
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_it_starts_and_grows(node: LiveNode, name: str) -> None:
    body = {"memory": 256 * MIB, "memory_policy": {"guaranteed": 256 * MIB, "max": 1024 * MIB}, **DEFINITIONS[name]}
    spec = replace(machine(SPEC.id, body, {}, (), ()), name=NAME, cpu_model=SPEC.cpu_model)
    if spec.console is not None:  # its place is a node's
        spec = replace(spec, console=replace(spec.console, log=str(node.root.path / "console.log")))
    node.vms.start(spec, True)
    each = spec.cpu.cores * spec.cpu.threads
    assert node.domain().cpus == (spec.cpus, most_sockets(body) * each)
    node.devices.set_cpus(NAME, spec.cpus + each)
    assert node.domain().cpus[0] == spec.cpus + each
    assert node.devices.set_memory(NAME, spec.memory_mib + 128) == spec.memory_mib + 128
    assert node.domain().memory_maximum_mib == most_memory(body) // MIB
