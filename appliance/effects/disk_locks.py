"""Whether a QEMU has a disk's file open: its locks are bytes of the file, seen through a shared volume on every node."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

FIRST_BYTE = 100
BYTES = 100
"""QEMU (block/file-posix.c) locks byte 100 + n while it uses permission n of the file (1: to write) and 200 + n
while it bears no other user of it. What is used is of interest, so the first hundred."""

_FLOCK = "hhqqi4x"
"""struct flock with 64-bit offsets: type, whence, start, length, pid (0 for locks of open files)."""


def in_use(path: Path) -> bool:
    """Whether some QEMU on some node reads or writes ``path``. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, FIRST_BYTE, BYTES, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted)
    finally:
        os.close(descriptor)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
