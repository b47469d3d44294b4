"""The next move of a job, from its journal alone; and who of those that wait is next. Tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.decide.moves import Move, StepView, can_return, next_move
from engine.decide.queue import Waiting, choose

PLANNED, BEGUN, DONE, FAILED, UNDONE = (StepView(state) for state in ("planned", "begun", "done", "failed", "undone"))
BACK = StepView("begun", "back")
FINAL = replace(BEGUN, is_final=True)
SETTLES = replace(BEGUN, settles=True)


@pytest.mark.parametrize(
    ("steps", "cancel", "what", "number"),
    [
        ([PLANNED, PLANNED], False, "do", 0),
        ([DONE, PLANNED], False, "do", 1),
        ([DONE, DONE], False, "finish", -1),
        ([], False, "finish", -1),
        ([DONE, BEGUN], False, "do", 1),
        ([DONE, BACK], False, "turn", 1),
        ([FINAL, BACK], False, "do", 0),
        ([replace(FINAL, state="done"), BACK], False, "do", 1),
        ([DONE, FAILED], False, "turn", 1),
        ([replace(FINAL, state="failed")], False, "give-up", 0),
        ([replace(FINAL, state="done"), FAILED], False, "give-up", 1),
        ([DONE, PLANNED], True, "turn", 1),
        ([DONE, DONE], True, "finish", -1),
        ([replace(FINAL, state="done"), PLANNED], True, "do", 1),
        ([replace(FINAL, state="planned")], True, "turn", 0),
        ([replace(SETTLES, state="done"), PLANNED], True, "do", 1),
        ([replace(SETTLES, state="done"), FAILED], False, "give-up", 1),
        ([replace(SETTLES, state="failed"), PLANNED], False, "turn", 0),
    ],
)
def test_a_running_job_moves(steps: list[StepView], cancel: bool, what: str, number: int) -> None:
    move = next_move("running", steps, cancel=cancel)
    assert (move.what, move.number) == (what, number)
    assert move.reason


@pytest.mark.parametrize(
    ("steps", "what", "number"),
    [
        ([DONE, FAILED, PLANNED], "undo", 1),
        ([DONE, UNDONE, PLANNED], "undo", 0),
        ([UNDONE, BEGUN], "undo", 1),
        ([UNDONE, UNDONE, PLANNED], "undone", -1),
    ],
)
def test_undoing_goes_backwards_over_all_that_was_touched(steps: list[StepView], what: str, number: int) -> None:
    assert next_move("undoing", steps, cancel=False) == Move(what, number, next_move("undoing", steps, cancel=True).reason)  # type: ignore[arg-type]


def test_there_is_no_way_back_behind_a_final_step() -> None:
    assert can_return([DONE, replace(FINAL, state="planned")])
    assert not can_return([FINAL])
    assert can_return([SETTLES])
    assert not can_return([replace(SETTLES, state="done")])


def test_the_queue_is_fair_and_bounded() -> None:
    waiting = [Waiting(f"a{number}", "greedy") for number in range(10)] + [Waiting("b1", "modest"), Waiting("b2", "modest")]
    assert choose(waiting, [], 4) == ("a0", "b1", "a1", "b2")
    assert choose(waiting, ["greedy"] * 3, 5) == ("b1", "b2")
    assert choose(waiting, ["x"] * 4, 4) == ()
    assert choose([], [], 4) == ()
