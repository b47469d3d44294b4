"""Many runs of the simulated world by their seeds, or one by its directory, and what is said about them."""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from appliance.command import Output
from appliance.effects.files import PUBLIC, make_folders, write_atomically
from appliance.errors import EXIT_DONE, EXIT_FAILED
from ha_broker.sim import replay
from ha_broker.sim.fast import REAL_EVERY, quick
from ha_broker.sim.faults import describe
from ha_broker.sim.plans import Plan, plan
from ha_broker.sim.run import Outcome, Run, run_seeds
from ha_broker.sim.shrink import Shrinker
from ha_broker.sim.world import WorldOptions

KEPT_FAILURES: Final = 10
"""So many failed seeds are shrunk and written; the others are only named."""
REPORT: Final = "sim-report.json"
"""Left beside the folder of failures: the counts, for the report of high availability. A shorter run does not replace a
longer one's."""
HOUR_S: Final = 3600
REPORT_EVERY_S: Final = 60.0
"""A run of hours that is ended in its middle leaves what it has counted until then."""
PROGRESS_EVERY_S: Final = 2.0
BATCH: Final = 16
"""Seeds given to a process at once: a few seconds of work, long against what it takes to make it quick."""


@dataclass(frozen=True)
class Failure:
    """A failed seed, shrunk. ``directory`` repeats it."""

    seed: int
    invariant: str
    text: str
    events: tuple[str, ...]
    directory: str


def run_many(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    """Their outcomes, as they come."""
    batches = [seeds[first : first + BATCH] for first in range(0, len(seeds), BATCH)]
    if jobs == 1:
        yield from chain.from_iterable(map(run_seeds, batches))
        return
    # What is loaded stays for good: the collector of each process need not look at it again and again.
    with multiprocessing.get_context("fork").Pool(jobs, initializer=gc.freeze) as pool:
        yield from chain.from_iterable(pool.imap_unordered(run_seeds, batches))


def rerun(wanted: Plan, keep_log: bool = False) -> tuple[Outcome, Run]:
    """That plan again, as the seed's run went."""
    with quick(wanted.seed % REAL_EVERY != 0):
        run = Run(wanted, WorldOptions(keep_log=keep_log))
        return run.outcome(), run


def shrunk(outcome: Outcome, folder: Path) -> Failure:
    """The failure with as few events as were found, written to ``folder``."""
    shortest = Shrinker(lambda one: rerun(one)[0].invariant == outcome.invariant).shrink(plan(outcome.seed))
    again, run = rerun(shortest, keep_log=True)
    directory = folder / f"seed-{outcome.seed}"
    replay.write(directory, shortest, again.invariant, again.text, run.world.log)
    lines = tuple(f"{fault.at_s:8.2f} s  {describe(fault)}" for fault in shortest.faults)
    return Failure(outcome.seed, again.invariant, again.text, lines, str(directory))


def seeds_of(seeds: range, jobs: int, folder: Path, output: Output) -> int:
    """Run them; the exit code."""
    began_s = told_s = reported_s = time.monotonic()
    report = folder.with_name(REPORT)
    tally = begun(report, seeds.start, code())
    before_s = tally.took_s
    for done, outcome in enumerate(run_many(seeds, jobs), 1):
        tally.add(outcome)
        if outcome.invariant:
            output.log(f"seed {outcome.seed} ({outcome.kind}): {outcome.invariant}: {outcome.text}")
        now_s = time.monotonic()
        if now_s - told_s >= PROGRESS_EVERY_S:
            told_s = now_s
            text = f"{done} of {len(seeds)} seeds, {len(tally.failed)} failed"
            output.progress(100 * done / len(seeds), now_s - began_s, text)
        if now_s - reported_s >= REPORT_EVERY_S:
            reported_s = now_s
            tally.took_s = before_s + now_s - began_s
            _leave(report, tally.data())
    tally.took_s = before_s + time.monotonic() - began_s
    data = tally.data()
    _leave(report, data)
    failed = sorted(tally.failed, key=lambda one: one.seed)
    kept = [shrunk(outcome, folder) for outcome in failed[:KEPT_FAILURES]]
    output.result({**data, "failures": [asdict(one) for one in kept]}, _text(data, kept, failed))
    return EXIT_FAILED if failed else EXIT_DONE


@dataclass
class Tally:
    """The counts of a run so far. ``first`` is its first seed, ``code`` the digest of what was run."""

    first: int
    code: str
    kinds: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)
    failed_before: dict[str, str] = field(default_factory=dict)
    """Seed → invariant, of the parts that were run earlier."""
    simulated_s: float = 0.0
    faults: int = 0
    starts: int = 0
    took_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One more seed."""
        self.kinds[outcome.kind] += 1
        self.simulated_s += outcome.simulated_s
        self.faults += outcome.faults
        self.starts += outcome.starts
        if outcome.invariant:
            self.failed.append(outcome)

    def data(self) -> dict[str, object]:
        """What programs, and the report of high availability, are told."""
        seeds, took_s = self.kinds.total(), self.took_s
        failed = {str(one.seed): one.invariant for one in self.failed}
        return {
            "seeds": seeds,
            "first": self.first,
            "code": self.code,
            "failed": dict(sorted((self.failed_before | failed).items(), key=lambda one: int(one[0]))),
            "kinds": dict(sorted(self.kinds.items())),
            "simulated_hours": round(self.simulated_s / HOUR_S, 1),
            "faults": self.faults,
            "engine_starts": self.starts,
            "took_s": round(took_s, 1),
            "seeds_per_minute": round(60 * seeds / max(took_s, 0.001)),
        }


def code() -> str:
    """The digest of the brokers' and the simulator's source: numbers of one are not added to another's."""
    root = Path(__file__).resolve().parents[1]
    total = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        total.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:12]


