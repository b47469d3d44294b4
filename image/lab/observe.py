"""What of a lab exists right now, read from the kernel: so that ``down`` works whatever happened to whoever made the lab."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import Refused
from image.lab.model import CGROUP_FOLDER, RUN_ROOT, STATE_ROOT, LabNode, prefix

NETNS_FOLDER: Final = Path("/run/netns")
NSPAWN_FOLDER: Final = Path("/run/systemd/nspawn")
SUPERVISOR: Final = "supervisor"
EXEC: Final = "exec"
FORWARD: Final = "forward"


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo, as far as the lab cares."""

    target: Path
    kind: str
    source: str


@dataclass(frozen=True)
class Observed:
    """All kernel objects and files of one lab. ``mounts`` are deepest first, ``cgroups`` only roots of trees."""

    namespaces: tuple[str, ...]
    mounts: tuple[Path, ...]
    cgroups: tuple[Path, ...]
    pids: tuple[int, ...]
    folders: tuple[Path, ...]

    @property
    def nothing(self) -> bool:
        """Whether nothing at all is left of the lab."""
        return not (self.namespaces or self.mounts or self.cgroups or self.pids or self.folders)


_ESCAPE = re.compile(r"\\([0-7]{3})")


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """The mounts of /proc/self/mountinfo, in its order."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        target = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), before.split()[4])
        kind, source = after.split()[:2]
        mounts.append(Mount(Path(target), kind, source))
    return tuple(mounts)


def mounts_below(mounts: Iterable[Mount], folder: Path) -> tuple[Path, ...]:
    """Mount points at or below ``folder`` in the order in which they can be unmounted."""
    targets = [mount.target for mount in mounts if mount.target == folder or folder in mount.target.parents]
    return tuple(reversed(targets))


def filesystem_of(mounts: Iterable[Mount], folder: Path) -> str:
    """The file system type that holds ``folder``."""
    best = Mount(Path("/"), "unknown", "")
    for mount in mounts:
        if (mount.target == folder or mount.target in folder.parents) and len(mount.target.parts) >= len(best.target.parts):
            best = mount
    return best.kind


def is_init(status: str) -> bool:
    """Whether a /proc/PID/status is that of a container's init: process 1 of a namespace one level down."""
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False


def read_mounts() -> tuple[Mount, ...]:
    """The mounts of this process's mount namespace."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_text())


def cgroup_mount() -> Path:
    """Where cgroup v2 is mounted (at the top, or beside v1). ``Refused`` (``lab.cannot-run``) if nowhere."""
    for mount in read_mounts():
        if mount.kind == "cgroup2":
            return mount.target
    raise Refused(
        "lab.cannot-run",
        subject="this machine",
        reason="cgroup v2 is not mounted; a node's systemd needs it",
        remedy="mount -t cgroup2 none /sys/fs/cgroup/unified",
    )


def lab_cgroup(lab: str) -> Path:
    """The cgroup that holds every process of the lab."""
    return cgroup_mount() / CGROUP_FOLDER / lab


def node_cgroup(node: LabNode) -> Path:
    """The cgroup that holds every process of the node, its supervisor, and what was started in it from outside."""
    return lab_cgroup(node.lab) / node.name


def _mirrors(lab: str) -> list[Path]:
    """cgroup v1's tree of systemd, in which systemd-nspawn repeats the node's cgroup on machines that have it."""
    return [mount.target / CGROUP_FOLDER / lab for mount in read_mounts() if mount.kind == "cgroup"]


def pids_in(cgroup: Path) -> tuple[int, ...]:
    """Every process in ``cgroup`` and below. Cgroups that vanish meanwhile are empty."""
    found: list[int] = []
    for folder, _, _ in os.walk(cgroup):  # unlike Path.rglob of Python 3.11 it passes over vanishing folders
        try:
            found += [int(pid) for pid in Path(folder, "cgroup.procs").read_text().split()]
        except (FileNotFoundError, OSError) as gone:
            if isinstance(gone, FileNotFoundError) or gone.errno in _GONE:
                continue
            raise
    return tuple(found)


_GONE = (19, 95)
"""ENODEV: the cgroup was removed while its file was open. EOPNOTSUPP: a threaded cgroup; its parent lists the processes."""


def leader(node: LabNode) -> int | None:
    """The process id of the node's init, or ``None`` when the node is off."""
    payload = node_cgroup(node) / "payload"
    for folder in (payload / "init.scope", payload):
        for pid in _direct_pids(folder):
            try:
                if is_init(Path(f"/proc/{pid}/status").read_text()):
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                continue
    return None


def _direct_pids(folder: Path) -> tuple[int, ...]:
    try:
        return tuple(int(pid) for pid in (folder / "cgroup.procs").read_text().split())
    except FileNotFoundError:
        return ()


def is_on(node: LabNode) -> bool:
    """Whether any process of the node itself (not merely a command from outside) exists."""
    cgroup = node_cgroup(node)
    outside = set(pids_in(cgroup / EXEC))
    return any(pid not in outside for pid in pids_in(cgroup))


def namespaces(lab: str) -> tuple[str, ...]:
    """The network namespaces of the lab."""
    if not NETNS_FOLDER.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in NETNS_FOLDER.iterdir() if entry.name.startswith(prefix(lab))))


def observe(lab: str) -> Observed:
    """Everything of ``lab`` that is there."""
    cgroups = [folder for folder in (lab_cgroup(lab), *_mirrors(lab)) if folder.is_dir()]
    folders = [folder for folder in (STATE_ROOT / lab, RUN_ROOT / lab) if folder.is_dir()]
    propagate = NSPAWN_FOLDER / "propagate"
    if propagate.is_dir():
        folders += sorted(entry for entry in propagate.iterdir() if entry.name.startswith(prefix(lab)))
    return Observed(
        namespaces=namespaces(lab),
        mounts=mounts_below(read_mounts(), STATE_ROOT / lab),
        cgroups=tuple(cgroups),
        pids=pids_in(lab_cgroup(lab)),
        folders=tuple(folders),
    )


def known_labs() -> tuple[str, ...]:
    """The names of all labs that have state on this machine."""
    if not STATE_ROOT.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in STATE_ROOT.iterdir() if entry.is_dir()))
