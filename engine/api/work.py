"""From a request to a job: the one way in which nouns change something real. How to add an action: engine/DESIGN.md."""

from __future__ import annotations

from typing import Any

from engine.api.noun import Call, Done
from engine.jobs.desk import error_of
from engine.jobs.job import JobType
from engine.store.jobs import JobRecord


def order(call: Call, kind: type[JobType[Any]], given: Any) -> JobRecord:
    """Order the job for the caller. Who said that they wait (``201-created``, ``async=false``) get it when it has ended.

    Raises what the job's check refuses, and, for who waits, why it failed.
    """
    desk = call.engine.desk
    job = desk.order(kind, given, owner_id=call.account.id, correlation_id=call.correlation_id)
    if call.parameters.is_asynchronous is False:
        job = settled(call, job)
    return job


def settled(call: Call, job: JobRecord, *limits: Any) -> JobRecord:
    """The job after it was waited for, within the limits of :meth:`engine.jobs.desk.Desk.wait`. Raises why it failed."""
    waited = call.engine.desk.wait(job.id, *limits)
    error = error_of(waited)
    if error is not None:
        raise error
    return waited


AWAITED_S = 10.0
"""How long a caller is kept who did not say whether they wait, for what v4 does while they wait: starting a VM takes a
second or two. A thread of the web's sixteen is busy for as long, so it is no longer."""


def awaited(call: Call, kind: type[JobType[Any]], given: Any, limit_s: float = AWAITED_S) -> JobRecord:
    """Order a job that v4's clients take for done when they are answered. Who said ``async=true`` does not wait.

    Raises what the job's check refuses and, if it has ended by then, why it failed.
    """
    job = order(call, kind, given)
    if job.state != "ended" and call.parameters.is_asynchronous is None:
        job = settled(call, job, limit_s)
    return job


def accepted(call: Call, kind: type[JobType[Any]], given: Any, step: str) -> JobRecord:
    """Order a job that may take long, and whose ``step`` decides whether it can be: the caller is answered when that is
    done, and gets its refusal."""
    job = order(call, kind, given)
    if job.state != "ended" and call.parameters.is_asynchronous is None:
        job = settled(call, job, AWAITED_S, step)
    return job


def told(job: JobRecord) -> Done:
    """What an action answers that is this job."""
    return Done(job.id, pending=job.state != "ended")


def unfinished(job: JobRecord) -> str:
    """The job's id while it is not done: for :class:`engine.api.noun.Made`."""
    return "" if job.state == "ended" else job.id


def done(call: Call, kind: type[JobType[Any]], given: Any) -> Done:
    """An action or a removal that is one job."""
    return told(order(call, kind, given))
