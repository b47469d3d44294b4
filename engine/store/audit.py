"""Events: written with names as they are now, searched in SQL, kept by number and age."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from peewee import IntegrityError, Select, Table, fn

from appliance.effects.clock import Clock
from appliance.errors import Conflict, NotFound
from engine.decide.audit import TYPES
from engine.decide.permit import SYSTEM, is_administrator
from engine.decide.search import EVERYTHING, And, Compare, Expression, FreeText, Or, Query
from engine.store.database import Connection
from engine.store.entity import ENTITY, Key
from engine.store.fields import Field, at
from engine.store.permissions import Permits
from engine.store.records import AccountRecord, EventRecord
from engine.store.search import Comparison, all_of, any_of, unknown_field

KEPT = 100_000
"""Older events are dropped beyond this: about 30 MiB, months of a small cluster's history."""
KEPT_MS = 90 * 24 * 3600 * 1000
"""…and those older than a quarter: oVirt keeps a month, after which last quarter's questions have no answer."""
PRUNE_EVERY = 500
"""Events between two looks at the number: so an event costs no deletion."""

COLUMNS = (
    "id", "wall_ms", "code", "severity", "origin", "description", "custom_id", "correlation_id", "account_id", "host_id",
    "vm_id", "extra", "refs",
)  # fmt: skip
EVENT: Any = Table("event", COLUMNS)
REF: Any = Table("event_ref", ("kind", "entity_id", "event_id"))
NAMES = (
    "vm",
    "host",
    "template",
    "user",
    "cluster",
    "data_center",
    "storage_domain",
    "disk",
    "network",
    "snapshot",
    "vm_pool",
)
FIELDS: Mapping[str, Field] = {
    "id": Field("id", shape="number"),
    "index": Field("id", shape="number"),
    "type": Field("code", shape="number"),
    "code": Field("code", shape="number"),
    "severity": Field("severity", shape="word"),
    "message": Field("description"),
    "description": Field("description"),
    "name": Field("description"),
    "time": Field("wall_ms", shape="date"),
    "correlation_id": Field("correlation_id"),
    "origin": Field("origin", shape="word"),
    "custom_event_id": Field("custom_id", shape="number"),
    "custom_id": Field("custom_id", shape="number"),
    "usrname": at("user.name"),
    **{f"event_{name.replace('_', '')}": at(f"{name}.name") for name in NAMES},
    "event_storage": at("storage_domain.name"),
    "event_pool": at("vm_pool.name"),
    **{name.replace("_", ""): at(f"{name}.name") for name in NAMES},
    "storage": at("storage_domain.name"),
    "pool": at("vm_pool.name"),
}
"""oVirt's fields of an event; names are those that the objects had when it happened."""
IDS: Mapping[str, Field] = {
    **{name.replace("_", ""): at(f"{name}.id", "word") for name in NAMES},
    **{name: Field(column, shape="word") for name, column in (("host", "host_id"), ("vm", "vm_id"), ("user", "account_id"))},
}
"""``vm.id``. Those with a column have it in events of others, too."""
BACK = ("name",)
"""What may stand behind a noun: ``Vms.name``."""
OWN_KINDS = ("vm", "template", "disk", "vm_pool")
"""Whose events plain users see: those of objects they see; not those of hosts and clusters these are on …"""
ADMINISTERED = ("host", "cluster", "data_center", "storage_domain", "network")
"""… and whose administrators see besides: of those that they administer."""


@dataclass(frozen=True)
class Visible:
    """A condition, and the tables of the statement that it asks: inside of it they would be too deep for SQLite's parser
    (100 levels; a role on a cluster has 60 alone)."""

    condition: Any
    tables: tuple[Any, ...]


NAME = "SELECT name FROM entity WHERE kind = {} AND id = {}"


