"""A noun whose objects are entities of the store and nothing more: whatever modelled attribute is written is read back the
same.

A T3 collection is a subclass of a few lines of data (:mod:`engine.api.nouns.kept`); one that must do something overrides
``add``, ``update`` or ``remove`` with a call of a job and keeps the rest.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from appliance.errors import Conflict, NotFound, Refused
from engine.api.documents import Object
from engine.api.model import model
from engine.api.noun import Call, Done, Made, Noun
from engine.api.parameters import EVERY, Listing
from engine.decide import guest_init
from engine.decide.merge import merged
from engine.decide.rows import select
from engine.store.entities import Entities
from engine.store.entity import Entity, changed

NOT_BODY = frozenset({"id", "href", "name", "status"})
"""Kept in columns, or told by the engine and not by clients."""
GENERATED = "generation"


@dataclass(frozen=True)
class Child:
    """Objects that their parent owns: they go with it."""


@dataclass(frozen=True)
class Referring:
    """Objects that refer to the parent by ``name``: the networks of a data center. Adding one here sets that reference."""

    name: str


@dataclass(frozen=True)
class Held:
    """Objects that the parent refers to by ``name``: the tags of a VM. Adding assigns one that exists, removing takes it
    away."""

    name: str


@dataclass(frozen=True)
class Joined:
    """Objects whose references ``name`` have the parent among others: the labels of a VM. Assigned as with :class:`Held`."""

    name: str


Scope = Child | Referring | Held | Joined


class Stored(Noun):
    """``entity``: the store's kind. ``refs``: attributes that are strong references, and their names in the store.
    ``scopes``:
    below which structs there is such a collection, and how objects belong. ``defaults``: attributes that are always sent.
    ``unique``: names are, within ``unique_within`` (a reference or ``parent``) if given."""

    entity: ClassVar[str] = ""
    refs: ClassVar[Mapping[str, str]] = {}
    scopes: ClassVar[Mapping[str, Scope]] = {}
    defaults: ClassVar[Object] = {}
    unique: ClassVar[bool] = True
    unique_within: ClassVar[str] = ""
    parent_attribute: ClassVar[str] = ""
    """The attribute that shows the owner: nic.vm. Clients need it inside the object."""
    remembered: ClassVar[bool] = True
    """Whether :meth:`show` depends on the entity alone, so that what was rendered stays right until it changes."""
    protected: ClassVar[frozenset[str]] = frozenset()
    """Ids that are built in and cannot be removed."""

    # reading

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        """From the store; a list below a parent is short and is searched here."""
        if not call.parents:
            return [self.show(call, one) for one in self._select(call, listing)]
        rows = [self.show(call, one) for one in self._seen(call)]
        if listing == EVERY:
            return rows
        known = [attribute.name for attribute in model().struct(self.kind).attributes]
        return select(rows, listing.query, listing.limit, case_sensitive=listing.case_sensitive, noun=self.kind, known=known)

    def _select(self, call: Call, listing: Listing) -> Sequence[Entity]:
        return self.entities(call).list(
            self.entity,
            listing.query,
            limit=listing.limit,
            case_sensitive=listing.case_sensitive,
            only=call.rights.only(self.entity),
        )

    def stamps(self, call: Call, listing: Listing) -> Sequence[tuple[str, int]] | None:
        if call.parents or not self.remembered:
            return None
        return self.entities(call).stamps(
            self.entity,
            listing.query,
            limit=listing.limit,
            case_sensitive=listing.case_sensitive,
            only=call.rights.only(self.entity),
        )

    def get(self, call: Call, identifier: str) -> Object | None:
        found = self.find(call, identifier)
        return None if found is None else self.show(call, found)

    def exists(self, call: Call, identifier: str) -> bool:
        return self.find(call, identifier) is not None

    def many(self, call: Call, identifiers: Iterable[str]) -> Mapping[str, Object]:
        found = self.entities(call).many(self.entity, identifiers)
        everything = call.rights.only(self.entity) is None
        return {one: self.show(call, held) for one, held in found.items() if everything or call.rights.sees(held.key)}

    def under(self, calls: Sequence[Call]) -> Sequence[Sequence[Object]]:
        if not calls or not isinstance(self.scope(calls[0]), Child):
            return super().under(calls)
        found = self.entities(calls[0]).children_of([owner(call) for call in calls], self.entity)
        return [[self.show(call, one) for one in found.get(call.parent_id, ())] for call in calls]

    def find(self, call: Call, identifier: str) -> Entity | None:
        """The entity, if it belongs to where the call is."""
        found = self.entities(call).get(self.entity, identifier)
        if found is None or not (isinstance(self.scopes.get(call.parent_kind), Child) or call.rights.sees(found.key)):
            return None
        if not call.parents:
            return found
        scope, key = self.scope(call), owner(call)
        if isinstance(scope, Child):
            return found if found.parent == key else None
        if isinstance(scope, Held):
            parent = self.entities(call).get(*key)
            return found if parent and identifier in parent.refs.get(scope.name, ()) else None
        return found if call.parent_id in found.refs.get(scope.name, ()) else None

    def mine(self, call: Call, identifier: str) -> Entity:
        """The same; raises ``NotFound`` when there is none."""
        found = self.find(call, identifier)
        if found is None:
            raise gone(self.kind, identifier)
        return found

    def _seen(self, call: Call) -> Iterable[Entity]:
        """What belongs to the parent, and is seen: what it owns is seen with it."""
        found = self._scoped(call)
        if isinstance(self.scope(call), Child) or call.rights.only(self.entity) is None:
            return found
        return [one for one in found if call.rights.sees(one.key)]

    def _scoped(self, call: Call) -> Iterable[Entity]:
        scope, key = self.scope(call), owner(call)
        if isinstance(scope, Child):
            return self.entities(call).children(key, self.entity)
        if isinstance(scope, Held):
            parent = self.entities(call).need(*key)
            return self.entities(call).many(self.entity, parent.refs.get(scope.name, ())).values()
        return self.entities(call).referring(key, self.entity, scope.name)

    def show(self, call: Call, entity: Entity) -> Object:
        """The entity as an object of the model."""
        value: dict[str, Any] = {"id": entity.id, "name": entity.name, "comment": "", "description": ""}
        value.update(self.defaults)
        for attribute, held in entity.body.items():
            value[attribute] = merged(self.defaults.get(attribute), held)
        many = {attribute.name for attribute in model().struct(self.kind).attributes if attribute.many}
        for attribute, name in self.refs.items():
            targets = entity.refs.get(name, ())
            if attribute in many:
                value[attribute] = [{"id": target} for target in targets]
            elif targets:
                value[attribute] = {"id": targets[0]}
        if self.parent_attribute and entity.parent:
            value[self.parent_attribute] = {"id": entity.parent[1]}
        if entity.shown_status:
            value["status"] = entity.shown_status
        if value.get("initialization"):
            value["initialization"] = guest_init.shown(value["initialization"])
        value[GENERATED] = entity.generation
        return value

    # writing

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        scope = self.scope(call) if call.parents else None
        if isinstance(scope, Held | Joined):
            return self._assign(call, scope, given)
        parent = owner(call) if isinstance(scope, Child) else None
        fresh = Entity(self.entity, self.new_id(given), parent=parent)
        if isinstance(scope, Referring):
            fresh = fresh.with_refs(**{scope.name: call.parent_id})
        made = self.entities(call).add(self._keyed(self.apply(call, fresh, given)))
        return Made(self.show(call, made))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        def how(before: Entity) -> Entity:
            need_expected(call, before)
            return self._keyed(self.apply(call, before, given))

        self.mine(call, identifier)
        return self.show(call, self.entities(call).change(self.entity, identifier, how))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        found = self.mine(call, identifier)
        scope = self.scope(call) if call.parents else None
        if isinstance(scope, Held | Joined):
            self._reassign(call, scope, identifier, keep=False)
        elif identifier in self.protected:
            raise Conflict(
                "api.built-in",
                subject=f"{self.kind} {found.name}",
                reason="it is built in and cannot be removed",
                remedy="Make one of your own instead of changing this.",
            )
        else:
            self.entities(call).remove(self.entity, identifier)
        return Done()

    def apply(self, call: Call, before: Entity, given: Mapping[str, Any]) -> Entity:
        """The entity with what a client sent: structs are merged, lists and plain values replaced."""
        after = before
        body = dict(before.body)
        for attribute, value in given.items():
            if attribute in self.refs:
                after = after.with_refs(**{self.refs[attribute]: _targets(self.kind, attribute, value)})
            elif attribute not in NOT_BODY and attribute != self.parent_attribute:
                body[attribute] = merged(body.get(attribute), value)
        name = given.get("name", before.name)
        return replace(after, name=name, body=body)

    def _keyed(self, entity: Entity) -> Entity:
        if not self.unique:
            return entity
        if not entity.name:
            raise Refused("api.name", subject=self.kind, reason="its name is empty", remedy="Give it a name.")
        within = entity.parent[1] if self.unique_within == "parent" and entity.parent else entity.ref(self.unique_within)
        return replace(entity, unique_key=f"{within}/{entity.name.casefold()}")

    def new_id(self, given: Mapping[str, Any]) -> str:
        """The id of a new object."""
        return str(uuid.uuid4())

    def _assign(self, call: Call, scope: Held | Joined, given: Mapping[str, Any]) -> Made:
        identifier = str(given.get("id") or "") or self.named(call.below(self.services[0], ""), str(given.get("name") or ""))
        found = self.entities(call).get(self.entity, identifier) if identifier else None
        if found is None or not call.rights.sees(found.key):
            raise NotFound(
                "api.reference",
                subject=f"{self.kind} '{str(given.get('id') or given.get('name') or '')[:200]}'",
                reason="there is none",
                remedy="Name one that exists.",
            )
        self._reassign(call, scope, found.id, keep=True)
        return Made(self.show(call, self.entities(call).need(self.entity, found.id)))

    def _reassign(self, call: Call, scope: Held | Joined, identifier: str, *, keep: bool) -> None:
        kind, holder, target = (
            (*owner(call), identifier) if isinstance(scope, Held) else (self.entity, identifier, call.parent_id)
        )

        def how(before: Entity) -> Entity:
            others = tuple(one for one in before.refs.get(scope.name, ()) if one != target)
            return before.with_refs(**{scope.name: (*others, target) if keep else others})

        self.entities(call).change(kind, holder, how)

    # places

    def serves_below(self, parent: str) -> bool:
        return not parent or parent in self.scopes

    def scope(self, call: Call) -> Scope:
        """How objects belong to the call's parent."""
        return self.scopes[call.parent_kind]

    @staticmethod
    def entities(call: Call) -> Entities:
        """The store's entities."""
        return call.engine.store.entities


class ReadOnlyStored(Stored):
    """Entities that are made and changed by jobs only."""

    add = Noun.add
    update = Noun.update
    remove = Noun.remove


def owner(call: Call) -> tuple[str, str]:
    """The (entity kind, id) of the call's parent."""
    return model().struct(call.parent_kind).singular, call.parent_id


def need_expected(call: Call, before: Entity) -> None:
    """Raises ``Conflict`` when it is not the generation that ``If-Match`` named any more."""
    if call.expected is not None and before.generation != call.expected:
        raise changed(before)


def gone(kind: str, identifier: str) -> NotFound:
    """There is no such object any more."""
    return NotFound("api.unknown-id", subject=f"{kind} {identifier[:100]}", reason="there is none", remedy="List them.")


def _targets(kind: str, attribute: str, value: Any) -> tuple[str, ...]:
    """The ids of a reference or of a list of them."""
    given = [value] if isinstance(value, Mapping) else list(value)
    ids = tuple(str(one.get("id") or "") for one in given if one)
    if not all(ids):
        raise Refused(
            "api.reference-id",
            subject=f"attribute '{attribute}' of {kind}",
            reason="it must refer to an object by its id or name alone",
            remedy="Leave out the other attributes.",
        )
    return ids
