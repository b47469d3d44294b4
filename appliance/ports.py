"""What host verbs ask of the outside, as protocols.

The real ones live in :mod:`appliance.effects`, the fakes in :mod:`appliance.fakes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from appliance.effects.clock import Clock
from appliance.effects.process import Completed
from appliance.effects.root import Root
from appliance.model.vm import VmState
from appliance.vm_ports import Backups, Blocks, Guests, LiveDevices, LivePower, Moves

__all__ = ["Clock", "Hypervisor", "NodeContext", "Processes", "TicketDaemon"]


class Processes(Protocol):
    """Starts programs. See :class:`appliance.effects.process.SystemProcesses` for meaning and errors."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] | None = (0,),
    ) -> Completed: ...

    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        line: Callable[[str], None],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] = (0,),
        cancelled: Callable[[], bool] | None = None,
    ) -> int: ...


class Hypervisor(LiveDevices, LivePower, Guests, Blocks, Backups, Moves, Protocol):
    """libvirt of this node, in :mod:`appliance.effects.libvirt_host`; the fake is in :mod:`appliance.fakes.libvirt`.

    Every call is bounded by a deadline: ``Unavailable`` (``libvirt.deadline``, ``libvirt.unreachable``).
    """

    def domains(self) -> tuple[VmState, ...]:
        """All domains that libvirt knows, sorted by name."""

    def domain(self, name: str) -> VmState | None:
        """That domain; None: libvirt knows none of that name. No other domain is looked at: where one's QEMU stands still,
        ``domains`` does not answer."""

    def start(self, xml: str, *, paused: bool) -> None:
        """Start a transient domain. Raises ``Conflict`` ``vm.disk-locked``, ``vm.exists``; ``Unavailable``
        ``vm.disk-unreachable``: its volume does not answer; ``Failed`` ``vm.start``."""

    def resume(self, name: str) -> None:
        """Let a paused domain run. Raises ``NotFound`` (``vm.unknown``), as all below do."""

    def shutdown(self, name: str) -> None:
        """Press the power button (ACPI)."""

    def destroy(self, name: str) -> None:
        """Pull the plug; QEMU has gone when this returns."""

    def migrate(self, name: str, target: str, deadline_s: float) -> None:
        """Live-migrate to the host that resolves as ``target``, over TLS; broken off after ``deadline_s``. Raises ``Failed``
        (``vm.migrate``, ``vm.migrate-deadline``)."""

    def save(self, name: str, path: str) -> None:
        """Save its memory to a file and end it. Raises ``Failed`` (``vm.save``); the VM may be paused or gone then."""

    def saved_xml(self, path: str) -> str:
        """The domain in a file of saved memory. Raises ``Failed`` (``vm.saved-memory``)."""

    def restore(self, path: str, xml: str) -> None:
        """Wake saved memory as the domain ``xml``, paused. Raises ``Failed`` (``vm.restore``), ``Conflict`` (``vm.exists``),
        ``Unavailable`` (``libvirt.deadline``): it may still be going on then; ``destroy`` ends it."""

    def attach(self, name: str, xml: str) -> None:
        """Plug a device into an active VM. Raises ``Conflict`` (``vm.disk-locked``), ``Unavailable``
        (``vm.disk-unreachable``), ``Failed`` (``vm.attach``)."""

    def restrain(self, name: str) -> None:
        """Leave it only the CPU time that nobody else wants, and of that at most one CPU's worth."""

    def prefer(self, name: str) -> None:
        """Give it CPU time before others. Raises ``NotFound`` (``vm.unknown``)."""

    def qemu_version(self) -> str:
        """QEMU's version, ``10.0.13``."""

    def version(self) -> str:
        """libvirt's version, ``11.3.0``."""

    def capabilities(self, accelerated: bool) -> str:
        """What guests here can be given, as libvirt's XML (``virsh domcapabilities``)."""


class TicketDaemon(Protocol):
    """This node's ovirt-imageio, in :mod:`appliance.effects.imageio_control`; the fake is in :mod:`appliance.fakes.imageio`.

    Raises ``Unavailable`` (``imageio.unreachable``), ``Failed`` (``imageio.refused``).
    """

    def put(self, ticket: str, body: Mapping[str, Any]) -> None:
        """Let it serve by that ticket; the same again: replaced."""

    def get(self, ticket: str) -> Mapping[str, Any] | None:
        """The ticket with ``active``, ``idle_time``, ``transferred``; None: there is none."""

    def extend(self, ticket: str, timeout_s: int) -> bool:
        """It expires so long from now. False: there is none."""

    def delete(self, ticket: str) -> None:
        """Nobody may transfer by it any more. Not there: nothing. Raises ``Conflict`` (``image.ticket-busy``)."""


class NodeContext(Protocol):
    """What the agent hands over to a package that adds to its interface: its ports."""

    @property
    def processes(self) -> Processes: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def root(self) -> Root: ...
