"""The XML codec. Writing walks prepared tables (:mod:`engine.api.tables`); reading is hardened: no DTD, no entities, no
network, bounded depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lxml import etree

from appliance.errors import Refused
from engine.api.documents import NO_LINKS, Fault, Links, Object
from engine.api.model import PRIMITIVES, Attribute, Struct, model
from engine.api.tables import BOOLEAN, DATE, TEXT, WHOLE, Row, Table, as_text, iso, tables
from engine.api.values import bad_value, parse_enum, parse_text, unknown_name

CONTENT_TYPE = "application/xml"
DEPTH_LIMIT = 32
"""The deepest document a client sends has nine levels (a VM with initialization and NICs)."""
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
PLACE = "\0"
"""Stands for an object's address in a prepared fragment: XML cannot carry it otherwise."""

Put = Callable[[str], None]


def core(kind: str, value: Object, links: Links = NO_LINKS) -> str:
    """What stands in an object's element except its links: what is worth keeping. ``links``: for what is inside."""
    parts: list[str] = []
    _members(parts.append, value, tables(_row)[kind], _offers(links).inside)
    return "".join(parts)


def item(kind: str, href: str | None, identifier: str | None, inner: str, links: Links = NO_LINKS) -> str:
    """An object's element around its :func:`core`."""
    singular = model().struct(kind).singular
    address = "" if href is None else f' href="{escape(href)}"'
    offered = "" if href is None else _offers(links).fragment.replace(PLACE, escape(href))
    own = "" if identifier is None else f' id="{quoted(identifier)}"'
    if not (offered or inner) and _is_hollow(kind):
        return f"<{singular}{address}{own}/>"
    return f"<{singular}{address}{own}>{offered}{inner}</{singular}>"


def bare(name: str, identifier: str, links: Links) -> str:
    """An object that the model does not have."""
    return f'<{name} id="{quoted(identifier)}">{_offers(links).fragment}</{name}>'


def single(kind: str, text: str) -> bytes:
    """The document of one object."""
    return f"{HEAD}{text}".encode()


def collection(kind: str, items: Iterable[str]) -> bytes:
    """The document of a list."""
    plural = model().struct(kind).plural
    return f"{HEAD}<{plural}>{''.join(items)}</{plural}>".encode()


def fault(given: Fault) -> bytes:
    """The document of a fault."""
    return f"{HEAD}<fault><detail>{escape(given.detail)}</detail><reason>{escape(given.reason)}</reason></fault>".encode()


def _is_hollow(kind: str) -> bool:
    """Whether it has no elements, as a VLAN: the SDK's reader of such loses its place at a closing tag of its own."""
    return all(one.in_tag for one in model().struct(kind).attributes)


def _row(attribute: Attribute, form: int, inner: Table | None) -> Row | None:
    if attribute.in_tag:
        return None
    opening = "" if inner else ">"
    is_hollow = inner is not None and _is_hollow(attribute.kind)
    if attribute.many:
        item = attribute.many
        end = "" if is_hollow else f"</{item}>"
        return form, f"<{attribute.tag}>", f"</{attribute.tag}>", f"<{item}{opening}", end, inner
    return form, f"<{attribute.tag}{opening}", "" if is_hollow else f"</{attribute.tag}>", "", "", inner


@dataclass(frozen=True)
class Offers:
    """Actions and links of an object with :data:`PLACE` where its address belongs, and the same for what is inside it."""

    fragment: str
    inside: Mapping[str, Offers]


NOTHING = Offers("", {})


@lru_cache(1024)
def _offers(links: Links) -> Offers:
    found = "".join(f'<link href="{PLACE}/{name}" rel="{name}"/>' for name in links.actions)
    actions = f"<actions>{found}</actions>" if found else ""
    inner = "".join(f'<link href="{PLACE}/{name}" rel="{name}"/>' for name in links.collections)
    extra = "".join(f'<link href="{escape(href)}" rel="{escape(rel)}"/>' for rel, href in links.extra)
    plain = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in links.plain)
    return Offers(actions + inner + extra + plain, {name: _offers(one) for name, one in links.inside})


