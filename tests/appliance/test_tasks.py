"""Tasks: begun once for each id, cancelled, lost with their agent, and bounded."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.errors import Failed, TrivetError
from appliance.model.task import TaskState
from appliance.verbs import tasks as module
from appliance.verbs.tasks import Control, Tasks

LIMIT = module.RUNNING_LIMIT["disk"]


def code(call: object) -> str:
    assert callable(call)
    with pytest.raises(TrivetError) as caught:
        call()
    return caught.value.code


class Gate:
    """Work that goes on when told."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = 0

    def __call__(self, control: Control) -> Mapping[str, object]:
        self.begun += 1
        control.at(40)
        while not self.open.wait(0.01):
            control.check()
        return {"answer": 42}


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    return Tasks(tmp_path, SystemClock())


def begin(tasks: Tasks, gate: Gate, task: str = "t1", asked: object = "x") -> TaskState:
    return tasks.start(task, "disk.copy", "disk a", asked, gate, quick_s=0.1)


def test_asked_twice_it_is_begun_once(tasks: Tasks) -> None:
    gate = Gate()
    first = begin(tasks, gate)
    assert (first.state, first.percent, first.ended) == ("running", 40.0, False)
    assert begin(tasks, gate).began_wall_s == first.began_wall_s
    gate.open.set()
    again = begin(tasks, gate)
    assert (again.state, again.percent, again.result) == ("done", 100.0, {"answer": 42})
    assert again.ended_wall_s >= again.began_wall_s > 0
    assert begin(tasks, gate) == again and gate.begun == 1
    assert tasks.states() == (again,)


def test_an_id_belongs_to_one_request(tasks: Tasks) -> None:
    gate = Gate()
    gate.open.set()
    begin(tasks, gate)
    assert code(lambda: begin(tasks, gate, asked="y")) == "task.differs"
    assert code(lambda: begin(tasks, gate, task="../x")) == "task.id"
    assert code(lambda: tasks.state("other")) == "task.unknown"


def test_a_cancelled_one_ends(tasks: Tasks) -> None:
    gate = Gate()
    begin(tasks, gate)
    assert code(lambda: tasks.forget("t1")) == "task.running"
    assert tasks.cancel("t1").state == "cancelled"
    assert tasks.cancel("t1").state == "cancelled"
    tasks.forget("t1")
    tasks.forget("t1")
    assert code(lambda: tasks.cancel("t1")) == "task.unknown"


def test_the_error_keeps_its_family(tasks: Tasks) -> None:
    def fail(_control: Control) -> None:
        raise Failed("disk.no-space", subject="disk a", reason="full", remedy="make room")

    state = tasks.start("t1", "k", "s", None, fail)
    assert state.state == "failed" and state.error is not None
    error = state.error.as_error()
    assert (type(error), error.code, error.subject, error.reason, error.remedy) == (
        Failed, "disk.no-space", "disk a", "full", "make room",
    )  # fmt: skip


def test_a_defect_is_told_as_one(tasks: Tasks, capsys: pytest.CaptureFixture[str]) -> None:
    def defect(_control: Control) -> None:
        raise ZeroDivisionError("hidden")

    state = tasks.start("t1", "k", "s", None, defect)
    assert state.error is not None and state.error.code == "agent.defect"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_what_an_agent_left_is_lost_and_can_be_begun_anew(tasks: Tasks, tmp_path: Path) -> None:
    gate = Gate()
    begin(tasks, gate)
    ended = Gate()
    ended.open.set()
    begin(tasks, ended, "t0")
    (tmp_path / "damaged.json").write_text("{")
    after = Tasks(tmp_path, SystemClock())
    assert {one.id: one.state for one in after.states()} == {"t1": "lost", "t0": "done"}
    assert begin(after, gate, "t0").result == {"answer": 42}, "what has ended is remembered"
    assert code(lambda: begin(after, gate, asked="y")) == "task.differs"
    assert after.cancel("t1").state == "lost"
    gate.open.set()
    assert begin(after, gate).state == "done"
    assert Tasks(tmp_path, SystemClock()).state("t1").state == "done"


def test_they_wait_their_turn_and_are_bounded(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNENDED_LIMIT", LIMIT + 2)
    gate = Gate()
    for number in range(LIMIT):
        begin(tasks, gate, f"t{number}")
    assert begin(tasks, gate, "waiting").state == "waiting"
    other = tasks.start("other", "vm.migrate", "s", None, gate, quick_s=0.1, pool="vm")
    assert other.state == "running", "work of another kind has turns of its own"
    assert code(lambda: begin(tasks, gate, "more")) == "task.too-many"
    assert tasks.cancel("waiting").state == "waiting", "it ends when its turn comes"
    gate.open.set()
    for number in range(LIMIT):
        assert begin(tasks, gate, f"t{number}").state == "done"
    assert begin(tasks, Gate(), "waiting").state == "cancelled"


def test_old_ones_are_forgotten(tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_LIMIT", 2)
    gate = Gate()
    gate.open.set()
    for number in range(5):
        tasks.start(f"t{number}", "k", "s", None, gate)
    assert [one.id for one in tasks.states()] == ["t3", "t4"]
    assert len(list(tmp_path.iterdir())) == 2
