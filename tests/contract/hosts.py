"""A host as the engine asks it of its running VMs: its fake, and the agent's verbs over a libvirt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from appliance.model.vm import VmSpec, VmState
from appliance.model.vm_live import VncTicket
from appliance.model.vm_parts import CpuLayout, Graphics, MemoryLayout
from engine.jobs.ports import ScreenNode
from tests.contract.live_node import NAME, LiveNode

SPEC = VmSpec(
    "5b1f4c1e-0000-4c4e-8b0e-0d5f7a1c2b3d",
    NAME,
    128,
    1,
    "Nehalem",
    (),
    (),
    cpu=CpuLayout(maximum=2),
    memory=MemoryLayout(maximum_mib=512, guaranteed_mib=64),
    graphics=Graphics("127.0.0.1"),
)


class Host(ScreenNode, Protocol):
    """A part of what the engine asks."""

    def vms(self) -> tuple[VmState, ...]: ...

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState: ...

    def vm_destroy(self, name: str) -> None: ...

    def vm_set_cpus(self, name: str, cpus: int) -> None: ...

    def vm_set_memory(self, name: str, memory_mib: int) -> int: ...


@dataclass(frozen=True)
class Verbs:
    """The agent's verbs by their names on the wire."""

    node: LiveNode

    def vms(self) -> tuple[VmState, ...]:
        return tuple(one for one in self.node.vms.vms() if one.name == NAME)

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState:
        return self.node.vms.start(spec, paused)

    def vm_destroy(self, name: str) -> None:
        self.node.vms.destroy(name)

    def vm_set_cpus(self, name: str, cpus: int) -> None:
        self.node.devices.set_cpus(name, cpus)

    def vm_set_memory(self, name: str, memory_mib: int) -> int:
        return self.node.devices.set_memory(name, memory_mib)

    def vm_set_ticket(self, name: str, word: str, valid_s: float) -> VncTicket:
        return self.node.devices.set_ticket(name, word, valid_s)
