"""How much memory the processes of the own user hold: what the engine says of itself, so that its budget can be checked."""

from __future__ import annotations

import os
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
RESIDENT = 1
"""Second number of /proc/PID/statm: resident pages, shared ones included (proc_pid_statm(5))."""


def resident_bytes(proc: Path = Path("/proc")) -> int:
    """Sum of the resident memory of all processes that belong to this process's user and are visible to it."""
    return sum(_resident(process) for process in proc.iterdir() if process.name.isdecimal())


def _resident(process: Path) -> int:
    try:
        if process.stat().st_uid != os.geteuid():
            return 0
        return int((process / "statm").read_text().split()[RESIDENT]) * PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended while we looked: it holds nothing
