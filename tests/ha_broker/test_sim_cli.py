"""``trivet ha sim``: seeds, directories, exit codes; and that a run is the same each time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.command import Output
from appliance.errors import EXIT_DONE, EXIT_FAILED, Refused
from ha_broker.sim import many, replay
from ha_broker.sim.faults import KINDS, Fault
from ha_broker.sim.plans import CHAOS_S, FAULTS_MIN, Plan, plan
from ha_broker.sim.run import Outcome, Run, run_seed
from ha_broker.sim.world import World, WorldOptions

FOUND = Path(__file__).resolve().parents[1] / "found"
GOOD = (Fault(100.0, "kill-qemu", "@holder"),)


def said(*plans: Plan, folder: Path) -> tuple[int, dict[str, object]]:
    stdout = io.StringIO()
    replay.write(folder, plans[0], "", "", ())
    code = many.directory(folder, Output(True, stdout, io.StringIO()))
    return code, json.loads(stdout.getvalue())


def test_a_plan_follows_from_its_seed_and_has_ten_minutes_and_ten_faults() -> None:
    for seed in range(200):
        one = plan(seed)
        assert one == plan(seed)
        assert len(one.faults) >= FAULTS_MIN
        assert one.chaos_s == CHAOS_S == 600
        assert {fault.do for fault in one.faults} <= set(KINDS)
    assert {plan(seed).kind for seed in range(200)} == {"chaos", "harmless", "single", "blackout", "fence"}


@pytest.mark.parametrize("seed", [3, 11])
def test_a_seed_runs_the_same_each_time(seed: int) -> None:
    assert run_seed(seed) == run_seed(seed)


@pytest.mark.parametrize("folder", sorted(FOUND.iterdir()), ids=lambda folder: str(folder.name))
def test_what_long_runs_found_stays_mended(folder: Path) -> None:
    """The faults themselves: which ones a seed means changes with each new kind. ``README`` says what it was."""
    assert Run(replay.read(folder), WorldOptions()).outcome().invariant == ""


def test_a_plan_survives_its_directory(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        replay.write(tmp_path, plan(seed), "S1", "two can write", ((1.5, "node1: it begins"),))
        assert replay.read(tmp_path) == plan(seed)
    assert (tmp_path / "README").read_text().startswith("S1: two can write")
    assert (tmp_path / "log.expect").read_text() == "    1.500 node1: it begins\n"


def test_a_directory_is_run_and_its_log_told(tmp_path: Path) -> None:
    code, told = said(Plan(1, "chaos", GOOD, ("node1", "node2", "node3"), True, 120.0), folder=tmp_path)
    assert code == EXIT_DONE
    assert told["engine_starts"] == 2
    assert any("restarting it in place" in line for line in told["log"])  # type: ignore[attr-defined]


def test_a_broken_invariant_ends_with_1_and_is_shrunk_to_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A world in which a broken demand is certain: "nothing" must not lead to a start, and QEMU is killed meanwhile."""
    noise = tuple(Fault(60.0 + 10 * number, "clock-jump", "node2", value=60.0) for number in range(6))
    needed = (Fault(150.0, "nothing", no_start=True, for_s=5.0), Fault(152.0, "kill-qemu", "@holder"))
    bad = Plan(5, "chaos", (*noise, *needed), ("node1", "node2", "node3"), True, 200.0)
    monkeypatch.setattr(many, "plan", lambda seed: bad)
    outcome, _ = many.rerun(bad)
    assert outcome.invariant == "L3"
    failure = many.shrunk(outcome, tmp_path)
    assert len(failure.events) == 2
    assert [fault.do for fault in replay.read(Path(failure.directory)).faults] == ["nothing", "kill-qemu"]
    code, told = said(replay.read(Path(failure.directory)), folder=tmp_path / "again")
    assert code == EXIT_FAILED
    assert told["invariant"] == "L3"


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        replay.read(tmp_path)
    replay.write(tmp_path, Plan(1, "chaos", (), ("node1",), True), "", "", ())
    (tmp_path / "events.toml").write_text('[[event]]\nat_s = 1.0\ndo = "explode"\n')
    with pytest.raises(Refused, match="explode"):
        replay.read(tmp_path)


def test_seeds_report_progress_and_numbers(tmp_path: Path) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    many.seeds_of(range(3, 5), 1, tmp_path / "build/sim", Output(True, stdout, stderr))
    told = json.loads(stdout.getvalue())
    assert told["seeds"] == 2
    assert told["faults"] >= 2 * FAULTS_MIN
    assert told["simulated_hours"] >= 0.3
    report = tmp_path / "build" / many.REPORT
    assert json.loads(report.read_text()) == {name: value for name, value in told.items() if name != "failures"}
    many.seeds_of(range(3, 4), 1, tmp_path / "build/sim", Output(True, io.StringIO(), stderr))
    assert json.loads(report.read_text())["seeds"] == 2, "a shorter run does not replace a longer one's"


def test_a_run_goes_on_where_the_kept_one_of_the_same_code_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that fifty thousand seeds can be run in parts."""
    report = tmp_path / many.REPORT

    def run(seeds: range) -> dict[str, Any]:
        many.seeds_of(seeds, 1, tmp_path / "sim", Output(True, io.StringIO(), io.StringIO()))
        return dict(json.loads(report.read_text()))

    monkeypatch.setattr(many, "run_many", lambda seeds, jobs: [_outcome(seed) for seed in seeds])
    monkeypatch.setattr(many, "shrunk", lambda outcome, folder: many.Failure(outcome.seed, "S1", "", (), ""))
    assert run(range(1, 11))["seeds"] == 10
    found = run(range(11, 16))
    assert (found["first"], found["seeds"], found["faults"], found["failed"]) == (1, 15, 150, {"7": "S1", "14": "S1"})
    assert run(range(20, 22))["seeds"] == 15, "not the next seed: a shorter run of its own"
    monkeypatch.setattr(many, "code", lambda: "other")
    assert run(range(16, 18))["seeds"] == 15, "other code: not added"


def _outcome(seed: int) -> Outcome:
    return Outcome(seed, "chaos", "S1" if seed % 7 == 0 else "", "", 10, 650.0, 5000, 3)


def test_a_long_run_leaves_its_counts_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that one which is ended after hours has not been for nothing."""

    def ended(seeds: range, jobs: int) -> Iterator[Outcome]:
        del seeds, jobs
        yield Outcome(1, "chaos", "S1", "two can write", 10, 650.0, 5000, 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(many, "REPORT_EVERY_S", 0.0)
    monkeypatch.setattr(many, "run_many", ended)
    with pytest.raises(KeyboardInterrupt):
        many.seeds_of(range(1, 1000), 1, tmp_path / "sim", Output(True, io.StringIO(), io.StringIO()))
    found = json.loads((tmp_path / many.REPORT).read_text())
    assert (found["seeds"], found["failed"], found["faults"]) == (1, {"1": "S1"}, 10)


def test_a_crash_of_a_broker_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(world: World, seconds: float) -> None:
        raise ZeroDivisionError("in a broker")

    monkeypatch.setattr(World, "run_to", crash)
    outcome = Run(plan(1), WorldOptions()).outcome()
    assert outcome.invariant == "crash"
    assert "in a broker" in outcome.text
