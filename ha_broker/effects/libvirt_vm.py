"""The engine VM through the node's own VM verbs, called in this process: the broker needs no agent to start it."""

from __future__ import annotations

from typing import Protocol

from appliance import layout
from appliance.errors import Conflict
from appliance.model.vm import VmSpec, VmState
from ha_broker.act import VM_ACTIVE
from ha_broker.effects.waking import Waking
from ha_broker.state import LocalVm


class VmVerbs(Protocol):
    """What is needed of :class:`appliance.verbs.vms.VmVerbs`."""

    def vms(self) -> tuple[VmState, ...]: ...

    def start(self, spec: VmSpec, paused: bool) -> VmState: ...

    def wake(self, spec: VmSpec, saved: str) -> VmState: ...

    def resume(self, name: str) -> None: ...

    def destroy(self, name: str) -> None: ...

    def shutdown(self, name: str) -> None: ...

    def migrate(self, name: str, target: str) -> None: ...


class LibvirtEngineVm:
    """:class:`ha_broker.ports.Hypervisor`."""

    def __init__(self, verbs: VmVerbs, waking: Waking | None = None) -> None:
        self._verbs = verbs
        self._waking = waking

    def engine_vm(self) -> LocalVm:
        found = next((vm for vm in self._verbs.vms() if vm.name == layout.ENGINE_VM_NAME), None)
        return LocalVm("off") if found is None else LocalVm(found.power, found.pid)

    def start_paused(self, spec: VmSpec) -> int:
        found = self._woken(spec) or self._verbs.start(spec, True)
        if found.power != "paused":  # the verb answers an active VM as it is; a guest that runs must not get a new epoch
            raise Conflict(
                VM_ACTIVE,
                subject=f"VM {found.name}",
                reason=f"it is {found.power} here already, with process {found.pid}",
                remedy="Nothing needs to be done: the broker looks again and takes it over.",
            )
        return found.pid

    def _woken(self, spec: VmSpec) -> VmState | None:
        if self._waking is None or any(vm.name == spec.name for vm in self._verbs.vms()):
            return None
        return self._waking.wake(spec, self._verbs.wake, self._verbs.destroy)

    def resume(self) -> None:
        self._verbs.resume(layout.ENGINE_VM_NAME)

    def destroy(self) -> None:
        self._verbs.destroy(layout.ENGINE_VM_NAME)

    def shutdown(self) -> None:
        self._verbs.shutdown(layout.ENGINE_VM_NAME)

    def migrate(self, target: str) -> None:
        self._verbs.migrate(layout.ENGINE_VM_NAME, target)
