"""The model of API v4: structs, enums and services, loaded from the committed ``model.json.gz``."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MODEL_FILE = Path(__file__).with_name("model.json.gz")
PRIMITIVES = frozenset({"string", "boolean", "integer", "decimal", "date"})


@dataclass(frozen=True)
class Attribute:
    """An attribute of a struct. ``kind`` is a primitive, an enum or a struct; ``many`` the item's tag of a list, or empty.

    ``rel`` is the relation of the link that stands for the list when it is not inlined; ``in_tag`` means an XML attribute.
    """

    name: str
    tag: str
    kind: str
    many: str
    rel: str
    in_tag: bool


@dataclass(frozen=True)
class Struct:
    """A type with attributes, in the order in which they are written."""

    name: str
    singular: str
    plural: str
    attributes: tuple[Attribute, ...]
    by_tag: Mapping[str, Attribute]


@dataclass(frozen=True)
class Service:
    """A service of the tree: its methods (list, get, add …), actions, and sub-services by path segment.

    ``kind`` is the struct that it answers, empty for the few that answer none; ``parameters`` has, for each method and
    action, name → primitive, enum or struct (``list`` for lists).
    """

    name: str
    kind: str
    methods: tuple[str, ...]
    actions: tuple[str, ...]
    locators: Mapping[str, str]
    parameters: Mapping[str, Mapping[str, str]]

    @property
    def item(self) -> str:
        """The service of one object of this collection, or empty."""
        return self.locators.get("{id}", "")


@dataclass(frozen=True)
class Model:
    """The whole of API v4 as the published SDK knows it."""

    structs: Mapping[str, Struct]
    enums: Mapping[str, tuple[str, ...]]
    services: Mapping[str, Service]
    roots: Mapping[str, str]
    """Struct → path of the collection at the root that holds its objects: where references point."""

    def struct(self, name: str) -> Struct:
        return self.structs[name]


@cache
def model() -> Model:
    """The model; read once."""
    raw = json.loads(gzip.decompress(MODEL_FILE.read_bytes()))
    structs = {}
    for name, row in raw["structs"].items():
        attributes = tuple(
            Attribute(a["name"], a["tag"], a["kind"], a.get("many", ""), a.get("rel", ""), a.get("xml") == "attribute")
            for a in row["attributes"]
        )
        structs[name] = Struct(name, row["singular"], row["plural"], attributes, {a.tag: a for a in attributes})
    services = {
        name: Service(name, row["kind"], tuple(row["methods"]), tuple(row["actions"]), row["locators"], row["parameters"])
        for name, row in raw["services"].items()
    }
    roots: dict[str, str] = {}
    for path, name in services["System"].locators.items():
        if services[name].item and services[services[name].item].kind not in roots:
            roots[services[name].kind] = path
    return Model(structs, {name: tuple(values) for name, values in raw["enums"].items()}, services, roots)
