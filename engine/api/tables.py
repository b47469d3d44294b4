"""The model prepared for writing: for each struct a table from attribute to what stands before and after its value.

Writers walk an object's own attributes (about 40 of a VM's 91) and look each up, instead of asking the object for every
attribute that its struct has; nothing is formatted that could be formatted once. One table per struct and dialect, made when
first used.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from engine.api.documents import BASE
from engine.api.model import Attribute, model
from engine.api.values import EPOCH

TEXT, WHOLE, DECIMAL, BOOLEAN, DATE, STRUCT = range(6)
"""Forms of a value. Enums are text."""
FORMS = {"string": TEXT, "integer": WHOLE, "decimal": DECIMAL, "boolean": BOOLEAN, "date": DATE}
DATES_KEPT = 8192
"""Rendered dates kept: creation and start times of 4,000 VMs."""

Row = tuple[int, str, str, str, str, "Table | None"]
"""Form, what opens the attribute, what closes it; for lists what opens and closes an item (else empty); the struct's."""

RowOf = Callable[[Attribute, int, "Table | None"], Row | None]
"""A dialect's row for an attribute of a form (with the table of its struct); ``None``: not written among the attributes."""


@dataclass(frozen=True)
class Table:
    """How a struct is written. ``place``: where its objects live (``…/vms/``), for references that have no ``href``."""

    rows: Mapping[str, Row]
    place: str


@lru_cache(DATES_KEPT)
def iso(ms: int) -> str:
    """Milliseconds since 1970 as v4 writes a date: ISO with milliseconds and zone."""
    return (EPOCH + dt.timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


def build(kind: str, row_of: RowOf, made: dict[str, Table]) -> Table:
    """The table of ``kind`` and, through ``made``, of all that it contains (structs contain each other in circles)."""
    known = made.get(kind)
    if known is not None:
        return known
    struct = model().struct(kind)
    rows: dict[str, Row] = {}
    place = f"{BASE}/{model().roots[kind]}/" if kind in model().roots else ""
    made[kind] = table = Table(rows, place)
    for attribute in struct.attributes:
        inner = build(attribute.kind, row_of, made) if attribute.kind in model().structs else None
        row = row_of(attribute, STRUCT if inner else FORMS.get(attribute.kind, TEXT), inner)
        if row is not None:
            rows[attribute.name] = row
    return table


@cache
def tables(row_of: RowOf) -> dict[str, Table]:
    """All tables of a dialect, which its ``row_of`` defines."""
    made: dict[str, Table] = {}
    for kind in model().structs:
        build(kind, row_of, made)
    return made


def as_text(value: Any, form: int) -> str:
    """A plain value that is not of its attribute's type, as text: for what older versions or tools have stored."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return iso(value) if form == DATE and isinstance(value, int) else str(value)
