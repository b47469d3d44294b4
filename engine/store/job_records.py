"""A job, its steps and its locks, as the store hands them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance.errors import Conflict
from engine.decide.moves import StepState
from engine.store.entity import Key

JobState = Literal["queued", "running", "undoing", "ended"]
JobStatus = Literal["started", "finished", "failed", "aborted", "unknown"]
"""v4's words; a queued job is ``started`` there."""

PEOPLE_SAY: Mapping[str, str] = {"vm": "VM", "disk": "Disk", "storage_domain": "Storage Domain", "vm_pool": "VM-Pool"}
"""How the messages of oVirt call a kind; clients look for "Disk is locked" and "VM is locked" in them."""


@dataclass(frozen=True)
class Lock:
    """An entity that a job holds. ``shown``: what clients see as its status meanwhile (empty: its own stays).
    ``is_shared``: others may hold it in the same way (the template that VMs are being made from)."""

    kind: str
    id: str
    shown: str = "locked"
    is_shared: bool = False


@dataclass(frozen=True)
class StepRecord:
    """A line of the journal. Times in ms since 1970, ``None``: not yet."""

    number: int
    name: str
    title: str
    state: StepState = "planned"
    host: str = ""
    begun_ms: int | None = None
    ended_ms: int | None = None
    percent: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> JobStatus:
        """v4's word."""
        words: dict[StepState, JobStatus] = {
            "planned": "unknown", "begun": "started", "done": "finished", "failed": "failed", "undone": "aborted",
        }  # fmt: skip
        return words[self.state]


@dataclass(frozen=True)
class JobRecord:
    """A job. ``error`` holds an error's JSON form (empty: none); ``result`` what the job tells its caller."""

    id: str
    type: str
    description: str
    owner_id: str = ""
    correlation_id: str = ""
    state: JobState = "queued"
    status: JobStatus = "started"
    created_ms: int = 0
    started_ms: int | None = None
    ended_ms: int | None = None
    changed_ms: int = 0
    percent: int = 0
    is_cancelled: bool = False
    runner: str = ""
    is_external: bool = False
    auto_cleared: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)


def locked(key: Key, description: str, job_id: str) -> Conflict:
    """Another job holds it. The words are those that clients look for before they try again."""
    kind = PEOPLE_SAY.get(key[0], key[0].replace("_", " ").capitalize())
    return Conflict(
        "entity.locked",
        subject=f"{key[0]} {key[1]}",
        reason=f"{kind} is locked. Related operation is currently in progress. Please try again later. ({description})",
        remedy="Wait until that job has ended.",
        facts={"kind": key[0], "id": key[1], "job": job_id},
    )
