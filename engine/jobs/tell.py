"""The events of jobs, written in the transactions that begin and end them: no job ends unheard, none is told twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.effects.clock import Clock
from engine.jobs.job import JobType, Work
from engine.store.audit import Audit
from engine.store.entities import Entities
from engine.store.job_records import JobRecord, JobStatus

ABOUT = "about_"
"""Beside a job's parameters: what it is about, under the names of the order."""


def named(entities: Entities, kind: JobType[Any], given: Any) -> dict[str, Any]:
    """What a job is about: ``{"refs": kind → id, "names": kind → name}``. Asked in the transaction that orders it."""
    refs = dict(kind.about(entities, given))
    found = {one: entities.get(one, identifier) for one, identifier in refs.items()}
    return {"refs": refs, "names": {one: entity.name for one, entity in found.items() if entity}}


def started(entities: Entities, clock: Clock, kind: JobType[Any], job: JobRecord, about: Mapping[str, Any]) -> None:
    """Say that it was ordered."""
    if kind.told and kind.told.started:
        _tell(entities, clock, kind.told.started, job, about, {})


def ended(kind: JobType[Any], job: JobRecord, work: Work, status: JobStatus, reason: str) -> None:
    """Say how it ended."""
    if kind.told is None:
        return
    name = {"finished": kind.told.finished, "aborted": kind.told.cancelled}.get(status, "")
    if status != "finished":
        name = name or kind.told.failed
    about = job.parameters.get(ABOUT, {})
    more = kind.more_about(work)
    known = {**about, "refs": {**about.get("refs", {}), **more}}
    besides = kind.tells_besides(work) if status == "finished" else ()
    for one in (name, *besides):
        if one:
            _tell(work.entities, work.clock, one, job, known, {"reason": reason, **kind.values(work)})


def _tell(
    entities: Entities, clock: Clock, name: str, job: JobRecord, about: Mapping[str, Any], values: Mapping[str, object]
) -> None:
    Audit(entities.connection, clock).tell(
        name,
        about.get("refs", {}),
        {**about.get("names", {}), **values},
        account=job.owner_id,
        correlation_id=job.correlation_id,
    )
