"""Measures the rows of the fault table on a real cluster and keeps every run in ``docs/ha-runs.jsonl``.

The same faults as in the lab tests (``tests/lab/fault_rows.py``), in their long forms. Runs are appended one by one, so a
measurement can be broken off, gone on with and done row by row; ``docs/ha-report.md`` is written from the latest of each,
and who doubts it has the runs beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.ha_plot import failover_plot
from tests.bench.ha_report import report
from tests.lab.cluster import Cluster, key_of, trivet
from tests.lab.fault_rows import BY_NUMBER, FAULTS, LONG_ONLY_ONCE
from tests.lab.faults import play

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs/ha-runs.jsonl"
PLANNED = ROOT / "docs/ha-planned.json"
SIMULATION = ROOT / "docs/ha-simulation.json"
"""What the long run of the simulator left in ``build/sim-report.json``; the report says so when there is none."""
FOUND = ROOT / "tests/found"
DOCUMENT = ROOT / "docs/ha-report.md"
PLOT = ROOT / "docs/ha-failover.svg"
PLOTTED = "1"
"""The row whose timeline is drawn: the power cut."""
LAB = "bench"
PORT = "8463"
UP_S = 900.0
RUN_S = 1500.0


@dataclass(frozen=True)
class Wanted:
    """Which rows, how often, on which lab; ``keep`` leaves the lab up."""

    rows: tuple[str, ...]
    repetitions: int
    lab: str
    keep: bool


def wanted(rows: str, repetitions: int, lab: str, keep: bool) -> Wanted:
    """From the command line: ``rows`` are numbers with commas, empty: all. Raises ``SystemExit`` for an unknown one."""
    chosen = tuple(rows.split(",")) if rows else tuple(fault.number for fault in FAULTS)
    unknown = [number for number in chosen if number not in BY_NUMBER]
    if unknown:
        sys.exit(f"bench: no row {', '.join(unknown)}; there are {', '.join(BY_NUMBER)}")
    return Wanted(chosen, repetitions, lab, keep)


@contextmanager
def lab(what: Wanted) -> Iterator[None]:
    """The lab to measure on, made when it is not there."""
    own = trivet("lab", "status", "--name", what.lab, ok=False).status != 0
    if own:
        trivet("image", "build", "node", timeout_s=RUN_S)
        trivet("lab", "up", "--name", what.lab, "--nodes", "3", "--port", PORT, timeout_s=UP_S)
        trivet("run", "--name", what.lab, "--ssh-key", f"{key_of(what.lab)}.pub", timeout_s=RUN_S)
    try:
        yield
    finally:
        if own and not what.keep:
            trivet("stop", "--name", what.lab)


def measure(what: Wanted) -> int:
    """Play the rows; answers how many runs failed. All once, then all again: what is broken off has each as often."""
    failed = 0
    with lab(what):
        for turn in range(what.repetitions):
            for number in what.rows if turn == 0 else (one for one in what.rows if one not in LONG_ONLY_ONCE):
                print(f"bench: row {number}, run {turn + 1}", file=sys.stderr, flush=True)
                failed += not _run(Cluster(what.lab), number)
    return failed


LONG_TESTS = ("maintenance", "disk_life", "cloud_guest", "vm_faults", "vm_refresh", "hosts")
PLANNED_TESTS = (*(f"tests/lab/test_{name}.py" for name in LONG_TESTS), "tests/image/test_watchdog.py")


def measure_planned(what: Wanted) -> int:
    """Play the tests that take minutes: planned work, hosts that come and go or are lost under VMs, a disk's and a guest's
    life, a node whose systemd hangs. Those of planned work leave what their client saw in ``docs/ha-planned.json``."""
    with lab(what):
        words = ["-I", "-m", "pytest", "-m", "lab or images", *PLANNED_TESTS]
        environment = {**os.environ, "TRIVET_MEASURED": str(PLANNED), "TRIVET_TEST_CLUSTER": what.lab}
        return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=False).returncode


def _run(cluster: Cluster, number: str) -> bool:
    record: dict[str, Any] = {"row": number, "at_s": round(time.time()), "commit": _commit(), "load": os.getloadavg()[0]}
    try:
        record["timeline"] = play(cluster, BY_NUMBER[number], long=True).as_json()
    except AssertionError as wrong:
        traceback.print_exc()
        record["error"] = str(wrong).splitlines()[0] if str(wrong) else "an assertion without words"
    keep(record)
    return "error" not in record


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def results() -> list[dict[str, Any]]:
    """All runs that are kept, oldest first."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def keep(record: dict[str, Any]) -> None:
    """Append a run."""
    with RESULTS.open("a") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def latest(runs: Sequence[dict[str, Any]], repetitions: int) -> dict[str, list[dict[str, Any]]]:
    """Row → its last ``repetitions`` runs, in the table's order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for fault in FAULTS:
        mine = [run for run in runs if run["row"] == fault.number]
        if mine:
            found[fault.number] = mine[-repetitions:]
    return found


def write_report(repetitions: int, machine: str, version: str) -> None:
    """docs/ha-report.md and the plot, from what is kept."""
    rows = latest(results(), repetitions)
    simulation = json.loads(SIMULATION.read_text()) if SIMULATION.exists() else None
    planned = json.loads(PLANNED.read_text()) if PLANNED.exists() else []
    found = {one.parent.name.removeprefix("seed-"): one.read_text().strip() for one in FOUND.glob("seed-*/README")}
    DOCUMENT.write_text(report(rows, simulation, machine, version, planned, found))
    drawn = [run["timeline"] for run in rows.get(PLOTTED, ()) if "timeline" in run and "error" not in run]
    if drawn:
        PLOT.write_text(failover_plot(drawn[-1]))
    print(f"bench: wrote {DOCUMENT.relative_to(ROOT)}", file=sys.stderr)
