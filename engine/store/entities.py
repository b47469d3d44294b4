"""Everything that the API's model knows, in one shape: typed columns for what is searched or joined, the rest as JSON.

    entity    kind, id, name, status, locked_as, parent, generation …        refs {"cluster": [id]}   body {attributes}
    relation  (source, name, target): the index of ``refs``

One list is one query, however many rows: references are read with the row, relations only serve to search and to protect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from peewee import IntegrityError, Tuple, fn

from appliance.effects.clock import Clock, SystemClock
from appliance.errors import Conflict, NotFound, TrivetError
from engine.decide.search import EVERYTHING, Query
from engine.store.database import Connection, chunks, places
from engine.store.entity import COLUMNS, ENTITY, RELATION, Entity, Key, changed, exists, unknown
from engine.store.kinds import REFERENCES
from engine.store.search import compiled

__all__ = ["ENTITY", "RELATION", "Entities", "Entity", "Key"]

PAGE_ROWS = 100
"""Rows of a page when the caller names no maximum: oVirt's SearchResultsLimit."""

HELD = (
    "SELECT DISTINCT e.kind, e.id, e.generation, e.changed_ms FROM relation r JOIN entity e ON e.id = r.source_id"
    " WHERE e.kind = {} AND r.source_kind = {} AND"
)
STAMPS = [ENTITY.kind, ENTITY.id, ENTITY.generation, ENTITY.changed_ms]
ALL = "SELECT kind, id, generation, changed_ms FROM entity WHERE kind = {}"
SOME = f"{ALL} AND id IN"
BY_NAME = "ORDER BY name, created_ms, id"
STATE = "SELECT id, generation, changed_ms FROM entity WHERE kind = {} ORDER BY id"
STAMP = "SELECT generation, changed_ms FROM entity WHERE kind = {} AND id = {}"
CHILDREN = f"{ALL} AND parent_kind = {{}} AND parent_id"
WHOLE = f"SELECT {', '.join(COLUMNS)} FROM entity WHERE kind = {{}} AND id"  # noqa: S608 - of our own words
SAME_KEY = "SELECT id FROM entity WHERE kind = {} AND unique_key = {} AND id <> {}"
RELATED = "SELECT name, target_id FROM relation WHERE source_kind = {} AND source_id = {}"
SOURCES = "(SELECT source_id FROM relation WHERE target_kind = {} AND target_id = {} AND source_kind = {} AND name = {})"
REFERRING = f"{SOME} {SOURCES} {BY_NAME}"
Many = list[Entity]
"""Also because ``list`` is a method here."""
KEPT = 8_000
"""Entities that a process remembers as it read them (never believed without asking for their generation): 1,000 VMs with
their disks and NICs; some 5 KiB each."""


