"""docs/ha-report.md out of the runs that are kept: pure, so that a report is made anew without measuring."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tests.lab.fault_rows import BY_NUMBER

Run = dict[str, Any]

PEERS = (
    ("oVirt hosted engine (own FAQ, 4 hosts)", "120 s", "300 s; killed VM pings after 60 s; hung engine 10 to 15 min"),
    (
        "Proxmox VE (its own simulator, run)",
        "121 s; 181 s if the lost host was HA master; clean shutdown 76 s of downtime",
        "+ boot",
    ),
    ("vSphere HA (literature)", "15 to 18 s until declared dead", "+ boot"),
    ("Harvester", "5 min default, more than 10 reported", ""),
    ("Incus healing", "20 to 80 s, off by default, docs warn of corruption", ""),
)
"""Published, or measured by running their own code: host loss → start command, → healthy."""

COLUMNS = (("seen", "seen_s"), ("start command", "begun_s"), ("API healthy", "api_s"), ("no answer in all", "silent_s"))


@dataclass(frozen=True)
class Bar:
    """A promise: a value of a row whose median (and, with ``worst_s``, each run) must not be above it."""

    row: str
    what: str
    value: Callable[[Run], float | None]
    median_s: float
    worst_s: float | None = None


def _time(name: str) -> Callable[[Run], float | None]:
    return lambda timeline: timeline[name]


def _starts(timeline: Run) -> float:
    return float(len(timeline["started_on"]))


def _hung_seen(timeline: Run) -> float | None:
    extra = timeline["extra"]
    return float(extra["hung_seen_s"]) - float(extra["allowance_s"]) if "hung_seen_s" in extra else None


BARS = (
    Bar("1", "power cut → start command", _time("begun_s"), 8, 12),
    Bar("10", "full isolation → start command", _time("begun_s"), 8, 12),
    Bar("4", "QEMU crash → start command", _time("begun_s"), 3),
    Bar("5b", "hung guest → seen, after its health allowance (40 s; 120 s at load 8)", _hung_seen, 30),
    Bar("24", "brick loss elsewhere → starts", _starts, 0, 0),
    Bar("20", "total power loss: second brick back → start command", _time("begun_s"), 30),
    Bar("1", "power cut → API answers", _time("api_s"), 15),
    Bar("4", "QEMU crash → API answers", _time("api_s"), 6),
    Bar("1c", "power cut → API answers, cold (no saved memory)", _time("api_s"), 45),
    Bar("38", "two bricks restarted → starts", _starts, 0, 0),
)
"""The bars of the issue "The HA broker, proven", for an emulated CPU."""

FULL_RUNS = 5
"""Of which the median counts; fewer are a first look."""
BUSY_LOAD = 4.0
"""The lab alone makes about 3 on two cores."""

REASONS: dict[str, str] = {
    "QEMU crash → API answers": "the guest's processor is emulated: saved memory runs 1.4 s after the start command, and "
    "the way from there to the first answer is CPU time of the machine: 2.8 s when nothing else ran there (API 4.7 s, two "
    "runs beside these), 4 to 5 s beside quick tests or a node that boots",
    "power cut → API answers, cold (no saved memory)": "the guest's processor is emulated, and its Linux and the "
    "engine's programs share two cores with the nodes: 38 s when nothing else ran there, 51 to 67 s at a load of 4 to 6",
}
"""What of a bar that is not met is known to be the reason: its text → why."""


def good(runs: Sequence[Run]) -> list[Run]:
    """The timelines of the runs that ended as they should."""
    return [run["timeline"] for run in runs if "error" not in run]


def spread(values: Sequence[float | None]) -> str:
    """Median and worst of what there is."""
    there = [value for value in values if value is not None]
    return f"{statistics.median(there):.1f} / {max(there):.1f}" if there else "–"


def row_line(number: str, runs: Sequence[Run]) -> str:
    """A line of the table of rows."""
    fault = BY_NUMBER[number]
    timelines = good(runs)
    cells = [spread([line[name] for line in timelines]) for _title, name in COLUMNS]
    ended = f"{len(timelines)} of {len(runs)}"
    load = spread([run.get("load") for run in runs])
    return f"| {number} | {fault.what} | {fault.outcome} | {ended} | {load} | " + " | ".join(cells) + " |"


def bar_line(bar: Bar, rows: Mapping[str, Sequence[Run]]) -> str:
    """A line of the table of bars."""
    values = [value for value in map(bar.value, good(rows.get(bar.row, ()))) if value is not None]
    limit = f"≤ {bar.median_s:g}" + (f", each run ≤ {bar.worst_s:g}" if bar.worst_s is not None else "")
    if not values:
        return f"| {bar.what} | {bar.row} | {limit} | not measured | **open** | |"
    met = statistics.median(values) <= bar.median_s and (bar.worst_s is None or max(values) <= bar.worst_s)
    verdict = ("met" if len(values) >= FULL_RUNS else "met so far") if met else "**missed**"
    why = "" if met else REASONS.get(bar.what, _busy(rows[bar.row]))
    return f"| {bar.what} | {bar.row} | {limit} | {spread(values)} ({len(values)}) | {verdict} | {why} |"


def _busy(runs: Sequence[Run]) -> str:
    """The reason when none is written down: other work on the machine, if there was any."""
    load = statistics.median(run.get("load", 0.0) for run in runs)
    return f"others worked on the machine (load {load:.0f}): measure again alone" if load > BUSY_LOAD else "not known yet"


def failures(rows: Mapping[str, Sequence[Run]]) -> str:
    """Runs whose outcome was not the right one, word for word."""
    lines = [f"- row {number}: {run['error']}" for number, runs in rows.items() for run in runs if "error" in run]
    return "\n".join(lines) if lines else "None."


def simulated(simulation: Any, found: Mapping[str, str]) -> str:
    """What the long run of the simulator left, or that there was none. ``found``: what is known of mended seeds."""
    if simulation is None:
        return "Not run here since the code was last measured: `make sim SEED=1 N=50000` does, and leaves its counts."
    lines = ["| | |", "|---|---|"]
    for name, value in simulation.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{key}: {one}" for key, one in value.items()) or "none"
        elif isinstance(value, list):
            shown = ", ".join(map(str, value)) or "none"
        else:
            shown = str(value)
        lines.append(f"| {str(name).replace('_', ' ')} | {shown} |")
    return "\n".join([*lines, *_broken(simulation.get("failed", {}), found)])


def _broken(failed: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What became of the seeds that broke an invariant."""
    if not failed:
        return []
    mended = [f"- {seed}: {found[seed]}" for seed in sorted(failed, key=int) if seed in found]
    still = [f"- {seed}: {failed[seed]}" for seed in sorted(failed, key=int) if seed not in found]
    lines = ["", "Broken in that run, and mended since; a test replays each (`tests/found`):", "", *mended] if mended else []
    return [*lines, *(["", "Open:", "", *still] if still else [])]


