"""Events: what happened, and what others tell us to remember."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import Refused
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made, Noun
from engine.api.nouns import ref
from engine.api.parameters import Listing
from engine.api.stored import gone
from engine.core import Engine
from engine.store.records import AccountRecord, EventRecord

EXTERNAL_CODES = {"normal": 9801, "warning": 9802, "error": 9803, "alert": 9804}
"""oVirt's AuditLogType EXTERNAL_EVENT_* by severity."""
TEXT_LIMIT = 4000
"""Characters of a description: what oVirt's column held."""
ID = re.compile("[0-9]{1,18}")
ABOUT = ("template", "cluster", "data_center", "storage_domain")
"""Attributes of an event beside its host, VM and user."""
CUSTOM_ID_MAX = 2**31 - 1
"""v4 says integer; oVirt's is a Java int."""


class Events(Noun):
    """Events, the newest first; ``from`` (exclusive, as v4 says), ``max`` and the search are the database's work. Who is no
    administrator sees those of what they see."""

    services, kind = ("Events",), "Event"

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        found = call.engine.store.audit.list(
            listing.query,
            after=call.parameters.number("from") or 0,
            limit=listing.limit,
            case_sensitive=listing.case_sensitive,
            only=self._seen(call),
        )
        return [event_object(one) for one in found]

    def get(self, call: Call, identifier: str) -> Object | None:
        found = call.engine.store.audit.get(int(identifier), self._seen(call)) if ID.fullmatch(identifier) else None
        return event_object(found) if found else None

    @staticmethod
    def _seen(call: Call) -> Any:
        return call.engine.store.audit.visible(call.rights.permits, call.account, call.rights.asking)

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        return Made(store(call.engine, given, call.account, call.correlation_id))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        if self.get(call, identifier) is None:
            raise gone("Event", identifier)
        call.engine.store.audit.remove(int(identifier))
        return Done()


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
        **{kind: ref(event.refs[kind]["id"]) for kind in ABOUT if event.refs.get(kind, {}).get("id")},
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
    about = {kind: str(given[kind].get("id", "")) for kind in (*ABOUT, "host", "vm") if given.get(kind)}
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
            host_id=about.get("host", ""),
            vm_id=about.get("vm", ""),
            refs=engine.store.audit.named(about, {}),
            extra={key: given[key] for key in ("custom_data", "flood_rate") if given.get(key) is not None},
        )
    )
    return event_object(stored)
