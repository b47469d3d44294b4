"""Events: what happened, and what others tell us to remember."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.errors import NotFound, Refused
from engine.api.documents import BASE
from engine.api.nouns import ref, when
from engine.core import Engine
from engine.store.records import AccountRecord, EventRecord

EXTERNAL_CODES = {"normal": 9801, "warning": 9802, "error": 9803, "alert": 9804}
"""oVirt's AuditLogType EXTERNAL_EVENT_* by severity."""
TEXT_LIMIT = 4000
"""Characters of a description: what oVirt's column held."""
CUSTOM_ID_MAX = 2**31 - 1
"""v4 says integer; oVirt's is a Java int."""


def event_object(event: EventRecord) -> dict[str, Any]:
    """An event as v4 shows it."""
    return {
        "href": f"{BASE}/events/{event.id}",
        "id": str(event.id),
        "index": event.id,
        "code": event.code,
        "severity": event.severity,
        "time": when(event.wall_ms),
        "description": event.description,
        "origin": event.origin,
        "custom_id": event.custom_id if event.custom_id is not None else -1,
        "flood_rate": int(str(event.extra.get("flood_rate", 30))),
        "correlation_id": event.correlation_id or None,
        "custom_data": str(event.extra.get("custom_data", "")),
        "host": ref("hosts", event.host_id) if event.host_id else None,
        "vm": ref("vms", event.vm_id) if event.vm_id else None,
        "user": ref("users", event.account_id) if event.account_id else None,
    }


def add(engine: Engine, given: Mapping[str, Any], account: AccountRecord, correlation_id: str) -> dict[str, Any]:
    """Store an external event. Mandatory, as in v4: origin, severity, custom_id, description."""
    missing = [name for name in ("origin", "severity", "custom_id", "description") if given.get(name) in (None, "")]
    if missing:
        raise Refused(
            "api.incomplete",
            subject="Event",
            reason=f"Event [{', '.join(missing)}] required for add",
            remedy="Add what is missing.",
            facts={"missing": missing},
        )
    if given["origin"].casefold() in ("ovirt", "trivet"):
        raise Refused(
            "event.origin", subject="origin", reason=f"'{given['origin']}' is reserved", remedy="Name your own system."
        )
    for name in ("origin", "description", "custom_data"):
        if len(given.get(name) or "") > TEXT_LIMIT:
            raise Refused(
                "event.too-long", subject=name, reason=f"it has more than {TEXT_LIMIT} characters", remedy="Shorten it."
            )
    if not 0 <= given["custom_id"] <= CUSTOM_ID_MAX:
        raise Refused(
            "event.custom-id", subject="custom_id", reason="it is not a positive 32 bit number", remedy="Use another."
        )
    stored = engine.store.add_event(
        EventRecord(
            given["severity"],
            given["origin"],
            given["description"],
            EXTERNAL_CODES[given["severity"]],
            engine.now_ms(),
            custom_id=given["custom_id"],
            correlation_id=correlation_id,
            account_id=account.id,
            host_id=_known(engine, given, "host"),
            vm_id=_known(engine, given, "vm"),
            extra={key: given[key] for key in ("custom_data", "flood_rate") if given.get(key) is not None},
        )
    )
    return event_object(stored)


def _known(engine: Engine, given: Mapping[str, Any], kind: str) -> str:
    """The id of a referenced host or VM (by id or name), empty for none. Unknown: 404 with a Fault."""
    wanted = given.get(kind)
    if not wanted:
        return ""
    for item in engine.store.items("host" if kind == "host" else "vm"):
        if item.id == wanted.get("id") or (wanted.get("id") is None and item.name == wanted.get("name")):
            return item.id
    raise NotFound(
        "api.reference",
        subject=f"{kind} {wanted.get('id') or wanted.get('name')}",
        reason="there is none",
        remedy=f"GET {BASE}/{kind}s lists them.",
    )