def planned_work(runs: Sequence[Run]) -> str:
    """What a client saw that asked all the while, the newest run of each kind of work."""
    newest = {run["what"]: run for run in runs}
    if not newest:
        return "Not measured: `tests/bench/run.py --only planned` does."
    lines = [
        "| work | questions | failed | time without an answer within 1 s | slowest answer | bar | |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, run in newest.items():
        met = "met" if run["unavailable_s"] <= run["bar_s"] else "**missed**"
        seen = f"{run['asked']} | {run['failed']} | {run['unavailable_s']:.1f} s | {run['slowest_s']:.1f} s"
        lines.append(f"| {what} | {seen} | ≤ {run['bar_s']:g} s | {met} |")
    return "\n".join(lines)


def report(
    rows: Mapping[str, Sequence[Run]],
    simulation: Any,
    machine: str,
    version: str,
    planned: Sequence[Run] = (),
    found: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The document. ``found``: seed → what was wrong, of those that a test replays."""
    commits = sorted({run["commit"] for runs in rows.values() for run in runs})
    head = (
        "| # | fault | right outcome | runs right | load before | "
        + " | ".join(f"{title} (s)" for title, _ in COLUMNS)
        + " |"
    )
    parts = [
        f"# High availability of Trivet {version}, measured",
        f"Written by `make bench` (`tests/bench/run.py --only ha`); do not edit. Machine: {machine}. Three lab nodes "
        "with real Gluster, libvirt and QEMU share it: the guest, the nodes and the measuring run on the same cores. Code: "
        f"{', '.join(commits) or 'nothing measured'}.",
        "All times are seconds after the fault, **median / worst** of the runs whose number stands before them. *Seen*: the "
        "first line of any broker about it. *Start command*: a broker begins to start the engine VM. *API healthy*: "
        "`/health` answers with the new epoch. *No answer in all*: for how long a client that asks each 0.1 s got none.",
        *(["![Timeline of a power cut](ha-failover.svg)"] if good(rows.get("1", ())) else []),
        "## Bars\n\n| bar | row | limit (s or count) | median / worst (runs) | | why not |\n|---|---|---|---|---|---|\n"
        + "\n".join(bar_line(bar, rows) for bar in BARS),
        f"## Rows of the fault table\n\n{head}\n|{'---|' * (5 + len(COLUMNS))}\n"
        + "\n".join(row_line(number, runs) for number, runs in rows.items()),
        "Row 18 is measured from the loss of the two hosts; one returns when the engine VM has been gone for some time. "
        "Row 20 is measured from the moment at which the second brick is back. Numbers with a letter are forms of one row. "
        "*Load before*: the machine's load average when the run began; above 4 others were working on it.",
        f"## Planned work\n\nA client asks `/health` every 0.1 s and gives each question 10 s.\n\n{planned_work(planned)}",
        f"## Runs that did not end as they should\n\n{failures(rows)}",
        "## Beside others\n\nHost loss; published by themselves, or measured by running their code, with their defaults; "
        "none of them had an emulated guest on a shared machine.\n\n"
        "| | host loss → start command | healthy |\n|---|---|---|\n"
        + "\n".join(f"| {name} | {start} | {healthy} |" for name, start, healthy in PEERS)
        + f"\n| **Trivet, as measured above** (row 1, median / worst) | {_peer(rows, 'begun_s')} | {_peer(rows, 'api_s')} |",
        f"## Simulation\n\n{simulated(simulation, found)}",
    ]
    return "\n\n".join(parts) + "\n"


def _peer(rows: Mapping[str, Sequence[Run]], name: str) -> str:
    values = spread([line[name] for line in good(rows.get("1", ()))])
    return "not measured" if values == "–" else f"{values} s"
