"""One module per noun: from the engine's picture to objects of the model. Rows in :mod:`engine.api.registry`."""

from __future__ import annotations

import datetime as dt

from engine.api.documents import BASE


def ref(collection: str, identifier: str) -> dict[str, str]:
    """A reference to an object: what stands inside other objects."""
    return {"href": f"{BASE}/{collection}/{identifier}", "id": identifier}


def when(wall_ms: int) -> dt.datetime:
    """A wall time as the codecs want it."""
    return dt.datetime.fromtimestamp(wall_ms / 1000, dt.UTC)