def escape(text: str) -> str:
    """``text`` as XML carries it, without the characters that XML 1.0 cannot."""
    if text.isprintable() and "&" not in text and "<" not in text and ">" not in text and '"' not in text:
        return text
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;").replace("\r", "&#13;")
    return "".join(
        c for c in text if (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") or c in "\t\n"
    )


def quoted(text: str) -> str:
    """``text`` for an XML attribute, in which a reader makes spaces of line ends and tabs."""
    found = escape(text)
    return found if found.isprintable() else found.replace("\n", "&#10;").replace("\t", "&#9;")


def _write(put: Put, value: Object, table: Table, offers: Offers) -> None:
    """The rest of an element whose ``<tag`` has been written, up to its closing tag; all of it where it can hold nothing."""
    address, identifier = value.get("href"), value.get("id")
    if isinstance(identifier, int):  # a VLAN's
        identifier = str(identifier)
    if address is not None:
        put(f' href="{escape(address)}"')
    if identifier is not None:
        if address is None and table.place:
            put(f' href="{table.place}{escape(identifier)}"')
        put(f' id="{quoted(identifier)}"')
    if not table.rows:
        put("/>")
        return
    put(">")
    if offers.fragment and address is not None:
        put(offers.fragment.replace(PLACE, escape(address)))
    _members(put, value, table, offers.inside)


def _members(put: Put, value: Object, table: Table, inside: Mapping[str, Offers]) -> None:
    get = table.rows.get
    for name, held in value.items():
        row = get(name)
        if row is None or held is None:
            continue
        form, before, after, item, end, inner = row
        if item:
            put(before)
            offered = inside.get(name, NOTHING)
            for one in held:
                put(item)
                put(_plain(one, form)) if inner is None else _write(put, one, inner, offered)
                put(end)
            put(after)
        elif inner is not None:
            put(before)
            _write(put, held, inner, inside.get(name, NOTHING) if inside else NOTHING)
            put(after)
        elif form == TEXT and isinstance(held, str):
            put(f"{before}{escape(held)}{after}")
        else:
            put(f"{before}{_plain(held, form)}{after}")


def _plain(value: Any, form: int) -> str:
    if form == BOOLEAN and isinstance(value, bool):
        return "true" if value else "false"
    if form == WHOLE and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if form == DATE and isinstance(value, int):
        return iso(value)
    return escape(as_text(value, form))


def root_of(body: bytes, refuse: Callable[[str, str], Refused]) -> Any:
    """The root of a document that a client sent. Raises what ``refuse`` makes of a reason and a remedy."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body or b"<!\x00D\x00" in body or b"\x00<\x00!\x00D" in body:
        raise refuse("a DOCTYPE is not accepted", "Send the document without it.")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise refuse(f"it is not well-formed ({error})", "Correct the document.") from error
    if root.getroottree().docinfo.doctype or root.getroottree().docinfo.internalDTD is not None:
        raise refuse("a DOCTYPE is not accepted", "Send the document without it.")
    return root


def decode(kind: str, body: bytes) -> dict[str, Any]:
    """The body of a request as an object of ``kind``. Raises ``Refused`` ``api.xml``."""
    root = root_of(body, _refuse)
    struct = model().struct(kind)
    if root.tag != struct.singular:
        raise _refuse(f"its root is <{root.tag}>", f"Send a <{struct.singular}>.")
    return _read(root, struct, struct.singular, 1)


def _refuse(reason: str, remedy: str) -> Refused:
    return Refused("api.xml", subject="the XML of the request", reason=reason, remedy=remedy)


def _read(element: Any, struct: Struct, path: str, depth: int) -> dict[str, Any]:
    if depth > DEPTH_LIMIT:
        raise _refuse(f"it is nested more than {DEPTH_LIMIT} deep", "Send what the model knows.")
    found: dict[str, Any] = {}
    for tag, text in element.attrib.items():
        attribute = struct.by_tag.get(tag)
        if attribute is None:
            raise unknown_name(f"{path}@{tag}", struct)
        found[attribute.name] = _read_text(attribute, text, f"{path}@{tag}")
    for child in element:
        if not isinstance(child.tag, str) or child.tag in ("link", "actions"):
            continue  # comments, and what clients send back of what they got
        attribute = struct.by_tag.get(child.tag)
        if attribute is None:
            raise unknown_name(f"{path}.{child.tag}", struct)
        where = f"{path}.{child.tag}"
        if attribute.many:
            found[attribute.name] = [_read_one(one, attribute, where, depth) for one in child if one.tag == attribute.many]
        else:
            found[attribute.name] = _read_one(child, attribute, where, depth)
    return found


def _read_one(element: Any, attribute: Attribute, path: str, depth: int) -> Any:
    if attribute.kind in PRIMITIVES:
        if len(element):
            raise bad_value(path, "an element", attribute.kind)
        return _read_text(attribute, element.text or "", path)
    if attribute.kind in model().enums:
        return _read_text(attribute, element.text or "", path)
    return _read(element, model().struct(attribute.kind), path, depth + 1)


def _read_text(attribute: Attribute, text: str, path: str) -> Any:
    if attribute.kind in model().enums:
        return parse_enum(attribute.kind, text)
    return parse_text(attribute.kind, text, path)
