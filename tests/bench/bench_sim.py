"""How many random runs of the simulated world a minute has: what a change of the broker is proved with."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final

from ha_broker.sim.fast import REAL_EVERY
from ha_broker.sim.many import run_many
from tests.bench.measure import Measured

SEEDS: Final = range(1, 1 + 3 * REAL_EVERY)
"""With their share of seeds that run on real bytes; on two cores a good half minute."""
SEEDS_A_MINUTE: Final = 500.0
"""So 50,000 seeds are done within two hours, and the 1,500 of `make test` in three minutes."""


def bench_seeds() -> list[Measured]:
    """All cores beside one: the runs share nothing, so what they lose by each other is the machine's."""
    alone = _seeds_a_minute(SEEDS[:REAL_EVERY], 1)
    together = _seeds_a_minute(SEEDS, os.cpu_count() or 1)
    what = "simulated runs of three brokers under faults, all cores"
    return [Measured(what, "seeds a minute", together, "one core", alone, "higher", SEEDS_A_MINUTE)]


def _seeds_a_minute(seeds: Sequence[int], jobs: int) -> float:
    began_s = time.perf_counter()
    outcomes = list(run_many(seeds, jobs))
    took_s = time.perf_counter() - began_s
    broken = [one.seed for one in outcomes if one.invariant]
    assert len(outcomes) == len(seeds) and not broken, f"seeds that broke an invariant: {broken}"
    return 60 * len(outcomes) / took_s
