"""Every row of the fault table, simulated: facts of the outcome, invariants, and the incident report word by word."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

from appliance.command import Output
from appliance.errors import Refused
from ha_broker.sim import scenario

ROOT = Path(__file__).resolve().parents[1] / "scenarios"
FOLDERS = sorted(path for path in ROOT.iterdir() if path.is_dir())
ROWS = (*range(1, 28), 29, 31, *range(33, 51))
"""Of the fault table; 28, 30 and 32 were taken out of it."""


def test_every_row_of_the_fault_table_has_a_scenario() -> None:
    assert {int(folder.name[:2]) for folder in FOLDERS} == set(ROWS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_outcome_and_every_sentence_are_as_accepted(folder: Path) -> None:
    one = scenario.read(folder)
    seen = scenario.run(one)
    assert not seen.wrong, "\n".join(seen.wrong)
    changed = scenario.differences(one, seen)
    assert not changed, f"{changed}\nRead it; if it is right: trivet ha sim {folder} --accept"


def output() -> tuple[Output, io.StringIO]:
    """Of a command, and what it says."""
    told = io.StringIO()
    return Output(False, told, io.StringIO()), told


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario to spoil."""
    return Path(shutil.copytree(ROOT / "04-qemu-killed", tmp_path / "04-qemu-killed"))


@pytest.mark.parametrize(
    ("name", "text", "code", "says"),
    [
        ("README", "\n", "scenario.file", "it is empty"),
        ("README", None, "scenario.file", "cannot be read"),
        ("world.toml", "run_s = 1.0\n", "scenario.file", "expect"),
        ("world.toml", "run_s = [\n", "scenario.file", "it is no TOML"),
        ("events.toml", '[[event]]\nat_s = 1.0\ndo = "pray"\n', "scenario.event", "nobody knows how to do “pray”"),
        ("events.toml", '[[event]]\nat_s = 9999.0\ndo = "nothing"\n', "scenario.event", "outside of the 120 s"),
        ("events.toml", '[[event]]\nat_s = 1.0\ndo = "nothing"\nhots = "x"\n', "scenario.file", "hots"),
        ("events.toml", "event = []\n", "scenario.event", "nothing happens"),
    ],
)
def test_a_scenario_that_is_wrong_is_refused_by_its_file(
    folder: Path, name: str, text: str | None, code: str, says: str
) -> None:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(Refused, match=says) as told:
        scenario.read(folder)
    assert told.value.code == code
    assert told.value.subject == str(folder / name)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("starts = 2", "starts = 3", "starts: 2, not 3"),
        ('holder = "node1"', 'holder = ""', "holder: 'node1', not ''"),
        ("epoch = 2", "epoch = 1", "epoch: 2, not 1"),
        ("epoch = 2", "epoch = 2\nanswers = false", "answers: True, not False"),
        ("epoch = 2", "epoch = 2\nmoves = 1", "moves: 0, not 1"),
        ("within_s = 3.0", "within_s = 0.001", "not within 0.001 s"),
        ("epoch = 2", 'epoch = 2\nsays = ["start-done", "start-begun"]', "“start-begun” was not said"),
        ("epoch = 2", 'epoch = 2\nnever = ["in place"]', "“in place” was said"),
    ],
)
def test_a_fact_that_is_not_so_is_told_and_never_accepted(folder: Path, old: str, new: str, says: str) -> None:
    world = (folder / "world.toml").read_text()
    assert old in world
    (folder / "world.toml").write_text(world.replace(old, new))
    before = (folder / "log.expect").read_text()
    assert says in "\n".join(scenario.run(scenario.read(folder)).wrong)
    (folder / "log.expect").write_text("")
    assert scenario.command(folder, True, output()[0]) != 0
    assert (folder / "log.expect").read_text() == ""
    assert before


def test_another_log_is_shown_and_accepted_when_asked(folder: Path) -> None:
    good = (folder / "log.expect").read_text()
    (folder / "log.expect").write_text(good.replace("restarting it in place", "giving up"))
    out, told = output()
    assert scenario.command(folder, False, out) != 0
    assert "-01:00  node1  start-begun: QEMU here has gone (epoch 1): giving up" in told.getvalue()
    assert "+01:00  node1  start-begun: QEMU here has gone (epoch 1): restarting it in place" in told.getvalue()
    assert scenario.command(folder.parent, True, out) == 0  # all that are in a folder
    assert (folder / "log.expect").read_text() == good
    out, told = output()
    assert scenario.command(folder, False, out) == 0
    assert told.getvalue().startswith("When QEMU is killed, its own host restarts the engine VM in place")
