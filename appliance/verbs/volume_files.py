"""Files on the mounted volumes. Nothing is written where no volume is mounted, and no path leaves its volume."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from appliance.effects.bounded import Bounded
from appliance.effects.files import make_folders, sync_folder, write_atomically
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, NotFound, Refused
from appliance.layout import QEMU_UID
from appliance.verbs.mounts import Mounts
from appliance.wire.definition import VolumeFile

T = TypeVar("T")

FILE_TIMEOUT_S = 25.0
"""A vanished node stalls a volume for 6 s, a call of several operations several times; the route's limit is 30 s."""
CONTENT_LIMIT_BYTES = 256 * 1024
DISK_MODE = 0o660


class VolumeFiles:
    """File verbs. Each runs with a deadline in a thread of its own, because a stalled volume blocks whoever touches it."""

    def __init__(self, root: Root, mounts: Mounts, is_mount: Callable[[Path], bool] = os.path.ismount) -> None:
        self._root = root
        self._mounts = mounts
        self._is_mount = is_mount
        self._bounded = Bounded("files of a volume", "volume")

    def listing(self, volume: str, path: str) -> tuple[VolumeFile, ...]:
        """What is in the folder ``path``, sorted. Raises ``NotFound`` (``file.unknown``)."""
        return self.at(volume, path, lambda place: tuple(_file(place, path, name) for name in sorted(os.listdir(place))))  # noqa: PTH208

    def make_folder(self, volume: str, path: str, owner_uid: int, mode: int) -> None:
        """A folder with that owner (uid and gid) and mode, its parents with it."""

        def make(place: Path) -> None:
            make_folders(place, 0o755)
            os.chown(place, owner_uid, owner_uid)
            place.chmod(mode & 0o1777)
            sync_folder(place.parent)

        self.at(volume, path, make)

    def make_disk(self, volume: str, path: str, size_bytes: int) -> None:
        """A sparse raw file owned by QEMU. There with that size: nothing. Raises ``Conflict`` (``file.exists``)."""
        if size_bytes < 1:
            raise Refused("file.size", subject=path, reason=f"{size_bytes} bytes are no disk", remedy="Ask for more.")
        self.at(volume, path, lambda place: _make_disk(place, path, size_bytes))

    def write(self, volume: str, path: str, content: str, mode: int) -> None:
        """Replace a small text file atomically. Raises ``Refused`` (``file.too-large``)."""
        size_bytes = len(content.encode())
        if size_bytes > CONTENT_LIMIT_BYTES:
            raise Refused(
                "file.too-large",
                subject=path,
                reason=f"{size_bytes} bytes are more than {CONTENT_LIMIT_BYTES}",
                remedy="Write larger files through the mount.",
            )
        self.at(volume, path, lambda place: write_atomically(place, content, mode & 0o7777))

    def read(self, volume: str, path: str) -> str:
        """A small text file, whoever wrote it. Raises ``NotFound`` (``file.unknown``), ``Refused`` (``file.too-large``,
        ``file.content``: no plain file, or no text)."""
        return self.at(volume, path, lambda place: _text(place, path))

    def remove(self, volume: str, path: str) -> None:
        """Remove a file or an empty folder. Not there: nothing. Raises ``Conflict`` (``folder.not-empty``)."""

        def remove(place: Path) -> None:
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            else:
                place.unlink(missing_ok=True)
            if place.parent.is_dir():
                sync_folder(place.parent)

        if PurePosixPath(path) == PurePosixPath("."):
            raise _bad_path(path, "it is the volume itself")
        self.at(volume, path, remove)

    def at(self, volume: str, path: str, act: Callable[[Path], T]) -> T:
        """What ``act`` makes of the place of ``path``. Raises ``Conflict`` (``volume.not-mounted``), ``Refused``
        (``file.path``), the coded error of an ``OSError``, ``Unavailable`` (``volume.deadline``)."""
        mount_point = self._root.at(self._mounts.point(volume))

        def run() -> T:
            if not self._is_mount(mount_point):
                raise Conflict(
                    "volume.not-mounted",
                    subject=f"volume {volume}",
                    reason=f"it is not mounted at {mount_point}",
                    remedy=f"`systemctl status trivet-volume-{volume}` and `trivet gluster status` say why.",
                )
            try:
                return act(inside(mount_point, path))
            except OSError as error:
                raise _coded(error, volume, path) from error

        return self._bounded(run, FILE_TIMEOUT_S)


def inside(mount_point: Path, path: str) -> Path:
    """The place of ``path``, links followed. Raises ``Refused`` (``file.path``) when it is outside."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise _bad_path(path, "it must be relative, without ..")
    place = mount_point / parts
    if not place.parent.resolve().is_relative_to(mount_point.resolve()) and place != mount_point:
        raise _bad_path(path, "a link on its way leads out of the volume")
    if place.is_symlink():
        raise _bad_path(path, "it is a link")
    return place


def _bad_path(path: str, reason: str) -> Refused:
    return Refused("file.path", subject=repr(path), reason=reason, remedy="Give a path relative to the volume's root.")


def _coded(error: OSError, volume: str, path: str) -> Exception:
    subject, said = f"{path} on volume {volume}", error.strerror or str(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound("file.unknown", subject=subject, reason=said, remedy="List the folder above it.")
    if isinstance(error, FileExistsError):
        return Conflict("file.exists", subject=subject, reason=said, remedy="Remove it first, or use another name.")
    if error.errno == errno.ENOTEMPTY:
        return Conflict("folder.not-empty", subject=subject, reason=said, remedy="Remove what is in it first.")
    return Failed("file.failed", subject=subject, reason=said, remedy="`trivet gluster status` tells how the volume is.")


def _file(folder: Path, path: str, name: str) -> VolumeFile:
    found = (folder / name).lstat()
    relative = str(PurePosixPath(path) / name)
    return VolumeFile(relative, found.st_size, found.st_blocks * 512, stat.S_ISDIR(found.st_mode))


def _text(place: Path, path: str) -> str:
    """Nothing of a foreign domain is waited for (a pipe), and no more is read than is taken."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("file.content", subject=path, reason="it is no plain file", remedy="Look at it.")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(CONTENT_LIMIT_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > CONTENT_LIMIT_BYTES:
        reason = f"it has more than {CONTENT_LIMIT_BYTES} bytes"
        raise Refused("file.too-large", subject=path, reason=reason, remedy="Read larger files through the mount.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused(
            "file.content", subject=path, reason=f"it is no text ({error.reason})", remedy="Look at it."
        ) from error


def _make_disk(place: Path, path: str, size_bytes: int) -> None:
    """Made under another name and renamed: a disk file that exists is complete, also after a crash."""
    if place.exists():
        found = place.stat().st_size
        if found != size_bytes:
            raise Conflict(
                "file.exists",
                subject=path,
                reason=f"it is there with {found} bytes, asked for were {size_bytes}",
                remedy="Use another name; an existing disk is never changed here.",
            )
        return
    beside = place.with_name(f".{place.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(descriptor, size_bytes)
        os.fchown(descriptor, QEMU_UID, QEMU_UID)
        os.fchmod(descriptor, DISK_MODE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.rename(place)
    sync_folder(place.parent)
