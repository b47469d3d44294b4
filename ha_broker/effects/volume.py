"""The broker's files on the volume ``engine``: board slots past every cache, the epoch record. All of it may block."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

from appliance.effects.files import PRIVATE, write_atomically
from appliance.errors import Failed
from appliance.verbs.epoch import EpochStore
from ha_broker.board import SLOT_BYTES


class VolumeBoard:
    """:class:`ha_broker.ports.BoardFiles`: O_DIRECT, so that a reading is what the bricks hold and a writing is on them."""

    def __init__(self, folder: Path, host: str) -> None:
        self._folder = folder
        self._host = host

    def read(self, host: str) -> bytes | None:
        try:
            descriptor = os.open(self._path(host), os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            if not self._folder.is_dir():
                raise OSError(f"{self._folder} is missing: the volume is not mounted here") from None
            return None
        try:
            with mmap.mmap(-1, SLOT_BYTES) as aligned:
                length = os.preadv(descriptor, [aligned], 0)
                return aligned[:length]
        finally:
            os.close(descriptor)

    def write(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_DIRECT | os.O_DSYNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path(self._host), flags, 0o644)
        try:
            with mmap.mmap(-1, SLOT_BYTES) as aligned:
                aligned[:] = data
                written = os.pwritev(descriptor, [aligned], 0)
            if written != SLOT_BYTES:
                raise OSError(f"only {written} of {SLOT_BYTES} bytes of the own slot were written")
        finally:
            os.close(descriptor)

    def _path(self, host: str) -> Path:
        return self._folder / f"{host}.slot"


class NodeEpochs:
    """:class:`ha_broker.ports.EpochStore`: the record on the volume, and this node's agent's file."""

    def __init__(self, record: Path, agent: EpochStore) -> None:
        self._record = record
        self._agent = agent

    def read_record(self) -> int:
        try:
            text = self._record.read_text()
        except FileNotFoundError:
            return 0
        except UnicodeDecodeError as error:
            raise _damaged(self._record, "bytes that are no text") from error
        try:
            found = json.loads(text)["epoch"]
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(self._record, repr(text[:60])) from error
        if type(found) is not int or found < 0:
            raise _damaged(self._record, repr(text[:60]))
        return found

    def write_record(self, epoch: int) -> None:
        write_atomically(self._record, json.dumps({"epoch": epoch}) + "\n", PRIVATE)

    def local(self) -> int:
        return self._agent.highest()

    def raise_local(self, epoch: int) -> int:
        return self._agent.raise_to(epoch)


def _damaged(path: Path, found: str) -> Failed:
    return Failed(
        "ha.epoch-record-damaged",
        subject=str(path),
        reason=f"it does not hold an epoch, but {found}",
        remedy="The next start of the engine VM makes a new one out of what the agents know.",
    )
