"""The process of the messages: looks, decides, delivers, remembers.

At least once: a place's position is stored behind an event only after the place has taken it. Killed between the two, the
same event is sent again, with the same id.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance import layout
from appliance.codec import decode, encode
from appliance.effects.clock import Clock
from appliance.effects.files import PRIVATE, make_folders, write_atomically
from appliance.effects.notify import tell_systemd
from appliance.errors import Refused, TrivetError
from appliance.model.ha import HaStatus
from appliance.verbs.ha_status import read_status
from ha_broker.notify.choose import told_here
from ha_broker.notify.deliver import Way
from ha_broker.notify.events import EventReader, Position, Told
from ha_broker.notify.message import message
from ha_broker.notify.outbox import Place, delivered, due_wall_s, failed, without_old

STATE_FILE = layout.HA_STATE / "notify.json"
LOOK_EVERY_S = 2.0
"""Half of the time that events are gathered for."""


@dataclass(frozen=True)
class Memory:
    """What is kept over restarts: each place by its key."""

    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class Whose:
    """Which cluster's, and which host's messages."""

    cluster: str
    host: str


class Messages:
    """One look at a time; :meth:`look` never raises for what a place does."""

    def __init__(self, whose: Whose, reader: EventReader, status: Path, memory: Path, clock: Clock) -> None:
        self._whose = whose
        self._reader = reader
        self._status = status
        self._file = memory
        self._clock = clock
        self._memory = read_memory(memory)

    def look(self, places: tuple[Way, ...], alive: Callable[[], None]) -> None:
        """Send what is due. A place that is new starts behind what is there: nobody wants last year's news. ``alive`` is
        called before each delivery."""
        known = {way.key: self._memory.places.get(way.key) or Place(self._reader.end()) for way in places}
        self._remember(known)
        alive()
        for way in places:
            alive()
            self._one(way)

    def _one(self, way: Way) -> None:
        place = self._memory.places[way.key]
        found = self._reader.after(place.delivered)
        waiting = self._chosen(found.events)
        now_s = self._clock.wall_s()
        if not waiting:
            self._keep(way, replace(place, delivered=found.behind))
        elif now_s >= due_wall_s(place, waiting, now_s):
            self._deliver(way, place, waiting, found.behind)

    def _deliver(self, way: Way, place: Place, waiting: tuple[Told, ...], behind: Position) -> None:
        told = message(waiting, self._whose.cluster, self._whose.host)
        try:
            remark = way.deliver(told)
        except TrivetError as error:
            if error.reason != place.error:
                journal(f"{way.name}: {error.reason} [{error.code}]; {len(waiting)} wait, tried again")
            after = failed(place, error.reason, self._clock.wall_s())
            given_up = without_old(after, waiting, self._clock.wall_s())
            if given_up.given_up > after.given_up:
                journal(f"{way.name}: {given_up.given_up - after.given_up} events are too old by now and were given up")
            self._keep(way, given_up)
            return
        journal(f"{way.name}: {len(waiting)} told{f' ({remark})' if remark else ''}")
        self._keep(way, delivered(place, behind, self._clock.wall_s()))

    def _chosen(self, events: tuple[Told, ...]) -> tuple[Told, ...]:
        if not events:
            return ()
        status = self._read_status()
        return tuple(one for one in events if told_here(one.event, status, self._whose.host))

    def _read_status(self) -> HaStatus | None:
        try:
            return read_status(self._status, self._clock)
        except (TrivetError, OSError):
            return None  # then everything is told: see told_here

    def _keep(self, way: Way, place: Place) -> None:
        self._remember({**self._memory.places, way.key: place})

    def _remember(self, places: Mapping[str, Place]) -> None:
        if places == self._memory.places:
            return
        self._memory = Memory(places)
        try:
            make_folders(self._file.parent, 0o700)
            write_atomically(self._file, json.dumps(encode(self._memory)), PRIVATE)
        except OSError as error:  # a full /var: what was told stays told for as long as this process lives
            journal(f"{self._file} cannot be written ({error}): a restart would tell some events again")


def read_memory(path: Path) -> Memory:
    """What was remembered; nothing when there is none, or it is damaged."""
    try:
        return decode(Memory, json.loads(path.read_text()), subject=str(path), ignore_unknown=True)
    except FileNotFoundError:
        return Memory()
    except (ValueError, OSError, Refused) as error:
        journal(f"{path} cannot be used ({error}): begun anew behind the newest event")
        return Memory()


def run(messages: Messages, places: Callable[[], tuple[Way, ...]], clock: Clock) -> None:
    """Look again and again. ``places`` reads the configuration each time it has changed. Ends with its error."""
    tell_systemd("READY=1")
    while True:
        messages.look(places(), _alive)
        clock.sleep(LOOK_EVERY_S)


def _alive() -> None:
    tell_systemd("WATCHDOG=1")


def journal(text: str) -> None:
    """A line of the unit's journal."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
