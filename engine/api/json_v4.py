"""The JSON codec of v4's dialect, exactly: whole numbers and booleans are strings, decimals numbers, dates epoch ms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import Any

from engine.api.documents import NO_LINKS, Fault, Links, Object
from engine.api.json_read import JsonForm, read
from engine.api.model import Attribute, model
from engine.api.tables import BOOLEAN, DATE, DECIMAL, TEXT, WHOLE, Row, Table, as_text, tables

CONTENT_TYPE = "application/json"
PLACE = "\0"
"""Stands for an object's address in a prepared fragment: JSON text cannot hold it unescaped."""


def core(kind: str, value: Object, links: Links = NO_LINKS) -> str:
    """An object's members except ``href``, ``id`` and links: what is worth keeping. ``links``: for what is inside."""
    parts: list[str] = []
    _members(parts.append, value, tables(_row)[kind], _offers(links)[1], OUTSIDE)
    return ",".join(parts)


def item(kind: str, href: str | None, identifier: str | None, inner: str, links: Links = NO_LINKS) -> str:
    """An object around its :func:`core`."""
    parts = [] if href is None else [f'"href":{quoted(href)}']
    if identifier is not None:
        parts.append(f'"id":{quoted(identifier)}')
    if href is not None and (fragment := _offers(links)[0]):
        parts.append(fragment.replace(PLACE, quoted(href)[1:-1]))
    if inner:
        parts.append(inner)
    return f"{{{','.join(parts)}}}"


def bare(name: str, identifier: str, links: Links) -> str:
    """An object that the model does not have."""
    return f'{{"id":{quoted(identifier)},{_offers(links)[0]}}}'


def single(kind: str, text: str) -> bytes:
    """The document of one object: without a root key."""
    return text.encode("utf-8", "replace")


def collection(kind: str, items: Iterable[str]) -> bytes:
    """The document of a list: under the singular's name, an empty one ``{}``."""
    text = ",".join(items)
    return (f'{{"{model().struct(kind).singular}":[{text}]}}' if text else "{}").encode("utf-8", "replace")


def fault(given: Fault) -> bytes:
    """The document of a fault."""
    return f'{{"detail":{quoted(given.detail)},"reason":{quoted(given.reason)}}}'.encode("utf-8", "replace")


def decode(kind: str, body: bytes) -> dict[str, Any]:
    """The body of a request as an object of ``kind``. Raises ``Refused``."""
    return read(kind, body, FORM)


def _row(attribute: Attribute, form: int, inner: Table | None) -> Row:
    before = f'"{attribute.tag}":'
    if attribute.many:
        return form, f'{before}{{"{attribute.many}":[', "]}", attribute.many, f"{before}{{}}", inner
    return form, before, "", "", "", inner


Offers = tuple[str, dict[str, Any]]
"""Actions and links with :data:`PLACE` for the address, and the same for what is inside (by attribute)."""
NOTHING: Offers = ("", {})
OUTSIDE = ("href", "id")
"""Written by :func:`item`, because they are not part of the core."""


@lru_cache(1024)
def _offers(links: Links) -> Offers:
    def link(name: str) -> str:
        return f'{{"href":"{PLACE}/{name}","rel":"{name}"}}'

    actions = ",".join(map(link, links.actions))
    inner = [*map(link, links.collections)]
    inner += [f'{{"href":{quoted(href)},"rel":{quoted(rel)}}}' for rel, href in links.extra]
    parts = [f'"actions":{{"link":[{actions}]}}'] if actions else []
    parts += [f'"link":[{",".join(inner)}]'] if inner else []
    parts += [f"{quoted(name)}:{quoted(value)}" for name, value in links.plain]
    return ",".join(parts), {name: _offers(one) for name, one in links.inside}


def _object(value: Object, table: Table, offers: Offers) -> str:
    parts: list[str] = []
    put = parts.append
    address = value.get("href")
    if address is None and table.place and (identifier := value.get("id")) is not None:
        put(f'"href":{quoted(table.place + identifier)}')
    fragment, inside = offers
    if fragment and address is not None:
        put(fragment.replace(PLACE, quoted(address)[1:-1]))
    _members(put, value, table, inside, ())
    return f"{{{','.join(parts)}}}"


def _members(
    put: Callable[[str], None], value: Object, table: Table, inside: Mapping[str, Offers], but: tuple[str, ...]
) -> None:
    get = table.rows.get
    for name, held in value.items():
        row = get(name)
        if row is None or held is None or name in but:
            continue
        form, before, after, item, empty, inner = row
        if item:
            offered = inside.get(name, NOTHING)
            found = [_plain(one, form) if inner is None else _object(one, inner, offered) for one in held]
            put(f"{before}{','.join(found)}{after}" if found else empty)
        elif inner is not None:
            put(before + _object(held, inner, inside.get(name, NOTHING) if inside else NOTHING))
        elif form == TEXT and isinstance(held, str):
            put(before + quoted(held))
        else:
            put(before + _plain(held, form))


def _plain(value: Any, form: int) -> str:
    if form == BOOLEAN and isinstance(value, bool):
        return '"true"' if value else '"false"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        if form in (DATE, DECIMAL):
            return repr(value)
        if form == WHOLE:
            return f'"{value}"'
    return quoted(as_text(value, form))


FORM = JsonForm("the JSON of the request", lambda attribute: attribute.tag, wrapped=True)
