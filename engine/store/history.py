"""The past of what is measured: averages of five minutes for a day, of an hour for two months.

One commit a round, whatever the number of VMs: a write on the data disk is on three bricks. 1,000 VMs cost 288 + 1,440 rows
each, some 250 MiB at the end of two months.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peewee import Table

from engine.store.database import Connection

FINE_S, COARSE_S = 300, 3600
KEPT_S: Mapping[int, int] = {FINE_S: 24 * 3600, COARSE_S: 60 * 24 * 3600}
"""How long averages of such a span are kept: oVirt's data warehouse keeps minutes for a day and hours for two months."""
SAMPLE: Any = Table("sample", ("kind", "entity_id", "span_s", "wall_ms", "amount", "numbers"))


@dataclass(frozen=True)
class Average:
    """The averages of one span that began at ``wall_ms``; ``amount`` measurements are in it."""

    wall_ms: int
    amount: int
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class History:
    """The history in one database."""

    connection: Connection

    def add(self, wall_ms: int, measured: Mapping[tuple[str, str], Mapping[str, float]]) -> None:
        """Take measurements of now ((kind, id) → name → value) into the running averages; one transaction."""
        with self.connection.transaction():
            for span_s in KEPT_S:
                begin_ms = wall_ms - wall_ms % (span_s * 1000)
                for (kind, identifier), numbers in measured.items():
                    self._take(kind, identifier, span_s, begin_ms, numbers)

    def _take(self, kind: str, identifier: str, span_s: int, begin_ms: int, numbers: Mapping[str, float]) -> None:
        mine = (
            (SAMPLE.kind == kind)
            & (SAMPLE.entity_id == identifier)
            & (SAMPLE.span_s == span_s)
            & (SAMPLE.wall_ms == begin_ms)
        )
        rows = self.connection.rows(SAMPLE.select(SAMPLE.amount, SAMPLE.numbers).where(mine))
        if not rows:
            row = {"kind": kind, "entity_id": identifier, "span_s": span_s, "wall_ms": begin_ms, "amount": 1}
            self.connection.run(SAMPLE.insert({**row, "numbers": self.connection.packed(dict(numbers))}))
            return
        amount, before = int(rows[0][0]), self.connection.unpacked(rows[0][1])
        mean = {name: (before.get(name, value) * amount + value) / (amount + 1) for name, value in numbers.items()}
        change = {SAMPLE.amount: amount + 1, SAMPLE.numbers: self.connection.packed({**before, **mean})}
        self.connection.run(SAMPLE.update(change).where(mine))

    def of(self, kind: str, identifier: str, span_s: int = FINE_S, since_ms: int = 0) -> Sequence[Average]:
        """What is kept of one object, the oldest first."""
        mine = (
            (SAMPLE.kind == kind)
            & (SAMPLE.entity_id == identifier)
            & (SAMPLE.span_s == span_s)
            & (SAMPLE.wall_ms >= since_ms)
        )
        rows = self.connection.rows(
            SAMPLE.select(SAMPLE.wall_ms, SAMPLE.amount, SAMPLE.numbers).where(mine).order_by(SAMPLE.wall_ms)
        )
        return tuple(Average(int(wall), int(amount), self.connection.unpacked(numbers)) for wall, amount, numbers in rows)

    def prune(self, wall_ms: int) -> int:
        """Drop what is older than its span's time; the number of rows."""
        return sum(
            self.connection.run(
                SAMPLE.delete().where((SAMPLE.span_s == span_s) & (SAMPLE.wall_ms < wall_ms - kept_s * 1000))
            )
            for span_s, kept_s in KEPT_S.items()
        )
