"""What a job does next, from its journal alone: so it goes the same way whether its process lived or was killed anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

StepState = Literal["planned", "begun", "done", "failed", "undone"]
"""As journalled: ``begun`` is written before the step acts, ``done`` after it."""
Direction = Literal["forward", "back"]
"""Where an interrupted step goes: run it again (it is idempotent), or undo the job."""
Way = Literal["running", "undoing"]


@dataclass(frozen=True)
class StepView:
    """A step as the journal and its declaration tell it. ``is_final``: once begun, there is no way back. ``settles``: once
    done, there is none; when it fails there is."""

    state: StepState
    direction: Direction = "forward"
    is_final: bool = False
    settles: bool = False

    @property
    def binds(self) -> bool:
        """Whether the job can only go on because of it."""
        return (self.is_final and self.state != "planned") or (self.settles and self.state == "done")


@dataclass(frozen=True)
class Move:
    """``do`` or ``undo`` the step ``number``; or ``turn`` back; or the end: ``finish``, ``undone``, ``give-up``."""

    what: Literal["do", "undo", "turn", "finish", "undone", "give-up"]
    number: int = -1
    reason: str = ""


def can_return(steps: Sequence[StepView]) -> bool:
    """Whether the job may still be undone: no final step has been begun, and none that settles it is done."""
    return not any(step.binds for step in steps)


def next_move(way: Way, steps: Sequence[StepView], *, cancel: bool) -> Move:
    """The next move of a job whose process is between two steps (or has just come up after a crash).

    Undoing goes from the last touched step to the first; a step that was only begun is undone, too: it may have acted.
    """
    if way == "undoing":
        touched = [number for number, step in enumerate(steps) if step.state in ("begun", "done", "failed")]
        return (
            Move("undo", touched[-1], "undoing, the last step first") if touched else Move("undone", reason="all is undone")
        )
    for number, step in enumerate(steps):
        if step.state == "failed":
            if can_return(steps):
                return Move("turn", number, "a step failed")
            return Move("give-up", number, "a step failed that cannot be undone")
        if step.state == "begun":
            if step.direction == "back" and can_return(steps):
                return Move("turn", number, "it was interrupted in a step that is not repeated")
            return Move("do", number, "it was interrupted; the step is repeated")
        if step.state == "planned":
            if cancel and can_return(steps):
                return Move("turn", number, "cancelled")
            return Move("do", number, "next")
    return Move("finish", reason="all steps are done")
