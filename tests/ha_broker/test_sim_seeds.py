"""Thousands of hours of random faults: every invariant of the broker holds after every event."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from ha_broker.sim.many import run_many
from ha_broker.sim.plans import CHAOS_S, FAULTS_MIN
from ha_broker.sim.run import Outcome

SEEDS = range(100_000, 101_500)
"""None of those that `make sim` begins with, so that both find something."""


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Of all seeds, on all cores, at a low priority: the tests beside it have deadlines."""
    os.nice(5)
    return list(run_many(SEEDS, os.cpu_count() or 1))


@pytest.mark.slow
def test_every_invariant_holds_on_every_seed(outcomes: list[Outcome]) -> None:
    assert len(outcomes) == len(SEEDS)
    broken = [f"seed {one.seed} ({one.kind}): {one.invariant}: {one.text}" for one in outcomes if one.invariant]
    assert not broken, "\n".join(sorted(broken)[:20]) + "\nshrink one: trivet ha sim --seed N"


@pytest.mark.slow
def test_every_run_is_long_and_hard_enough(outcomes: list[Outcome]) -> None:
    assert all(one.simulated_s >= CHAOS_S and one.faults >= FAULTS_MIN for one in outcomes)
    kinds = Counter(one.kind for one in outcomes)
    assert min(kinds[kind] for kind in ("chaos", "harmless", "single", "blackout", "fence")) > 10
    assert sum(one.starts for one in outcomes) > 2 * len(SEEDS)
