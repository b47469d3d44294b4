"""Files that must be whole after a power cut: written beside, synced, renamed, and the folder synced."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644


def write_atomically(path: Path, content: str | bytes, mode: int, owner: int | None = None) -> None:
    """Replace ``path`` by ``content``: a reader (and a power cut) sees the old or the new file, never half of one.

    ``owner`` is uid and gid. The folder must exist. Raises ``OSError``. What a kill leaves beside it is named
    ``.<name>.<…>.new``, as all broken-off work on volumes is, and goes with the file.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, mode)
            if owner is not None:
                os.fchown(descriptor, owner, owner)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_if_different(path: Path, content: str, mode: int) -> bool:
    """As :func:`write_atomically`, unless it is so already. Answers whether something was written."""
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):  # absent, or not a text of ours: it is written
        if path.read_text() == content and path.stat().st_mode & 0o7777 == mode:
            return False
    make_folders(path.parent, 0o755)
    write_atomically(path, content, mode)
    return True


def make_folders(folder: Path, mode: int) -> None:
    """Make ``folder`` and its missing parents with exactly ``mode``, whatever the umask; existing ones stay as they are."""
    if folder.is_dir():
        return
    make_folders(folder.parent, mode)
    with contextlib.suppress(FileExistsError):  # somebody made it meanwhile: as wanted
        folder.mkdir()
        folder.chmod(mode)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path`` (made when missing) among all processes and threads of this node."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
