"""What a bench hands back, and how a function is timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

REPEATS = 7
"""Times each function is timed; the median counts, because one slow turn of a shared machine says nothing."""
SHORTEST_S = 0.05
"""A turn lasts at least this long (the function is called as often as that needs): far above the clock's grain."""


@dataclass(frozen=True)
class Measured:
    """One line of docs/bench.md: our value beside a baseline that was measured in the same run, on the same machine.

    ``better`` says which direction is good; ``bound`` is the value that must not be passed (none: nothing is promised).
    """

    what: str
    unit: str
    ours: float
    baseline_name: str
    baseline: float
    better: Literal["lower", "higher"] = "lower"
    bound: float | None = None

    @property
    def ratio(self) -> float:
        """Ours divided by the baseline."""
        return self.ours / self.baseline

    @property
    def kept(self) -> bool:
        """Whether the bound, if there is one, holds."""
        if self.bound is None:
            return True
        return self.ours <= self.bound if self.better == "lower" else self.ours >= self.bound


def seconds_a_call(function: Callable[[], object]) -> float:
    """Median duration of one call of ``function``, in seconds."""
    calls = 1
    while (took_s := _turn(function, calls)) < SHORTEST_S:
        calls = max(calls * 2, int(calls * SHORTEST_S / max(took_s, 1e-9)))
    return statistics.median(_turn(function, calls) / calls for _ in range(REPEATS))


def _turn(function: Callable[[], object], calls: int) -> float:
    began_s = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - began_s
