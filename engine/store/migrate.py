"""Numbered, forward-only migrations, run at each start. Each runs in a transaction with the line that records it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence

from appliance.errors import Refused
from engine.store import migrations
from engine.store.database import Connection

LEDGER = "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL)"


def shipped() -> dict[int, tuple[str, Sequence[str]]]:
    """Number → (name, statements) of every migration of this version: files ``mNNNN_name.py``."""
    found: dict[int, tuple[str, Sequence[str]]] = {}
    for module in pkgutil.iter_modules(migrations.__path__):
        number, _, name = module.name.removeprefix("m").partition("_")
        found[int(number)] = (name, importlib.import_module(f"{migrations.__name__}.{module.name}").STATEMENTS)
    return found


def migrate(connection: Connection, known: Mapping[int, tuple[str, Sequence[str]]] | None = None) -> tuple[int, ...]:
    """Bring the database to this version; answers the numbers that were applied.

    Raises ``Refused`` (``store.newer``) when a newer version has been here: going back would lose what it wrote.
    """
    steps = shipped() if known is None else known
    database = connection.peewee
    database.execute_sql(LEDGER)
    have = {int(row[0]) for row in database.execute_sql("SELECT number FROM migration").fetchall()}
    beyond = sorted(have - set(steps))
    if beyond:
        raise Refused(
            "store.newer",
            subject="the engine's database",
            reason=f"it was written by a newer version (migration {beyond[-1]}; this version knows {max(steps)})",
            remedy="Start the engine image of that version, or restore a backup that this version made.",
            facts={"migrations": beyond},
        )
    applied = []
    for number in sorted(set(steps) - have):
        name, statements = steps[number]
        with database.atomic():
            for statement in statements:
                database.execute_sql(connection.statement(statement))
            values = f"{database.param}, {database.param}"
            database.execute_sql(f"INSERT INTO migration (number, name) VALUES ({values})", (number, name))  # noqa: S608
        applied.append(number)
    return tuple(applied)
