"""What an object offers beside its attributes: links to sub-collections and actions, from the model and the registry."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from engine.api.documents import NO_LINKS, Links
from engine.api.model import model
from engine.api.noun import Noun


class Offers:
    """Links per service. Every collection that can be listed is linked (one that is not served lists as empty, which an
    SDK can follow); actions only where they work."""

    def __init__(self, nouns: Mapping[str, Noun]) -> None:
        self._nouns = nouns
        self._of = cache(self._made)

    def of(self, collection: str, without: frozenset[str] = frozenset()) -> Links:
        """What objects of the collection's service offer; ``without``: sub-collections that are inside the object
        already."""
        return self._of(collection, without)

    def _made(self, collection: str, without: frozenset[str]) -> Links:
        services = model().services
        if collection not in services or not services[collection].item:
            return NO_LINKS
        item = services[services[collection].item]
        noun = self._nouns.get(collection)
        collections = tuple(
            path for path, name in item.locators.items() if "list" in services[name].methods and path not in without
        )
        served = noun.actions if noun else {}
        return Links(collections, tuple(name for name in item.actions if name in served))
