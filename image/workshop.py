"""The workshop: one builder at a time, enough room on the disk, old work cleared away."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.errors import Refused
from appliance.ports import Processes
from image.oslayer import discard_tree
from image.recipe import MIB

SPACE_CACHE_BYTES: Final = 4096 * MIB
"""An OS layer with its tar and scratch folder takes 2 GiB at most; twice that, because two images share the disk."""

SPACE_IMAGES_BYTES: Final = 3072 * MIB
"""The node's disk (1.5 GiB, while it is made) and its compressed file, with room for one more."""

ALMOST_FULL_BYTES: Final = 32 * MIB
"""Less free than this after a failure, and the full disk is taken for its cause, whatever the tool said."""

KEPT_TREES: Final = 3
"""Trees kept of each kind: the present one, and what a change taken back may want again. They share their files."""

KEPT_LAYERS: Final = 2
"""OS layers kept of each kind (0.3 and 0.7 GiB each): the present one and the one before it."""


@contextmanager
def alone(cache: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One build at a time on this machine: a second one waits, and says whom it waits for."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"another build is running (process {file.read().strip() or '?'}); waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def check_space(needed: Mapping[Path, int]) -> None:
    """Raise ``Refused`` (``image.disk-full``) unless each folder's disk has that many bytes free."""
    for folder, needed_bytes in needed.items():
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < needed_bytes:
            raise Refused(
                "image.disk-full",
                subject=str(folder),
                reason=f"{free_bytes // MIB} MiB are free, a build needs {needed_bytes // MIB} MiB there",
                remedy="Free some space and run the same command again.",
                facts={"free_bytes": free_bytes, "needed_bytes": needed_bytes},
            )


def almost_full(folders: Iterable[Path]) -> bool:
    """Whether the disk of one of ``folders`` has hardly anything left."""
    return any(shutil.disk_usage(folder).free < ALMOST_FULL_BYTES for folder in folders)


def prune(processes: Processes, present: Path, kept: int) -> None:
    """Remove old trees (or layers) of the kind of ``present``, except those that something on this machine has mounted."""
    kind = present.name.partition("-")[0]
    found = [path for path in present.parent.glob(f"{kind}-*") if path.is_dir() and path != present]
    newest_first = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    mounted = all_mounts()
    for path in newest_first[kept - 1 :]:
        if str(path) not in mounted:
            discard_tree(processes, path)


def all_mounts() -> str:
    """The mount tables of all processes, once each: lab nodes have mount namespaces of their own."""
    tables = set()
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            tables.add(table.read_text())
        except OSError:  # that process has ended in the meantime
            continue
    return "".join(tables)


def sync_file(path: Path) -> None:
    """Make sure that the file's bytes are on the disk before it gets its final name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
