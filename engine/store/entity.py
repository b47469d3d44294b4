"""One entity as the store hands it out and takes it, its two tables, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from peewee import Table

from appliance.errors import Conflict, NotFound

COLUMNS = (
    "kind", "id", "name", "status", "locked_as", "parent_kind", "parent_id", "unique_key", "generation", "created_ms",
    "changed_ms", "refs", "body",
)  # fmt: skip
ENTITY: Any = Table("entity", COLUMNS)
RELATION: Any = Table("relation", ("source_kind", "source_id", "name", "target_kind", "target_id"))
Key = tuple[str, str]
"""(kind, id)."""


@dataclass(frozen=True)
class Entity:
    """One object. What a caller makes has ``generation`` 0; the store fills it and the two times (ms since 1970).

    ``status`` is its own; ``locked_as`` is what a job shows instead while it holds the entity. ``parent`` owns it (removed
    together). ``unique_key``: no two of a kind may have the same (``None``: any number may). ``refs``: strong references by
    the names of :data:`engine.store.kinds.REFERENCES`. ``body``: attributes of the v4 model with native values.
    """

    kind: str
    id: str
    name: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    refs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parent: Key | None = None
    status: str = ""
    unique_key: str | None = None
    locked_as: str = ""
    generation: int = 0
    created_ms: int = 0
    changed_ms: int = 0

    @property
    def key(self) -> Key:
        return self.kind, self.id

    @property
    def shown_status(self) -> str:
        """What clients see: the lock's word while a job holds it."""
        return self.locked_as or self.status

    def ref(self, name: str) -> str:
        """The one target of a reference, empty when there is none."""
        return next(iter(self.refs.get(name, ())), "")

    def with_body(self, **attributes: Any) -> Entity:
        """A copy with these attributes changed."""
        return replace(self, body={**self.body, **attributes})

    def without(self, *names: str) -> Entity:
        """A copy without these attributes."""
        return replace(self, body={name: value for name, value in self.body.items() if name not in names})

    def with_refs(self, **refs: str | tuple[str, ...]) -> Entity:
        """A copy with these references changed; an empty one is dropped."""
        given = {name: (value,) if isinstance(value, str) and value else tuple(value) for name, value in refs.items()}
        return replace(self, refs={name: value for name, value in {**self.refs, **given}.items() if value})


def unknown(kind: str, identifier: str) -> NotFound:
    """There is no such entity."""
    return NotFound(
        "entity.unknown",
        subject=f"{kind} {identifier}",
        reason="there is none",
        remedy="List the collection to see what there is.",
        facts={"kind": kind, "id": identifier},
    )


def exists(entity: Entity, reason: str) -> Conflict:
    """The database has one already that this one would be taken for."""
    return Conflict(
        "entity.exists",
        subject=f"{entity.kind} {entity.name or entity.id}",
        reason=reason,
        remedy="Choose another name.",
        facts={"kind": entity.kind, "id": entity.id},
    )


def changed(entity: Entity) -> Conflict:
    """Somebody else was faster."""
    return Conflict(
        "entity.changed",
        subject=f"{entity.kind} {entity.name or entity.id}",
        reason="it has been changed by somebody else since it was read",
        remedy="Read it again and repeat the change.",
        facts={"kind": entity.kind, "id": entity.id},
    )
