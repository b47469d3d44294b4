"""One module per noun: from the engine's picture to objects of the model. All of them in :mod:`engine.api.registry`."""

from __future__ import annotations


def ref(identifier: str) -> dict[str, str]:
    """A reference to an object: what stands inside other objects."""
    return {"id": identifier}
