"""All bytes of a disk's file: overwritten with zeros, or summed up. Slow by nature, so both tell how far they are."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.effects.files import sync_folder

PIECE_BYTES = 4 * 1024 * 1024
"""Large enough that a call costs nothing beside its work, small enough that a cancelled one ends within a second."""
OWNER_ATTRIBUTE = "user.trivet.task"
"""Extended attribute of a disk's file: the id of the task that made it, so that the same task asked again knows its work."""

MERGED_ATTRIBUTE = "user.trivet.merged"
"""Extended attribute of a layer that its VM was about to leave for the one below, into which it is merged."""
MIRROR_ATTRIBUTE = "user.trivet.mirror"
"""Extended attribute of a disk's file that was made as the mirror of another one: :data:`FILLING`, or :data:`IN_FORCE` from
the moment on at which its VM writes to it alone."""
FILLING, IN_FORCE = b"filling", b"in-force"

Watch = Callable[[float], None]
"""Called with the percent after each piece; raises to stop."""


def zero(path: Path, watch: Watch) -> None:
    """Overwrite with zeros what holds data; holes stay holes. Synced. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        size = os.fstat(descriptor).st_size
        zeros = bytes(PIECE_BYTES)
        for start, end in _extents(descriptor, size):
            for at in range(start, end, PIECE_BYTES):
                os.pwrite(descriptor, zeros[: min(PIECE_BYTES, end - at)], at)
                watch(100 * at / size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path, watch: Watch) -> str:
    """SHA-256 of the file, holes as zeros. Raises ``OSError``."""
    total, summed = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            summed.update(piece)
            watch(100 * stream.tell() / max(1, total))
    return summed.hexdigest()


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return
            raise
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at


def seal(beside: Path, place: Path, owner: int, mode: int, task: str) -> None:
    """Give a finished file its owner, its maker's mark and, last of all, its name; a power cut leaves all or nothing of it.
    Raises ``OSError``."""
    descriptor = os.open(beside, os.O_RDWR | os.O_NOFOLLOW)
    try:
        os.fchown(descriptor, owner, owner)
        os.fchmod(descriptor, mode)
        try:
            os.setxattr(descriptor, OWNER_ATTRIBUTE, task.encode())
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):  # without marks, asking again is a conflict
                raise
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.rename(place)
    sync_folder(place.parent)


def mark_merged(place: Path, *, is_merged: bool) -> None:
    """Say, lastingly, that all of it is in the layer below and that the VM writes there from now on; or take that back.
    Raises ``OSError``, also where a file system keeps no such marks: without it nobody could tell which of the two is
    newer."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if is_merged:
            os.setxattr(descriptor, MERGED_ATTRIBUTE, b"1")
        elif MERGED_ATTRIBUTE in os.listxattr(descriptor):
            os.removexattr(descriptor, MERGED_ATTRIBUTE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def mark_mirror(place: Path, *, in_force: bool) -> None:
    """Say, lastingly, that a mirror is not yet, or is from now on, what its VM writes to. Raises ``OSError``, also where a
    file system keeps no such marks: without them nobody could tell which of two files is newer."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.setxattr(descriptor, MIRROR_ATTRIBUTE, IN_FORCE if in_force else FILLING)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def marks(place: Path) -> tuple[bool, bool]:
    """Whether it is marked as merged into what is below, and as a mirror that its VM has gone over to. Raises
    ``OSError``."""
    return _attribute(place, MERGED_ATTRIBUTE) == b"1", _attribute(place, MIRROR_ATTRIBUTE) == IN_FORCE


def made_by(place: Path) -> str:
    """The task that made it, or empty: unknown. Raises ``OSError``."""
    return _attribute(place, OWNER_ATTRIBUTE).decode(errors="replace")


def _attribute(place: Path, name: str) -> bytes:
    try:
        return os.getxattr(place, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
            return b""
        raise
