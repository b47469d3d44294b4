"""What the broker keeps and tells on its own node: notes, events, status."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from appliance.codec import decode, encode
from appliance.effects.clock import Clock
from appliance.effects.files import PRIVATE, PUBLIC, write_atomically
from appliance.errors import Refused
from appliance.model.ha import HaStatus
from ha_broker import limits
from ha_broker.ports import Event
from ha_broker.state import Notes


def journal(text: str) -> None:
    """A line of the unit's journal."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class BootNotes:
    """:class:`ha_broker.ports.NotesFile`: valid within one boot, because its times and process ids are. ``error``: why they
    could not be kept the last time."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self.error = ""

    def load(self) -> Notes:
        try:
            value = json.loads(self._path.read_text())
            if value.pop("boot_id", "") != self._boot_id:
                return Notes()
            return decode(Notes, value, subject=str(self._path), code="ha.notes-damaged", ignore_unknown=True)
        except FileNotFoundError:
            return Notes()
        except (ValueError, AttributeError, TypeError, OSError, Refused) as error:
            journal(f"{self._path} cannot be used ({error}): what earlier starts left is forgotten")
            return Notes()

    def save(self, notes: Notes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps({**encode(notes), "boot_id": self._boot_id}), PRIVATE)
            self.error = ""
        except OSError as error:  # a full disk must not stop the broker (fault 44); said once
            if str(error) != self.error:
                journal(f"{self._path} cannot be written ({error}): a restarted broker would count starts anew")
            self.error = str(error)


class EventFile:
    """:class:`ha_broker.ports.EventLog`: a JSON object a line, the last ``EVENTS_MAX_BYTES`` and as much again; and the
    journal. What cannot be written (a full /var, fault 44) is kept in memory and written once it can be, oldest first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unwritten: deque[str] = deque(maxlen=limits.EVENTS_KEPT)
        self._error = ""

    def write(self, event: Event) -> None:
        journal(f"{event.kind}: {event.sentence}")
        self._unwritten.append(json.dumps(encode(event), ensure_ascii=False) + "\n")
        self.flush()

    def flush(self) -> str:
        """Write what is not written yet; why that failed, empty: it is all there."""
        if not self._unwritten:
            return ""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._path.exists() and self._path.stat().st_size > limits.EVENTS_MAX_BYTES:
                self._path.replace(self._path.with_suffix(".old.jsonl"))
            while self._unwritten:
                append_whole(self._path, self._unwritten[0])
                self._unwritten.popleft()
            self._error = ""
        except OSError as error:  # said once: a journal on the same full disk has little room for it
            if str(error) != self._error:
                journal(f"{self._path} cannot be written ({error}): the last {limits.EVENTS_KEPT} events are kept in memory")
            self._error = str(error)
        return self._error


def append_whole(path: Path, line: str) -> None:
    """Append the line, or nothing of it: half a line would spoil the next one. Raises ``OSError``."""
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        data = line.encode()
        try:
            written = file.write(data)
        except OSError:
            file.truncate(before)
            raise
        if written != len(data):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class RunStatus:
    """:class:`ha_broker.ports.StatusFile`, on a tmpfs: replaced each turn, never half-written, not synced."""

    def __init__(self, path: Path, clock: Clock, warm: Callable[[], str] = lambda: "") -> None:
        self._path = path
        self._clock = clock
        self._warm = warm
        self._error = ""

    def write(self, status: HaStatus) -> None:
        try:
            self._replace(replace(status, warm=self._warm()))
            self._error = ""
        except OSError as error:  # nobody sees what the broker does then, but it goes on; said once
            if str(error) != self._error:
                journal(f"{self._path} cannot be written: {error}")
            self._error = str(error)

    def _replace(self, status: HaStatus) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.write_text(
            json.dumps({**encode(status), "written_monotonic_s": self._clock.monotonic_s()}, ensure_ascii=False)
        )
        beside.chmod(PUBLIC)
        beside.replace(self._path)
