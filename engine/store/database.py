"""The two databases that we speak, behind one face: SQLite by a path, PostgreSQL by a URL.

What differs between them is here and nowhere else: how a transaction begins, how text is compared without case, how a value
is taken out of JSON, how numbers are handed out.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peewee import (
    SQL,
    Case,
    DatabaseError,
    Expression,
    IntegrityError,
    InterfaceError,
    PostgresqlDatabase,
    SqliteDatabase,
    Value,
    fn,
)

from appliance.errors import Refused, Unavailable

BUSY_TIMEOUT_MS = 15_000
"""How long a writer waits for another: longer than the 5.6 s for which a lost brick stalls the volume, twice."""
CACHE_KIB = 16 * 1024
"""SQLite's page cache for one connection: the pages of 1,000 VMs and 3,000 disks stay in it; the engine has 300 MiB."""
JSON_NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
"""A text where a number should be is no number, and no error of a whole search."""
POSTGRESQL = ("postgresql://", "postgres://")
VARIABLES_LIMIT = 500
"""Values in one IN (…): SQLite's oldest limit is 999 for a statement."""


@contextmanager
def explained() -> Iterator[None]:
    """Database errors as ``Unavailable`` (``store.failed``): callers can name it, and nothing leaks peewee."""
    try:
        yield
    except IntegrityError:
        raise
    except (DatabaseError, InterfaceError) as error:
        raise Unavailable(
            "store.failed",
            subject="the engine's database",
            reason=f"it answered: {error}",
            remedy="Look at the state of volume `engine` on a node: `trivet gluster status`.",
        ) from error


