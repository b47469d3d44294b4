"""What the API answers, before a codec makes text of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BASE = "/ovirt-engine/api"

Object = Mapping[str, Any]
"""A struct's attributes by the model's names: text, bool, int, float, aware datetime, mappings, lists.

Besides: ``link`` (list of :class:`Link`) and, for a missing value, ``None`` (left out)."""


@dataclass(frozen=True)
class Link:
    """A ``link`` element: relation and address (beginning with the base path)."""

    rel: str
    href: str


@dataclass(frozen=True)
class Item:
    """One object. ``kind`` names its struct."""

    kind: str
    value: Object


@dataclass(frozen=True)
class Collection:
    """A list of objects of one struct (``kind``)."""

    kind: str
    values: Sequence[Object]


@dataclass(frozen=True)
class Fault:
    """What v4 answers instead of an object when a request went wrong."""

    reason: str
    detail: str


Document = Item | Collection | Fault
