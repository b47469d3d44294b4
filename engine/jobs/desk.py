"""Where jobs are ordered, watched, waited for and cancelled: the API's side."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from appliance.codec import encode
from appliance.effects.clock import Clock
from appliance.errors import Conflict, TrivetError, from_json
from engine.decide.moves import can_return
from engine.jobs import tell
from engine.jobs.job import JobType
from engine.store.entities import Entities
from engine.store.jobs import JobRecord, Jobs, StepRecord

WAIT_LIMIT_S = 50.0
"""The longest that a caller is kept: below the minute after which proxies and HTTP clients give up."""
FIRST_LOOK_S, LONGEST_LOOK_S = 0.02, 0.25
LOOK_PART = 0.1
"""How often a waiting caller's job is looked at where nobody tells of it: each time a tenth of what was waited, at least and
at most so long. Soon for the quick ones, seldom for those that take minutes."""
UNHEARD_LOOK_S = 1.0
"""How often where the jobs process tells of it: it may have been killed before it did."""
Heard = Callable[[str], AbstractContextManager[Callable[[float], object]]]
"""(job) → what waits until that job moves, at most so many seconds."""


@dataclass(frozen=True)
class Desk:
    """Orders for the jobs process. ``ring`` tells it that there is something to do."""

    entities: Entities
    jobs: Jobs
    types: Mapping[str, JobType[Any]]
    clock: Clock
    ring: Callable[[], None] = lambda: None
    heard: Heard | None = None

    def order(
        self, kind: type[JobType[Any]], given: Any, *, owner_id: str, correlation_id: str, job_id: str = ""
    ) -> JobRecord:
        """Order a job. ``job_id``: the one that it shall have. Raises what its check refuses, ``Conflict``
        ``entity.locked``, ``Unavailable`` ``jobs.full``; then nothing was changed."""
        job_type = self.types[kind.name]
        job_type.check(self.entities, given)
        planned = job_type.plan(self.entities, given)
        steps = [StepRecord(number, one.step, one.title, arguments=one.arguments) for number, one in enumerate(planned)]
        job = JobRecord(
            job_id or str(uuid.uuid4()),
            job_type.name,
            job_type.describe(self.entities, given),
            owner_id,
            correlation_id,
            parameters=encode(given),
        )

        def prepare() -> JobRecord:
            job_type.check(self.entities, given)  # again, now that nobody else can change it
            job_type.prepare(self.entities, given)
            about = tell.named(self.entities, job_type, given)
            tell.started(self.entities, self.clock, job_type, job, about)
            return replace(job, parameters={**job.parameters, tell.ABOUT: about})

        stored = self.jobs.submit(steps, job_type.locks(self.entities, given), prepare)
        self.ring()
        return stored

    def wait(self, job_id: str, timeout_s: float = WAIT_LIMIT_S, past: str = "") -> JobRecord:
        """The job when it has ended (or done its step ``past``), or as it is after ``timeout_s`` (at most
        :data:`WAIT_LIMIT_S`)."""
        began_s = self.clock.monotonic_s()
        with self.heard(job_id) if self.heard else nullcontext(self.clock.sleep) as rest:
            while True:
                job = self.jobs.need(job_id)
                waited_s = self.clock.monotonic_s() - began_s
                left_s = min(timeout_s, WAIT_LIMIT_S) - waited_s
                if job.state == "ended" or left_s <= 0 or (past and self._is_past(job_id, past)):
                    return job
                look_s = UNHEARD_LOOK_S if self.heard else min(max(FIRST_LOOK_S, LOOK_PART * waited_s), LONGEST_LOOK_S)
                rest(min(look_s, left_s))

    def _is_past(self, job_id: str, step: str) -> bool:
        return any(one.name == step and one.state == "done" for one in self.jobs.steps(job_id))

    def cancel(self, job_id: str) -> JobRecord:
        """Ask it to stop; it is undone. Raises ``Conflict`` ``job.past-return`` when it can only go on."""
        job = self.jobs.need(job_id)
        if job.state != "ended" and not job.is_external:
            kind = self.types[job.type]
            steps = self.jobs.steps(job_id)
            views = [kind.step(one.name).view(one.state) for one in steps]
            if not can_return(views):
                raise Conflict(
                    "job.past-return",
                    subject=f"job '{job.description}'",
                    reason="it has begun what cannot be taken back",
                    remedy="Let it end.",
                )
        return self.jobs.cancel(job_id)


def error_of(job: JobRecord) -> TrivetError | None:
    """Why a job did not finish, as an error that a waiting caller gets; ``None``: it finished, or is not done yet."""
    if job.state != "ended" or job.status == "finished" or not job.error:
        return None
    return from_json(int(job.error.get("status", 500)), job.error)
