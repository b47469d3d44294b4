"""Long work of a node's agent: started with an id that the caller chose, asked about later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from appliance.errors import TrivetError, from_json

TaskOutcome = Literal["waiting", "running", "done", "failed", "cancelled", "lost"]
"""``lost``: the agent ended while it ran. What it left is half-done under another name; starting it again (with
the same id) redoes it."""

ENDED: tuple[TaskOutcome, ...] = ("done", "failed", "cancelled", "lost")


@dataclass(frozen=True)
class TaskError:
    """Why a task failed, as :class:`TrivetError` tells it; ``status`` is its family."""

    status: int
    code: str
    object: str
    reason: str
    remedy: str

    @classmethod
    def of(cls, error: TrivetError) -> TaskError:
        """The error without its facts."""
        return cls(error.status, error.code, error.subject, error.reason, error.remedy)

    def as_error(self) -> TrivetError:
        """The error again, of the same family."""
        return from_json(self.status, self.__dict__)


@dataclass(frozen=True)
class TaskState:
    """A task. ``percent`` 0 to 100 of its work; ``result`` is what it found (a checksum, a check's counts), once done."""

    id: str
    kind: str
    subject: str
    state: TaskOutcome
    percent: float = 0.0
    began_wall_s: float = 0.0
    ended_wall_s: float = 0.0
    error: TaskError | None = None
    result: Mapping[str, object] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Nothing of it runs any more."""
        return self.state in ENDED
