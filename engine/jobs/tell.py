"""The events of jobs, written in the transactions that begin and end them: no job ends unheard, none is told twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.effects.clock import Clock
from engine.jobs.job import JobType
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
        _tell(entities, clock, kind.told.started, job, about, "")


def ended(entities: Entities, clock: Clock, kind: JobType[Any], job: JobRecord, status: JobStatus, reason: str) -> None:
    """Say how it ended."""
    if kind.told is None:
        return
    name = kind.told.finished if status == "finished" else kind.told.failed
    if name:
        _tell(entities, clock, name, job, job.parameters.get(ABOUT, {}), reason)


def _tell(entities: Entities, clock: Clock, name: str, job: JobRecord, about: Mapping[str, Any], reason: str) -> None:
    Audit(entities.connection, clock).tell(
        name,
        about.get("refs", {}),
        {**about.get("names", {}), "reason": reason},
        account=job.owner_id,
        correlation_id=job.correlation_id,
    )
