"""What makes a method of an interface a route: :func:`route`. See :mod:`appliance.wire.definition`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Access = Literal["join", "node", "command"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Route:
    """How a method is reached. ``timeout_s`` is the client's default deadline for it."""

    verb: Literal["GET", "POST"]
    path: str
    access: Access
    timeout_s: float


def route(verb: Literal["GET", "POST"], path: str, access: Access, timeout_s: float = 10.0) -> Callable[[F], F]:
    """Mark an interface method as a route."""

    def mark(method: F) -> F:
        method.__dict__["route"] = Route(verb, path, access, timeout_s)
        return method

    return mark
