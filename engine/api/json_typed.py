"""The JSON codec of our own programs, ``application/vnd.trivet+json``: the same model with JSON's own types.

Numbers and booleans are what they are, dates ISO 8601, lists plain arrays under the attribute's name, a collection is an
array, and what went wrong is a problem of RFC 9457. Sub-collections and actions are not repeated in each object: the OpenAPI
document has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from json.encoder import encode_basestring as quoted
from typing import Any

from engine.api import json_v4
from engine.api.documents import NO_LINKS, Fault, Links, Object
from engine.api.json_read import JsonForm, read
from engine.api.json_v4 import OUTSIDE
from engine.api.model import Attribute, model
from engine.api.tables import BOOLEAN, DATE, DECIMAL, TEXT, WHOLE, Row, Table, as_text, iso, tables

CONTENT_TYPE = "application/vnd.trivet+json"
PROBLEM_TYPE = "application/problem+json"


def core(kind: str, value: Object, links: Links = NO_LINKS) -> str:
    """An object's members except ``href`` and ``id``: the part that is worth keeping."""
    parts: list[str] = []
    _members(parts.append, value, tables(_row)[kind], OUTSIDE)
    return ",".join(parts)


def item(kind: str, href: str | None, identifier: str | None, inner: str, links: Links = NO_LINKS) -> str:
    """An object around its :func:`core`. The id of a VLAN is a number, all others are texts."""
    if identifier is not None and _has_number(kind):
        return json_v4.item(kind, href, None, f'"id":{identifier}{"," if inner else ""}{inner}')
    return json_v4.item(kind, href, identifier, inner)


@cache
def _has_number(kind: str) -> bool:
    return any(one.name == "id" and one.kind == "integer" for one in model().struct(kind).attributes)


def bare(name: str, identifier: str, links: Links) -> str:
    """An object that the model does not have."""
    return json_v4.bare(name, identifier, links)


def single(kind: str, text: str) -> bytes:
    """The document of one object."""
    return text.encode("utf-8", "replace")


def collection(kind: str, items: Iterable[str]) -> bytes:
    """The document of a list: an array."""
    return f"[{','.join(items)}]".encode("utf-8", "replace")


def fault(given: Fault) -> bytes:
    """The document of a fault: a problem of RFC 9457, with our code and facts."""
    problem = {
        "type": f"tag:trivet,2026:{given.code or 'unknown'}",
        "title": given.reason,
        "detail": given.detail,
        "code": given.code,
        "facts": dict(given.facts),
    }
    return json.dumps(problem, ensure_ascii=False, default=str).encode("utf-8", "replace")


def decode(kind: str, body: bytes) -> dict[str, Any]:
    """The body of a request as an object of ``kind``. Raises ``Refused``."""
    return read(kind, body, FORM)


def name_of(attribute: Attribute) -> str:
    """An attribute's name in this form: the model's (``async``, not the SDK's ``async_``)."""
    return attribute.name.rstrip("_")


def _row(attribute: Attribute, form: int, inner: Table | None) -> Row:
    return form, f'"{name_of(attribute)}":', "", attribute.many, "", inner


def _object(value: Object, table: Table) -> str:
    parts: list[str] = []
    put = parts.append
    if table.place and value.get("href") is None and (identifier := value.get("id")) is not None:
        put(f'"href":{quoted(table.place + identifier)}')
    _members(put, value, table, ())
    return f"{{{','.join(parts)}}}"


def _members(put: Callable[[str], None], value: Object, table: Table, but: tuple[str, ...]) -> None:
    get = table.rows.get
    for name, held in value.items():
        row = get(name)
        if row is None or held is None or name in but:
            continue
        form, before, _, item, _, inner = row
        if item:
            put(f"{before}[{','.join([_plain(one, form) if inner is None else _object(one, inner) for one in held])}]")
        elif inner is not None:
            put(before + _object(held, inner))
        elif form == TEXT and isinstance(held, str):
            put(before + quoted(held))
        else:
            put(before + _plain(held, form))


def _plain(value: Any, form: int) -> str:
    if isinstance(value, bool):
        if form == BOOLEAN:
            return "true" if value else "false"
    elif isinstance(value, int | float):
        if form == DATE:
            return f'"{iso(round(value))}"'
        if form in (WHOLE, DECIMAL):
            return repr(value)
    return quoted(as_text(value, form))


FORM = JsonForm("the JSON of the request", name_of, wrapped=False, strict=True)
