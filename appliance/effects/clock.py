"""The clocks: one port, so that a month passes in a test second.

The real clock and its fake stand side by side because together they are shorter than the words about them.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time as Trivet knows it. Decisions get readings; only effects hold a clock."""

    def monotonic_s(self) -> float:
        """Seconds since some start; never jumps. The only clock that deadlines and silence are judged by."""

    def wall_s(self) -> float:
        """Seconds since 1970 UTC; may jump. For people and certificates only."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The real clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that only sleeping moves. ``jump_wall`` moves wall time alone, as an administrator with `date` does."""

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = 1_800_000_000.0) -> None:
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def wall_s(self) -> float:
        return self._wall_s

    def sleep(self, seconds: float) -> None:
        """Let that much time pass at once. Negative: ``ValueError``, as with the real one."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self._monotonic_s += seconds
        self._wall_s += seconds

    def jump_wall(self, seconds: float) -> None:
        """Move wall time only."""
        self._wall_s += seconds
