"""The three forms of the API behind one shape, and the memory of what was rendered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Protocol

from engine.api import json_typed, json_v4, xml
from engine.api.documents import NO_LINKS, Collection, Document, Fault, Item, Links, Object


class Codec(Protocol):
    """A form. The modules :mod:`xml`, :mod:`json_v4` and :mod:`json_typed` are of this shape."""

    CONTENT_TYPE: str

    def core(self, kind: str, value: Object, links: Links = ...) -> str:
        """An object's attributes without address, id and links."""

    def item(self, kind: str, href: str | None, identifier: str | None, inner: str, links: Links = ...) -> str:
        """An object around its core."""

    def bare(self, name: str, identifier: str, links: Links) -> str:
        """An object that the model does not have: its id and plain values."""

    def single(self, kind: str, text: str) -> bytes:
        """The document of one object."""

    def collection(self, kind: str, items: Iterable[str]) -> bytes:
        """The document of a list."""

    def fault(self, given: Fault) -> bytes:
        """The document of a fault."""

    def decode(self, kind: str, body: bytes) -> dict[str, Any]:
        """The body of a request as an object of ``kind``."""


XML: Codec = xml
JSON_V4: Codec = json_v4
JSON_TYPED: Codec = json_typed
CODECS = {codec.CONTENT_TYPE: codec for codec in (XML, JSON_V4, JSON_TYPED)}


def encode(codec: Codec, document: Document) -> bytes:
    """The document in that form."""
    if isinstance(document, Fault):
        return codec.fault(document)
    kind, links = document.kind, document.links
    if isinstance(document, Item):
        return codec.single(kind, rendered(codec, kind, document.value, links))
    assert isinstance(document, Collection)
    return codec.collection(kind, [rendered(codec, kind, value, links) for value in document.values])


def rendered(codec: Codec, kind: str, value: Object, links: Links = NO_LINKS) -> str:
    """One object's text."""
    identifier = value.get("id")
    own = str(identifier) if isinstance(identifier, int) else identifier  # a VLAN's id is its number
    return codec.item(kind, value.get("href"), own, codec.core(kind, value, links), links)


FRAGMENTS_BYTES = 32 * 1024 * 1024
"""Memory for rendered objects: 1,000 VMs in all three forms take 10 MiB; the engine has 300 MiB in all."""

FragmentKey = tuple[str, str, str, int]
"""(form, kind, id, generation)."""


class Fragments:
    """Cores by (form, kind, id, generation): what did not change need not be read or rendered again. Thread-safe.

    A generation is never used twice, so nothing in here can be wrong; what is old is dropped when memory is needed.
    """

    def __init__(self, limit_bytes: int = FRAGMENTS_BYTES) -> None:
        self._limit_bytes, self._held_bytes = limit_bytes, 0
        self._texts: OrderedDict[FragmentKey, str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Iterable[FragmentKey]) -> dict[FragmentKey, str]:
        """Those that are known."""
        texts = self._texts
        with self._lock:
            found = {key: text for key in keys if (text := texts.get(key)) is not None}
            if self._held_bytes * 2 > self._limit_bytes:  # order matters only when something will have to go
                for key in found:
                    texts.move_to_end(key)
        return found

    def put(self, texts: dict[FragmentKey, str]) -> None:
        """Remember these; forget those used longest ago beyond the limit."""
        with self._lock:
            for key, text in texts.items():
                if key not in self._texts:
                    self._held_bytes += len(text)
                self._texts[key] = text
            while self._held_bytes > self._limit_bytes and self._texts:
                _, dropped = self._texts.popitem(last=False)
                self._held_bytes -= len(dropped)
