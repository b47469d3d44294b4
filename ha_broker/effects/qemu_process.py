"""The engine VM's QEMU as a process of this node: what the kernel says of it, and its end without libvirt.

libvirt does not answer about a VM whose QEMU stands still, and asks such a process politely for ten seconds before it kills
it.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import Final

from appliance import layout
from appliance.errors import Failed
from appliance.tools.proc import process_state
from ha_broker import limits
from ha_broker.state import ProcessState, QemuProcess

PROC: Final = Path("/proc")
PROGRAM: Final = "qemu"
"""Begins the name of every QEMU program, and no other's that could have got the number of one that ended."""
_STATES: Final[dict[str, ProcessState]] = {"T": "stopped", "t": "stopped", "D": "waits", "Z": "none", "X": "none"}


class EngineProcess:
    """The process whose number libvirt left in its folder, for as long as it is a QEMU."""

    def __init__(self, folder: Path, name: str = layout.ENGINE_VM_NAME) -> None:
        self._file = folder / f"{name}.pid"
        self._words = (f"guest={name}".encode(), f"guest={name},".encode())

    def look(self) -> QemuProcess:
        """What the kernel says. Does not block: neither file is on a disk."""
        pid = self._pid()
        try:
            program, letter = process_state((PROC / str(pid) / "stat").read_text(errors="replace"))
        except (OSError, ValueError):
            return QemuProcess("none")
        state = _STATES.get(letter, "runs")
        if not pid or state == "none" or not program.startswith(PROGRAM):
            return QemuProcess("none")
        return QemuProcess(state, pid)

    def kill(self) -> None:
        """End it with SIGKILL, which a stopped process obeys, too; it has gone, and its locks with it, when this returns. No
        error when there is none, or its number is another's by now. Raises ``Failed`` (``vm.process-stuck``)."""
        pid = self.look().pid
        if not pid:
            return
        try:
            process = os.pidfd_open(pid)  # from here on the number cannot become another's unnoticed
        except ProcessLookupError:
            return
        try:
            if not self._is_ours(pid):
                return
            signal.pidfd_send_signal(process, signal.SIGKILL)
            if not select.select([process], [], [], limits.GONE_S)[0]:
                raise Failed(
                    "vm.process-stuck",
                    subject=f"process {pid}, the engine VM's QEMU",
                    reason=f"it was killed and is still there after {limits.GONE_S:g} s: the kernel does not let it go",
                    remedy="Look at what it waits for (/proc/PID/stack); if nothing helps, reset this node.",
                )
        except ProcessLookupError:
            return
        finally:
            os.close(process)

    def _pid(self) -> int:
        try:
            return int(self._file.read_text())
        except (OSError, ValueError):
            return 0

    def _is_ours(self, pid: int) -> bool:
        try:
            words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return any(word == self._words[0] or word.startswith(self._words[1]) for word in words)
