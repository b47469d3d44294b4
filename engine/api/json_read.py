"""Reading JSON bodies: both dialects take JSON's own types and texts (clients send both); names and lists differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from appliance.errors import Refused
from engine.api.model import PRIMITIVES, Attribute, Struct, model
from engine.api.values import DATE_LIMIT_MS, bad_value, parse_enum, parse_text, unknown_name

DEPTH_LIMIT = 32
"""As for XML."""
IGNORED = ("link", "actions")
"""What clients send back of what they got."""


TYPES: Mapping[str, type | tuple[type, ...]] = {"integer": int, "decimal": (int, float), "boolean": bool}
"""Python's types of what JSON has for a kind; all else are texts."""


@dataclass(frozen=True)
class JsonForm:
    """A dialect. ``subject`` stands in errors; ``name_of`` names attributes; ``wrapped``: lists may be ``{item: […]}``;
    ``strict``: a value must have its attribute's type in JSON."""

    subject: str
    name_of: Callable[[Attribute], str]
    wrapped: bool
    strict: bool = False


def read(kind: str, body: bytes, form: JsonForm) -> dict[str, Any]:
    """``body`` as an object of ``kind``. Raises ``Refused``."""
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused("api.json", subject=form.subject, reason=f"it is not JSON ({error})", remedy="Correct it.") from error
    return _struct(model().struct(kind), value, model().struct(kind).singular, 1, form)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


@cache
def _names(kind: str, form: JsonForm) -> Mapping[str, Attribute]:
    return {form.name_of(attribute): attribute for attribute in model().struct(kind).attributes}


def _struct(struct: Struct, value: Any, path: str, depth: int, form: JsonForm) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_value(path, value, struct.singular)
    if depth > DEPTH_LIMIT:
        raise Refused(
            "api.json", subject=form.subject, reason=f"it is nested more than {DEPTH_LIMIT} deep", remedy="Correct it."
        )
    names = _names(struct.name, form)
    found: dict[str, Any] = {}
    for name, held in value.items():
        if name in IGNORED and name not in names:
            continue
        attribute = names.get(name)
        where = f"{path}.{name}"
        if attribute is None:
            raise unknown_name(where, struct, names)
        if held is None:
            continue
        if attribute.many:
            held = _list(attribute, held, where, form)
            found[attribute.name] = [_one(attribute, one, where, depth, form) for one in held]
        else:
            found[attribute.name] = _one(attribute, held, where, depth, form)
    return found


def _list(attribute: Attribute, held: Any, where: str, form: JsonForm) -> list[Any]:
    if form.wrapped and isinstance(held, dict):
        if set(held) - {attribute.many, *IGNORED, "href"}:
            raise bad_value(where, sorted(held), f"list of {attribute.many}")
        held = held.get(attribute.many, [])
    if not isinstance(held, list):
        raise bad_value(where, held, "list")
    return held


def _is_flag(attribute: Attribute) -> bool:
    return attribute.kind == "boolean"


def _one(attribute: Attribute, value: Any, path: str, depth: int, form: JsonForm) -> Any:
    if attribute.kind in model().structs:
        return _struct(model().struct(attribute.kind), value, path, depth + 1, form)
    if isinstance(value, dict | list) or value is None:
        raise bad_value(path, value, attribute.kind)
    if form.strict and (
        not isinstance(value, TYPES.get(attribute.kind, str)) or isinstance(value, bool) != _is_flag(attribute)
    ):
        raise bad_value(path, value, attribute.kind)
    if attribute.kind in model().enums:
        return parse_enum(attribute.kind, str(value))
    assert attribute.kind in PRIMITIVES
    if attribute.kind == "date" and isinstance(value, int | float) and not isinstance(value, bool):
        if not -DATE_LIMIT_MS <= value <= DATE_LIMIT_MS:
            raise bad_value(path, value, "date")
        return round(value)
    if attribute.kind == "integer" and isinstance(value, float) and value.is_integer():
        return parse_text("integer", f"{value:.0f}", path)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return parse_text(attribute.kind, text, path)
