"""Run one job by its journal, from wherever it is to its end. The pure part is engine/decide/moves.py."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from appliance.codec import decode
from appliance.effects.clock import Clock
from appliance.errors import Failed, TrivetError, Unavailable
from engine.decide.moves import Move, can_return, next_move
from engine.jobs import tell
from engine.jobs.job import Cancelled, JobType, Step
from engine.jobs.ports import DiskNode, Nodes, VmNode
from engine.store.entities import Entities
from engine.store.jobs import JobRecord, Jobs, JobStatus, StepRecord

P = TypeVar("P")
HOST_LIMIT = 4
"""Jobs that use one host at the same time: more only fight for its disks (a copy fills a disk's queue alone)."""
PROGRESS_EVERY_S = 1.0
"""A percent written more often than this is a commit that nobody looks at."""
PATIENCE_S = 600.0
"""How long undoing, and steps without a way back, are tried again: a node that restarts is back within minutes."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
CANCELLED = {"code": "job.cancelled", "reason": "somebody cancelled it"}
INTERRUPTED = {"code": "job.interrupted", "reason": "the engine stopped while it ran"}
STALE = "engine.stale-epoch"
"""A newer engine has taken over: it has this journal, too. We stop at once and write nothing more."""


class Superseded(Exception):
    """A node refused this engine because a newer one exists."""


class Slots:
    """At most :data:`HOST_LIMIT` jobs use a host at once; others wait in order of the lock."""

    def __init__(self, limit: int = HOST_LIMIT) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, threading.BoundedSemaphore] = defaultdict(lambda: threading.BoundedSemaphore(limit))

    @contextmanager
    def on(self, host: str) -> Iterator[None]:
        """One of the host's places."""
        with self._lock:
            places = self._hosts[host]
        with places:
            yield


@dataclass(frozen=True)
class World:
    """What the jobs of a process share."""

    entities: Entities
    jobs: Jobs
    nodes: Nodes
    clock: Clock
    types: Mapping[str, JobType[Any]]
    log: Callable[[str], None]
    slots: Slots = field(default_factory=Slots)
    moved: Callable[[str], None] = lambda _job_id: None
    """Tells those who wait for a job that they should look."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is to end: jobs stop between two steps and are taken up by the next process."""


@dataclass
class StepWork:
    """A step's :class:`engine.jobs.job.Work`."""

    world: World
    job: JobRecord
    journal: Sequence[StepRecord]
    number: int
    is_returnable: bool
    weights: tuple[float, ...]
    host: str = ""
    """Where it works since the journal was written last: told with the next line, because each is a write on all bricks."""
    _told_s: float = 0.0

    @property
    def job_id(self) -> str:
        return self.job.id

    @property
    def arguments(self) -> Mapping[str, Any]:
        return self.journal[self.number].arguments if 0 <= self.number < len(self.journal) else {}

    @property
    def entities(self) -> Entities:
        return self.world.entities

    @property
    def nodes(self) -> Nodes:
        return self.world.nodes

    @property
    def clock(self) -> Clock:
        return self.world.clock

    @property
    def why(self) -> str:
        return str(self.job.error.get("reason", ""))

    def parameters(self, kind: type[P]) -> P:
        return decode(kind, self.job.parameters, subject=f"job {self.job.id}", ignore_unknown=True)

    def found(self, step: str) -> Mapping[str, Any]:
        return next((one.data for one in self.journal if one.name == step), {})

    def held(self, kind: str) -> Sequence[str]:
        return self.world.jobs.held(self.job.id, kind)

    def log(self, text: str) -> None:
        self.world.jobs.log(self.job.id, text)

    def progress(self, percent: float, host: str = "") -> None:
        now_s = self.clock.monotonic_s()
        if host or now_s - self._told_s >= PROGRESS_EVERY_S:
            self._told_s = now_s
            whole, host, self.host = self.whole(percent), host or self.host, ""
            self.world.jobs.progress(self.job.id, self.number, min(100, max(0, int(percent))), whole, host)

    def whole(self, percent: float) -> int:
        """Percent of the whole job when this step is at ``percent``."""
        done = sum(self.weights[: self.number]) + self.weights[self.number] * percent / 100
        return min(99, int(100 * done / (sum(self.weights) or 1.0)))

    def check_cancel(self) -> None:
        if self.is_returnable and self.world.jobs.need(self.job.id).is_cancelled:
            raise Cancelled

    def check_stop(self) -> None:
        if self.world.stopping.is_set():
            raise Unavailable("jobs.stopping", subject="the jobs process", reason="it ends", remedy="The next one goes on.")

    @contextmanager
    def on(self, host: str) -> Iterator[DiskNode]:
        with self.world.slots.on(host):
            self.progress(0, host)
            yield self.world.nodes.disks(host)

    @contextmanager
    def at(self, host: str) -> Iterator[VmNode]:
        with self.world.slots.on(host):
            self.host = host
            yield self.world.nodes.vms(host)


def run(world: World, job_id: str) -> None:
    """Bring a job to its end, however often its process was killed before.

    Returns early only when the process is to stop. Raises :class:`Superseded` when a newer engine exists.
    """
    while not world.stopping.is_set():
        job = world.jobs.need(job_id)
        if job.state == "ended":
            return
        kind = world.types.get(job.type)
        journal = world.jobs.steps(job_id)
        if kind is None:
            _unknown_type(world, job)
            return
        steps = [kind.step(one.name) for one in journal]
        views = [step.view(one.state) for one, step in zip(journal, steps, strict=True)]
        move = next_move("undoing" if job.state == "undoing" else "running", views, cancel=job.is_cancelled)
        work = StepWork(world, job, journal, move.number, can_return(views), tuple(step.weight for step in steps))
        _make(move, kind, steps, work)
        world.moved(job_id)


def _make(move: Move, kind: JobType[Any], steps: Sequence[Step], work: StepWork) -> None:
    jobs, job = work.world.jobs, work.job
    if move.what == "do":
        _do(steps[move.number], kind, work)
    elif move.what == "undo":
        _undo(steps[move.number], kind, work)
    elif move.what == "turn":
        error = CANCELLED if move.reason == "cancelled" else (work.journal[move.number].error or INTERRUPTED)
        work.log(f"undoing: {error.get('reason', move.reason)}")
        jobs.turn(job.id, error)
    elif move.what == "finish":
        _finish(kind, work)
    elif move.what == "undone":
        status: JobStatus = "aborted" if job.error.get("code") == CANCELLED["code"] else "failed"

        def take_back() -> Mapping[str, Any]:
            kind.undone(work)
            tell.ended(kind, job, work, status, str(job.error.get("reason", "")))
            return {}

        jobs.end(job.id, status, take_back, {})
    else:
        _give_up(kind, work, work.journal[move.number].error)


def _do(step: Step, kind: JobType[Any], work: StepWork) -> None:
    jobs, job_id, number = work.world.jobs, work.job.id, work.number
    if not step.is_local:
        jobs.begin(job_id, number, work.journal[number].title)
    try:
        data = _acted(step, work)
    except Cancelled:
        _failed(step, work, CANCELLED)
        return
    except TrivetError as error:
        _stop_if_stale(error)
        if work.world.stopping.is_set() and isinstance(error, Unavailable):
            return  # the journal says "begun": the next process goes on
        _failed(step, work, told(error), f"failed: {error}")
        return
    except Exception as error:  # noqa: BLE001 - a defect of a step must not leave its locks for ever
        work.world.log(f"job {job_id}: step {step.name} has a defect: {error!r}")
        _failed(step, work, told(_defect(step, error)))
        return
    if not step.is_local and not (number == len(work.journal) - 1 and _done_and_ended(kind, work, data)):
        jobs.done(job_id, number, data, work.whole(100), work.host)


def _failed(step: Step, work: StepWork, error: Mapping[str, Any], line: str = "") -> None:
    """Journal and log. What a local step had written of its begin is gone with what it did."""
    jobs, job_id, number = work.world.jobs, work.job.id, work.number
    if step.is_local:
        jobs.begin(job_id, number, work.journal[number].title)
    if line:
        work.log(line)
    jobs.failed(job_id, number, error, work.host)


def _acted(step: Step, work: StepWork) -> Mapping[str, Any]:
    """What the step answered. One that is local has its journal with it."""
    jobs, number = work.world.jobs, work.number
    if step.is_local:
        with work.entities.connection.transaction():
            jobs.begin(work.job.id, number, work.journal[number].title)
            data = step.do(work) or {}
            jobs.done(work.job.id, number, data, work.whole(100))
        return data
    return (_patiently(lambda: step.do(work), work) if step.is_final else step.do(work)) or {}


def _done_and_ended(kind: JobType[Any], work: StepWork, data: Mapping[str, Any]) -> bool:
    """The last step's line and the job's end in one transaction, because each is a write on all bricks that somebody waits
    for. False: that failed; nothing was written, and the end is tried and told by itself."""
    jobs, number = work.world.jobs, work.number
    journal = [*work.journal[:number], replace(work.journal[number], state="done", data=data)]
    try:
        with work.entities.connection.transaction():
            jobs.done(work.job.id, number, data, work.whole(100), work.host)
            _end(kind, replace(work, journal=journal, number=-1))
    except Exception:  # noqa: BLE001 - a step must not be repeated for a defect of the end
        return False
    return True


def _undo(step: Step, kind: JobType[Any], work: StepWork) -> None:
    jobs, job_id, number = work.world.jobs, work.job.id, work.number
    undo = step.undo
    if undo is not None:
        work.log(f"undoing: {work.journal[number].title}")
        try:
            _patiently(lambda: undo(work), work)
        except TrivetError as error:
            _stop_if_stale(error)
            if work.world.stopping.is_set():
                return
            _give_up(kind, work, told(error))
            return
        except Exception as error:  # noqa: BLE001 - as above
            _give_up(kind, work, told(_defect(step, error)))
            return
    jobs.undone(job_id, number)


def _patiently(act: Callable[[], Any], work: StepWork) -> Any:
    """``act``, again while the world does not answer, for :data:`PATIENCE_S`; then what it raised last."""
    until_s = work.clock.monotonic_s() + PATIENCE_S
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return act()
        except Unavailable as error:
            _stop_if_stale(error)
            if work.clock.monotonic_s() >= until_s or work.world.stopping.is_set():
                raise
            work.log(f"trying again in {pause_s:.0f} s: {error}")
            work.clock.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)


