"""Planted bugs: the simulation is worth something only if it catches them.

Each is one change of a rule, of a limit or of the way the volume was made, in force within :func:`planted`; nothing else
is different.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import ha_broker.decide as deciding
from ha_broker import act, broker, limits, observe
from ha_broker import board as boards
from ha_broker.handover import Mover
from ha_broker.memory import Memory
from ha_broker.sim import wrong
from ha_broker.sim.fast import quick
from ha_broker.sim.host import SimHost
from ha_broker.sim.plans import plan
from ha_broker.sim.run import Outcome, Run
from ha_broker.sim.storage import VolumeOptions
from ha_broker.sim.world import WorldOptions
from ha_broker.sim.wrong import ABSENT, PRESENT
from ha_broker.state import Register

HUNTED: Final = 150
"""So many seeds are tried for each."""
Patch = tuple[object, str, object]
PLAIN: Final = WorldOptions(keep_log=False)
_RULES: Final = [module for name, module in sys.modules.items() if name.startswith("ha_broker.decide")]
"""A rule that several modules import is replaced in all of them."""


@dataclass(frozen=True)
class Mutant:
    """``caught_by``: the invariants that it breaks. ``patches`` replace attributes; ``options`` make another world."""

    name: str
    sentence: str
    caught_by: tuple[str, ...]
    patches: tuple[Patch, ...] = ()
    options: WorldOptions = PLAIN


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The bug is there."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in mutant.patches]
    for owner, name, value in mutant.patches:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def run(mutant: Mutant, seed: int) -> Outcome:
    """That seed with the bug."""
    with quick(True), planted(mutant):
        return Run(plan(seed), mutant.options).outcome()


def hunt(mutant: Mutant, seeds: Iterable[int]) -> Outcome | None:
    """The first of the seeds that catches it by one of its invariants."""
    for seed in seeds:
        outcome = run(mutant, seed)
        if outcome.invariant in mutant.caught_by:
            return outcome
    return None


def _volume(**changes: bool) -> WorldOptions:
    return replace(PLAIN, volume=replace(VolumeOptions(), **changes))


def _everywhere(name: str, value: object) -> tuple[Patch, ...]:
    """That name in every module that has it."""
    return tuple((module, name, value) for module in (*_RULES, broker, observe) if hasattr(module, name))


def _rule(name: str, value: object) -> tuple[Patch, ...]:
    return ((deciding, name, value),)


MUTANTS: Final[tuple[Mutant, ...]] = (
    # the volume and the hosts around the brokers
    Mutant("strict-locks-off", "the volume is made without strict locks", ("S1",), options=_volume(strict_locks=False)),
    Mutant("sharding-on", "the volume is made with shards", ("S1",), options=_volume(sharding=True)),
    Mutant("no-gate", "a start asks only the brick that QEMU asks for a holder", ("S1", "S2"), options=_volume(gate=False)),
    Mutant("no-quorum", "any single brick takes writes", ("S1", "S2"), options=_volume(quorum=False)),
    Mutant(
        "migration-without-lock",
        "a migration hands the guest over, but not the disk's lock",
        ("S1", "L3"),
        options=replace(PLAIN, migration_without_lock=True),
    ),
    Mutant(
        "agents-obey-any-epoch",
        "a node's agent takes lower epochs",
        ("S2",),
        options=replace(PLAIN, agents_take_lower=True),
    ),
    Mutant(
        "wall-clock",
        "the brokers measure by the wall clock",
        ("L1", "L2", "L3", "refresh"),
        ((SimHost, "monotonic_s", SimHost.wall_s),),
    ),
    # a QEMU is here
    Mutant(
        "resume-after-io-error",
        "a guest stopped by an I/O error is resumed",
        ("S3",),
        ((PRESENT, "_broken", wrong.resume_after_error),),
    ),
    Mutant(
        "keep-after-io-error",
        "a guest stopped by an I/O error is left",
        ("S3",),
        ((PRESENT, "_broken", wrong.keep_after_error),),
    ),
    Mutant(
        "keep-left-paused",
        "what a start that broke off has left stays",
        ("L1",),
        ((PRESENT, "_broken", wrong.keep_left_paused),),
    ),
    Mutant("keep-superseded", "a newer epoch elsewhere ends no QEMU", ("S3",), _everywhere("superseding", wrong.nothing)),
    Mutant(
        "keep-without-storage",
        "a host that cannot write keeps its QEMU",
        ("S3",),
        _everywhere("lost_storage", wrong.no_words),
    ),
    Mutant("end-adopted", "a restarted broker destroys the running engine VM", ("L3",), _rule("present", wrong.end_adopted)),
    Mutant(
        "end-arriving", "an arriving engine VM is destroyed", ("refresh",), ((PRESENT, "_arriving", wrong.end_arriving),)
    ),
    Mutant("hung-for-ever", "a guest that hangs is left alone", ("L1",), ((PRESENT.guest, "hung", wrong.nothing),)),
    Mutant(
        "silent-libvirt-for-ever",
        "what libvirt says nothing of is left alone",
        ("L1",),
        _rule("unseen", wrong.wait_for_libvirt),
    ),
    Mutant("no-refresh", "the disk is never opened anew", ("refresh", "L3"), _everywhere("refresh_due", wrong.never)),
    Mutant("no-patience", "QEMU is destroyed at the first stall", ("L3",), ((limits, "UNWRITTEN_DESTROY_S", 3.0),)),
    Mutant(
        "no-allowance",
        "an engine that missed one answer is stopped",
        ("L3",),
        ((limits, "HEALTH_ALLOWANCE_S", 3.0), (limits, "REACHED_FRESH_S", 3.0)),
    ),
    # none is here
    Mutant("start-in-maintenance", "global maintenance is ignored", ("S6",), _rule("absent", wrong.ignore_maintenance)),
    Mutant(
        "start-in-local-maintenance",
        "local maintenance is ignored",
        ("S6",),
        ((observe, "score", wrong.fit_in_maintenance),),
    ),
    Mutant("impatient", "who has no QEMU starts one", ("L3", "L2"), ((broker, "decide", wrong.impatient),)),
    Mutant(
        "unreached-at-once",
        "a start that did not reach the disk is tried again at once",
        ("L2",),
        ((ABSENT, "_after_unreached", wrong.nothing),),
    ),
    Mutant("ignore-starts-used", "starts are not counted", ("L2",), _everywhere("recent_starts", wrong.none_counts)),
    Mutant(
        "give-up-after-lock",
        "a host that the lock refused never tries again",
        ("L1",),
        ((ABSENT, "_after_lock", wrong.give_up_after_lock),),
    ),
    Mutant("late", "silence is noticed after 15 s", ("L1",), ((limits, "SILENT_S", 15.0),)),
    Mutant("quick-to-judge", "a host is silent after half a second", ("L3",), ((limits, "SILENT_S", 0.5),)),
    Mutant(
        "no-grace",
        "a stall of one's own is silence of others",
        ("L3",),
        ((limits, "GRACE_S", 0.0), (limits, "STALL_S", 60.0)),
    ),
    # epochs
    Mutant("same-epoch", "a start takes the highest known epoch", ("S2",), ((act, "next_epoch", wrong.same_epoch),)),
    Mutant(
        "record-too-early",
        "the record is written before the lock is held",
        ("S7",),
        ((SimHost, "ensure", wrong.record_too_early),),
    ),
    Mutant("record-not-written", "the record is not written", ("S2", "L1"), ((SimHost, "write_record", wrong.nothing),)),
    Mutant(
        "own-agent-not-told", "the own agent is not told", ("S2",), ((SimHost, "raise_local", wrong.own_agent_not_told),)
    ),
    Mutant(
        "adopt-without-epoch",
        "an adopted engine VM has epoch 0",
        ("L1", "L3", "S3", "refresh"),
        ((Memory, "adopt", wrong.adopt_without_epoch),),
    ),
    Mutant(
        "still-held",
        "the source of a migration restarts it in place",
        ("L3",),
        ((Mover, "_hand", wrong.still_held), (deciding, "absent", wrong.restart_first)),
    ),
    # the board
    Mutant("newer-is-silent", "a slot of a newer format is silence", ("L3",), ((boards, "_newer", wrong.newer_is_silent),)),
    Mutant(
        "older-setting-wins",
        "of two maintenance settings the older one holds",
        ("S6", "L1"),
        ((Register, "__gt__", wrong.lowest_register),),
    ),
)


def table(caught: Iterable[tuple[Mutant, int, str]]) -> str:
    """``docs/ha-mutants.md``: mutant, seed and invariant that caught it."""
    rows = "".join(f"| `{mutant.name}` | {mutant.sentence} | {seed} | {invariant} |\n" for mutant, seed, invariant in caught)
    return (
        "# Planted bugs, and what caught them\n\n"
        "Each bug is one wrong rule, limit or option (`ha_broker/sim/mutants.py`); listed is the first seed whose run\n"
        "broke an invariant of the right kind. Without the bug the same seed holds: `tests/ha_broker/test_sim_mutants.py`.\n"
        "Made anew by `build/venv/bin/python -m ha_broker.sim.mutants docs/ha-mutants.md`.\n\n"
        "| bug | what is wrong | seed | invariant |\n|---|---|---|---|\n" + rows
    )


def _hunted(name: str) -> tuple[str, int, str]:
    mutant = next(one for one in MUTANTS if one.name == name)
    caught = hunt(mutant, range(HUNTED))
    return (mutant.name, caught.seed, caught.invariant) if caught is not None else (mutant.name, -1, "NOTHING")


def write(path: Path, processes: int) -> list[str]:
    """Hunt for all of them and write the page; names of those that nothing caught."""
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        found = {
            name: (seed, invariant) for name, seed, invariant in pool.imap_unordered(_hunted, [one.name for one in MUTANTS])
        }
    path.write_text(table((mutant, *found[mutant.name]) for mutant in MUTANTS))
    return [name for name, (seed, _) in found.items() if seed < 0]


if __name__ == "__main__":
    uncaught = write(Path(sys.argv[1]), os.cpu_count() or 1)
    sys.exit(f"not caught: {', '.join(uncaught)}" if uncaught else 0)
