"""Plain values of requests as types, with the sentences that v4 clients know."""

from __future__ import annotations

import datetime as dt
from typing import Any

from appliance.errors import Refused
from engine.api.model import Model, Struct

INTEGER_DIGITS = 20
"""v4's longest integers are Java longs (19 digits and a sign); more is an attack on the conversion."""


def bad_value(path: str, value: object, kind: str) -> Refused:
    """The error for a value that is no ``kind``."""
    shown = repr(value)[:80]
    return Refused(
        "api.value",
        subject=f"attribute '{path}'",
        reason=f"{shown} is not a valid {kind}",
        remedy="Correct it and try again.",
    )


def unknown_name(path: str, struct: Struct) -> Refused:
    """The error for a name that the struct does not have."""
    known = ", ".join(attribute.tag for attribute in struct.attributes)
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
            if len(text) > INTEGER_DIGITS or not text.lstrip("+-").isdecimal() or not text.isascii():
                raise ValueError(text)
            return int(text)
        if kind == "decimal":
            number = float(text)
            if number != number or number in (float("inf"), float("-inf")):
                raise ValueError(text)
            return number
        if kind == "date":
            found = dt.datetime.fromisoformat(text)
            return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    except (KeyError, ValueError):
        raise bad_value(path, text, kind) from None
    return text


def parse_enum(model: Model, kind: str, text: str) -> str:
    """A value of an enumerated type, in lower case."""
    value = text.strip().lower()
    if value not in model.enums[kind]:
        shown = text.strip()[:80]
        raise Refused(
            "api.enum",
            subject="the request",
            reason=f"The string '{shown}' isn't a valid value for the '{kind}' enumerated type. "
            f"Valid values are: {', '.join(map(repr, model.enums[kind]))}",
            remedy="Use one of them.",
        )
    return value