class Audit:
    """The events of one database."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.connection = connection
        self._clock = clock
        self._since_pruned = 0

    def tell(
        self,
        name: str,
        about: Mapping[str, str] | None = None,
        values: Mapping[str, object] | None = None,
        *,
        account: AccountRecord | str = "",
        correlation_id: str = "",
    ) -> EventRecord:
        """Record that ``name`` (of :data:`engine.decide.audit.TYPES`) happened.

        ``about``: kind → id of the objects; their names now are found, or taken from ``values`` where they are gone.
        ``values`` fill the rest of the text.
        """
        kind = TYPES[name]
        account_id = account if isinstance(account, str) else account.id
        refs = self.named({**(about or {}), **({"user": account_id} if account_id else {})}, values or {})
        known = {one: ref["name"] for one, ref in refs.items()}
        return self.add(
            EventRecord(
                kind.severity,
                "Trivet",
                kind.message({**known, **(values or {})}),
                kind.code,
                int(self._clock.wall_s() * 1000),
                correlation_id=correlation_id,
                account_id=account_id,
                host_id=refs.get("host", {}).get("id", ""),
                vm_id=refs.get("vm", {}).get("id", ""),
                refs=refs,
            )
        )

    def named(self, about: Mapping[str, str], values: Mapping[str, object]) -> dict[str, dict[str, str]]:
        """An event's ``refs``: what it is about (kind → id) under the names of now, or under those in ``values``."""
        found = {}
        for kind, identifier in about.items():
            row = self.connection.first(NAME, (kind, identifier))
            found[kind] = {"id": identifier, "name": str(row[0] if row else values.get(kind, ""))}
        return found

    def add(self, event: EventRecord) -> EventRecord:
        """Store an event. The same origin and custom id twice: ``Conflict`` (``event.exists``)."""
        row = {name: getattr(event, name) for name in COLUMNS if name not in ("id", "extra", "refs")}
        row |= {"extra": json.dumps(dict(event.extra)), "refs": self.connection.packed(event.refs)}
        try:
            with self.connection.transaction():
                number = int(self.connection.insert(EVENT, row, "id"))
                refs = {(kind, ref["id"]) for kind, ref in event.refs.items()}
                refs |= {(kind, one) for kind, one in (("host", event.host_id), ("vm", event.vm_id)) if one}
                for kind, identifier in sorted(refs):
                    self.connection.insert(REF, {"kind": kind, "entity_id": identifier, "event_id": number})
        except IntegrityError as error:
            raise Conflict(
                "event.exists",
                subject=f"event {event.custom_id} of origin {event.origin}",
                reason="it has been recorded before",
                remedy="Give each event of one origin its own custom_id.",
            ) from error
        self._since_pruned += 1
        if self._since_pruned >= PRUNE_EVERY:
            self.prune()
        return replace(event, id=number)

    def list(
        self,
        query: Query = EVERYTHING,
        *,
        after: int = 0,
        limit: int | None = None,
        case_sensitive: bool = True,
        only: Visible | None = None,
        about: Key | None = None,
        number: int | None = None,
    ) -> tuple[EventRecord, ...]:
        """Events with an id greater than ``after`` that ``query`` finds, the newest first unless it says otherwise.

        ``number``: that one alone. ``about``: those of one object. ``only``: what may be seen (:meth:`visible`).

        Raises ``Refused`` ``api.search``.
        """
        compare = Comparison(self.connection, case_sensitive)
        parts = [EVENT.id > after if number is None else EVENT.id == number]
        parts += [_where(compare, query.where)] if query.where is not None else []
        parts += [EVENT.id.in_(_of([about]))] if about else []
        parts += [only.condition] if only is not None else []
        order = [
            value.desc() if key.descending else value.asc()
            for key in query.sort
            for value in (compare.sort_value(EVENT, EVENT.refs, _field(key.path)),)
        ]
        ascends = bool(query.sort) and not query.sort[-1].descending  # many have the same time
        last = EVENT.id.asc() if ascends else EVENT.id.desc()
        select = EVENT.select().where(all_of(parts)).order_by(*order, last)
        select = select.with_cte(*only.tables) if only is not None else select
        if query.page is not None:
            size = limit or 100
            select = select.limit(size).offset((query.page - 1) * size)
        elif limit is not None:
            select = select.limit(limit)
        return tuple(self._record(row) for row in self.connection.rows(select))

    def get(self, number: int, only: Visible | None = None) -> EventRecord | None:
        """The event, or ``None``. ``only`` as in :meth:`list`."""
        found = self.list(only=only, number=number)
        return found[0] if found else None

    def remove(self, number: int) -> None:
        """Dismiss one. Raises ``NotFound`` ``event.unknown``."""
        if not self.connection.run(EVENT.delete().where(EVENT.id == number)):
            raise NotFound("event.unknown", subject=f"event {number}", reason="there is none", remedy="List the events.")

    def visible(self, permits: Permits, account: AccountRecord | str, asking: Any = "all") -> Visible | None:
        """What :meth:`list` and :meth:`get` take as ``only``; ``None``: everything.

        An administrator of the system who does not ask for their own sees all; others what concerns the objects that they
        see, and what they did.
        """
        grants = permits.grants(account)
        administers = asking == "all" and is_administrator(grants)
        if administers and any(one.on == SYSTEM and one.role.is_admin for one in grants):
            return None
        parts, tables = [EVENT.account_id == (account if isinstance(account, str) else account.id)], []
        for kind in (*OWN_KINDS, *(ADMINISTERED if administers else ())):
            only = permits.condition(grants, kind, asking)
            where = ENTITY.kind == kind
            about = REF.select(REF.event_id).join(ENTITY, on=(ENTITY.kind == REF.kind) & (ENTITY.id == REF.entity_id))
            table = about.where(where if only is None else where & only).cte(f"seen_{kind}", columns=("event_id",))
            parts.append(EVENT.id.in_(Select((table,), (table.c.event_id,))))
            tables.append(table)
        return Visible(any_of(parts), tuple(tables))

    def prune(self) -> int:
        """Drop what is beyond number and age; how many that were."""
        self._since_pruned = 0
        newest = self.connection.rows(EVENT.select(fn.MAX(EVENT.id)))[0][0] or 0
        oldest_ms = int(self._clock.wall_s() * 1000) - KEPT_MS
        return self.connection.run(EVENT.delete().where((EVENT.id <= newest - KEPT) | (EVENT.wall_ms < oldest_ms)))

    def _record(self, row: Sequence[Any]) -> EventRecord:
        values = dict(zip(COLUMNS, row, strict=True))
        values["extra"] = json.loads(values["extra"])
        values["refs"] = self.connection.unpacked(values["refs"])
        return EventRecord(**values)


