"""The few effects of the lab that are no program: cgroups, files, locks. Everything here is one small act."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.effects.clock import Clock
from appliance.errors import Failed
from image.lab.observe import NSPAWN_FOLDER, pids_in
from image.lab.seed import SeedFile

KILL_DEADLINE_S: Final = 20.0
"""Because a killed process leaves in milliseconds; only one that waits for a disk or a FUSE answer needs longer."""
KILL_POLL_S: Final = 0.02


def make_cgroup(cgroup: Path, root: Path) -> None:
    """Make ``cgroup`` below ``root``, handing down the controllers that the machine hands to its own children."""
    controllers = (root / "cgroup.subtree_control").read_text().split()
    for folder in [*reversed([parent for parent in cgroup.parents if root in parent.parents]), cgroup]:
        folder.mkdir(exist_ok=True)
        if folder != cgroup and controllers:
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def kill_all(cgroup: Path, clock: Clock) -> None:
    """End every process in ``cgroup`` at one stroke (SIGKILL by the kernel itself) and wait until none is left.

    No process gets a chance to say or write anything: a power cut. ``Failed`` (``lab.process-stuck``) if one does not go.
    """
    if not cgroup.is_dir():
        return
    (cgroup / "cgroup.kill").write_text("1")
    deadline = clock.monotonic_s() + KILL_DEADLINE_S
    while "populated 1" in (cgroup / "cgroup.events").read_text():
        if clock.monotonic_s() > deadline:
            raise Failed(
                "lab.process-stuck",
                subject=str(cgroup),
                reason=f"processes {', '.join(map(str, pids_in(cgroup)))} did not end {KILL_DEADLINE_S:g} s after SIGKILL",
                remedy="Look at /proc/PID/stack of these; then run the same command again.",
            )
        clock.sleep(KILL_POLL_S)


def set_frozen(cgroup: Path, frozen: bool) -> None:
    """Let all processes in ``cgroup`` stand still or go on. Returns at once: one that waits in the kernel (for a disk, for
    FUSE) stands still when it would come back from there."""
    (cgroup / "cgroup.freeze").write_text("1" if frozen else "0")


def remove_cgroup(cgroup: Path) -> None:
    """Remove ``cgroup`` and all below, which must be empty; its parent too if nothing else is in it."""
    for folder, _, _ in os.walk(cgroup, topdown=False):
        Path(folder).rmdir()
    parent = cgroup.parent
    if parent.is_dir() and not any(entry.is_dir() for entry in parent.iterdir()):
        parent.rmdir()


def remove_folder(folder: Path) -> None:
    """Remove ``folder`` and all below; its parent too if nothing else is in it."""
    shutil.rmtree(folder)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def forget_nspawn_lock(root: Path) -> None:
    """Remove the lock file that a killed systemd-nspawn left for ``root`` (named by device and inode)."""
    status = root.stat()
    (NSPAWN_FOLDER / "locks" / f"inode-{status.st_dev}:{status.st_ino}").unlink(missing_ok=True)


def write_seed(root: Path, files: Sequence[SeedFile]) -> None:
    """Write ``files`` below ``root`` (a mounted node root). Never follows a link of the node's out of it."""
    for file in files:
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(root.resolve()):
            raise Failed(
                "lab.tree-invalid",
                subject=str(target),
                reason="a symbolic link in the node's tree leads out of it",
                remedy="Build the node image again.",
            )
        before = target.read_text() if file.append and target.is_file() and not target.is_symlink() else ""
        if file.append and before.endswith(file.text):
            continue  # seeded before by one who was killed before it could say so
        fresh = target.with_name(f".{target.name}.lab")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, file.mode)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(before + file.text)
        fresh.chmod(file.mode)
        fresh.replace(target)


def replace_file(path: Path, text: str) -> None:
    """Write ``path`` so that it is at every moment either the old or the new text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``. The kernel takes it back when we die, so it is never stale.

    The holder may remove the file: whoever waited for it then starts over with a new one.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if not path.exists() or path.stat().st_ino != os.fstat(stream.fileno()).st_ino:
                continue
            yield
            return
