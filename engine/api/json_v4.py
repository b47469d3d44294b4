"""The JSON codec: v4's dialect exactly. Whole numbers and booleans are strings, decimals numbers, dates epoch
milliseconds."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from appliance.errors import Refused
from engine.api.documents import Collection, Document, Fault, Link, Object
from engine.api.model import PRIMITIVES, Attribute, Model, Struct
from engine.api.values import bad_value, parse_enum, parse_text, unknown_name

CONTENT_TYPE = "application/json"
DEPTH_LIMIT = 32
"""As for XML."""


def encode(model: Model, document: Document) -> bytes:
    """The document as bytes: objects without a root key, collections under the singular's, an empty collection ``{}``."""
    if isinstance(document, Fault):
        value: dict[str, Any] = {"detail": document.detail, "reason": document.reason}
    elif isinstance(document, Collection):
        struct = model.struct(document.kind)
        items = [_plain(model, struct, one) for one in document.values]
        value = {struct.singular: items} if items else {}
    else:
        value = _plain(model, model.struct(document.kind), document.value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _plain(model: Model, struct: Struct, value: Object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in struct.attributes:
        held = value.get(attribute.name)
        if held is None:
            continue
        if attribute.many:
            inner = [_plain_one(model, attribute, one) for one in held]
            found[attribute.tag] = {attribute.many: inner} if inner else {}
        else:
            found[attribute.tag] = _plain_one(model, attribute, held)
    links: tuple[Link, ...] = value.get("link", ())
    if links:
        found["link"] = [{"href": link.href, "rel": link.rel} for link in links]
    return found


def _plain_one(model: Model, attribute: Attribute, value: Any) -> Any:
    struct = model.structs.get(attribute.kind)
    if struct is not None:
        return _plain(model, struct, value)
    if isinstance(value, dt.datetime):
        return round(value.timestamp() * 1000)
    if attribute.kind == "decimal":
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def decode(model: Model, kind: str, body: bytes) -> dict[str, Any]:
    """The body of a request as an object of ``kind``. Raises ``Refused``."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _refuse(f"it is not JSON ({error})") from error
    return _read(model, model.struct(kind), value, model.struct(kind).singular, 1)


def _refuse(reason: str) -> Refused:
    return Refused("api.json", subject="the JSON of the request", reason=reason, remedy="Correct the document.")


def _read(model: Model, struct: Struct, value: Any, path: str, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_value(path, value, struct.singular)
    if depth > DEPTH_LIMIT:
        raise _refuse(f"it is nested more than {DEPTH_LIMIT} deep")
    found: dict[str, Any] = {}
    for tag, held in value.items():
        if tag in ("link", "actions"):
            continue
        attribute = struct.by_tag.get(tag)
        where = f"{path}.{tag}"
        if attribute is None:
            raise unknown_name(where, struct)
        if held is None:
            continue
        if attribute.many:
            inner = held.get(attribute.many, []) if isinstance(held, dict) else held
            if not isinstance(inner, list):
                raise bad_value(where, inner, "list")
            found[attribute.name] = [_read_one(model, attribute, one, where, depth) for one in inner]
        else:
            found[attribute.name] = _read_one(model, attribute, held, where, depth)
    return found


def _read_one(model: Model, attribute: Attribute, value: Any, path: str, depth: int) -> Any:
    if attribute.kind in model.structs:
        return _read(model, model.struct(attribute.kind), value, path, depth + 1)
    if isinstance(value, dict | list):
        raise bad_value(path, value, attribute.kind)
    if attribute.kind in model.enums:
        return parse_enum(model, attribute.kind, str(value))
    assert attribute.kind in PRIMITIVES
    if attribute.kind == "date" and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return dt.datetime.fromtimestamp(value / 1000, dt.UTC)
        except (ValueError, OverflowError, OSError):
            raise bad_value(path, value, "date") from None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return parse_text(attribute.kind, text, path)