class Connection:
    """A database with what our SQL needs to be the same on both. Threads get their own connections."""

    def __init__(self, place: Path | str) -> None:
        """``place``: the path of an SQLite file, or ``postgresql://…``."""
        self.is_postgresql = isinstance(place, str) and place.startswith(POSTGRESQL)
        self.peewee: Any
        if self.is_postgresql:
            if importlib.util.find_spec("psycopg") is None:
                raise Refused(
                    "store.driver",
                    subject="the engine's database",
                    reason="its URL names PostgreSQL, but the driver psycopg is not installed",
                    remedy="Install psycopg and libpq beside the engine, or remove the URL to use SQLite.",
                )
            # prefer_psycopg3: the driver that we chose (engine/DESIGN.md), whatever else is installed.
            self.peewee = PostgresqlDatabase(str(place), prefer_psycopg3=True, autoconnect=True)
        else:
            self.peewee = SqliteDatabase(
                str(place),
                pragmas={
                    "journal_mode": "wal",
                    "synchronous": "full",
                    "foreign_keys": 1,
                    "busy_timeout": BUSY_TIMEOUT_MS,
                    "cache_size": -CACHE_KIB,
                },
                autoconnect=True,
            )
            # SQLite's own knows ASCII only.
            self.peewee.register_function(_lower, "lower", 1, deterministic=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. On SQLite the write lock is taken at once: a transaction that reads first and writes later would
        be refused without waiting when another wrote between. Inside another: a savepoint."""
        with explained():
            if self.is_postgresql or self.peewee.in_transaction():
                with self.peewee.atomic():
                    yield
            else:
                with self.peewee.atomic("IMMEDIATE"):
                    yield

    def rows(self, query: Any) -> list[Any]:
        """All rows of a select, as plain tuples."""
        with explained():
            return list(query.tuples().execute(self.peewee))

    def first(self, text: str, values: tuple[Any, ...]) -> Any:
        """The first row of a statement written by hand; its ``{}`` become the places of ``values``. ``None``: no row.

        For what every request asks: building such a query with peewee costs more than asking it.
        """
        with explained():
            return self._asked(text, values).fetchone()

    def all(self, text: str, values: tuple[Any, ...]) -> list[Any]:
        """All rows of a statement written by hand, as :meth:`first`."""
        with explained():
            return list(self._asked(text, values).fetchall())

    def _asked(self, text: str, values: tuple[Any, ...]) -> Any:
        return self.peewee.execute_sql(text.format(*[self.peewee.param] * len(values)), values)

    def run(self, query: Any) -> int:
        """Insert, update or delete; for the last two the number of rows."""
        with explained():
            done = query.execute(self.peewee)
            return done if isinstance(done, int) else 0

    def insert(self, table: Any, row: Mapping[Any, Any], returning: str = "") -> Any:
        """Insert a row (column or its name → value); answers the column ``returning``, if one is named. As :meth:`update`
        without peewee's compiler, which took half of a job's CPU time."""
        names, asked, values = _written(row)
        text = f"INSERT INTO {table.__name__} ({', '.join(names)}) VALUES ({', '.join(asked)})"  # noqa: S608 - tables and columns are ours
        with explained():
            done = self._asked(f"{text} RETURNING {returning}" if returning else text, values)
            return done.fetchone()[0] if returning else None

    def update(self, table: Any, change: Mapping[Any, Any], where: Mapping[Any, Any]) -> int:
        """Change the rows whose columns are as in ``where``; their number."""
        names, asked, values = _written(change)
        those, asked_those, last = _written(where)
        changes = ", ".join(f"{name} = {place}" for name, place in zip(names, asked, strict=True))
        conditions = " AND ".join(f"{name} = {place}" for name, place in zip(those, asked_those, strict=True))
        with explained():
            done = self._asked(f"UPDATE {table.__name__} SET {changes} WHERE {conditions}", values + last)  # noqa: S608 - as above
            return int(done.rowcount)

    @property
    def held(self) -> str:
        """The end of a select whose rows nobody else is to change before this transaction ends (SQLite has one writer
        anyway)."""
        return " FOR UPDATE" if self.is_postgresql else ""

    def statement(self, text: str) -> str:
        """A migration's statement in this dialect: ``{serial}`` is a primary key that counts by itself, ``{json}`` the type
        of JSON documents."""
        words = (
            {"serial": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "json": "JSONB"}
            if self.is_postgresql
            else {"serial": "INTEGER PRIMARY KEY", "json": "TEXT"}
        )
        for name, word in words.items():
            text = text.replace(f"{{{name}}}", word)
        return text

    # JSON

    def packed(self, value: object) -> Any:
        """JSON data as the database takes it. Raises ``Refused`` ``store.nul``: no database stores U+0000 in text."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if "\\u0000" in text:
            raise Refused(
                "store.nul",
                subject="a text",
                reason="it contains the character U+0000, which cannot be stored",
                remedy="Leave that character out.",
            )
        return Expression(Value(text, converter=False), "::", SQL("jsonb"), flat=True) if self.is_postgresql else text

    @staticmethod
    def unpacked(stored: Any) -> Any:
        """JSON data as it was packed."""
        return json.loads(stored) if isinstance(stored, str) else stored

    def inside(self, column: Any, path: Sequence[str], *, number: bool = False) -> Any:
        """The value at ``path`` in a JSON column as text (as a number: to compare and sort by size), NULL when absent."""
        if self.is_postgresql:
            text = Expression(column, "#>>", Value("{" + ",".join(path) + "}", converter=False))
            if not number:
                return text
            return Case(None, [(Expression(text, "~", Value(JSON_NUMBER, converter=False)), text.cast("NUMERIC"))])
        found = fn.json_extract(column, "$." + ".".join(path))
        return Case(None, [(fn.typeof(found).in_(["integer", "real"]), found)]) if number else found

    # text

    def like(self, value: Any, pattern: str, *, case_sensitive: bool) -> Any:
        """Whether ``value`` matches ``pattern``, in which ``*`` stands for anything and all else for itself."""
        if not case_sensitive:
            value, pattern = fn.lower(value), pattern.lower()
        if self.is_postgresql:
            parts = [part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for part in pattern.split("*")]
            return Expression(value, "LIKE", Value("%".join(parts), converter=False))
        quoted = "".join(f"[{sign}]" if sign in "?[" else sign for sign in pattern)
        return Expression(value, "GLOB", Value(quoted, converter=False))

    def close(self) -> None:
        """Close this thread's connection."""
        self.peewee.close()


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _written(row: Mapping[Any, Any]) -> tuple[list[str], list[str], tuple[Any, ...]]:
    """Names, places and values of columns. JSON data may be packed (:meth:`Connection.packed`)."""
    names = [str(getattr(column, "name", column)) for column in row]
    values = [(value.lhs.value, "{}::jsonb") if isinstance(value, Expression) else (value, "{}") for value in row.values()]
    return names, [place for _, place in values], tuple(value for value, _ in values)


def places(values: Sequence[Any]) -> str:
    """Their places in a statement by hand: ``({}, {})``."""
    return f"({', '.join(['{}'] * len(values))})"


def chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """``values`` in pieces that one statement may carry."""
    for start in range(0, len(values), VARIABLES_LIMIT):
        yield values[start : start + VARIABLES_LIMIT]
