"""Plain values of requests as types, with the sentences that v4 clients know."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any

from appliance.errors import Refused
from engine.api.model import Struct, model

INTEGER_DIGITS = 20
"""v4's longest integers are Java longs (19 digits and a sign); more is an attack on the conversion."""
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""Dates are counted from it, in whole ms: a float second is too coarse by the year 9999."""
INTEGER_MAX = 2**63 - 1
"""A Java long, and the largest that both databases keep."""
DATE_LIMIT_MS = 253_402_300_799_999
"""The end of the year 9999, beyond which no date can be written."""
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL is refused by PostgreSQL and cannot stand in XML; half a surrogate pair is no text."""


def bad_value(path: str, value: object, kind: str) -> Refused:
    """The error for a value that is no ``kind``."""
    shown = repr(value)[:80]
    return Refused(
        "api.value",
        subject=f"attribute '{path}'",
        reason=f"{shown} is not a valid {kind}",
        remedy="Correct it and try again.",
    )


def unknown_name(path: str, struct: Struct, names: Iterable[str] | None = None) -> Refused:
    """The error for a name that the struct does not have; ``names``: those that the form has, else the tags of XML."""
    known = ", ".join(names or (attribute.tag for attribute in struct.attributes))
    return Refused(
        "api.unknown-attribute",
        subject=f"attribute '{path}'",
        reason=f"is not known here; known are: {known}",
        remedy="Correct the name.",
    )


def parse_text(kind: str, text: str, path: str) -> Any:
    """The text of a primitive as its type."""
    text = text.strip() if kind != "string" else text
    try:
        if kind == "boolean":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind == "integer":
            if len(text) > INTEGER_DIGITS or not text.removeprefix("-").removeprefix("+").isdecimal() or not text.isascii():
                raise ValueError(text)
            if not -INTEGER_MAX <= int(text) <= INTEGER_MAX:
                raise ValueError(text)
            return int(text)
        if kind == "decimal":
            number = float(text)
            if number != number or number in (float("inf"), float("-inf")):
                raise ValueError(text)
            return number
        if kind == "date":
            found = dt.datetime.fromisoformat(text)
            return ((found if found.tzinfo else found.replace(tzinfo=dt.UTC)) - EPOCH) // dt.timedelta(milliseconds=1)
        if kind == "string" and UNSTORABLE.search(text):
            raise ValueError(text)
    except (KeyError, ValueError, OverflowError):
        raise bad_value(path, text, kind) from None
    return text


def parse_enum(kind: str, text: str) -> str:
    """A value of an enumerated type, in lower case."""
    value = text.strip().lower()
    if value not in model().enums[kind]:
        shown = text.strip()[:80]
        raise Refused(
            "api.enum",
            subject="the request",
            reason=f"The string '{shown}' isn't a valid value for the '{kind}' enumerated type. "
            f"Valid values are: {', '.join(map(repr, model().enums[kind]))}",
            remedy="Use one of them.",
        )
    return value
