"""Events: what happened, and what others tell us to remember."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import Refused
from engine.api.documents import Object
from engine.api.noun import Call, Made
from engine.api.nouns import ref
from engine.api.observed import Rows
from engine.api.parameters import Listing
from engine.core import Engine
from engine.store.records import AccountRecord, EventRecord

EXTERNAL_CODES = {"normal": 9801, "warning": 9802, "error": 9803, "alert": 9804}
"""oVirt's AuditLogType EXTERNAL_EVENT_* by severity."""
TEXT_LIMIT = 4000
"""Characters of a description: what oVirt's column held."""
ID = re.compile("[0-9]{1,18}")
CUSTOM_ID_MAX = 2**31 - 1
"""v4 says integer; oVirt's is a Java int."""


class Events(Rows):
    """Events, the newest first; ``from`` (exclusive, as v4 says) and ``max`` cut before anything is read."""

    services, kind = ("Events",), "Event"
    extra_fields = ("message", "event_host", "event_vm", "usrname", "type")

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        if not call.rights.is_administrator:
            return []
        after = call.parameters.number("from") or 0
        query = listing.query
        if query.where is None and not query.sort and query.page is None:
            return [event_object(one) for one in call.engine.store.events(after=after, limit=listing.limit)]
        return super().list(call, listing)

    def rows(self, call: Call) -> Sequence[Object]:
        after = call.parameters.number("from") or 0
        return [event_object(event) for event in call.engine.store.events(after=after)]

    def searched(self, call: Call, row: Object) -> Mapping[str, Any]:
        return {**row, "type": row["code"], "message": row["description"], "name": row["description"]}

    def get(self, call: Call, identifier: str) -> Object | None:
        found = call.engine.store.event(int(identifier)) if ID.fullmatch(identifier) else None
        return event_object(found) if found and call.rights.is_administrator else None

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        return Made(store(call.engine, given, call.account, call.correlation_id))


def event_object(event: EventRecord) -> dict[str, Any]:
    """An event as v4 shows it."""
    return {
        "id": str(event.id),
        "index": event.id,
        "code": event.code,
        "severity": event.severity,
        "time": event.wall_ms,
        "description": event.description,
        "origin": event.origin,
        "custom_id": event.custom_id if event.custom_id is not None else -1,
        "flood_rate": int(str(event.extra.get("flood_rate", 30))),
        "correlation_id": event.correlation_id or None,
        "custom_data": str(event.extra.get("custom_data", "")),
        "host": ref(event.host_id) if event.host_id else None,
        "vm": ref(event.vm_id) if event.vm_id else None,
        "user": ref(event.account_id) if event.account_id else None,
    }


def store(engine: Engine, given: Mapping[str, Any], account: AccountRecord, correlation_id: str) -> dict[str, Any]:
    """Store an external event."""
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
            host_id=str((given.get("host") or {}).get("id", "")),
            vm_id=str((given.get("vm") or {}).get("id", "")),
            extra={key: given[key] for key in ("custom_data", "flood_rate") if given.get(key) is not None},
        )
    )
    return event_object(stored)
