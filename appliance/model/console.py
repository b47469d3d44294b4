"""A serial console that the engine asks a node for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConsoleRequest:
    """The first line of a connection. ``vm``: its name on the host; ``holder``: who will have it, as others are told;
    ``epoch``: the engine's."""

    vm: str
    holder: str
    epoch: int


@dataclass(frozen=True)
class Holder:
    """Who has a console, in its locked file. ``since_wall_s``: wall clock."""

    name: str
    since_wall_s: float
