"""Tasks: work that outlives the call that began it. What is recorded outlives the agent, too: as ``lost``, to be redone."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from appliance.codec import decode, encode
from appliance.effects.files import PRIVATE, make_folders, write_atomically
from appliance.errors import Conflict, NotFound, Refused, TrivetError, Unavailable
from appliance.model.task import TaskError, TaskState
from appliance.ports import Clock

Pool = Literal["disk", "vm"]
"""What a task waits its turn among: qemu-img at work, or libvirt's (a migration must not wait for four copies of disks)."""
RUNNING_LIMIT: Mapping[Pool, int] = {"disk": 4, "vm": 8}
"""At once: a qemu-img takes some 40 MiB, and four of them fill any disk's queue; libvirt's work takes a thread each."""
UNENDED_LIMIT = 64
"""Running and waiting; each is a thread. An engine that asks for more has lost count."""
KEPT_LIMIT = 300
"""Ended ones that are remembered, oldest first to go: more than an engine asks about after the longest fail-over."""
QUICK_S = 1.0
"""How long a start waits for the end: most work on an empty disk is done by then and needs no second question."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Cancelled(Conflict):
    """Work noticed that it is no longer wanted."""


class Control:
    """What work is given: tell how far it is, and ask whether it is still wanted."""

    def __init__(self) -> None:
        self.percent = 0.0
        self._cancel = threading.Event()

    def at(self, percent: float) -> None:
        """So far. Never goes back: tools that count their passes begin anew with each."""
        self.percent = max(self.percent, min(100.0, percent))

    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Ask to stop."""
        self._cancel.set()

    def check(self) -> None:
        """Raise :class:`Cancelled` if somebody asked to stop."""
        if self.cancelled():
            raise Cancelled("task.cancelled", subject="this task", reason="it was cancelled", remedy="Start it again.")


BROKEN_OFF = ("process.cancelled", "vm.broken-off")
"""Codes of what others raise when they were asked to stop."""

Work = Callable[[Control], Mapping[str, object] | None]


@dataclass(frozen=True)
class _Record:
    """What is kept on disk: the state, and what was asked for, to tell the same question from another one."""

    task: TaskState
    asked: str


@dataclass
class _Running:
    control: Control = field(default_factory=Control)
    ended: threading.Event = field(default_factory=threading.Event)


