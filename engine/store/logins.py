"""Failures to log in, in the database: whichever process is asked, a guesser waits. They survive a start of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peewee import Table, fn

from engine.decide.slowdown import FORGET_AFTER_S, REMEMBERED, Failures
from engine.store.database import Connection

FAILURE: Any = Table("login_failure", ("name", "address", "count", "last_ms"))
FAILURES_QUERY = "SELECT count, last_ms FROM login_failure WHERE name = {} AND address = {}"


@dataclass(frozen=True)
class Logins:
    """The failures of callers; a caller is a pair of user name and address."""

    connection: Connection

    def failures(self, who: tuple[str, str]) -> Failures | None:
        """The failures in a row of one."""
        row = self.connection.first(FAILURES_QUERY, who)
        return Failures(int(row[0]), row[1] / 1000) if row else None

    def failed(self, who: tuple[str, str], more: Callable[[Failures | None], Failures]) -> None:
        """One more; ``more`` says what is remembered then. What is too old, or too much, is forgotten."""
        with self.connection.transaction():
            now = more(self.failures(who))
            last_ms = int(now.last_s * 1000)
            row = FAILURE.insert(name=who[0], address=who[1], count=now.count, last_ms=last_ms)
            change = {FAILURE.count: now.count, FAILURE.last_ms: last_ms}
            self.connection.run(row.on_conflict(conflict_target=[FAILURE.name, FAILURE.address], update=change))
            self.connection.run(FAILURE.delete().where(FAILURE.last_ms < last_ms - int(FORGET_AFTER_S * 1000)))
            self._bound()

    def succeeded(self, who: tuple[str, str]) -> None:
        """Its failures are forgotten."""
        self.connection.run(FAILURE.delete().where((FAILURE.name == who[0]) & (FAILURE.address == who[1])))

    def _bound(self) -> None:
        known = int(self.connection.rows(FAILURE.select(fn.COUNT(FAILURE.name)))[0][0])
        if known <= REMEMBERED:
            return
        oldest = FAILURE.select(FAILURE.name, FAILURE.address).order_by(FAILURE.last_ms).limit(known - REMEMBERED)
        for name, address in self.connection.rows(oldest):
            self.succeeded((name, address))
