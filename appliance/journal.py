"""The journal of steps: how every multi-step operation survives ``kill -9`` between any two of them.

An operation is a list of idempotent steps. Before a step is done, its probe is asked whether it is already so; its begin
and end are written to an append-only file, each line synced before the next thing happens. Running the same operation
again skips what the probes confirm and goes on. The journal is the memory for people and for undoing; the *probe* is the
truth, because a crash may fall between an effect and the line about it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from appliance.codec import decode
from appliance.effects.clock import Clock
from appliance.errors import Failed, Refused

World = TypeVar("World", contravariant=True)
W = TypeVar("W")
Log = Callable[[str], None]

Event = Literal["begun", "done", "already", "failed", "undone"]


class Step(Protocol[World]):
    """One idempotent step. ``weight_s`` is its expected duration: progress is the share of weights done."""

    @property
    def name(self) -> str:
        """Stable, dotted: ``pki.sign-node2``. What the journal and tests call it."""

    @property
    def title(self) -> str:
        """What a person reads: "Sign the certificate of node2"."""

    @property
    def weight_s(self) -> float: ...

    def done(self, world: World) -> bool:
        """Probe: is the effect of this step there already? Reads only."""

    def do(self, world: World, log: Log) -> None:
        """Make it so. May be run again after having been interrupted anywhere."""


@dataclass(frozen=True)
class Entry:
    """A line of the journal."""

    step: str
    event: Event
    wall_s: float
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """What an observer hears: before and after each step. ``percent`` 0 to 100 of the whole operation."""

    step: str
    title: str
    event: Event
    percent: float
    elapsed_s: float


class Journal:
    """The append-only file of one operation, made with its folder at the first line.

    A last line that a crash cut short is ignored when reading, and cut off before the next line is written.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def entries(self) -> tuple[Entry, ...]:
        """All complete lines. Raises ``Refused`` (``journal.damaged``) when a line in the middle is not ours."""
        if not self._path.exists():
            return ()
        lines = self._path.read_bytes().split(b"\n")
        try:
            return tuple(decode(Entry, json.loads(line), subject=str(self._path)) for line in lines[:-1])
        except (ValueError, Refused) as error:
            raise Refused(
                "journal.damaged",
                subject=str(self._path),
                reason=f"a line is not one of a journal ({error})",
                remedy="Move the file away and start the operation again; its steps notice what is done already.",
            ) from error

    def write(self, step: str, event: Event, detail: str = "") -> None:
        """Append a line and sync it to the disk before returning. Raises ``Failed`` (``journal.not-written``)."""
        entry = Entry(step, event, self._clock.wall_s(), detail)
        try:
            self._append(json.dumps(entry.__dict__).encode() + b"\n")
        except OSError as error:
            raise Failed(
                "journal.not-written",
                subject=str(self._path),
                reason=f"a line could not be written and synced ({error.strerror or error})",
                remedy="Make room or repair the file system, then run the same command again; it goes on where it was.",
            ) from error

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            held = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            keep = held.rfind(b"\n") + 1
            os.ftruncate(descriptor, keep)
            os.pwrite(descriptor, line, keep)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            _sync_folder(self._path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name survive a power cut: fsync of the file alone keeps its content, not its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Runner(Generic[W]):
    """Runs steps in order, each recorded. ``observer`` hears progress, ``log`` gets the live log lines of the steps."""

    def __init__(self, journal: Journal, clock: Clock, observer: Callable[[Progress], None], log: Log) -> None:
        self._journal = journal
        self._clock = clock
        self._observer = observer
        self._log = log

    def run(self, steps: Sequence[Step[W]], world: W) -> None:
        """Run all ``steps``. Raises what the failing step raised, after recording it; nothing after it was begun."""
        total_s = sum(step.weight_s for step in steps) or 1.0
        began_s = self._clock.monotonic_s()
        passed_s = 0.0
        for step in steps:

            def tell(event: Event, at_s: float, step: Step[W] = step) -> None:
                elapsed_s = self._clock.monotonic_s() - began_s
                self._observer(Progress(step.name, step.title, event, 100 * at_s / total_s, elapsed_s))

            event: Event = "already"
            if not step.done(world):
                self._journal.write(step.name, "begun")
                tell("begun", passed_s)
                self._do(step, world, tell, passed_s)
                event = "done"
            self._journal.write(step.name, event)
            passed_s += step.weight_s
            tell(event, passed_s)

    def _do(self, step: Step[W], world: W, tell: Callable[[Event, float], None], passed_s: float) -> None:
        try:
            step.do(world, self._log)
        except Exception as error:  # a defect is recorded like a failure: who reads the journal later must see where it was
            self._journal.write(step.name, "failed", str(error))
            tell("failed", passed_s)
            raise
