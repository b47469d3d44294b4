"""A search over rows that are not in the database: what nodes told and small built-in lists. Pure.

The meaning is that of engine/store/search.py; fields are the row's own attributes (``host.name`` goes into it).
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appliance.errors import Refused
from engine.decide.search import And, Compare, Expression, FreeText, Query

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
FREE_TEXT = ("name", "description", "comment")
PAGE_ROWS = 100
"""Rows of a page when the caller names no maximum, as in the store."""

Row = Mapping[str, Any]


def select(
    rows: Sequence[Row],
    query: Query,
    limit: int | None,
    *,
    case_sensitive: bool = True,
    noun: str = "",
    known: Sequence[str] = (),
) -> list[Row]:
    """Those rows that ``query`` wants, sorted and cut. ``noun``: the rows' own name, which may stand before a field;
    ``known``: all fields that a row may have. Raises ``Refused`` ``api.search`` for a field that is not known."""
    search = _Search(case_sensitive, noun, known)
    found = list(rows) if query.where is None else [row for row in rows if search.matches(query.where, row)]
    if query.where is not None:
        search.check(query.where)
    for key in reversed(query.sort):
        path = search.path(key.path)
        found.sort(key=lambda row, path=path: _sortable(_at(row, path)), reverse=key.descending)  # type: ignore[misc]
    if query.page is not None:
        size = limit or PAGE_ROWS
        return found[(query.page - 1) * size : query.page * size]
    return found if limit is None else found[:limit]


class _Search:
    def __init__(self, case_sensitive: bool, noun: str, known: Sequence[str]) -> None:
        self.case_sensitive, self.noun, self.known = case_sensitive, noun.lower().replace("_", ""), known

    def path(self, given: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(part.lower() for part in given)
        if len(names) > 1 and names[0].rstrip("s").replace("_", "") == self.noun:
            names = names[1:]
        if self.known and names[0] not in self.known:
            raise Refused(
                "api.search",
                subject=f"search field '{'.'.join(given)}'",
                reason=f"there is none here; there are: {', '.join(self.known)}",
                remedy="Use one of them.",
            )
        return names

    def check(self, one: Expression) -> None:
        """Names every field once, also when no row was there to be compared."""
        if isinstance(one, Compare):
            self.path(one.path)
        elif not isinstance(one, FreeText):
            for part in one.parts:
                self.check(part)

    def matches(self, one: Expression, row: Row) -> bool:
        if isinstance(one, FreeText):
            return any(self.like(str(row.get(name, "")), f"*{one.value}*") for name in FREE_TEXT)
        if isinstance(one, Compare):
            return self.compares(_at(row, self.path(one.path)), one.op, one.value)
        if isinstance(one, And):
            return all(self.matches(part, row) for part in one.parts)
        return any(self.matches(part, row) for part in one.parts)

    def compares(self, held: Any, op: str, wanted: str) -> bool:
        if op == "!=":
            return not self.compares(held, "=", wanted)
        if held is None:
            return False
        text = str(held).lower() if isinstance(held, bool) else str(held)
        if op in ORDERED:
            if isinstance(held, int | float) and NUMBER.fullmatch(wanted):
                return ORDERED[op](held, float(wanted))
            return ORDERED[op](text, wanted)
        return self.like(text, f"*{wanted}*" if op == "~" else wanted)

    def like(self, text: str, pattern: str) -> bool:
        pattern = pattern.replace("[", "[[]").replace("?", "[?]")  # only * is a wildcard
        if not self.case_sensitive:
            text, pattern = text.casefold(), pattern.casefold()
        return fnmatch.fnmatchcase(text, pattern)


def _at(row: Row, path: tuple[str, ...]) -> Any:
    held: Any = row
    for name in path:
        held = held.get(name) if isinstance(held, Mapping) else None
    return held


def _sortable(value: Any) -> tuple[int, Any]:
    if isinstance(value, int | float):
        return 0, value
    return (2, "") if value is None else (1, str(value))