def _end(kind: JobType[Any], work: StepWork) -> None:
    def finish() -> Mapping[str, Any]:
        result = kind.finish(work)
        tell.ended(kind, work.job, work, "finished", "")
        return result

    work.world.jobs.end(work.job.id, "finished", finish, {})


def _finish(kind: JobType[Any], work: StepWork) -> None:
    try:
        _end(kind, work)
    except Unavailable:
        raise  # the database: the next process ends it
    except TrivetError as error:
        _give_up(kind, work, told(error))


def told(error: TrivetError) -> dict[str, Any]:
    """An error as it is stored with a job: with its family, so that a waiting caller gets the same one."""
    return {**error.as_json(), "status": error.status}


def _give_up(kind: JobType[Any], work: StepWork, error: Mapping[str, Any]) -> None:
    work.log(f"given up: {error.get('reason', '')}")

    def mark() -> Mapping[str, Any]:
        kind.given_up(work)
        tell.ended(kind, work.job, work, "failed", str(error.get("reason", "")))
        return {}

    work.world.jobs.end(work.job.id, "failed", mark, error)


def _unknown_type(world: World, job: JobRecord) -> None:
    """A job of a version that knew more: it can be neither run nor undone here, and must not hold its locks for ever."""
    error = Failed(
        "job.type-unknown",
        subject=f"job '{job.description}'",
        reason=f"this version does not know jobs of type {job.type}",
        remedy="Start the engine image of the version that began it.",
    )
    world.jobs.end(job.id, "unknown", dict, told(error))


def _stop_if_stale(error: TrivetError) -> None:
    if error.code == STALE:
        raise Superseded from error


def _defect(step: Step, error: Exception) -> Failed:
    return Failed(
        "trivet.defect",
        subject=f"step {step.name}",
        reason=f"an error that nobody expected ({type(error).__name__})",
        remedy="This is a defect of Trivet. Report it with the engine's log.",
    )
