"""``follow``: what an object only refers to or links to, put inside it. ``disk_attachments.disk,nics`` goes as deep as it
says.

Each step is one call for all objects of a list (``Noun.under``, ``Noun.many``), not one for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Refused
from engine.api.documents import BASE, Links, Object
from engine.api.model import Attribute, model
from engine.api.noun import Call
from engine.api.offers import Offers

DEPTH_LIMIT = 6
"""Steps of one path: the longest that makes sense has four."""
PATHS_LIMIT = 40
"""Paths in one request."""

Tree = dict[str, Any]
"""What to follow: attribute → the same below it."""


def parse(text: str) -> Tree:
    """The paths of the parameter. Raises ``Refused`` for too many or too deep."""
    tree: Tree = {}
    paths = [path.strip() for path in text.split(",") if path.strip()]
    if len(paths) > PATHS_LIMIT or any(path.count(".") >= DEPTH_LIMIT for path in paths):
        raise Refused(
            "api.follow",
            subject="parameter 'follow'",
            reason=f"it has more than {PATHS_LIMIT} paths, or one with more than {DEPTH_LIMIT} steps",
            remedy="Follow less at once.",
        )
    for path in paths:
        at = tree
        for step in path.split("."):
            at = at.setdefault(step, {})
    return tree


@dataclass(frozen=True)
class Follow:
    """Follows for one request."""

    call: Call
    offers: Offers

    def into(self, collection: str, kind: str, rows: Sequence[Object], tree: Tree) -> tuple[list[Object], Links]:
        """The rows with what ``tree`` names inside, and what they offer then."""
        found: list[dict[str, Any]] = [dict(row) for row in rows]
        inlined: set[str] = set()
        inside: list[tuple[str, Links]] = []
        for step, deeper in tree.items():
            attribute, path = _attribute(kind, collection, step)
            if path:
                links = self._below(collection, path, attribute, found, deeper)
                inlined.add(path)
            else:
                links = self._referred(attribute, found, deeper)
            inside.append((attribute.name, links))
        links = self.offers.of(collection, frozenset(inlined))
        return [*found], Links(links.collections, links.actions, links.extra, tuple(inside))

    def _below(self, collection: str, path: str, attribute: Attribute, rows: list[dict[str, Any]], deeper: Tree) -> Links:
        """A sub-collection."""
        services = model().services
        service = services[services[services[collection].item].locators[path]]
        noun = self.call.nouns.get(service.name)
        kind = model().services[collection].kind
        links = self.offers.of(service.name)
        if noun is None or not noun.serves("list") or not noun.serves_below(kind):
            for row in rows:
                row[attribute.name] = []
            return links
        parents = self.call.parents
        calls = [
            self.call.below(service.name, f"{row['href']}/{path}", *parents, (kind, str(row["id"])))
            for row in rows
            if "href" in row
        ]
        lists = [
            [{**one, "href": f"{call.place}/{one['id']}"} if "id" in one else one for one in under]
            for call, under in zip(calls, noun.under(calls), strict=True)
        ]
        flat, links = self.into(service.name, noun.kind, [one for under in lists for one in under], deeper)
        at = 0
        for row, under in zip((row for row in rows if "href" in row), lists, strict=True):
            row[attribute.name] = flat[at : at + len(under)]
            at += len(under)
        return links

    def _referred(self, attribute: Attribute, rows: list[dict[str, Any]], deeper: Tree) -> Links:
        """References to objects at the root: one, or a list of them."""
        path = model().roots.get(attribute.kind, "")
        collection = model().services["System"].locators.get(path, "")
        noun = self.call.nouns.get(collection)
        links = self.offers.of(collection)
        if noun is None or not noun.serves("get"):
            return links
        place = f"{BASE}/{path}"
        refs = [ref for row in rows for ref in _references(row.get(attribute.name))]
        wanted = list(dict.fromkeys(str(ref["id"]) for ref in refs if ref.get("id")))
        known: Mapping[str, Object] = noun.many(self.call.below(collection, place), wanted)
        ids = list(known)
        full, links = self.into(collection, noun.kind, [{**known[one], "href": f"{place}/{one}"} for one in ids], deeper)
        by_id = dict(zip(ids, full, strict=True))
        for row in rows:
            held = row.get(attribute.name)
            if isinstance(held, Mapping):
                row[attribute.name] = by_id.get(str(held.get("id")), held)
            elif held:
                row[attribute.name] = [by_id.get(str(one.get("id")), one) for one in held]
        return links


def _references(held: Any) -> list[Mapping[str, Any]]:
    return [held] if isinstance(held, Mapping) else list(held or ())


def _attribute(kind: str, collection: str, step: str) -> tuple[Attribute, str]:
    """The attribute that a step names (``disk_attachments`` or ``diskattachments``), and the path of its sub-collection, or
    empty for a reference."""
    services = model().services
    locators = services[services[collection].item].locators if services[collection].item else {}
    plain = step.replace("_", "").lower()
    for attribute in model().struct(kind).attributes:
        if plain in (attribute.name.replace("_", ""), attribute.tag.replace("_", "")) and attribute.kind in model().structs:
            path = attribute.rel or attribute.tag.replace("_", "")
            return attribute, path if attribute.many and path in locators else ""
    raise Refused(
        "api.follow",
        subject="parameter 'follow'",
        reason=f"{kind} has no '{step[:60]}' that could be followed",
        remedy="Name references and links of the object, as they are called in its answer.",
    )