class Entities:
    """The entities of one database. Thread-safe as the database is."""

    def __init__(self, connection: Connection, clock: Clock | None = None) -> None:
        self.connection = connection
        self._clock = clock or SystemClock()
        self._read: dict[Key, Entity] = {}

    # reading

    def get(self, kind: str, identifier: str) -> Entity | None:
        """The entity, or ``None``."""
        stamp = self.connection.first(STAMP, (kind, identifier))
        if stamp is None:
            return None
        kept = self._kept(kind, identifier, *stamp)
        found = [kept] if kept else self._read_now(kind, [identifier])
        return found[0] if found else None

    def need(self, kind: str, identifier: str) -> Entity:
        """The entity. Raises ``NotFound`` ``entity.unknown``."""
        found = self.get(kind, identifier)
        if found is None:
            raise unknown(kind, identifier)
        return found

    def state(self, kind: str) -> tuple[tuple[str, int, int], ...]:
        """(id, generation, when it was changed) of all of a kind: another one as soon as one of them is."""
        return tuple(self.connection.all(STATE, (kind,)))

    def name_of(self, kind: str, identifier: str) -> str:
        """Its name, for people; of one that is no more, its id."""
        found = self.get(kind, identifier)
        return found.name if found else identifier

    def many(self, kind: str, identifiers: Iterable[str]) -> dict[str, Entity]:
        """Those of a kind that there are, by id."""
        found: dict[str, Entity] = {}
        for piece in chunks(list(dict.fromkeys(identifiers))):
            stamps = self.connection.all(f"{SOME} {places(piece)}", (kind, *piece))
            found |= {one.id: one for one in self._filled(stamps)}
        return found

    def held_by(self, kind: str, holders: Sequence[Key]) -> Many:
        """Those of ``kind`` that refer to one of ``holders`` (a few, by whatever reference), in no order."""
        one_of = " OR ".join(["(r.target_kind = {} AND r.target_id = {})"] * len(holders))
        values = (kind, kind, *(word for holder in holders for word in holder))
        return self._filled(self.connection.all(HELD + f" ({one_of})", values)) if holders else []

    def list(
        self,
        kind: str,
        query: Query = EVERYTHING,
        *,
        limit: int | None = None,
        case_sensitive: bool = True,
        only: Any = None,
    ) -> Many:
        """Those of a kind that ``query`` finds, sorted as it says, else by name.

        ``limit``: at most so many rows; with a page in the query it is the size of a page. ``only``: a further condition
        (what somebody may see: engine/store/permissions.py).

        Raises ``Refused`` ``api.search`` when a field is unknown.
        """
        if query is EVERYTHING and limit is None and only is None:  # what keepers ask every few seconds
            return self._filled(self.connection.all(f"{ALL} {BY_NAME}", (kind,)))
        return self._filled(self.connection.rows(self._found(kind, query, limit, case_sensitive, only, STAMPS)))

    def stamps(
        self,
        kind: str,
        query: Query = EVERYTHING,
        *,
        limit: int | None = None,
        case_sensitive: bool = True,
        only: Any = None,
    ) -> tuple[tuple[str, int], ...]:
        """(id, generation) of what :meth:`list` would give, without reading bodies: for who keeps rendered fragments."""
        columns = [ENTITY.id, ENTITY.generation]
        rows = self.connection.rows(self._found(kind, query, limit, case_sensitive, only, columns))
        return tuple((str(identifier), int(generation)) for identifier, generation in rows)

    def count(self, kind: str, only: Any = None) -> int:
        """How many of a kind there are."""
        where = ENTITY.kind == kind
        select = ENTITY.select(fn.COUNT(ENTITY.id)).where(where if only is None else where & only)
        return int(self.connection.rows(select)[0][0])

    def unique_keys(self, kind: str) -> frozenset[str]:
        """All unique keys of a kind: which names, or which addresses, are taken."""
        select = ENTITY.select(ENTITY.unique_key).where((ENTITY.kind == kind) & ENTITY.unique_key.is_null(False))
        return frozenset(str(row[0]) for row in self.connection.rows(select))

    def children(self, parent: Key, kind: str) -> Many:
        """Those of ``kind`` that ``parent`` owns, by name, then by age."""
        return self._filled(self.connection.all(f"{CHILDREN} = {{}} {BY_NAME}", (kind, *parent)))

    def children_of(self, parents: Iterable[Key], kind: str) -> dict[str, Many]:
        """The children of many parents (of one kind) with one query a few hundred parents: parent id → children."""
        found: dict[str, Many] = {}
        wanted = list(parents)
        for piece in chunks([identifier for _kind, identifier in wanted]):
            stamps = self.connection.all(f"{CHILDREN} IN {places(piece)} {BY_NAME}", (kind, wanted[0][0], *piece))
            for one in self._filled(stamps):
                found.setdefault(one.parent[1] if one.parent else "", []).append(one)
        return found

    def referring(self, target: Key, kind: str, name: str) -> Many:
        """Those of ``kind`` whose reference ``name`` is ``target``: the disks of a storage domain, the VMs of a cluster."""
        return self._filled(self.connection.all(REFERRING, (kind, *target, kind, name)))

    def _found(
        self,
        kind: str,
        query: Query,
        limit: int | None,
        case_sensitive: bool,
        only: Any,
        columns: Sequence[Any],
    ) -> Any:
        where, order = compiled(self.connection, kind, query, case_sensitive=case_sensitive)
        select = ENTITY.select(*columns).where(where if only is None else where & only).order_by(*order)
        if query.page is not None:
            size = limit or PAGE_ROWS
            return select.limit(size).offset((query.page - 1) * size)
        return select if limit is None else select.limit(limit)

    def _kept(self, kind: str, identifier: str, generation: int, changed_ms: int) -> Entity | None:
        """What was read before, if it is still the same. The time tells apart one that was removed and made anew."""
        one = self._read.get((kind, identifier))
        return one if one is not None and (one.generation, one.changed_ms) == (generation, changed_ms) else None

    def _filled(self, stamps: Sequence[Any]) -> Many:
        """The entities of ``stamps`` in their order; only those are read that were not read before, or have changed."""
        found = {(row[0], row[1]): one for row in stamps if (one := self._kept(*row))}
        missing: dict[str, list[str]] = {}
        for kind, identifier, _generation, _changed_ms in stamps:
            if (kind, identifier) not in found:
                missing.setdefault(kind, []).append(identifier)
        for kind, identifiers in missing.items():
            for piece in chunks(identifiers):
                found |= {one.key: one for one in self._read_now(kind, piece)}
        return [found[row[0], row[1]] for row in stamps if (row[0], row[1]) in found]  # removed meanwhile: not there

    def _read_now(self, kind: str, identifiers: Sequence[str]) -> Many:
        rows = self.connection.all(f"{WHOLE} IN {places(identifiers)}", (kind, *identifiers))
        found = [self._entity(row) for row in rows]
        if len(self._read) + len(found) > KEPT:
            self._read.clear()
        if len(found) <= KEPT and not self.connection.peewee.in_transaction():  # what is not committed is nobody else's
            self._read.update((one.key, one) for one in found)
        return found

    def _entity(self, row: tuple[Any, ...]) -> Entity:
        kind, identifier, name, status, locked_as, parent_kind, parent_id, unique, generation, created_ms, changed_ms = row[
            :11
        ]
        unpacked = self.connection.unpacked
        return Entity(
            kind,
            identifier,
            name,
            unpacked(row[12]),
            {one: tuple(targets) for one, targets in unpacked(row[11]).items()},
            (parent_kind, parent_id) if parent_kind else None,
            status,
            unique,
            locked_as,
            generation,
            created_ms,
            changed_ms,
        )

    # writing

    def add(self, entity: Entity) -> Entity:
        """Store a new one. Raises ``Conflict`` ``entity.exists`` (id or unique key taken), ``NotFound`` ``entity.reference``
        (parent or a reference is not there)."""
        now_ms = int(self._clock.wall_s() * 1000)
        stored = replace(entity, generation=1, created_ms=entity.created_ms or now_ms, changed_ms=now_ms)
        try:
            with self.connection.transaction():
                self.connection.insert(ENTITY, self._row(stored))
                self._relate(stored, is_new=True)
        except IntegrityError as error:
            raise self._because(stored, error, is_new=True) from error
        return stored

    def update(self, entity: Entity) -> Entity:
        """Replace name, status, body, refs, unique key of an existing one. ``generation`` must be the one that was read.

        Raises ``Conflict`` ``entity.changed`` when somebody else changed it since, ``NotFound`` ``entity.unknown``, and what
        :meth:`add` raises. The lock's word is never changed here.
        """
        stored = replace(entity, generation=entity.generation + 1, changed_ms=int(self._clock.wall_s() * 1000))
        kept = ("kind", "id", "locked_as", "created_ms")
        row = {name: value for name, value in self._row(stored).items() if name not in kept}
        mine = {"kind": entity.kind, "id": entity.id, "generation": entity.generation}
        try:
            with self.connection.transaction():
                if self.connection.update(ENTITY, row, mine) == 0:
                    self.need(entity.kind, entity.id)
                    raise changed(entity)
                self._relate(stored)
        except IntegrityError as error:
            raise self._because(stored, error, is_new=False) from error
        return stored

    def change(self, kind: str, identifier: str, how: Callable[[Entity], Entity]) -> Entity:
        """Read, apply ``how``, store, all in one transaction: for changes that hold whatever others did."""
        with self.connection.transaction():
            row = self.connection.first(f"{WHOLE} = {{}}{self.connection.held}", (kind, identifier))
            if row is None:
                raise unknown(kind, identifier)
            before = self._entity(row)
            after = how(before)
            return before if after == before else self.update(after)

    def set_status(self, kind: str, statuses: Mapping[str, str]) -> int:
        """Set the own status of many (id → status), in one commit; only real changes count as one. The number of changes."""
        now_ms = int(self._clock.wall_s() * 1000)
        count = 0
        with self.connection.transaction():
            for identifier, status in statuses.items():
                where = (ENTITY.kind == kind) & (ENTITY.id == identifier) & (ENTITY.status != status)
                count += self.connection.run(
                    ENTITY.update(
                        {ENTITY.status: status, ENTITY.generation: ENTITY.generation + 1, ENTITY.changed_ms: now_ms}
                    ).where(where)
                )
        return count

    def remove(self, kind: str, identifier: str) -> None:
        """Remove it and what it owns. Raises ``NotFound``; ``Conflict`` ``entity.in-use`` names who still refers to it."""
        where = (ENTITY.kind == kind) & (ENTITY.id == identifier)
        try:
            with self.connection.transaction():
                if self.connection.run(ENTITY.delete().where(where)) == 0:
                    raise unknown(kind, identifier)
        except IntegrityError as error:
            raise self._in_use(kind, identifier) from error

    def _relate(self, entity: Entity, *, is_new: bool = False) -> None:
        """Make the relations be what ``refs`` says."""
        mine = (RELATION.source_kind == entity.kind) & (RELATION.source_id == entity.id)
        had = [] if is_new else self.connection.all(RELATED, entity.key)
        has = {(name, target) for name, target in had}
        wants = {(name, target) for name, targets in entity.refs.items() for target in targets}
        for name, target in has - wants:
            self.connection.run(RELATION.delete().where(mine & (RELATION.name == name) & (RELATION.target_id == target)))
        rows = [
            (entity.kind, entity.id, name, REFERENCES[name], target) for name, target in sorted(wants - has)
        ]  # an unknown name is a defect of the caller: KeyError
        if rows:
            self.connection.run(RELATION.insert(rows, columns=[getattr(RELATION, name) for name in RELATION._columns]))

    def _row(self, entity: Entity) -> dict[str, Any]:
        parent_kind, parent_id = entity.parent or (None, None)
        return {
            "kind": entity.kind,
            "id": entity.id,
            "name": entity.name,
            "status": entity.status,
            "locked_as": entity.locked_as,
            "parent_kind": parent_kind,
            "parent_id": parent_id,
            "unique_key": entity.unique_key,
            "generation": entity.generation,
            "created_ms": entity.created_ms,
            "changed_ms": entity.changed_ms,
            "refs": self.connection.packed({name: list(targets) for name, targets in entity.refs.items()}),
            "body": self.connection.packed(dict(entity.body)),
        }

    def _because(self, entity: Entity, error: IntegrityError, *, is_new: bool) -> TrivetError:
        """Which rule was broken: databases name it differently, so we look."""
        if is_new and self.get(entity.kind, entity.id) is not None:
            return exists(entity, "an object with this id is there already")
        key = entity.unique_key
        if key is not None and self.connection.first(SAME_KEY, (entity.kind, key, entity.id)):
            return exists(entity, "the name is in use")
        targets = [(REFERENCES[name], one) for name, found in entity.refs.items() for one in found]
        for kind, identifier in [*targets, *([entity.parent] if entity.parent else [])]:
            if self.get(kind, identifier) is None:
                return NotFound(
                    "entity.reference",
                    subject=f"{kind} {identifier}",
                    reason=f"there is none, and {entity.kind} {entity.name} refers to it",
                    remedy="Name one that exists.",
                    facts={"kind": kind, "id": identifier},
                )
        return exists(entity, str(error))

    def _in_use(self, kind: str, identifier: str) -> TrivetError:
        doomed = self._owned((kind, identifier))
        pairs = Tuple(RELATION.target_kind, RELATION.target_id)
        rows = [
            row
            for piece in chunks(doomed)
            for row in self.connection.rows(
                RELATION.select(RELATION.source_kind, RELATION.source_id).where(pairs.in_([Tuple(*key) for key in piece]))
            )
        ]
        users = [self.get(*key) for key in rows if key not in doomed][:10]
        names = [f"{one.kind} {one.name or one.id}" for one in users if one]
        return Conflict(
            "entity.in-use",
            subject=f"{kind} {identifier}",
            reason=f"it is in use by {', '.join(names) or 'another object'}",
            remedy="Remove those first, or let them use another.",
            facts={"users": [list(one.key) for one in users if one]},
        )

    def _owned(self, key: Key) -> Sequence[Key]:
        """``key`` and all that it owns."""
        found, next_level = [key], [key]
        while next_level:
            below: list[Key] = []
            for parent_kind, parent_id in next_level:
                where = (ENTITY.parent_kind == parent_kind) & (ENTITY.parent_id == parent_id)
                below += [tuple(row) for row in self.connection.rows(ENTITY.select(ENTITY.kind, ENTITY.id).where(where))]
            found += below
            next_level = below
        return found
