"""The journal: killed anywhere, an operation that is run again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Failed, Refused, Unavailable
from appliance.journal import Entry, Journal, Log, Progress, Runner

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("journal_worker.py")
NEVER = 0


def work(world: Path, die_at: int) -> subprocess.CompletedProcess[str]:
    world.mkdir(exist_ok=True)
    argv = [sys.executable, "-I", str(WORKER), str(ROOT), str(world), str(die_at)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def files(world: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in world.iterdir() if path.suffix != ".journal"}


def journal(path: Path) -> Journal:
    return Journal(path, FakeClock(wall_s=50.0))


def test_killed_at_any_point_it_resumes_to_the_same_end(tmp_path: Path) -> None:
    points = int(work(tmp_path / "undisturbed", NEVER).stdout)
    assert points >= 3 * 2 * 6, "the worker no longer watches what the journal does"
    wanted = files(tmp_path / "undisturbed")
    assert wanted == {"one": "oneoneone", "two": "twotwotwo", "three": "threethreethree"}
    for point in range(1, points + 1):
        world = tmp_path / str(point)
        assert work(world, point).returncode == -9
        again = work(world, NEVER)
        assert again.returncode == 0, f"killed at point {point}: {again.stderr}"
        assert files(world) == wanted, f"killed at point {point}"
        entries = journal(world / "steps.journal").entries()
        ends = [entry.step for entry in entries if entry.event in ("done", "already")]
        assert ends[-3:] == ["one", "two", "three"], f"killed at point {point}: {entries}"


def test_a_last_line_cut_short_is_ignored_and_then_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal(path).write("one", "begun")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole + whole[:length])
        assert journal(path).entries() == (Entry("one", "begun", 50.0),)
    journal(path).write("one", "done", "after the crash")
    assert journal(path).entries() == (Entry("one", "begun", 50.0), Entry("one", "done", 50.0, "after the crash"))


def test_no_file_is_no_entries_and_the_first_line_makes_it_private(tmp_path: Path) -> None:
    path = tmp_path / "journals" / "install"
    assert journal(path).entries() == ()
    journal(path).write("one", "begun")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b'{"step": "one"}',
        b'{"step": "one", "event": "eaten", "wall_s": 1.0}',
        b"\xff\xfe",
        b"",
        b'{"step": 1, "event": "done", "wall_s": 1.0}',
    ],
)
def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "j"
    journal(path).write("one", "begun")
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(Refused) as refused:
        journal(path).entries()
    assert (refused.value.code, refused.value.subject) == ("journal.damaged", str(path))


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Failed) as failed:
        journal(tmp_path / "j").write("one", "begun")
    assert failed.value.code == "journal.not-written"
    assert "No space left on device" in failed.value.reason


class Memo:
    """A step that notes its name in the world, a list; ``error`` is what it meets instead."""

    def __init__(self, name: str, weight_s: float, error: Exception | None = None) -> None:
        self.name = name
        self.title = f"Note {name}"
        self.weight_s = weight_s
        self._error = error

    def done(self, world: list[str]) -> bool:
        return self.name in world

    def do(self, world: list[str], log: Log) -> None:
        if self._error is not None:
            raise self._error
        log(f"noting {self.name}")
        world.append(self.name)


def run(path: Path, steps: list[Memo], world: list[str]) -> tuple[list[Progress], list[str]]:
    heard: list[Progress] = []
    log: list[str] = []
    runner: Runner[list[str]] = Runner(journal(path), FakeClock(), heard.append, log.append)
    try:
        runner.run(steps, world)
    finally:
        log.extend(f"{one.step} {one.event} {one.percent:.0f}" for one in heard)
    return heard, log


def test_progress_is_the_share_of_weights_and_done_steps_are_skipped(tmp_path: Path) -> None:
    world = ["b"]
    heard, log = run(tmp_path / "j", [Memo("a", 1), Memo("b", 2), Memo("c", 1)], world)
    assert world == ["b", "a", "c"]
    assert log == ["noting a", "noting c", "a begun 0", "a done 25", "b already 75", "c begun 75", "c done 100"]
    assert heard[0].title == "Note a"
    assert [(e.step, e.event) for e in journal(tmp_path / "j").entries()] == [
        ("a", "begun"),
        ("a", "done"),
        ("b", "already"),
        ("c", "begun"),
        ("c", "done"),
    ]


@pytest.mark.parametrize(
    "error", [Unavailable("node.silent", subject="node2", reason="no answer", remedy="Look."), RuntimeError("a defect")]
)
def test_the_first_failure_is_recorded_and_ends_the_operation(tmp_path: Path, error: Exception) -> None:
    world: list[str] = []
    with pytest.raises(type(error)) as raised:
        run(tmp_path / "j", [Memo("a", 1), Memo("b", 1, error), Memo("c", 1)], world)
    assert raised.value is error
    assert world == ["a"]
    last = journal(tmp_path / "j").entries()[-1]
    assert (last.step, last.event, last.detail) == ("b", "failed", str(error))
    run(tmp_path / "j", [Memo("a", 1), Memo("b", 1), Memo("c", 1)], world)
    assert world == ["a", "b", "c"]


def test_no_steps_are_no_work(tmp_path: Path) -> None:
    assert run(tmp_path / "j", [], []) == ([], [])


def test_lines_are_plain_json_for_other_readers(tmp_path: Path) -> None:
    journal(tmp_path / "j").write("a", "failed", "ümlaut\nand a line")
    (line,) = (tmp_path / "j").read_text().splitlines()
    assert json.loads(line) == {"step": "a", "event": "failed", "wall_s": 50.0, "detail": "ümlaut\nand a line"}
