"""Query parameters of a list, and the subset of oVirt's search language that this version speaks: ``name=…`` and
``id=…``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import Refused

TERM = re.compile(r"\s*(?:(?:[A-Za-z]+)\.)?(name|id)\s*(!?=)\s*(?:\"([^\"]*)\"|([^\s\"()]+))\s*", re.IGNORECASE)
SORT = re.compile(r"\s*sortby\s+(name|id)(?:\s+(asc|desc))?\s*", re.IGNORECASE)
PAGE = re.compile(r"\s*page\s+(\d{1,6})\s*", re.IGNORECASE)
AND = re.compile(r"\s*and\s+", re.IGNORECASE)
SEARCH_LIMIT = 4096
"""Characters: the longest search that the clients read here send has some hundreds."""


def whole_number(arguments: Mapping[str, str], name: str) -> int | None:
    """A parameter that is a whole number of zero or more; ``None`` when absent or negative (v4: no limit)."""
    text = arguments.get(name)
    if text is None or text == "":
        return None
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise Refused(
            "api.parameter", subject=f"parameter '{name}'", reason=f"{text[:40]!r} is no whole number", remedy="Correct it."
        )
    return int(text) if int(text) >= 0 else None


def select(rows: Sequence[dict[str, Any]], arguments: Mapping[str, str]) -> list[dict[str, Any]]:
    """``rows`` after ``search`` and ``max``. Raises ``Refused`` ``api.search`` for a search that is not understood."""
    limit = whole_number(arguments, "max")
    sensitive = arguments.get("case_sensitive", "true").lower() not in ("false", "f", "0", "n", "no")
    found, page = _search(list(rows), arguments.get("search", "").strip(), sensitive)
    if limit is None:
        return found
    return found[limit * (page - 1) : limit * page] if page > 1 else found[:limit]


def _search(rows: list[dict[str, Any]], text: str, sensitive: bool) -> tuple[list[dict[str, Any]], int]:
    at, page, first = 0, 1, True
    if len(text) > SEARCH_LIMIT:
        raise _not_understood(text[:40])
    while at < len(text):
        if sort := SORT.match(text, at):
            rows.sort(key=lambda row: str(row[sort[1].lower()]), reverse=(sort[2] or "").lower() == "desc")
            at = sort.end()
        elif paged := PAGE.match(text, at):
            page, at = max(1, int(paged[1])), paged.end()
        else:
            joined = AND.match(text, at)
            if bool(joined) == first:
                raise _not_understood(text)
            term = TERM.match(text, joined.end() if joined else at)
            if term is None:
                raise _not_understood(text)
            wanted = term[3] if term[3] is not None else term[4]
            negative = term[2] == "!="
            rows = [row for row in rows if _matches(str(row[term[1].lower()]), wanted, sensitive) != negative]
            at, first = term.end(), False
    return rows, page


def _matches(value: str, wanted: str, sensitive: bool) -> bool:
    pattern = wanted.replace("[", "[[]").replace("?", "[?]")  # only * is a wildcard
    if not sensitive:
        value, pattern = value.casefold(), pattern.casefold()
    return fnmatch.fnmatchcase(value, pattern)


def _not_understood(text: str) -> Refused:
    return Refused(
        "api.search",
        subject=f"search {text!r}",
        reason="this version does not understand it",
        remedy='It understands: name=TEXT, id=TEXT (also != and *, joined by "and"), sortby name asc|desc, page N.',
    )
