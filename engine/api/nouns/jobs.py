"""Jobs and their steps: what runs, and what other programs tell us that they do."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from appliance.errors import Conflict
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns import ref
from engine.api.observed import Rows
from engine.api.parameters import Listing
from engine.api.stored import gone
from engine.decide.search import Compare
from engine.store.jobs import JobRecord, StepRecord


class Jobs(Rows):
    """Jobs, the newest first. Clients poll ``jobs?search=correlation_id=…`` until none is started."""

    services, kind = ("Jobs",), "Job"
    extra_fields = ("correlation_id",)

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        where = listing.query.where
        if isinstance(where, Compare) and where.path == ("correlation_id",) and where.op == "=" and "*" not in where.value:
            found = call.engine.jobs.list(correlation_id=where.value, limit=listing.limit)
            return [job_object(one) for one in found if is_seen(call, one)]
        return super().list(call, listing)

    def rows(self, call: Call) -> Sequence[Object]:
        return [job_object(one) for one in call.engine.jobs.list() if is_seen(call, one)]

    def get(self, call: Call, identifier: str) -> Object | None:
        found = call.engine.jobs.get(identifier)
        return job_object(found) if found and is_seen(call, found) else None

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        job = JobRecord(
            str(uuid.uuid4()),
            "external",
            str(given["description"]),
            call.account.id,
            call.correlation_id,
            auto_cleared=bool(given.get("auto_cleared", True)),
        )
        return Made(job_object(call.engine.jobs.put_external(job)))

    def _end(self, call: Call, identifier: str, given: Object) -> Done:
        """Of another program's: as it says. Of ours, ``force`` only: it is cancelled, and undone as far as it can be."""
        if given.get("force") and not call.engine.jobs.need(identifier).is_external:
            call.engine.desk.cancel(identifier)
            return Done()
        is_good = given.get("succeeded", True)
        call.engine.jobs.end_external(identifier, "finished" if is_good else "failed")
        return Done()

    def _clear(self, call: Call, identifier: str, given: Object) -> Done:
        job = call.engine.jobs.need(identifier)
        if not job.is_external:
            raise Conflict(
                "job.not-external",
                subject=f"job '{job.description}'",
                reason="the engine runs it itself and keeps what it has done",
                remedy="It goes by itself after a month.",
            )
        return Done()

    actions = {"end": _end, "clear": _clear}


class Steps(Rows):
    """The steps of a job."""

    services, kind = ("Steps",), "Step"

    def rows(self, call: Call) -> Sequence[Object]:
        job = call.engine.jobs.need(call.parent_id)
        return [step_object(job, one) for one in call.engine.jobs.steps(job.id)]

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """Of another program's job: what it does now."""
        jobs = call.engine.jobs
        step = jobs.add_external_step(call.parent_id, str(given["type"]), str(given["description"]))
        return Made(step_object(jobs.need(call.parent_id), step))

    def _end(self, call: Call, identifier: str, given: Object) -> Done:
        found = self.get(call, identifier)
        if found is None:
            raise gone(self.kind, identifier)
        call.engine.jobs.end_external_step(call.parent_id, int(found["number"]), bool(given.get("succeeded", True)))
        return Done()

    actions = {"end": _end}


def is_seen(call: Call, job: JobRecord) -> bool:
    """Administrators see all jobs, others their own."""
    return call.rights.is_administrator or job.owner_id == call.account.id


def job_object(job: JobRecord) -> dict[str, Any]:
    """A job as v4 shows it."""
    return {
        "id": job.id,
        "description": job.description,
        "auto_cleared": job.auto_cleared,
        "external": job.is_external,
        "last_updated": job.changed_ms,
        "start_time": job.started_ms or job.created_ms,
        "end_time": job.ended_ms,
        "status": job.status,
        "owner": ref(job.owner_id) if job.owner_id else None,
        "correlation_id": job.correlation_id,
    }


def step_object(job: JobRecord, step: StepRecord) -> dict[str, Any]:
    """A step as v4 shows it. Its id is made of the job's and its number."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{job.id}/{step.number}")),
        "description": step.title,
        "number": step.number,
        "progress": step.percent,
        "type": step.name if job.is_external else "executing",
        "external": job.is_external,
        "start_time": step.begun_ms,
        "end_time": step.ended_ms,
        "status": step.status,
        "job": ref(job.id),
    }
