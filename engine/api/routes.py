"""Every route that is served, from the registry and the model: what OpenAPI describes, and what tests walk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine.api.documents import BASE
from engine.api.model import Service, model
from engine.api.noun import Noun
from engine.api.tree import ROOT

DEPTH_LIMIT = 4
"""Collections in each other: data center, quota, limit; more is nowhere in the tree but in circles."""


@dataclass(frozen=True)
class Route:
    """A method at an address. ``path`` has ``{vm}`` for the ids on the way; ``method`` is HTTP's, ``word`` the model's
    (``list``,
    an action); ``service`` is the one that has it; ``kind`` of what is sent and answered; ``parent`` struct above, if
    any."""

    path: str
    method: str
    word: str
    service: str
    kind: str
    parent: str = ""
    is_action: bool = False

    @property
    def parameters(self) -> Mapping[str, str]:
        """The query parameters that the model knows: name → type."""
        known = model().services[self.service].parameters.get(self.word, {})
        return {name: kind for name, kind in known.items() if kind not in model().structs and kind != "list"}


def routes(nouns: Mapping[str, Noun]) -> Iterator[Route]:
    """All of them, the root first."""
    root = model().services[ROOT]
    yield Route(BASE, "get", "get", ROOT, "Api")
    yield from _below(nouns, root, BASE, "", 0)


def _below(nouns: Mapping[str, Noun], service: Service, path: str, parent: str, depth: int) -> Iterator[Route]:
    if depth >= DEPTH_LIMIT:
        return
    for segment, name in service.locators.items():
        noun = nouns.get(name)
        if segment == "{id}" or noun is None or not noun.serves_below(parent):
            continue
        collection, here = model().services[name], f"{path}/{segment}"
        kind = collection.kind
        if noun.serves("list"):
            yield Route(here, "get", "list", name, kind, parent)
        if noun.serves("add") and "add" in collection.methods:
            yield Route(here, "post", "add", name, kind, parent)
        for action in noun.collection_actions:
            if action in collection.actions:
                yield Route(f"{here}/{action}", "post", action, name, "Action", parent, True)
        if not collection.item:
            continue
        item = model().services[collection.item]
        word = model().struct(kind).singular
        own = f"{here}/{{{word}}}"
        for method, served in (("get", "get"), ("put", "update"), ("delete", "remove")):
            if noun.serves(served) and served in item.methods:
                yield Route(own, method, served, item.name, kind, parent)
        for action in noun.actions:
            if action in item.actions:
                yield Route(f"{own}/{action}", "post", action, item.name, "Action", parent, True)
        yield from _below(nouns, item, own, kind, depth + 1)