def begun(report: Path, first: int, digest: str) -> Tally:
    """A tally that goes on with the kept run when that one ended with the seed before ``first`` and ran the same code: so a
    run of hours can be done in parts."""
    try:
        kept = json.loads(report.read_text())
        if kept["code"] != digest or kept["first"] + kept["seeds"] != first:
            return Tally(first, digest)
        return Tally(
            first=int(kept["first"]),
            code=digest,
            kinds=Counter({str(kind): int(count) for kind, count in kept["kinds"].items()}),
            failed_before={str(seed): str(invariant) for seed, invariant in kept["failed"].items()},
            simulated_s=float(kept["simulated_hours"]) * HOUR_S,
            faults=int(kept["faults"]),
            starts=int(kept["engine_starts"]),
            took_s=float(kept["took_s"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or none that could be gone on with
        return Tally(first, digest)


def _leave(report: Path, data: dict[str, object]) -> None:
    """Write the counts, unless a longer run's are there."""
    try:
        longest = int(json.loads(report.read_text())["seeds"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or none that could be shown
        longest = 0
    if int(str(data["seeds"])) >= longest:
        make_folders(report.parent, 0o755)
        write_atomically(report, json.dumps(data, indent=2), PUBLIC)


def _text(data: dict[str, object], kept: list[Failure], failed: list[Outcome]) -> str:
    head = (
        f"{data['seeds']} seeds, {data['simulated_hours']} simulated hours, {data['faults']} faults, "
        f"{data['engine_starts']} engine starts in {data['took_s']} s ({data['seeds_per_minute']} seeds a minute)"
    )
    if not failed:
        return f"{head}\nevery invariant held"
    blocks = [f"{head}\n{len(failed)} seeds broke an invariant: {', '.join(str(one.seed) for one in failed[:40])}"]
    for one in kept:
        events = "\n".join(f"  {line}" for line in one.events) or "  (no event is needed)"
        blocks.append(f"seed {one.seed}: {one.invariant}: {one.text}\n{events}\n  repeats it: trivet ha sim {one.directory}")
    return "\n\n".join(blocks)


def directory(folder: Path, output: Output) -> int:
    """Run that plan again; the exit code."""
    outcome, run = rerun(replay.read(folder), keep_log=True)
    lines = [f"{at_s:9.3f} {line}" for at_s, line in run.world.log]
    verdict = f"{outcome.invariant}: {outcome.text}" if outcome.invariant else "every invariant held"
    data = {"invariant": outcome.invariant, "text": outcome.text, "log": lines, "engine_starts": outcome.starts}
    output.result(data, "\n".join([*lines, verdict]))
    return EXIT_FAILED if outcome.invariant else EXIT_DONE
