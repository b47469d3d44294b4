"""A small share of the CPUs for tests that only compute, so that emulated machines beside them run at nearly full speed.

A cgroup, because a session (autogroup) of its own is not inherited: every child that begins a session gets a full share.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

GROUP: Final = "trivet-tests"
V1: Final = Path("/sys/fs/cgroup/cpu")
V2: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
SHARES: Final = "4"
"""Of 1024 that every other session has: less than a maker of the cluster's saved memory (a session at nice 19 has 15), for
which others wait, and all that nobody wants. With an eighth of a session it took the makers 50 min. Not idle: who gets
nothing at all for minutes misses deadlines of its own."""
WEIGHT: Final = "1"
"""The same for cgroup v2, where all others have 100, as far as it goes."""


def _places() -> list[tuple[Path, str, str]]:
    """Where a group can be made: (parent, the file of its share, its share)."""
    found = [(V1, "cpu.shares", SHARES)] if (V1 / "cpu.shares").exists() else []
    for root in V2:
        controllers = root / "cgroup.controllers"
        if controllers.exists() and "cpu" in controllers.read_text().split():
            found.append((root, "cpu.weight", WEIGHT))
    return found


def give_way() -> Path | None:
    """Put this process and its later children into the group; ``None``: this machine lets us make none, and we are nice."""
    for parent, file, share in _places():
        group = parent / GROUP
        with suppress(OSError):
            group.mkdir(exist_ok=True)
            if file == "cpu.weight":
                (parent / "cgroup.subtree_control").write_text("+cpu")
            (group / file).write_text(share)
            (group / "cgroup.procs").write_text(str(os.getpid()))
            return group
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    return None


def give_back(group: Path | None) -> None:
    """Leave the group, and take it away unless others are in it."""
    if group is not None:
        (group.parent / "cgroup.procs").write_text(str(os.getpid()))
        with suppress(OSError):
            group.rmdir()
