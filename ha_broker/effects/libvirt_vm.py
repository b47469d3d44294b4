"""The engine VM through the node's own VM verbs, called in this process: the broker needs no agent to start it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from appliance import layout
from appliance.effects.bounded import Bounded
from appliance.errors import Conflict, TrivetError, Unavailable
from appliance.model.vm import VmSpec, VmState
from ha_broker import limits
from ha_broker.act import VM_ACTIVE
from ha_broker.effects.qemu_process import EngineProcess
from ha_broker.effects.waking import Waking
from ha_broker.state import LocalVm, QemuProcess


class VmVerbs(Protocol):
    """What is needed of :class:`appliance.verbs.vms.VmVerbs`."""

    def find(self, name: str) -> VmState | None: ...

    def start(self, spec: VmSpec, paused: bool) -> VmState: ...

    def wake(self, spec: VmSpec, saved: str, end: Callable[[], None]) -> VmState: ...

    def resume(self, name: str) -> None: ...

    def prefer(self, name: str) -> None: ...

    def destroy(self, name: str) -> None: ...

    def shutdown(self, name: str) -> None: ...

    def migrate(self, name: str, target: str) -> None: ...


class LibvirtEngineVm:
    """:class:`ha_broker.ports.Hypervisor`."""

    def __init__(self, verbs: VmVerbs, process: EngineProcess, waking: Waking | None = None) -> None:
        self._verbs = verbs
        self._waking = waking
        self._process = process
        self._ending = Bounded("libvirt", "libvirt")
        self._preferred_pid = 0

    def engine_vm(self) -> LocalVm:
        """What libvirt says. However it came to be here (started, woken, migrated): a QEMU that is seen for the first time
        is given CPU time before others."""
        found = self._verbs.find(layout.ENGINE_VM_NAME)
        if found is None:
            return LocalVm("off")
        self._prefer(found.pid)
        return LocalVm(found.power, found.pid)

    def _prefer(self, pid: int) -> None:
        if pid not in (0, self._preferred_pid):
            with suppress(TrivetError):  # it ended, or libvirt does not answer: it is only slower, and asked for again
                self._verbs.prefer(layout.ENGINE_VM_NAME)
                self._preferred_pid = pid

    def qemu_process(self) -> QemuProcess:
        return self._process.look()

    def start_paused(self, spec: VmSpec) -> int:
        found = self._woken(spec) or self._verbs.start(spec, True)
        if found.power != "paused":  # the verb answers an active VM as it is; a guest that runs must not get a new epoch
            raise Conflict(
                VM_ACTIVE,
                subject=f"VM {found.name}",
                reason=f"it is {found.power} here already, with process {found.pid}",
                remedy="Nothing needs to be done: the broker looks again and takes it over.",
            )
        self._prefer(found.pid)
        return found.pid

    def _woken(self, spec: VmSpec) -> VmState | None:
        if self._waking is None or self._verbs.find(spec.name) is not None:
            return None
        return self._waking.wake(spec, lambda spec, saved: self._verbs.wake(spec, saved, self.destroy), self.destroy)

    def resume(self) -> None:
        self._verbs.resume(layout.ENGINE_VM_NAME)

    def destroy(self) -> None:
        if self._process.look().state == "stopped":
            self._process.kill()  # libvirt would first wait 10 s for it to end by itself
        try:
            self._ending(lambda: self._verbs.destroy(layout.ENGINE_VM_NAME), limits.ENDING_S)
        except Unavailable:
            self._process.kill()

    def shutdown(self) -> None:
        self._verbs.shutdown(layout.ENGINE_VM_NAME)

    def migrate(self, target: str) -> None:
        self._verbs.migrate(layout.ENGINE_VM_NAME, target)
