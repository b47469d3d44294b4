"""The broker's event file, read from where we were: over rotations, restarts, half-written lines and power cuts."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from appliance.codec import decode
from appliance.errors import Refused
from ha_broker.ports import Event

READ_MAX_BYTES = 262_144
"""At once: about a thousand events. The rest comes with the next look."""


@dataclass(frozen=True)
class Position:
    """Behind which event we are. ``file`` tells the file by its first line, because names change hands at a rotation and
    inode numbers are given away again; empty: before everything."""

    file: str = ""
    offset: int = 0


@dataclass(frozen=True)
class Told:
    """An event, its name for ever, and the position behind it."""

    id: str
    event: Event
    behind: Position


@dataclass(frozen=True)
class Found:
    """What was read: ``behind`` is the end of it, lines that are no events included."""

    events: tuple[Told, ...]
    behind: Position


class EventReader:
    """Reads ``file`` and the one before it (``NAME.old.jsonl``)."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._old = file.with_suffix(".old.jsonl")

    def end(self) -> Position:
        """Behind everything that is there now."""
        opened = _open(self._file)
        return Position(opened.name, len(opened.data)) if opened and opened.name else Position()

    def after(self, position: Position) -> Found:
        """The events behind ``position``, oldest first. When its file was rotated away twice, all that is left."""
        current, old = _open(self._file), _open(self._old)  # in this order: a rotation in between shows one file twice
        files = [one for one in (old, current) if one is not None and one.name]
        if len(files) == 2 and files[0].name == files[1].name:
            files.pop(0)
        names = [one.name for one in files]
        if position.file in names:
            files = files[names.index(position.file) :]
        else:
            position = Position()
        events: list[Told] = []
        behind = position
        for one in files:
            begin = min(position.offset, len(one.data)) if one.name == position.file else 0
            found = _events(one, begin)
            events += found.events
            behind = found.behind
            if behind.offset < len(one.data):
                break
        return Found(tuple(events), behind)


@dataclass(frozen=True)
class _Opened:
    name: str
    data: bytes
    """All complete lines."""


def _open(path: Path) -> _Opened | None:
    with contextlib.suppress(FileNotFoundError):  # nothing has happened yet, or nothing was rotated
        data = path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        first = data.partition(b"\n")[0]
        return _Opened(hashlib.sha256(first).hexdigest()[:16] if first else "", data)
    return None


def _events(opened: _Opened, begin: int) -> Found:
    found: list[Told] = []
    offset = begin
    for line in opened.data[begin:].split(b"\n")[:-1]:
        if offset - begin >= READ_MAX_BYTES:
            break
        behind = Position(opened.name, offset + len(line) + 1)
        event = _event(line)
        if event is not None:
            found.append(Told(f"{opened.name}-{offset}", event, behind))
        offset = behind.offset
    return Found(tuple(found), Position(opened.name, offset))


def _event(line: bytes) -> Event | None:
    """None for what a power cut or a full disk left."""
    try:
        return decode(Event, json.loads(line), subject="event", ignore_unknown=True)
    except (ValueError, Refused):
        return None
