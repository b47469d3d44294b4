"""The bench runner: a bound that is not kept and a bench that breaks are both seen, and neither hides the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tests.bench import run
from tests.bench.measure import Measured, seconds_a_call


def row(ours: float, bound: float | None, better: Literal["lower", "higher"] = "lower") -> Measured:
    return Measured("a failover", "s", ours, "the other product", 120.0, better, bound)


@pytest.mark.parametrize(
    ("ours", "bound", "better", "kept"),
    [
        (60, 60, "lower", True),
        (60.1, 60, "lower", False),
        (5, 6, "higher", False),
        (6, 6, "higher", True),
        (1e9, None, "lower", True),
    ],
)
def test_a_bound_is_kept_or_not(ours: float, bound: float | None, better: Literal["lower", "higher"], kept: bool) -> None:
    assert row(ours, bound, better).kept is kept


def test_a_row_shows_value_baseline_ratio_and_verdict() -> None:
    assert run.line(row(60, 30)) == "| a failover | 60 s | the other product: 120 s | 0.50 | ≤ 30 | **not kept** |"
    assert run.line(row(60, None)) == "| a failover | 60 s | the other product: 120 s | 0.50 |  |  |"


def test_a_function_is_called_often_enough_to_be_timed() -> None:
    calls: list[int] = []
    assert 0 < seconds_a_call(lambda: calls.append(1)) < 0.001
    assert len(calls) > 1000


def test_all_benches_are_found_by_name() -> None:
    assert "bench_appliance.bench_codec" in run.benches([])
    assert list(run.benches(["journal"])) == ["bench_appliance.bench_journal"]


def main_with(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *benches: Callable[[], list[Measured]], words: tuple[str, ...] = ()
) -> int:
    monkeypatch.setattr(run, "ROOT", folder)
    monkeypatch.setattr(run, "DOCUMENT", folder / "docs/bench.md")
    monkeypatch.setattr(run, "benches", lambda words: {f"bench{i}": bench for i, bench in enumerate(benches)})
    return run.main(words or ("--only", "core"))


def broken() -> list[Measured]:
    raise RuntimeError("no such machine")


def test_results_are_written_with_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert main_with(monkeypatch, tmp_path, lambda: [row(1, 2)], lambda: [row(3, None)]) == 0
    text = (tmp_path / "docs/bench.md").read_text()
    assert text.count("| a failover |") == 2
    assert run.machine() in text


def test_a_bound_that_is_not_kept_fails_and_is_still_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert main_with(monkeypatch, tmp_path, lambda: [row(3, 2)]) == 1
    assert "**not kept**" in (tmp_path / "docs/bench.md").read_text()


def test_a_broken_bench_fails_after_the_others_ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[Measured] = []

    def good() -> list[Measured]:
        ran.append(row(1, None))
        return ran

    assert main_with(monkeypatch, tmp_path, broken, good) == 1
    assert ran
    assert not (tmp_path / "docs/bench.md").exists(), "half a document would pass for a whole one"


def test_nothing_measured_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert main_with(monkeypatch, tmp_path) == 1


def test_a_selection_writes_its_own_lines_anew_and_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = "# Measurements\n\n| what | ours |\n|---|---|\n| a failover | old |\n| another | old |\n"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/bench.md").write_text(kept)
    assert main_with(monkeypatch, tmp_path, lambda: [row(1, 2)], words=("x",)) == 0
    text = (tmp_path / "docs/bench.md").read_text()
    assert text == kept.replace("| a failover | old |", run.line(row(1, 2)))


def test_a_selection_that_breaks_leaves_the_document_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/bench.md").write_text("kept")
    assert main_with(monkeypatch, tmp_path, broken, lambda: [row(1, 2)], words=("x",)) == 1
    assert (tmp_path / "docs/bench.md").read_text() == "kept"
