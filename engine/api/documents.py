"""What the API answers, before a codec makes text of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BASE = "/ovirt-engine/api"

Object = Mapping[str, Any]
"""A struct's attributes by the model's names: text, bool, int, float, dates as ms since 1970, mappings, lists.

``None`` is left out. References need only an ``id``: the codecs add the address of objects that live at the root."""


@dataclass(frozen=True)
class Links:
    """What an object of a service offers beside its attributes: sub-collections and actions, by their path segments.

    ``extra`` are links with addresses of their own (the root's searches); ``plain`` elements that the model does not have;
    ``inside`` the links of objects that ``follow`` has put into an attribute."""

    collections: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    inside: tuple[tuple[str, Links], ...] = ()
    plain: tuple[tuple[str, str], ...] = ()


NO_LINKS = Links()


@dataclass(frozen=True)
class Item:
    """One object. ``kind`` names its struct. ``links`` are rendered only for an object with an ``href``."""

    kind: str
    value: Object
    links: Links = NO_LINKS


@dataclass(frozen=True)
class Collection:
    """A list of objects of one struct (``kind``)."""

    kind: str
    values: Sequence[Object]
    links: Links = NO_LINKS


@dataclass(frozen=True)
class Fault:
    """What v4 answers instead of an object when a request went wrong. ``code`` and ``facts`` are for the typed form."""

    reason: str
    detail: str
    code: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Document = Item | Collection | Fault
