"""What the broker keeps and tells on its own node: notes, events, status, systemd's notifications."""

from __future__ import annotations

import json
import os
import socket
import sys
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
    """:class:`ha_broker.ports.NotesFile`: valid within one boot, because its times and process ids are."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._failed = ""

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
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._path, json.dumps({**encode(notes), "boot_id": self._boot_id}), PRIVATE)
            self._failed = ""
        except OSError as error:  # a full /var must not stop the broker (fault 44); said once
            if str(error) != self._failed:
                journal(f"{self._path} cannot be written ({error}): a restarted broker would count starts anew")
            self._failed = str(error)


class EventFile:
    """:class:`ha_broker.ports.EventLog`: a JSON object a line, the last ``EVENTS_MAX_BYTES`` and as much again; and the
    journal."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: Event) -> None:
        journal(f"{event.kind}: {event.sentence}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._path.exists() and self._path.stat().st_size > limits.EVENTS_MAX_BYTES:
                self._path.replace(self._path.with_suffix(".old.jsonl"))
            with self._path.open("a") as file:
                file.write(json.dumps(encode(event), ensure_ascii=False) + "\n")
        except OSError as error:
            journal(f"{self._path} cannot be written: {error}")


class RunStatus:
    """:class:`ha_broker.ports.StatusFile`, on a tmpfs: replaced each turn, never half-written, not synced."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def write(self, status: HaStatus) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.write_text(
            json.dumps({**encode(status), "written_monotonic_s": self._clock.monotonic_s()}, ensure_ascii=False)
        )
        beside.chmod(PUBLIC)
        beside.replace(self._path)


def notify(message: str) -> None:
    """Tell systemd (``READY=1``, ``WATCHDOG=1``, ``STATUS=…``); nothing without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
