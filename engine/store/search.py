"""The search language, compiled to SQL: an expression of engine/decide/search.py becomes one condition on ``entity``.

Ways to other entities become ``id IN (SELECT …)``, from the far end backwards; nothing is a query a row, on either database.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peewee import SQL, Asc, Case, Desc, NodeList, fn

from appliance.errors import Refused
from engine.decide.search import And, Compare, FreeText, Or, Query, SortKey
from engine.decide.search import Expression as Where
from engine.store.database import Connection
from engine.store.entity import ENTITY, RELATION
from engine.store.fields import COMMON, FIELDS, FREE_TEXT, FREE_TEXT_COMMON, STATUS, WAYS, Back, Child, Far, Field, Ref, Way

NUMBER = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?B?|B|%)?", re.IGNORECASE)
FACTORS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "B": 1}
DATES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y", "%m/%d/%y")
DAY_MS = 24 * 3600 * 1000
TRUE, FALSE = ("true", "yes", "1", "t", "y"), ("false", "no", "0", "f", "n")
ORDERED: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """How one value is compared, on one database, as this caller wants case to be taken."""

    connection: Connection
    case_sensitive: bool

    def condition(self, table: Any, body: Any, field: Field, op: str, value: str) -> Any:
        """``field op value``. ``!=`` is the exact contrary of ``=``: what has no value is unequal to all."""
        if op == "!=":
            return ~fn.COALESCE(self.condition(table, body, field, "=", value), SQL("FALSE"))
        if field.shape == "number":
            return ORDERED[_plain(op)](self._value(table, body, field), _number(value, field.unit))
        if field.shape == "date":
            return self._date(self._value(table, body, field), op, value)
        if field.shape == "bool":
            return self._bool(self._value(table, body, field), value)
        found = self._value(table, body, field)
        exact = self.case_sensitive and field.shape == "text"
        if op == "~":
            return self.connection.like(found, f"*{value}*", case_sensitive=False)
        if op == "=" and "*" in value:
            return self.connection.like(found, value, case_sensitive=exact)
        if not exact:
            found, value = fn.lower(found), value.lower()
        return ORDERED[op](found, value)

    def _value(self, table: Any, body: Any, field: Field) -> Any:
        if field.column == STATUS:
            return Case(None, [(table.locked_as != "", table.locked_as)], table.status)
        if field.column:
            return getattr(table, field.column)
        return self.connection.inside(body, field.path, number=field.shape in ("number", "date"))

    def sort_value(self, table: Any, body: Any, field: Field) -> Any:
        """What a field is sorted by: text without case, so that both databases agree."""
        found = self._value(table, body, field)
        return fn.lower(found) if field.shape in ("text", "word") else found

    def _bool(self, found: Any, value: str) -> Any:
        if value.lower() not in (*TRUE, *FALSE):
            raise wrong_value(value, "true or false")
        wanted = value.lower() in TRUE
        # Out of JSON, SQLite answers 1 and PostgreSQL 'true'.
        stored = fn.lower(found.cast("TEXT")) if hasattr(found, "cast") else fn.lower(found)
        is_true = fn.COALESCE(stored, "false").in_(["1", "true"])
        return is_true if wanted else ~is_true

    def _date(self, found: Any, op: str, value: str) -> Any:
        begin_ms, end_ms = moment(value)
        if op == "=":
            return (found >= begin_ms) & (found < end_ms)
        return ORDERED[_plain(op)](found, end_ms - 1 if op in (">", "<=") else begin_ms)


def _plain(op: str) -> str:
    return "=" if op == "~" else op


def _number(text: str, unit: int) -> float:
    found = NUMBER.fullmatch(text.strip())
    if found is None:
        raise wrong_value(text, "a number, alone or with B, K, M, G, T")
    factor = FACTORS.get((found[2] or "").upper()[:1], 0)
    return float(found[1]) * (factor or unit)


def moment(text: str) -> tuple[int, int]:
    """A moment or a day as [begin, end) in ms since 1970 UTC. Raises ``Refused`` ``api.search``."""
    if re.fullmatch(r"[0-9]{11,15}", text):
        return int(text), int(text) + 1
    for form in DATES:
        try:
            found = dt.datetime.strptime(text.strip(), form).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
        begin_ms = int(found.timestamp() * 1000)
        return begin_ms, begin_ms + (1000 if "%S" in form else DAY_MS)
    raise wrong_value(text, "a date like 2026-11-25 or 11/25/2026 18:00:00")


def wrong_value(value: str, expected: str) -> Refused:
    """A value that cannot be compared with its field."""
    return Refused(
        "api.search",
        subject="the search",
        reason=f"{value!r} is not {expected}",
        remedy="Correct the value and search again.",
    )


def unknown_field(kind: str, path: tuple[str, ...], known: list[str]) -> Refused:
    """A field that is not there."""
    return Refused(
        "api.search",
        subject=f"search field '{'.'.join(path)}'",
        reason=f"{kind} has no such field; it has: {', '.join(known)}",
        remedy="Use one of those.",
        facts={"fields": known},
    )


def compiled(connection: Connection, kind: str, query: Query, *, case_sensitive: bool) -> tuple[Any, list[Any]]:
    """(condition, order) of ``query`` over the entities of ``kind``. Raises ``Refused`` ``api.search``."""
    search = _Search(connection, Comparison(connection, case_sensitive))
    where = ENTITY.kind == kind
    if query.where is not None:
        where = where & search.where(kind, query.where)
    order = [term for key in query.sort for term in search.order(kind, key)]
    return where, [*order, ENTITY.name, ENTITY.created_ms, ENTITY.id]


@dataclass(frozen=True)
class _Search:
    connection: Connection
    comparison: Comparison

    def where(self, kind: str, expression: Where) -> Any:
        match expression:
            case And(parts):
                return all_of([self.where(kind, part) for part in parts])
            case Or(parts):
                return any_of([self.where(kind, part) for part in parts])
            case FreeText(value):
                pattern = value if "*" in value else f"*{value}*"
                names = FREE_TEXT.get(kind, FREE_TEXT_COMMON)
                return any_of([self.field(kind, COMMON[name], "=", pattern) for name in names])
            case Compare(path, op, value):
                return self.compare(kind, path, op, value)
        raise TypeError(f"{expression!r} is no search expression")

    def compare(self, kind: str, path: tuple[str, ...], op: str, value: str) -> Any:
        found = look_up(kind, path)
        if op == "!=" and isinstance(found, Far):
            return ~self.field(kind, found, "=", value)
        return self.field(kind, found, op, value)

    def field(self, kind: str, found: Field | Far, op: str, value: str) -> Any:
        if isinstance(found, Field):
            return self.comparison.condition(ENTITY, ENTITY.body, found, op, value)
        far_kind = end_of(kind, found.way)
        inner = self.field(far_kind, look_up(far_kind, (found.field,)), op, value)
        return reached(kind, found.way, ENTITY.select(ENTITY.id).where((ENTITY.kind == far_kind) & inner))

    def order(self, kind: str, key: SortKey) -> list[Any]:
        found = look_up(kind, key.path)
        if isinstance(found, Far):
            if len(found.way) != 1 or not isinstance(found.way[0], Ref):
                raise unknown_field(f"sorting of {kind}", key.path, sorted(sortable(kind)))
            hop = found.way[0]
            far = ENTITY.alias("far")
            value = (
                far.select(fn.MIN(fn.lower(far.name)))
                .join(RELATION, on=((far.kind == RELATION.target_kind) & (far.id == RELATION.target_id)))
                .where(
                    (RELATION.source_kind == ENTITY.kind) & (RELATION.source_id == ENTITY.id) & (RELATION.name == hop.name)
                )
            )
        else:
            value = self.comparison.sort_value(ENTITY, ENTITY.body, found)
        # Nulls first when ascending, on both: PostgreSQL would put them last.
        return [Desc(value, nulls="LAST") if key.descending else Asc(value, nulls="FIRST")]


def look_up(kind: str, path: tuple[str, ...]) -> Field | Far:
    """Where a search's path leads from ``kind``."""
    words = tuple(word.lower() for word in path)
    if len(words) > 1 and words[0] in nouns_of(kind):
        words = words[1:]
    fields = FIELDS.get(kind, COMMON)
    if len(words) == 1:
        if words[0] in fields:
            return fields[words[0]]
        raise unknown_field(kind, path, sorted(fields))
    ways = WAYS.get(kind, {})
    noun = words[0] if words[0] in ways else words[0].removesuffix("s")
    if len(words) != 2 or noun not in ways:
        raise unknown_field(kind, path, sorted(fields) + [f"{name}.…" for name in sorted(ways)])
    far_kind = end_of(kind, ways[noun])
    target = look_up(far_kind, words[1:])
    if isinstance(target, Far):
        return Far((*ways[noun], *target.way), target.field)
    return Far(ways[noun], words[1])


