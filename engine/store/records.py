"""What the store hands out and takes: frozen data, so that nobody outside sees a peewee object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ItemKind = Literal["host", "cluster", "data_center", "storage_domain", "vm"]
Severity = Literal["normal", "warning", "error", "alert"]


@dataclass(frozen=True)
class StartRecord:
    """A start of the engine: its epoch, the node it was on, when (wall clock, ms)."""

    epoch: int
    host: str
    version: str
    boot_id: str
    wall_ms: int


@dataclass(frozen=True)
class AccountRecord:
    """An account as the login sees it."""

    id: str
    name: str
    domain: str
    password_hash: str
    enabled: bool

    @property
    def principal(self) -> str:
        """``admin@internal``."""
        return f"{self.name}@{self.domain}"


@dataclass(frozen=True)
class EventRecord:
    """Something that happened. ``id`` 0 before it is stored; ids grow. ``host_id`` and ``vm_id`` may be empty."""

    severity: Severity
    origin: str
    description: str
    code: int
    wall_ms: int
    id: int = 0
    custom_id: int | None = None
    correlation_id: str = ""
    account_id: str = ""
    host_id: str = ""
    vm_id: str = ""
    refs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kind → id and name (as it was then) of what it is about."""
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemRecord:
    """An object of the inventory; ``body`` its further attributes as JSON data."""

    kind: ItemKind
    id: str
    name: str
    body: Mapping[str, object]


@dataclass(frozen=True)
class Heard:
    """What a node said: ``body`` JSON data, ``age_s`` how long ago it was heard."""

    node: str
    kind: str
    body: object
    age_s: float
