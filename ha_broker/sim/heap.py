"""Time of the simulated world: one heap of events."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush

Act = Callable[[], None]


class Heap:
    """Events in order of their time, ties in order of their making: so a run is the same each time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.done = 0
        """Events so far."""
        self._made = 0
        self.waiting: list[tuple[float, int, Act]] = []
        """What is to be done: when, its number, what. Ordered as :mod:`heapq` does it."""

    def at(self, at_s: float, act: Act) -> None:
        """Do it then (at once, if that is over)."""
        self._made += 1
        heappush(self.waiting, (at_s if at_s > self.now_s else self.now_s, self._made, act))

    def after(self, seconds: float, act: Act) -> None:
        """Do it that much later."""
        self._made += 1
        heappush(self.waiting, (self.now_s + (seconds if seconds > 0 else 0.0), self._made, act))

    def next_s(self) -> float:
        """When the next event is due."""
        return self.waiting[0][0] if self.waiting else math.inf

    def step(self) -> None:
        """Go to the next event and do it."""
        self.now_s, _, act = heappop(self.waiting)
        self.done += 1
        act()


class Waiting:
    """Calls that stall: made again at their time, or as soon as the volume changed."""

    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self._acts: dict[int, Act] = {}
        self._made = 0

    def add(self, until_s: float, act: Act) -> None:
        """Do it then, or at the next ``wake``."""
        self._made += 1
        number = self._made
        self._acts[number] = act
        self._heap.at(until_s, lambda: self._do(number))

    def wake(self) -> None:
        """Do them all now."""
        if self._acts:
            acts, self._acts = self._acts, {}
            for act in acts.values():
                self._heap.at(self._heap.now_s, act)

    def _do(self, number: int) -> None:
        act = self._acts.pop(number, None)
        if act is not None:
            act()
