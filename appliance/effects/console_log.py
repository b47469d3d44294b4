"""What a VM has said on its serial line, read from virtlogd's file while it grows and is rotated."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

HISTORY_BYTES = 16 * 1024
"""What somebody sees who comes: some screens, so that a login prompt or the last words of a kernel are there."""
PIECE_BYTES = 64 * 1024


class ConsoleLog:
    """Reads on from where it was. virtlogd renames a file that is full and begins another: what is left of the old one is
    read first. Nothing is read twice, and nothing is left out unless two files fill up between two looks."""

    def __init__(self, path: Path, history_bytes: int = HISTORY_BYTES) -> None:
        """Begins so much before the end of what is there. Raises ``OSError``."""
        self._path = path
        self._file = FileIO(path, "r")
        size = os.fstat(self._file.fileno()).st_size
        self._file.seek(max(0, size - history_bytes))

    def more(self) -> bytes:
        """What has come since; empty: nothing."""
        found = self._file.read(PIECE_BYTES) or b""
        if found or not self._is_renamed():
            return found
        rest = self._file.read(PIECE_BYTES) or b""  # written between our read and the rename
        if not rest:
            self._file.close()
            self._file = FileIO(self._path, "r")
        return rest or self._file.read(PIECE_BYTES) or b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _is_renamed(self) -> bool:
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False  # renamed, and the new one is not there yet
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)