def nouns_of(kind: str) -> tuple[str, ...]:
    """How a search may call the kind itself: ``vm.name`` and ``Vms.name`` on VMs."""
    plain = kind.replace("_", "")
    return (plain, f"{plain}s", "storage") if kind == "storage_domain" else (plain, f"{plain}s")


def sortable(kind: str) -> list[str]:
    """The fields of a kind that rows can be sorted by."""
    return [
        name
        for name, found in FIELDS.get(kind, COMMON).items()
        if isinstance(found, Field) or (len(found.way) == 1 and isinstance(found.way[0], Ref))
    ]


def end_of(kind: str, way: Way) -> str:
    """The kind at the end of a way."""
    return way[-1].kind if way else kind


def reached(kind: str, way: Way, ids: Any) -> Any:
    """The condition that an entity of ``kind`` reaches one of ``ids`` (a select) by ``way``; built from its end."""
    kinds = [kind, *(hop.kind for hop in way)]
    for start, hop in reversed(list(zip(kinds, way, strict=False))):
        ids = _before(start, hop, ids)
    return ENTITY.id.in_(ids)


def _before(start: str, hop: Any, ids: Any) -> Any:
    """The ids of those of kind ``start`` from which ``hop`` leads to one of ``ids``."""
    if isinstance(hop, Ref):
        mine = (RELATION.source_kind == start) & (RELATION.name == hop.name) & (RELATION.target_kind == hop.kind)
        return RELATION.select(RELATION.source_id).where(mine & RELATION.target_id.in_(ids))
    if isinstance(hop, Back):
        mine = (RELATION.target_kind == start) & (RELATION.source_kind == hop.kind) & (RELATION.name == hop.name)
        return RELATION.select(RELATION.target_id).where(mine & RELATION.source_id.in_(ids))
    if isinstance(hop, Child):
        mine = (ENTITY.parent_kind == start) & (ENTITY.kind == hop.kind)
        return ENTITY.select(ENTITY.parent_id).where(mine & ENTITY.id.in_(ids))
    mine = (ENTITY.kind == start) & (ENTITY.parent_kind == hop.kind)
    return ENTITY.select(ENTITY.id).where(mine & ENTITY.parent_id.in_(ids))


def all_of(parts: Sequence[Any]) -> Any:
    """All of the conditions. Flat: peewee's ``&`` nests, and SQLite's parser has room for 100 levels."""
    return parts[0] if len(parts) == 1 else NodeList(parts, glue=" AND ", parens=True)


def any_of(parts: Sequence[Any]) -> Any:
    """Any of the conditions; flat, too."""
    return parts[0] if len(parts) == 1 else NodeList(parts, glue=" OR ", parens=True)
