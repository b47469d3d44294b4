"""The folder of saved memory on a node, and what is remembered of wakes from it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from appliance.codec import decode, encode
from appliance.effects.files import PRIVATE, write_atomically
from appliance.errors import Failed, TrivetError, Unavailable
from ha_broker.warm.facts import Machine, Saved, why_not

RECORD: Final = "saved.json"
READ_BYTES: Final = 4 * 1024 * 1024
"""How much is read at once while a file is summed up: a few calls, little memory."""

MAGIC: Final = b"LibvirtQemudSave"
HEADER_BYTES: Final = 92
"""libvirt's header of saved memory (version 2, unchanged since 2010): magic, then numbers, the second of which is the length
of the text that follows; the text begins with the domain's XML."""
TEXT_LIMIT_BYTES: Final = 1024 * 1024

REMEDY: Final = "`trivet ha warm make` makes it anew; until then the engine VM boots cold."


class Shelf:
    """``folder`` holds one file of saved memory and its record; ``run`` (a tmpfs) what holds for this boot only."""

    def __init__(self, folder: Path, run: Path) -> None:
        self.folder = folder
        self._trial = run / "ha-warm-trial"
        self._rejected = run / "ha-warm-rejected"

    # --- the record

    def saved(self) -> Saved | None:
        """What is there, if the file looks as when it was recorded (the cheap look; :func:`checked` is the full one)."""
        try:
            value = json.loads((self.folder / RECORD).read_text())
            saved = decode(Saved, value, subject=str(self.folder / RECORD), code="ha.warm-record", ignore_unknown=True)
            found = self.path(saved).lstat()
        except (OSError, ValueError, TrivetError):
            return None  # missing or damaged is the same: there is nothing to wake
        same = (found.st_size, found.st_mtime_ns) == (saved.size_bytes, saved.changed_ns)
        return saved if same and stat.S_ISREG(found.st_mode) else None

    def path(self, saved: Saved) -> Path:
        return self.folder / saved.file

    def why_not(self, wanted: Machine) -> str:
        """Why nothing here can be woken as ``wanted``; empty: it can."""
        saved = self.saved()
        why = why_not(saved, wanted)
        if why or saved is None:
            return why or "no saved memory has been made yet"
        if self._trial.exists():
            return "the engine that was last woken from it has not come up yet"
        return ""

    def put(self, saved: Saved) -> None:
        """Record ``saved`` (its file is in place) and remove all others."""
        write_atomically(self.folder / RECORD, json.dumps(encode(saved), indent=2), PRIVATE)
        self._rejected.unlink(missing_ok=True)
        self._trial.unlink(missing_ok=True)
        self.clean((saved.file, RECORD))

    def clean(self, keep: Sequence[str]) -> None:
        """Remove everything but ``keep``: older memory, and what an interrupted maker left."""
        for path in self.folder.iterdir():
            if path.name not in keep:
                path.unlink(missing_ok=True)

    def reject(self, reason: str) -> None:
        """What is here must not be woken again; the maker's next run makes it anew."""
        (self.folder / RECORD).unlink(missing_ok=True)
        self._rejected.write_text(reason)

    def rejected(self) -> str:
        """Why the last one was rejected; empty: it was not, in this boot."""
        return self._rejected.read_text() if self._rejected.exists() else ""

    # --- the trial: an engine that was woken and never came up is booted the next time

    def begin_trial(self) -> None:
        self._trial.touch()

    def pass_trial(self) -> None:
        self._trial.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """SHA-256 of what is in the file; holes (most of the guest's memory) are counted, not read. 0.2 s for 240 MiB."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        for start, end in _extents(file.fileno()):
            total.update(struct.pack(">QQ", start, end))
            file.seek(start)
            while start < end and (data := file.read(min(READ_BYTES, end - start))):
                total.update(data)
                start += len(data)
    return total.hexdigest()


def _extents(descriptor: int) -> Iterator[tuple[int, int]]:
    size, at = os.fstat(descriptor).st_size, 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole to the end
            return
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at


def checked(path: Path, saved: Saved) -> None:
    """Compare the whole file with its record. Raises ``Failed`` (``ha.warm-damaged``)."""
    try:
        found = checksum(path)
    except OSError as error:
        raise Unavailable("ha.warm-unreadable", subject=str(path), reason=str(error), remedy=REMEDY) from error
    if found != saved.checksum:
        reason = f"its checksum is {found[:16]}…, it was made with {saved.checksum[:16]}…"
        raise Failed("ha.warm-damaged", subject=str(path), reason=reason, remedy=REMEDY)


def rename_inside(path: Path, exchange: Sequence[tuple[str, str]]) -> None:
    """Exchange words of equal length in the domain XML at the head of the file: name and id of the VM.

    libvirt refuses a new name or id at the restore, and two VMs of one id on a host; so the memory is made under another id
    than it is woken under. Raises ``Failed`` (``ha.warm-format``).
    """
    with path.open("r+b") as file:
        head = file.read(HEADER_BYTES)
        length = struct.unpack_from("<I", head, len(MAGIC) + 4)[0] if len(head) == HEADER_BYTES else 0
        text = file.read(length) if length <= TEXT_LIMIT_BYTES else b""
        wrong = not head.startswith(MAGIC) or not text
        for old, new in exchange:
            wrong = wrong or len(old) != len(new) or old.encode() not in text
            text = text.replace(old.encode(), new.encode())
        if wrong:
            reason = "its head is not as this version knows it"
            raise Failed("ha.warm-format", subject=str(path), reason=reason, remedy=REMEDY)
        file.seek(HEADER_BYTES)
        file.write(text)
