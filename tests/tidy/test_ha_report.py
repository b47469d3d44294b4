"""The report of the measured fault table: medians, missed bars with their reason, and nothing that was not measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import ha, ha_report, run
from tests.bench.ha_plot import failover_plot
from tests.lab.fault_rows import FAULTS
from tests.lab.faults import Line, Timeline


def played(row: str, begun_s: float | None, api_s: float | None, error: str = "") -> dict[str, Any]:
    lines = [
        Line(1.5, "node2", "decided", "own storage <stalls>"),
        Line(begun_s or 2.0, "node2", "start-begun", "starts it"),
    ]
    timeline = Timeline(row, 1000.0, 1.5, begun_s, api_s, 9.0, ["node2"], lines, {"mended_s": 20.0})
    record: dict[str, Any] = {"row": row, "at_s": 1000, "commit": "abc", "load": 1.0, "timeline": timeline.as_json()}
    return {**record, "error": error} if error else record


def report(*runs: dict[str, Any], simulation: Any = None) -> str:
    return ha_report.report(ha.latest(runs, 5), simulation, "a machine", "0.1")


def test_median_and_worst_of_the_last_runs_stand_in_the_row_and_the_bar() -> None:
    runs = [played("1", begun, begun + 6) for begun in (99.0, 7.0, 7.5, 9.0, 7.2, 7.4)]
    text = report(*runs)
    assert "| 1 | A loses power | elsewhere | 5 of 5 | 1.0 / 1.0 | 1.5 / 1.5 | 7.4 / 9.0 | 13.4 / 15.0 | 9.0 / 9.0 |" in text
    assert "| power cut → start command | 1 | ≤ 8, each run ≤ 12 | 7.4 / 9.0 (5) | met |" in text
    assert "99.0" not in text, "only the latest five count"


def test_a_missed_bar_says_why_and_one_run_above_the_worst_misses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ha_report, "REASONS", {"QEMU crash → API answers": "it is slow"})
    text = report(*(played("1", begun, 20.0) for begun in (7.0, 7.0, 12.5)))
    assert "7.0 / 12.5 (3) | **missed** | not known yet |" in text
    busy = report(*({**played("1", 9.0, 20.0), "load": 12.0} for _ in range(3)))
    assert "9.0 / 9.0 (3) | **missed** | others worked on the machine (load 12): measure again alone |" in busy


def test_what_was_not_measured_is_open_and_a_wrong_outcome_is_told() -> None:
    text = report(played("4", 0.5, 5.0), played("4", None, None, "two starts"))
    assert "| power cut → start command | 1 | ≤ 8, each run ≤ 12 | not measured | **open** | |" in text
    assert "| 4 | QEMU killed | in place | 1 of 2 |" in text
    assert "- row 4: two starts" in text
    assert "Not run here" in text


def test_the_simulators_counts_are_shown_as_it_left_them() -> None:
    text = report(simulation={"seeds": 50000, "broken": [], "kinds": {"power": 7}})
    assert "| seeds | 50000 |\n| broken | none |\n| kinds | power: 7 |" in text


def test_planned_work_shows_what_its_client_saw_in_the_newest_run() -> None:
    seen = {"what": "a restart", "asked": 900, "failed": 0, "unavailable_s": 2.44, "slowest_s": 1.24, "bar_s": 3.0}
    text = ha_report.report({}, None, "a machine", "0.1", [{**seen, "unavailable_s": 9.0}, seen])
    assert "| a restart | 900 | 0 | 2.4 s | 1.2 s | ≤ 3 s | met |" in text
    assert "**missed**" not in text
    assert "Not measured: `tests/bench/run.py --only planned` does." in report()


def test_every_bar_names_a_row_that_can_be_played() -> None:
    assert {bar.row for bar in ha_report.BARS} <= {fault.number for fault in FAULTS}
    assert len({fault.number for fault in FAULTS}) == len(FAULTS) >= 22


def test_the_plot_is_well_formed_and_has_a_lane_for_each_node() -> None:
    drawing = ElementTree.fromstring(failover_plot(played("1", 7.0, 13.0)["timeline"]))
    words = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"node2", "engine API", "fault"} <= set(words)
    assert any("own storage <stalls>" in (tip.text or "") for tip in drawing.iter("{http://www.w3.org/2000/svg}title"))


def test_runs_are_kept_one_by_one_and_the_report_is_written_from_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("RESULTS", "SIMULATION", "DOCUMENT", "PLOT"):
        monkeypatch.setattr(ha, name, tmp_path / getattr(ha, name).name)
    monkeypatch.setattr(ha, "ROOT", tmp_path)
    ha.keep(played("1", 7.0, 13.0))
    ha.keep(played("4", 0.5, 5.0))
    (tmp_path / "ha-simulation.json").write_text(json.dumps({"seeds": 3}))
    assert run.main(["--only", "report"]) == 0
    text = (tmp_path / "ha-report.md").read_text()
    assert "| 1 | A loses power |" in text
    assert "| 4 | QEMU killed |" in text
    assert "| seeds | 3 |" in text
    assert (tmp_path / "ha-failover.svg").read_text().startswith("<svg")


def test_an_unknown_row_is_refused_before_anything_is_made() -> None:
    with pytest.raises(SystemExit, match="no row 99"):
        ha.wanted("1,99", 5, "x", keep=False)


def test_what_became_of_a_broken_seed_is_said() -> None:
    counted = {"seeds": 10, "failed": {"12": "L1", "7": "S3"}}
    text = ha_report.simulated(counted, {"7": "S3: it stood still."})
    assert text.index("mended since") < text.index("- 7: S3: it stood still.") < text.index("Open:") < text.index("- 12: L1")
    assert "Open" not in ha_report.simulated({"seeds": 10, "failed": {}}, {})
