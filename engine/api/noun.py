"""The shape of a noun: a collection of the tree, its objects, and what can be done to them.

A noun's module translates: from what is stored or observed to objects of the model, and from a request to a job or to the
store.
It decides nothing about storage, hosts or rights. A method that a noun does not override is not served, and is answered
(405 or 404), documented (OpenAPI) and counted (docs/api-coverage.md) as such, so nothing has to be declared twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from appliance.errors import Failed
from engine.api.documents import Object
from engine.api.parameters import EVERY, Listing, Parameters
from engine.api.rights import Rights, place_of
from engine.core import Engine
from engine.decide.permit import Key
from engine.decide.search import Compare, Query
from engine.store.records import AccountRecord

METHODS = ("list", "get", "add", "update", "remove")


@dataclass(frozen=True)
class Call:
    """One request at one place of the tree. ``parents``: (struct, id) of the objects above, the outermost first.

    ``place`` is the address of the collection; ``expected`` the generation that ``If-Match`` named; ``nouns`` finds a noun
    by its service, for references and ``follow``.
    """

    engine: Engine
    account: AccountRecord
    nouns: Mapping[str, Noun]
    rights: Rights
    parameters: Parameters = field(default_factory=Parameters)
    place: str = ""
    parents: tuple[tuple[str, str], ...] = ()
    service: str = ""
    expected: int | None = None

    @property
    def correlation_id(self) -> str:
        return self.parameters.correlation_id

    @property
    def parent_id(self) -> str:
        """The id of the object that this collection belongs to."""
        return self.parents[-1][1] if self.parents else ""

    @property
    def parent_kind(self) -> str:
        """The struct of the object that this collection belongs to, empty at the root."""
        return self.parents[-1][0] if self.parents else ""

    def below(self, service: str, place: str, *parents: tuple[str, str]) -> Call:
        """The same request at another place."""
        return replace(self, service=service, place=place, parents=parents, expected=None)


@dataclass(frozen=True)
class Made:
    """What ``add`` made. ``job``: the job that is not done yet; then the answer is 202 and says how to watch it."""

    value: Object
    job: str = ""


@dataclass(frozen=True)
class Done:
    """What an action did. ``job`` is told to the caller; ``pending``: it has not ended (202). ``values``: more of the
    action."""

    job: str = ""
    pending: bool = False
    values: Object = field(default_factory=dict)


Action = Callable[[Any, Call, str, Object], Done]
"""(noun, call, id of the object or empty for the collection, parameters of the action) → what it did."""


class Noun:
    """A collection. ``services``: the model's services that it serves (one noun may serve the same things in several
    places); ``kind``: the struct of its objects. Objects come with an ``id``; the dispatcher gives them their address."""

    services: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[str] = ""
    actions: ClassVar[Mapping[str, Action]] = {}
    """Actions on an object, by path segment."""
    collection_actions: ClassVar[Mapping[str, Action]] = {}
    refused_actions: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Actions of v4 that cannot be had here, why, and what to ask instead: they are linked nowhere."""
    forms: ClassVar[Mapping[str, tuple[str, Callable[[Call, str], str]]]] = {}
    """Media types in which an object can be had beside the three of all: (the action whose permit it needs, the text)."""
    searchable: ClassVar[bool] = True
    """Whether the root offers ``…/search`` for it."""

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        """The objects that ``listing`` wants."""
        raise self._unserved("list")

    def get(self, call: Call, identifier: str) -> Object | None:
        """One object; ``None``: there is none."""
        raise self._unserved("get")

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """Make one. References in ``given`` are resolved to ids, and what is mandatory is there."""
        raise self._unserved("add")

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        """Change the attributes that are given; the object afterwards."""
        raise self._unserved("update")

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """Remove one. ``given``: an action's parameters, where old clients send them."""
        raise self._unserved("remove")

    # for who has many: overridden where one query does it

    def many(self, call: Call, identifiers: Iterable[str]) -> Mapping[str, Object]:
        """Those of the ids that there are."""
        found = ((one, self.get(call, one)) for one in dict.fromkeys(identifiers))
        return {one: value for one, value in found if value is not None}

    def under(self, calls: Sequence[Call]) -> Sequence[Sequence[Object]]:
        """The objects of the same collection below many parents, in the order of the calls."""
        return [self.list(call, EVERY) for call in calls]

    def stamps(self, call: Call, listing: Listing) -> Sequence[tuple[str, int]] | None:
        """(id, generation) of what :meth:`list` would give, where an object depends on nothing but its generation; else
        ``None``. Then what was rendered once is used again until it changes."""
        return None

    def links(self, call: Call) -> tuple[tuple[str, str], ...]:
        """Further links of an object: (relation, address)."""
        return ()

    def exists(self, call: Call, identifier: str) -> bool:
        """Whether there is one."""
        return self.get(call, identifier) is not None

    def named(self, call: Call, name: str) -> str | None:
        """The id of the one with that name, for references; ``None``: there is none."""
        found = self.list(call, Listing(Query(Compare(("name",), "=", name)), None, True))
        exact = [row for row in found if row.get("name") == name]
        return str(exact[0]["id"]) if exact else None

    def serves_below(self, parent: str) -> bool:
        """Whether there is such a collection below objects of the struct ``parent`` (empty: at the root)."""
        return True

    def serves(self, method: str) -> bool:
        """Whether this noun has its own ``list``, ``get``, ``add``, ``update`` or ``remove``."""
        return getattr(type(self), method) is not getattr(Noun, method)

    def place(self, call: Call, given: Mapping[str, Any]) -> Key:
        """In what a new object at the root will be: whoever may add one there may add it."""
        return place_of(given)

    def _unserved(self, method: str) -> Failed:
        return Failed(
            "trivet.defect",
            subject=f"{self.kind}.{method}",
            reason="it is not served, but was called",
            remedy="Report this.",
        )
