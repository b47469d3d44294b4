"""The copies of the data disk, one on each brick: who missed what, who says so, and how it is healed.

As the replication does it: the bricks that took a write *blame* those that did not. Whom a brick in reach blames is not
read from; when everybody in reach is blamed, nothing is (EIO). A healed brick is blamed no more by those in reach, and
itself still blames those that are not healed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ha_broker.sim.connections import NEVER

HEAL_S: Final = 3.0
"""A brick that missed little, connected again → healed (seen: 1 to 5 s)."""


class Copies:
    """All of them. ``reach``: for every host the bricks that its processes are connected to."""

    def __init__(self, bricks: tuple[str, ...]) -> None:
        self.bricks = bricks
        self.heal_s = HEAL_S
        self.blames: dict[str, set[str]] = {brick: set() for brick in bricks}
        """Which others each brick knows to have missed something."""
        self.version = 0
        self.versions: dict[str, int] = dict.fromkeys(bricks, 0)
        """The newest version that each brick has completely."""
        self.next_s = NEVER
        """When the next brick is healed."""
        self._due_s: dict[str, float] = {}
        self.planted = False
        """A fault made them contradict each other: only a person repairs that."""

    def write(self, takers: Sequence[str]) -> bool:
        """These bricks took a write; answers whether others are blamed for the first time."""
        for brick in takers:
            if self.versions[brick] == self.version:
                self.versions[brick] += 1
        self.version += 1
        if len(takers) == len(self.bricks):
            return False
        missed = {brick for brick in self.bricks if brick not in takers}
        if all(missed <= self.blames[brick] for brick in takers):
            return False
        for brick in takers:
            self.blames[brick] |= missed
        return True

    def fresh(self, up: Sequence[str]) -> list[str]:
        """Those of ``up`` that none of ``up`` blames."""
        blamed = self.blamed(up)
        return [brick for brick in up if brick not in blamed] if blamed else list(up)

    def blamed(self, up: Iterable[str]) -> set[str]:
        """Whom these bricks blame."""
        return set().union(*[self.blames[brick] for brick in up])

    def split(self) -> None:
        """Every brick blames every other."""
        self.planted = True
        for brick in self.bricks:
            self.blames[brick] = set(self.bricks) - {brick}

    def repair(self) -> None:
        """Somebody chose a copy; all are made like it."""
        self.planted = False
        for brick in self.bricks:
            self.blames[brick] = set()
            self.versions[brick] = self.version

    def plan(self, now_s: float, reach: Sequence[Sequence[str]]) -> None:
        """Begin the heals that have become possible, and forget those that are not any more."""
        blamed = self.blamed(self.bricks)
        if not blamed and not self._due_s:
            return
        for brick in self.bricks:
            if brick in blamed and self._healer(brick, reach):
                self._due_s.setdefault(brick, now_s + self.heal_s)
            else:
                self._due_s.pop(brick, None)
        self.next_s = min(self._due_s.values(), default=NEVER)

    def _healer(self, brick: str, reach: Sequence[Sequence[str]]) -> Sequence[str]:
        """The reach of a host connected to this brick, to one that blames it and to a fresh copy; empty: there is none."""
        for up in reach:
            if brick in up and brick in self.blamed(up) and self.fresh(up):
                return up
        return ()

    def heal(self, now_s: float, reach: Sequence[Sequence[str]]) -> None:
        """End the heals that are due."""
        for brick in [brick for brick, due_s in self._due_s.items() if due_s <= now_s]:
            del self._due_s[brick]
            up = self._healer(brick, reach)
            if up:
                sources = self.fresh(up)
                self.versions[brick] = max(self.versions[source] for source in sources)
                self.blames[brick].difference_update(sources)  # whoever else owes something still does (seed 2819)
                for other in up:
                    self.blames[other].discard(brick)
        self.next_s = min(self._due_s.values(), default=NEVER)