def _of(keys: Iterable[Key]) -> Any:
    wanted = [(REF.kind == kind) & (REF.entity_id == identifier) for kind, identifier in keys]
    return REF.select(REF.event_id).where(any_of(wanted))


def _field(path: tuple[str, ...]) -> Field:
    words = [word.lower() for word in path]
    if len(words) == 2 and words[0] in ("event", "events"):
        words = words[1:]
    if len(words) == 2 and words[1] == "id":
        found = IDS.get(words[0].removesuffix("s").replace("_", ""))
        if found is not None:
            return found
    if len(words) == 2 and words[1] in BACK:
        words = [words[0].removesuffix("s")]
    found = FIELDS.get(words[0]) if len(words) == 1 else None
    if found is None:
        raise unknown_field("event", path, sorted(FIELDS))
    return found


def _where(compare: Comparison, expression: Expression) -> Any:
    match expression:
        case And(parts):
            return all_of([_where(compare, part) for part in parts])
        case Or(parts):
            return any_of([_where(compare, part) for part in parts])
        case FreeText(value):
            return compare.condition(EVENT, EVENT.refs, FIELDS["message"], "=", value if "*" in value else f"*{value}*")
        case Compare(path, op, value):
            return compare.condition(EVENT, EVENT.refs, _field(path), op, value)
    raise TypeError(f"{expression!r} is no search expression")
