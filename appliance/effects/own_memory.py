"""How much memory Trivet's own programs hold on this machine, a node or the engine VM: what their budgets are checked by."""

from __future__ import annotations

import os
from pathlib import Path

from appliance import layout

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
RESIDENT = 1
"""Second number of /proc/PID/statm: resident pages, shared ones included (proc_pid_statm(5))."""


def resident_bytes(proc: Path = Path("/proc"), venv: Path = layout.VENV) -> int:
    """Sum of the resident memory of all processes that run by the programs' virtual environment and are visible here."""
    return sum(_resident(process, venv) for process in proc.iterdir() if process.name.isdecimal())


def _resident(process: Path, venv: Path) -> int:
    try:
        program = (process / "cmdline").read_bytes().partition(b"\0")[0]
        if not program.startswith(os.fsencode(f"{venv}/")):
            return 0
        return int((process / "statm").read_text().split()[RESIDENT]) * PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended while we looked: it holds nothing
