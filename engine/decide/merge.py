"""What a change means to a struct that is there already. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(before: Any, given: Any) -> Any:
    """``given`` over ``before``: what a client does not mention of a struct stays; lists and plain values are replaced."""
    if isinstance(before, Mapping) and isinstance(given, Mapping):
        return {**before, **{name: merged(before.get(name), value) for name, value in given.items()}}
    return given
