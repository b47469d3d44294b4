"""The XML codec, driven by the model. Reading is hardened: no DTD, no entities, no network, bounded depth."""

from __future__ import annotations

import datetime as dt
from typing import Any

from lxml import etree

from appliance.errors import Refused
from engine.api.documents import Collection, Document, Fault, Link, Object
from engine.api.model import PRIMITIVES, Attribute, Model, Struct
from engine.api.values import bad_value, parse_enum, parse_text, unknown_name

CONTENT_TYPE = "application/xml"
DEPTH_LIMIT = 32
"""The deepest document a client sends has nine levels (a VM with initialization and NICs)."""


def encode(model: Model, document: Document) -> bytes:
    """The document as bytes."""
    if isinstance(document, Fault):
        root = etree.Element("fault")
        etree.SubElement(root, "detail").text = clean(document.detail)
        etree.SubElement(root, "reason").text = clean(document.reason)
    elif isinstance(document, Collection):
        struct = model.struct(document.kind)
        root = etree.Element(struct.plural)
        for value in document.values:
            _write(model, etree.SubElement(root, struct.singular), struct, value)
    else:
        struct = model.struct(document.kind)
        root = etree.Element(struct.singular)
        _write(model, root, struct, document.value)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True))


def clean(text: str) -> str:
    """``text`` without the characters that XML 1.0 cannot carry."""
    return "".join(
        c for c in text if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff")
    )


def render(value: object) -> str:
    """A plain value as v4 writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="milliseconds")
    return clean(str(value))


def _write(model: Model, element: Any, struct: Struct, value: Object) -> None:
    for attribute in struct.attributes:
        held = value.get(attribute.name)
        if held is None:
            continue
        if attribute.in_tag:
            element.set(attribute.tag, render(held))
        elif attribute.many:
            outer = etree.SubElement(element, attribute.tag)
            for one in held:
                _write_one(model, etree.SubElement(outer, attribute.many), attribute, one)
        else:
            _write_one(model, etree.SubElement(element, attribute.tag), attribute, held)
    links: tuple[Link, ...] = value.get("link", ())
    for link in links:
        etree.SubElement(element, "link", href=link.href, rel=link.rel)


def _write_one(model: Model, element: Any, attribute: Attribute, value: Any) -> None:
    struct = model.structs.get(attribute.kind)
    if struct is not None:
        _write(model, element, struct, value)
    else:
        element.text = render(value)


def decode(model: Model, kind: str, body: bytes) -> dict[str, Any]:
    """The body of a request as an object of ``kind``. Raises ``Refused`` ``api.xml``."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body or b"<!\x00D\x00" in body or b"\x00<\x00!\x00D" in body:
        raise _refuse("a DOCTYPE is not accepted", "Send the document without it.")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise _refuse(f"it is not well-formed ({error})", "Correct the document.") from error
    if root.getroottree().docinfo.doctype or root.getroottree().docinfo.internalDTD is not None:
        raise _refuse("a DOCTYPE is not accepted", "Send the document without it.")
    struct = model.struct(kind)
    if root.tag != struct.singular:
        raise _refuse(f"its root is <{root.tag}>", f"Send a <{struct.singular}>.")
    return _read(model, root, struct, struct.singular, 1)


def _refuse(reason: str, remedy: str) -> Refused:
    return Refused("api.xml", subject="the XML of the request", reason=reason, remedy=remedy)


def _read(model: Model, element: Any, struct: Struct, path: str, depth: int) -> dict[str, Any]:
    if depth > DEPTH_LIMIT:
        raise _refuse(f"it is nested more than {DEPTH_LIMIT} deep", "Send what the model knows.")
    found: dict[str, Any] = {}
    for tag, text in element.attrib.items():
        attribute = struct.by_tag.get(tag)
        if attribute is None:
            raise unknown_name(f"{path}@{tag}", struct)
        found[attribute.name] = _read_text(model, attribute, text, f"{path}@{tag}")
    for child in element:
        if not isinstance(child.tag, str) or child.tag in ("link", "actions"):
            continue  # comments, and what clients send back of what they got
        attribute = struct.by_tag.get(child.tag)
        if attribute is None:
            raise unknown_name(f"{path}.{child.tag}", struct)
        where = f"{path}.{child.tag}"
        if attribute.many:
            found[attribute.name] = [
                _read_one(model, one, attribute, where, depth) for one in child if one.tag == attribute.many
            ]
        else:
            found[attribute.name] = _read_one(model, child, attribute, where, depth)
    return found


def _read_one(model: Model, element: Any, attribute: Attribute, path: str, depth: int) -> Any:
    if attribute.kind in PRIMITIVES:
        if len(element):
            raise bad_value(path, "an element", attribute.kind)
        return _read_text(model, attribute, element.text or "", path)
    if attribute.kind in model.enums:
        return _read_text(model, attribute, element.text or "", path)
    return _read(model, element, model.struct(attribute.kind), path, depth + 1)


def _read_text(model: Model, attribute: Attribute, text: str, path: str) -> Any:
    if attribute.kind in model.enums:
        return parse_enum(model, attribute.kind, text)
    return parse_text(attribute.kind, text, path)