class Tasks:
    """The tasks of one agent, recorded in ``folder``. Those that a predecessor left unended are ``lost`` from the start."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._turns = {pool: threading.BoundedSemaphore(limit) for pool, limit in RUNNING_LIMIT.items()}
        self._running: dict[str, _Running] = {}
        self._records = self._load()

    def start(
        self,
        task: str,
        kind: str,
        subject: str,
        asked: object,
        work: Work,
        quick_s: float = QUICK_S,
        pool: Pool = "disk",
    ) -> TaskState:
        """Begin ``work`` under the id ``task``, wait ``quick_s`` for its end, answer its state.

        Asked again with the same id: the state of the first. A lost one is begun anew. Raises ``Refused`` (``task.id``),
        ``Conflict`` (``task.differs``: another request had this id), ``Unavailable`` (``task.too-many``).
        """
        if not _ID.fullmatch(task):
            raise Refused("task.id", subject=repr(task), reason="it is no id of a task", remedy="Use A-Z, 0-9, . _ and -.")
        digest = hashlib.sha256(json.dumps([kind, encode(asked)], sort_keys=True).encode()).hexdigest()
        with self._lock:
            held = self._records.get(task)
            if held is not None and held.asked != digest:
                raise Conflict(
                    "task.differs",
                    subject=f"task {task}",
                    reason=f"it is known with another request: {held.task.kind} of {held.task.subject}",
                    remedy="Give each piece of work an id of its own.",
                )
            if held is None or held.task.state == "lost":
                self._begin(TaskState(task, kind, subject, "waiting", began_wall_s=self._clock.wall_s()), digest, work, pool)
            running = self._running.get(task)
        if running is not None:
            running.ended.wait(quick_s)
        return self.state(task)

    def state(self, task: str) -> TaskState:
        """How it is. Raises ``NotFound`` (``task.unknown``): never begun here, or forgotten."""
        with self._lock:
            return self._now(self._known(task))

    def states(self) -> tuple[TaskState, ...]:
        """All that are remembered, oldest first."""
        with self._lock:
            found = [self._now(record) for record in self._records.values()]
        return tuple(sorted(found, key=lambda one: (one.began_wall_s, one.id)))

    def cancel(self, task: str) -> TaskState:
        """Ask it to stop, and wait a moment for it. Ended already: nothing. Raises ``NotFound`` (``task.unknown``)."""
        with self._lock:
            self._known(task)
            running = self._running.get(task)
        if running is not None:
            running.control.cancel()
            running.ended.wait(QUICK_S)
        return self.state(task)

    def forget(self, task: str) -> None:
        """Drop the record of an ended one. Unknown: nothing. Raises ``Conflict`` (``task.running``)."""
        with self._lock:
            record = self._records.get(task)
            if record is None:
                return
            if not record.task.ended:
                raise Conflict(
                    "task.running",
                    subject=f"task {task}",
                    reason=f"it is {record.task.state}",
                    remedy="Cancel it first.",
                )
            self._drop(task)

    def _known(self, task: str) -> _Record:
        record = self._records.get(task)
        if record is None:
            raise NotFound(
                "task.unknown", subject=f"task {task}", reason="this node knows no such task", remedy="Start it (again)."
            )
        return record

    def _now(self, record: _Record) -> TaskState:
        running = self._running.get(record.task.id)
        return record.task if running is None else replace(record.task, percent=round(running.control.percent, 2))

    def _begin(self, first: TaskState, asked: str, work: Work, pool: Pool) -> None:
        if len(self._running) >= UNENDED_LIMIT:
            raise Unavailable(
                "task.too-many",
                subject=f"task {first.id}",
                reason=f"{len(self._running)} tasks run or wait here already",
                remedy="Wait for some of them to end.",
            )
        self._make_room()
        self._keep(_Record(first, asked))
        running = self._running[first.id] = _Running()
        arguments = (first, asked, work, running, self._turns[pool])
        threading.Thread(target=self._run, args=arguments, name=f"task-{first.id}", daemon=True).start()

    def _run(self, first: TaskState, asked: str, work: Work, running: _Running, turns: threading.BoundedSemaphore) -> None:
        with turns:
            begun = replace(first, state="running")
            with self._lock:
                self._records[first.id] = _Record(begun, asked)
            ended = self._outcome(begun, work, running.control)
        with self._lock:
            try:
                self._keep(_Record(replace(ended, ended_wall_s=self._clock.wall_s()), asked))
            finally:
                del self._running[first.id]
                running.ended.set()

    def _outcome(self, begun: TaskState, work: Work, control: Control) -> TaskState:
        try:
            control.check()
            result = work(control) or {}
            return replace(begun, state="done", percent=100.0, result=result)
        except TrivetError as error:
            stopped = isinstance(error, Cancelled) or (control.cancelled() and error.code in BROKEN_OFF)
            outcome = replace(begun, percent=control.percent, error=TaskError.of(error))
            return replace(outcome, state="cancelled" if stopped else "failed")
        except Exception as error:  # noqa: BLE001 - a defect of ours: the task says so, and the journal has the trace
            traceback.print_exc(file=sys.stderr)
            reason = f"an error that nobody expected: {type(error).__name__}: {error}"
            told = TaskError(500, "agent.defect", f"task {begun.id}", reason, "This is a defect of Trivet. Report it.")
            return replace(begun, state="failed", percent=control.percent, error=told)

    def _keep(self, record: _Record) -> None:
        make_folders(self._folder, 0o700)
        self._records[record.task.id] = record
        write_atomically(self._folder / f"{record.task.id}.json", json.dumps(encode(record)), PRIVATE)

    def _drop(self, task: str) -> None:
        del self._records[task]
        (self._folder / f"{task}.json").unlink(missing_ok=True)

    def _make_room(self) -> None:
        ended = sorted((r.task for r in self._records.values() if r.task.ended), key=lambda task: task.began_wall_s)
        for task in ended[: max(0, len(ended) - KEPT_LIMIT + 1)]:
            self._drop(task.id)

    def _load(self) -> dict[str, _Record]:
        found: dict[str, _Record] = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            record = _read(path)
            if record is None:
                path.unlink()
            else:
                task = record.task if record.task.ended else replace(record.task, state="lost")
                found[task.id] = replace(record, task=task)
        return found


def _read(path: Path) -> _Record | None:
    """None: the file is none of ours, or of a version that knew other fields. Its task is unknown then."""
    try:
        return decode(_Record, json.loads(path.read_text()), subject=str(path), ignore_unknown=True)
    except (ValueError, Refused) as error:
        print(f"{path} is not the record of a task and is removed: {error}", file=sys.stderr)  # noqa: T201 - the journal
        return None
