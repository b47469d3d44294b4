"""The engine VM on this node, as libvirt and the kernel tell of it: frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appliance.model.vm import VmPower

ProcessState = Literal["", "none", "runs", "waits", "stopped"]
"""Of a QEMU process, as the kernel tells it. Empty: it was not looked at. ``waits``: for the kernel (mostly for its disk),
and cannot be ended before that answers. ``stopped``: by a signal; it does nothing more until somebody lets it go on."""


@dataclass(frozen=True)
class QemuProcess:
    """The process of the engine VM on this node, whatever libvirt says."""

    state: ProcessState
    pid: int = 0


@dataclass(frozen=True)
class LocalVm:
    """The engine VM as this node's libvirt sees it; ``unknown`` while libvirt does not answer: then ``pid`` is that of the
    process which is here all the same."""

    power: VmPower | Literal["unknown"]
    pid: int = 0
    error: str = ""
    process: ProcessState = ""

    @property
    def here(self) -> bool:
        """A QEMU of it is on this node."""
        return self.power not in ("off", "crashed", "unknown") or (self.power == "unknown" and self.pid != 0)
