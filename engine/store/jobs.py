"""Jobs in the database: orders, journal, log, locks. Every method is one transaction; what it wrote survives ``kill -9``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from peewee import Table

from appliance.effects.clock import Clock
from appliance.errors import Conflict, NotFound, Refused, Unavailable
from engine.store.entities import Entities
from engine.store.entity import Key
from engine.store.job_records import JobRecord, JobStatus, Lock, StepRecord, locked

__all__ = ["JobRecord", "JobStatus", "Jobs", "Lock", "StepRecord"]

QUEUE_LIMIT = 1_000
"""Jobs that wait: a caller who sends more is out of control, and each has rows and locks."""
LOG_LIMIT_LINES = 1_000
"""Lines kept of one job: a retry that logs each second would fill the disk."""
ENDED_KEPT = 5_000
"""Ended jobs beyond this number go, the oldest first…"""
ENDED_KEPT_MS = 30 * 24 * 3600 * 1000
"""…and those older than this: a month, in which every question about one is asked."""
EXTERNAL_STEPS = 100
"""Steps of a job that another program tells us of: what people can read."""

JOB_COLUMNS = (
    "id", "type", "description", "state", "status", "owner_id", "correlation_id", "created_ms", "started_ms", "ended_ms",
    "changed_ms", "percent", "cancel", "runner", "is_external", "auto_cleared", "parameters", "result", "error",
)  # fmt: skip
STEP_COLUMNS = (
    "job_id", "number", "name", "title", "state", "host", "begun_ms", "ended_ms", "percent", "arguments", "data", "error",
)  # fmt: skip
JOB: Any = Table("job", JOB_COLUMNS)
STEP: Any = Table("job_step", STEP_COLUMNS)
LOG: Any = Table("job_log", ("id", "job_id", "wall_ms", "text"))
LOCK: Any = Table("entity_lock", ("kind", "id", "job_id", "shared", "shown"))


JOBS = f"SELECT {', '.join(JOB_COLUMNS)} FROM job"  # noqa: S608 - of our own words
RUNNING = "state IN ('running', 'undoing')"
STEPS = f"SELECT {', '.join(STEP_COLUMNS[1:])} FROM job_step WHERE job_id = {{}} ORDER BY number"  # noqa: S608 - as above
LOCKS = "SELECT kind, id, shown, shared FROM entity_lock WHERE job_id = {}"
ROW = "SELECT id FROM entity WHERE kind = {} AND id = {}"
HOLDERS = "SELECT j.description, j.id FROM entity_lock l JOIN job j ON j.id = l.job_id WHERE l.kind = {} AND l.id = {}"
SHOWN = (
    "UPDATE entity SET locked_as = {}, generation = generation + 1, changed_ms = {} WHERE kind = {} AND id = {} RETURNING id"
)
LINES = "SELECT COUNT(*) FROM job_log WHERE job_id = {}"
WAITING = "SELECT COUNT(*) FROM job WHERE state = 'queued'"
OPEN = "SELECT id FROM job WHERE state <> 'ended' LIMIT 1"
Chooser = Callable[[Sequence[JobRecord], Sequence[str]], Iterable[str]]


class Jobs:
    """The jobs of one database."""

    def __init__(self, entities: Entities, clock: Clock) -> None:
        self.entities = entities
        self.connection = entities.connection
        self._clock = clock

    def _now_ms(self) -> int:
        return int(self._clock.wall_s() * 1000)

    # ordering

    def submit(self, steps: Sequence[StepRecord], locks: Sequence[Lock], prepare: Callable[[], JobRecord]) -> JobRecord:
        """Take the locks, do what ``prepare`` does (a last check; rows that are to be seen at once), write the job that it
        answers, and the journal: all in one transaction.

        Raises ``Conflict`` ``entity.locked``, ``Unavailable`` ``jobs.full``, and what ``prepare`` raises.
        """
        now_ms = self._now_ms()
        with self.connection.transaction():
            waiting = self.connection.first(WAITING, ())[0]
            if waiting >= QUEUE_LIMIT:
                raise Unavailable(
                    "jobs.full",
                    subject="the queue of jobs",
                    reason=f"{waiting} are waiting already",
                    remedy="Wait until some are done.",
                )
            self._refuse_locked(locks)
            job = prepare()
            self.connection.insert(JOB, self._job_row(job, created_ms=now_ms, changed_ms=now_ms))
            for step in steps:
                self.connection.insert(STEP, self._step_row(job.id, step))
            self._lock(job.id, locks)
        return self.need(job.id)

    def _lock(self, job_id: str, locks: Sequence[Lock]) -> None:
        for lock in locks:
            row = {"kind": lock.kind, "id": lock.id, "job_id": job_id, "shared": int(lock.is_shared), "shown": lock.shown}
            self.connection.insert(LOCK, row)
            self._show(lock, lock.shown)

    def hold(self, job: JobRecord, locks: Sequence[Lock]) -> None:
        """Write a job that holds its locks and is shown as started, and that nobody runs, until :meth:`release`: for what
        lasts longer than any work of ours. Raises ``Conflict`` ``entity.locked``."""
        now_ms = self._now_ms()
        with self.connection.transaction():
            self._refuse_locked(locks)
            row = self._job_row(job, state="ended", status="started", created_ms=now_ms, changed_ms=now_ms)
            self.connection.insert(JOB, {**row, JOB.started_ms: now_ms})
            self._lock(job.id, locks)

    def release(self, job_id: str, status: JobStatus) -> None:
        """End a :meth:`hold`. Ended already: nothing."""
        if self.holds(job_id):
            self.end(job_id, status, dict, {})

    def holds(self, job_id: str) -> bool:
        """Whether it is a :meth:`hold` that was not released."""
        found = self.get(job_id)
        return found is not None and found.state == "ended" and found.status == "started" and not found.is_external

    def _refuse_locked(self, locks: Sequence[Lock]) -> None:
        for kind, identifier, shared in sorted((lock.kind, lock.id, lock.is_shared) for lock in locks):
            key = (kind, identifier)
            if self.connection.held:
                self.connection.first(f"{ROW}{self.connection.held}", key)
            holder = self.connection.first(f"{HOLDERS} AND l.shared = 0" if shared else HOLDERS, key)
            if holder is not None:
                raise locked(key, *holder)

    def _show(self, lock: Lock, word: str) -> None:
        if lock.shown:
            self.connection.all(SHOWN, (word, self._now_ms(), lock.kind, lock.id))

    def refuse_held(self, *keys: Key) -> None:
        """For a change that is no job: raises ``Conflict`` ``entity.locked`` when a job holds one of them for itself. To be
        asked inside the transaction that makes the change."""
        self._refuse_locked([Lock(kind, identifier, "", is_shared=True) for kind, identifier in keys])

    def refuse_used(self, *keys: Key) -> None:
        """As :meth:`refuse_held`, and also when a job only needs that it stays."""
        self._refuse_locked([Lock(kind, identifier, "") for kind, identifier in keys])

    def holder(self, key: Key) -> str:
        """The job that holds an entity for itself, empty: none."""
        held = (LOCK.kind == key[0]) & (LOCK.id == key[1]) & (LOCK.shared == 0)
        rows = self.connection.rows(LOCK.select(LOCK.job_id).where(held))
        return str(rows[0][0]) if rows else ""

    def cancel(self, job_id: str) -> JobRecord:
        """Ask it to stop. It is looked at between steps, and by long steps. Raises ``Conflict`` ``job.ended``."""
        asked = self.connection.run(JOB.update({JOB.cancel: 1}).where((JOB.id == job_id) & (JOB.state != "ended")))
        job = self.need(job_id)
        if not asked:
            raise Conflict(
                "job.ended", subject=f"job '{job.description}'", reason="it has ended", remedy="There is nothing to stop."
            )
        return job

    # running

    def take(self, runner: str, choose: Chooser) -> tuple[JobRecord, ...]:
        """Make the jobs that ``choose(waiting, owners of running)`` names ``runner``'s."""
        with self.connection.transaction():
            busy = self._jobs(RUNNING)
            waiting = self._jobs("state = 'queued'")
            wanted = list(choose(waiting, [job.owner_id for job in busy])) if waiting else []
            if wanted:
                now_ms = self._now_ms()
                change = {JOB.state: "running", JOB.runner: runner, JOB.started_ms: now_ms, JOB.changed_ms: now_ms}
                self.connection.run(JOB.update(change).where(JOB.id.in_(wanted)))
        return tuple(self.need(identifier) for identifier in wanted)

    def is_idle(self) -> bool:
        """Whether no job waits or runs. Asked every second, hence by hand: ten times as cheap as :meth:`take`."""
        return self.connection.first(OPEN, ()) is None

    def adopt(self, runner: str) -> tuple[JobRecord, ...]:
        """Make all jobs that somebody else was running ``runner``'s: that process, or that engine, is dead."""
        with self.connection.transaction():
            found = self._jobs(f"{RUNNING} AND runner <> {{}}", (runner,))
            self.connection.run(JOB.update({JOB.runner: runner}).where(JOB.id.in_([job.id for job in found])))
        return tuple(found)

    def of(self, runner: str) -> tuple[JobRecord, ...]:
        """The jobs that ``runner`` has and that have not ended."""
        return tuple(self._jobs(f"{RUNNING} AND runner = {{}}", (runner,)))

    def begin(self, job_id: str, number: int, text: str) -> None:
        """Journal: the step acts from now on. ``text``: its line in the log, in the same transaction, because each costs a
        write on all bricks."""
        with self.connection.transaction():
            self.log(job_id, text)
            self._step(job_id, number, {STEP.state: "begun", STEP.begun_ms: self._now_ms(), STEP.ended_ms: None})

    def done(self, job_id: str, number: int, data: Mapping[str, Any], percent: int, host: str = "") -> None:
        """Journal: the step has acted. ``percent`` of the whole job. ``host`` empty: not changed."""
        packed = self.connection.packed(dict(data))
        change = {STEP.state: "done", STEP.ended_ms: self._now_ms(), STEP.percent: 100, STEP.data: packed}
        with self.connection.transaction():
            self._step(job_id, number, change | ({STEP.host: host} if host else {}))
            self._job(job_id, {JOB.percent: percent})

    def failed(self, job_id: str, number: int, error: Mapping[str, Any], host: str = "") -> None:
        """Journal: the step could not do it; it may have done a part. ``host`` empty: not changed."""
        packed = self.connection.packed(dict(error))
        change = {STEP.state: "failed", STEP.ended_ms: self._now_ms(), STEP.error: packed}
        self._step(job_id, number, change | ({STEP.host: host} if host else {}))

    def undone(self, job_id: str, number: int) -> None:
        """Journal: nothing of the step is left."""
        self._step(job_id, number, {STEP.state: "undone", STEP.ended_ms: self._now_ms()})

    def turn(self, job_id: str, error: Mapping[str, Any]) -> None:
        """Journal: from here on it is undone, because of ``error``."""
        self._job(job_id, {JOB.state: "undoing", JOB.error: self.connection.packed(dict(error))})

    def end(
        self, job_id: str, status: JobStatus, changes: Callable[[], Mapping[str, Any]], error: Mapping[str, Any]
    ) -> None:
        """The job's last changes to entities, the release of its locks and its end: one transaction. ``changes`` answers the
        job's result."""
        now_ms = self._now_ms()
        with self.connection.transaction():
            result = changes()
            for lock in self._locks(job_id):
                self._show(lock, "")
            self.connection.run(LOCK.delete().where(LOCK.job_id == job_id))
            change = {
                JOB.state: "ended",
                JOB.status: status,
                JOB.ended_ms: now_ms,
                JOB.result: self.connection.packed(dict(result)),
            }
            if status == "finished":
                change[JOB.percent] = 100
            if error:
                change[JOB.error] = self.connection.packed(dict(error))
            self._job(job_id, change)

    def progress(self, job_id: str, number: int, percent: int, job_percent: int, host: str) -> None:
        """Live numbers of a running step. ``host`` empty: not changed."""
        change = {STEP.percent: percent} | ({STEP.host: host} if host else {})
        with self.connection.transaction():
            self._step(job_id, number, change)
            self._job(job_id, {JOB.percent: job_percent})

    def log(self, job_id: str, text: str) -> None:
        """A line of the live log."""
        with self.connection.transaction():
            if self.connection.first(LINES, (job_id,))[0] < LOG_LIMIT_LINES:
                self.connection.insert(LOG, {LOG.job_id: job_id, LOG.wall_ms: self._now_ms(), LOG.text: text})

    def _step(self, job_id: str, number: int, change: Mapping[Any, Any]) -> None:
        self.connection.update(STEP, change, {STEP.job_id: job_id, STEP.number: number})

    def _job(self, job_id: str, change: dict[Any, Any]) -> None:
        self.connection.update(JOB, {**change, JOB.changed_ms: self._now_ms()}, {JOB.id: job_id})

    # reading

    def get(self, job_id: str) -> JobRecord | None:
        """The job, or ``None``."""
        return next(iter(self._jobs("id = {}", (job_id,))), None)

    def need(self, job_id: str) -> JobRecord:
        """The job. Raises ``NotFound`` ``job.unknown``."""
        found = self.get(job_id)
        if found is None:
            raise NotFound("job.unknown", subject=f"job {job_id}", reason="there is none", remedy="List the jobs.")
        return found

    def list(self, *, correlation_id: str | None = None, limit: int | None = None) -> tuple[JobRecord, ...]:
        """Jobs, the newest first."""
        where, values = ("1 = 1", ()) if correlation_id is None else ("correlation_id = {}", (correlation_id,))
        return tuple(self._jobs(where, values, "created_ms DESC", limit))

    def steps(self, job_id: str) -> tuple[StepRecord, ...]:
        """The journal of a job."""
        rows = self.connection.all(STEPS, (job_id,))
        return tuple(self._step_record(dict(zip(STEP_COLUMNS[1:], row, strict=True))) for row in rows)

    def _step_record(self, row: dict[str, Any]) -> StepRecord:
        for name in ("arguments", "data", "error"):
            row[name] = self.connection.unpacked(row[name])
        return StepRecord(**row)

    def log_lines(self, job_id: str, after: int = 0) -> tuple[tuple[int, int, str], ...]:
        """(number, wall ms, text) of the log, from behind ``after``."""
        where = (LOG.job_id == job_id) & (LOG.id > after)
        return tuple(self.connection.rows(LOG.select(LOG.id, LOG.wall_ms, LOG.text).where(where).order_by(LOG.id)))

    def held(self, job_id: str, kind: str) -> tuple[str, ...]:
        """Ids of the entities of a kind that a job holds, for itself or shared."""
        return tuple(one.id for one in self._locks(job_id) if one.kind == kind)

    def _locks(self, job_id: str) -> tuple[Lock, ...]:
        rows = self.connection.all(LOCKS, (job_id,))
        return tuple(Lock(kind, identifier, shown, bool(shared)) for kind, identifier, shown, shared in rows)

    def _jobs(self, where: str, values: tuple[Any, ...] = (), order: str = "created_ms", limit: int | None = None) -> Any:
        """By hand: each step of each job asks, and peewee took a quarter of a job's time to write the same words again."""
        last = "" if limit is None else f" LIMIT {limit:d}"
        rows = self.connection.all(f"{JOBS} WHERE {where} ORDER BY {order}, id{last}", values)
        return [self._record(dict(zip(JOB_COLUMNS, row, strict=True))) for row in rows]

    def _record(self, row: dict[str, Any]) -> JobRecord:
        row["is_cancelled"] = bool(row.pop("cancel"))
        for name in ("is_external", "auto_cleared"):
            row[name] = bool(row[name])
        for name in ("parameters", "result", "error"):
            row[name] = self.connection.unpacked(row[name])
        return JobRecord(**row)

    def _job_row(self, job: JobRecord, **changes: Any) -> dict[Any, Any]:
        row = {**job.__dict__, **changes}
        row["cancel"] = int(row.pop("is_cancelled"))
        for name in ("is_external", "auto_cleared"):
            row[name] = int(row[name])
        for name in ("parameters", "result", "error"):
            row[name] = self.connection.packed(dict(row[name]))
        return {getattr(JOB, name): value for name, value in row.items()}

    def _step_row(self, job_id: str, step: StepRecord) -> dict[Any, Any]:
        row = {**step.__dict__, "job_id": job_id}
        for name in ("arguments", "data", "error"):
            row[name] = self.connection.packed(dict(row[name]))
        return {getattr(STEP, name): value for name, value in row.items()}

    # jobs of others (v4 lets clients add and end them), and keeping

    def put_external(self, job: JobRecord) -> JobRecord:
        """A job that somebody else does and tells us of: shown, never run here."""
        now_ms = self._now_ms()
        row = self._job_row(job, state="ended", status="started", is_external=True, created_ms=now_ms, changed_ms=now_ms)
        self.connection.insert(JOB, {**row, JOB.started_ms: now_ms})
        return self.need(job.id)

    def end_external(self, job_id: str, status: JobStatus) -> JobRecord:
        """It has ended. Raises ``Conflict`` ``job.not-external``."""
        self._external(job_id)
        self._job(job_id, {JOB.status: status, JOB.ended_ms: self._now_ms()})
        return self.need(job_id)

    def _external(self, job_id: str) -> None:
        job = self.need(job_id)
        if not job.is_external:
            raise Conflict(
                "job.not-external",
                subject=f"job '{job.description}'",
                reason="the engine runs it itself",
                remedy="Cancel it: `end` with `force`.",
            )

    def add_external_step(self, job_id: str, kind: str, title: str) -> StepRecord:
        """Another step of it is begun; ``kind``: v4's word for what it does. Raises ``Conflict`` ``job.not-external``."""
        with self.connection.transaction():
            self._external(job_id)
            step = StepRecord(len(self.steps(job_id)) + 1, kind, title, "begun", begun_ms=self._now_ms())
            if step.number > EXTERNAL_STEPS:
                raise Refused(
                    "job.steps", subject=f"job {job_id}", reason=f"it has {EXTERNAL_STEPS} steps", remedy="End it."
                )
            self.connection.insert(STEP, self._step_row(job_id, step))
            self._job(job_id, {})
        return step

    def end_external_step(self, job_id: str, number: int, is_good: bool) -> None:
        """It has ended. Raises ``Conflict`` ``job.not-external``."""
        with self.connection.transaction():
            self._external(job_id)
            state = "done" if is_good else "failed"
            self._step(job_id, number, {STEP.state: state, STEP.ended_ms: self._now_ms(), STEP.percent: 100})
            self._job(job_id, {})

    def prune(self) -> int:
        """Drop ended jobs beyond what is kept; their number."""
        old = (JOB.state == "ended") & (JOB.ended_ms <= self._now_ms() - ENDED_KEPT_MS)
        newest = JOB.select(JOB.id).where(JOB.ended_ms.is_null(False)).order_by(JOB.ended_ms.desc()).limit(ENDED_KEPT)
        beyond = (JOB.state == "ended") & JOB.ended_ms.is_null(False) & JOB.id.not_in(newest)
        return self.connection.run(JOB.delete().where(old | beyond))
