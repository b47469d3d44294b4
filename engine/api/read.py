"""Answering reads: one object, or a list, from the memory of rendered objects where that is possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response

from engine.api import follow
from engine.api.answers import answer, codec, missing, text
from engine.api.codecs import FragmentKey, Fragments
from engine.api.documents import Collection, Item, Links, Object
from engine.api.noun import Call, Noun
from engine.api.offers import Offers
from engine.api.tags import conditional

GENERATION = "generation"
"""Beside the model's attributes, an object may say how often it was changed: its entity tag."""


@dataclass(frozen=True)
class Reading:
    """One request's reads of one noun."""

    call: Call
    noun: Noun
    offers: Offers
    fragments: Fragments

    def addressed(self, value: Object) -> dict[str, Any]:
        """The object with its address in this collection."""
        if "href" in value:
            return dict(value)
        if not self.noun.serves("list") or "id" not in value:
            return {"href": self.call.place, **value}
        return {"href": f"{self.call.place}/{value['id']}", **value}

    def one(self, identifier: str) -> Response:
        """One object, or 404."""
        value = self.noun.get(self.call, identifier)
        if value is None:
            return missing()
        rows, links = self._followed([self.addressed(value)])
        extra = self.noun.links(self.call)
        if extra:
            links = Links(links.collections, links.actions, (*links.extra, *extra), links.inside)
        return conditional(answer(Item(self.noun.kind, rows[0], links)), value)

    def all(self) -> Response:
        """The list."""
        listing = self.call.parameters.listing
        if not self.call.parameters.text("follow"):
            stamps = self.noun.stamps(self.call, listing)
            if stamps is not None:
                return self._remembered(stamps)
        rows, links = self._followed([self.addressed(row) for row in self.noun.list(self.call, listing)])
        return conditional(answer(Collection(self.noun.kind, rows, links)))

    def _followed(self, rows: Sequence[Object]) -> tuple[Sequence[Object], Links]:
        asked = self.call.parameters.text("follow")
        if not asked:
            return rows, self.offers.of(self.call.service)
        tree = follow.parse(asked)
        return follow.Follow(self.call, self.offers).into(self.call.service, self.noun.kind, rows, tree)

    def _remembered(self, stamps: Sequence[tuple[str, int]]) -> Response:
        """A list of which only what changed is read and rendered."""
        chosen, kind, place = codec(), self.noun.kind, self.call.place
        form = chosen.CONTENT_TYPE
        keys: list[FragmentKey] = [(form, kind, identifier, generation) for identifier, generation in stamps]
        known = self.fragments.get(keys)
        lacking = [key for key in keys if key not in known]
        if lacking:
            values = self.noun.many(self.call, [key[2] for key in lacking])
            fresh: dict[FragmentKey, str] = {}
            for identifier, value in values.items():
                generation = value.get(GENERATION)
                if generation is not None:
                    fresh[form, kind, identifier, int(generation)] = chosen.core(kind, value)
            self.fragments.put(fresh)
            known.update(fresh)
            newer = {key[2]: key for key in fresh}
            keys = [key if key in known else newer.get(key[2], key) for key in keys]
        links = self.offers.of(self.call.service)
        items = [chosen.item(kind, f"{place}/{key[2]}", key[2], known[key], links) for key in keys if key in known]
        return conditional(text(chosen.collection(kind, items), chosen))
