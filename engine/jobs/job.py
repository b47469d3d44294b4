"""What a job type is: ``check → lock → plan → run → undo``, in one file each. How to add one: engine/DESIGN.md.

check    reads only, may run twice, refuses with a coded error: then nothing was changed
locks    the entities that nobody else may touch meanwhile, and what clients see as their status
prepare  rows that are seen at once (the disk, locked): in the transaction that takes the locks
plan     the steps with their arguments, written down before anything acts
run      each step: journalled, done, journalled; idempotent, so it may be repeated after a crash
undo     the touched steps backwards; each must hold when its step did nothing, a part, or all
finish   the last changes to entities, in the transaction that releases the locks and ends the job
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from appliance.effects.clock import Clock
from engine.decide.moves import Direction, StepState, StepView
from engine.jobs.ports import DiskNode, Nodes, VmNode
from engine.store.entities import Entities
from engine.store.jobs import Lock

P = TypeVar("P")
"""A job type's parameters: a frozen dataclass that :mod:`appliance.codec` can read and write."""


@dataclass(frozen=True)
class Planned:
    """A step of one job: which of its type's steps, with which arguments. ``title`` is what people see."""

    step: str
    title: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Work(Protocol):
    """What a step acts with."""

    @property
    def job_id(self) -> str: ...

    @property
    def number(self) -> int: ...

    @property
    def arguments(self) -> Mapping[str, Any]: ...

    @property
    def entities(self) -> Entities: ...

    @property
    def nodes(self) -> Nodes: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def is_returnable(self) -> bool:
        """Whether nothing without a way back was begun."""

    @property
    def why(self) -> str:
        """Why the job is being undone, or was given up: a clause. Empty while it goes forth."""

    def parameters(self, kind: type[P]) -> P:
        """The job's parameters."""

    def found(self, step: str) -> Mapping[str, Any]:
        """What an earlier step answered, also before a crash."""

    def held(self, kind: str) -> Sequence[str]:
        """Ids of the entities of a kind that the job holds, for itself or shared."""

    def log(self, text: str) -> None:
        """A line of the job's live log."""

    def progress(self, percent: float, host: str = "") -> None:
        """How far this step is, and on which host."""

    def check_cancel(self) -> None:
        """Raises :class:`Cancelled` when somebody asked the job to stop and it still can."""

    def check_stop(self) -> None:
        """Raises ``Unavailable`` ``jobs.stopping`` when the process is to end: the next one repeats the step. For steps that
        wait for what this process does itself."""

    def on(self, host: str) -> AbstractContextManager[DiskNode]:
        """Use a host: waits while as many jobs as it may have work on it."""

    def at(self, host: str) -> AbstractContextManager[VmNode]:
        """The same for its VMs."""


class Cancelled(Exception):
    """The job was asked to stop. Steps let it pass; the journal turns it into undoing."""


@dataclass(frozen=True)
class Step:
    """One kind of step. ``do`` answers what later steps need (JSON data). ``undo`` is ``None`` when it leaves nothing.

    ``direction``: where the job goes when it was interrupted in it. ``is_final``: once begun there is no way back; what
    fails then is tried again, and given up as the job type says. ``settles``: there is none once it is done, but if it
    fails the job is undone. ``weight``: its share of the whole's percent. ``is_local``: it reads and writes the database
    alone, so it and its lines in the journal are one transaction.
    """

    name: str
    do: Callable[[Work], Mapping[str, Any] | None]
    undo: Callable[[Work], None] | None = None
    direction: Direction = "forward"
    is_final: bool = False
    settles: bool = False
    weight: float = 1.0
    is_local: bool = False

    def view(self, state: StepState) -> StepView:
        """As the next move is decided by."""
        return StepView(state, self.direction, self.is_final, self.settles)


@dataclass(frozen=True)
class Told:
    """The events of a job, by their names in engine/decide/audit.py. Empty: none. A cancelled job tells ``cancelled``, or
    ``failed`` when that is empty."""

    started: str
    finished: str
    failed: str
    cancelled: str = ""


class JobType(Generic[P]):
    """One operation. ``name`` is stored with its jobs: never reuse one for another meaning."""

    name: ClassVar[str]
    parameters: type[P]
    steps: Sequence[Step]
    told: ClassVar[Told | None] = None

    def about(self, entities: Entities, given: P) -> Mapping[str, str]:
        """Kind → id of what its events are about. They are named as they were when the job was ordered."""
        return {}

    def more_about(self, work: Work) -> Mapping[str, str]:
        """Kind → id of what its last event is about as well, because it was found on the way (the host)."""
        return {}

    def tells_besides(self, work: Work) -> Sequence[str]:
        """The events that follow the one of its good end: what has become of what it is about."""
        return ()

    def values(self, work: Work) -> Mapping[str, object]:
        """What else the text of its last event has."""
        return {}

    def describe(self, entities: Entities, given: P) -> str:
        """The job in oVirt's words: ``Creating Virtual Disk data``."""
        raise NotImplementedError

    def check(self, entities: Entities, given: P) -> None:
        """Refuse what cannot be. Reads only."""

    def locks(self, entities: Entities, given: P) -> Sequence[Lock]:
        """What is held from the order to the end."""
        return ()

    def prepare(self, entities: Entities, given: P) -> None:
        """Rows that are to be seen at once."""

    def plan(self, entities: Entities, given: P) -> Sequence[Planned]:
        """The steps in order."""
        raise NotImplementedError

    def finish(self, work: Work) -> Mapping[str, Any]:
        """All steps are done: the last changes to entities. The job's result. One transaction with the end."""
        return {}

    def undone(self, work: Work) -> None:
        """All is undone: take back what ``prepare`` made."""

    def given_up(self, work: Work) -> None:
        """It can go neither forth nor back: mark what is broken, so that people see it."""

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(one for one in self.steps if one.name == name)


def by_name(types: Sequence[JobType[Any]]) -> Mapping[str, JobType[Any]]:
    """The types that a process knows."""
    return {one.name: one for one in types}
