"""One life of a simulated broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ha_broker.broker import Broker
from ha_broker.sim.beside import SimBeside


def _never() -> None:
    raise AssertionError("a process that was not started makes no turn")


@dataclass(eq=False)
class Process:
    """One life of a broker."""

    broker: Broker
    beside: SimBeside
    began_s: float = 0.0
    """Of the current turn."""
    stopped: bool = False
    alive: bool = True
    first_half: Callable[[], None] = _never
    second_half: Callable[[], None] = _never
    """Of its turns."""
