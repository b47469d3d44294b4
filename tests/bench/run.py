"""Run every bench; write docs/bench.md and docs/ha-report.md: ``build/venv/bin/python -I tests/bench/run.py [WORD …]``.

``--only ha --rows 1,4 --repetitions 5 [--lab NAME] [--keep]`` measures rows of the fault table and adds them to what is
kept; ``--only planned`` restarts the three nodes one after another; ``--only report`` writes the report without measuring.

A bench is a function ``bench_*`` in a file ``bench_*.py`` here; it takes nothing and returns ``Measured`` rows. It
measures a baseline in the same run, because a number alone says more about the machine than about us. With words,
only benches whose name holds one of them run, and only their lines in docs/bench.md are written anew. Exits with 1 when a
bound is not kept, a bench breaks or a fault has the wrong outcome.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from appliance.version import VERSION  # noqa: E402
from tests.bench import ha  # noqa: E402
from tests.bench.measure import Measured  # noqa: E402

DOCUMENT = ROOT / "docs/bench.md"
Bench = Callable[[], Iterable[Measured]]


def benches(words: Sequence[str]) -> dict[str, Bench]:
    """``file.function`` → the function."""
    found: dict[str, Bench] = {}
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        module = importlib.import_module(f"tests.bench.{path.stem}")
        for name in sorted(vars(module)):
            full = f"{path.stem}.{name}"
            if name.startswith("bench_") and (not words or any(word in full for word in words)):
                found[full] = getattr(module, name)
    return found


def line(row: Measured) -> str:
    """The row of the table."""
    bound = "" if row.bound is None else f"{'≤' if row.better == 'lower' else '≥'} {row.bound:g}"
    verdict = "" if row.bound is None else "kept" if row.kept else "**not kept**"
    return (
        f"| {row.what} | {row.ours:.3g} {row.unit} | {row.baseline_name}: {row.baseline:.3g} {row.unit} "
        f"| {row.ratio:.2f} | {bound} | {verdict} |"
    )


def machine() -> str:
    """The machine in a line: numbers without it mean nothing."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    flags = Path("/proc/cpuinfo").read_text().split()
    kvm = "KVM" if {"vmx", "svm"} & set(flags) else "no virtualization in the CPU (guests are emulated)"
    kernel = f"Linux {platform.release().split('-')[0]}"
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {kvm}, {kernel}, Python {platform.python_version()}"


def document(rows: Sequence[Measured]) -> str:
    """docs/bench.md."""
    head = (
        f"# Measurements of Trivet {VERSION}\n\nWritten by `make bench`; do not edit. Machine: {machine()}.\n"
        "Every line was measured together with its baseline, in the same run. Ratio is ours divided by the baseline.\n\n"
        "| what | ours | baseline | ratio | bound | |\n|---|---|---|---|---|---|\n"
    )
    return head + "".join(line(row) + "\n" for row in rows)


def with_lines(text: str, rows: Sequence[Measured]) -> str:
    """The document with those lines written anew, or added."""
    lines = text.splitlines()
    for row in rows:
        at = next((number for number, one in enumerate(lines) if one.startswith(f"| {row.what} |")), len(lines))
        lines[at : at + 1] = [line(row)]
    return "\n".join(lines) + "\n"


def main(line: Sequence[str]) -> int:
    """Run what was asked for and report."""
    parser = argparse.ArgumentParser(prog="run.py", description="Measure, and write docs/bench.md and docs/ha-report.md.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only benches whose name holds one of these")
    parser.add_argument(
        "--only",
        choices=("core", "ha", "planned", "report"),
        help="core: the benches; ha: the fault table; planned: work on the nodes; report: write it",
    )
    parser.add_argument("--rows", default="", help="of the fault table, with commas (default: all)")
    parser.add_argument("--repetitions", type=int, default=5, help="of each row (default: %(default)s)")
    parser.add_argument("--lab", default=ha.LAB, help="where to measure; made when it is not there (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    chosen = parser.parse_args(line)
    bad = 0
    if chosen.only in (None, "core"):
        bad += core(chosen.words)
    wanted = ha.wanted(chosen.rows, chosen.repetitions, chosen.lab, chosen.keep)
    if chosen.only == "ha" or (chosen.only is None and not chosen.words):
        bad += ha.measure(wanted)
    if chosen.only == "planned" or (chosen.only is None and not chosen.words):
        bad += ha.measure_planned(wanted)
    if chosen.only in ("ha", "planned", "report") or (chosen.only is None and not chosen.words):
        ha.write_report(chosen.repetitions, machine(), VERSION)
    return 1 if bad else 0


def core(words: Sequence[str]) -> int:
    """All benches but the fault table."""
    rows: list[Measured] = []
    broken = 0
    for name, bench in benches(words).items():
        print(f"bench: {name}", file=sys.stderr, flush=True)
        try:
            measured = list(bench())
        except Exception:  # noqa: BLE001 - one broken bench must not hide the others; it is shown and counted
            traceback.print_exc()
            broken += 1
            continue
        for row in measured:
            print(line(row), flush=True)
        rows += measured
    if not rows:
        print("bench: nothing was measured", file=sys.stderr)
        return 1
    if not broken:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(with_lines(DOCUMENT.read_text(), rows) if words and DOCUMENT.exists() else document(rows))
        print(f"bench: wrote {DOCUMENT.relative_to(ROOT)}", file=sys.stderr)
    late = [row.what for row in rows if not row.kept]
    if late:
        print(f"bench: bounds not kept: {', '.join(late)}", file=sys.stderr)
    return 1 if late or broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
