"""Mount and unmount by the system call: no process is started, which on an emulated CPU costs a tenth of a second."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from appliance.errors import Failed

READ_ONLY: Final = 1
NO_SUID: Final = 2
NO_DEVICES: Final = 4
NO_EXEC: Final = 8
NO_ATIME: Final = 1024
"""Flags of mount(2)."""

_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: Path, target: Path, kind: str, flags: int, options: str = "") -> None:
    """Mount ``source``, a file system of ``kind``. Raises ``Failed`` (``mount.failed``)."""
    words = (str(source).encode(), str(target).encode(), kind.encode())
    if _LIBC.mount(*words, ctypes.c_ulong(flags), options.encode()) != 0:
        raise _failed("mount", f"{source} at {target} as {kind}")


def unmount(target: Path) -> None:
    """Unmount what is at ``target``. Raises ``Failed`` (``mount.failed``)."""
    if _LIBC.umount2(str(target).encode(), 0) != 0:
        raise _failed("unmount", str(target))


def _failed(what: str, subject: str) -> Failed:
    reason = f"the kernel said: {os.strerror(ctypes.get_errno())}"
    return Failed("mount.failed", subject=f"{what} {subject}", reason=reason, remedy="The kernel's log says more: `dmesg`.")
