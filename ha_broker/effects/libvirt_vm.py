"""The engine VM through the node's own VM verbs, called in this process: the broker needs no agent to start it."""

from __future__ import annotations

from typing import Protocol

from appliance import layout
from appliance.model.vm import VmSpec, VmState
from ha_broker.state import LocalVm


class VmVerbs(Protocol):
    """What is needed of :class:`appliance.verbs.vms.VmVerbs`."""

    def vms(self) -> tuple[VmState, ...]: ...

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState: ...

    def vm_resume(self, name: str) -> None: ...

    def vm_destroy(self, name: str) -> None: ...


class LibvirtEngineVm:
    """:class:`ha_broker.ports.Hypervisor`."""

    def __init__(self, verbs: VmVerbs) -> None:
        self._verbs = verbs

    def engine_vm(self) -> LocalVm:
        found = next((vm for vm in self._verbs.vms() if vm.name == layout.ENGINE_VM_NAME), None)
        return LocalVm("off") if found is None else LocalVm(found.power, found.pid)

    def start_paused(self, spec: VmSpec) -> int:
        return self._verbs.vm_start(spec, True).pid

    def resume(self) -> None:
        self._verbs.vm_resume(layout.ENGINE_VM_NAME)

    def destroy(self) -> None:
        self._verbs.vm_destroy(layout.ENGINE_VM_NAME)
