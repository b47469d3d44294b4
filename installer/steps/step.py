"""The shape of every step, and how steps wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from appliance.errors import TrivetError, Unavailable
from appliance.journal import Log
from installer.ports import World

T = TypeVar("T")

POLL_S = 0.5  # because an agent restarts in about two seconds, and a poll costs one small TLS call


@dataclass(frozen=True)
class InstallStep:
    """One step as data (:class:`appliance.journal.Step`). ``probe`` reads only; ``action`` may be repeated at any time."""

    name: str
    title: str
    weight_s: float
    probe: Callable[[World], bool]
    action: Callable[[World, Log], None]

    def done(self, world: World) -> bool:
        return self.probe(world)

    def do(self, world: World, log: Log) -> None:
        self.action(world, log)


def patiently(world: World, ask: Callable[[], T], within_s: float) -> T:
    """The answer of ``ask``, repeated while the other side does not answer: agents restart and networks blip while nodes are
    being set up. Raises the last ``Unavailable`` after ``within_s``."""
    end_s = world.clock.monotonic_s() + within_s
    while True:
        try:
            return ask()
        except Unavailable:
            if world.clock.monotonic_s() >= end_s:
                raise
        world.clock.sleep(POLL_S)


def wait_until(world: World, is_so: Callable[[], bool], within_s: float, otherwise: Callable[[], TrivetError]) -> None:
    """Wait until ``is_so``; raise ``otherwise()`` after ``within_s``."""
    end_s = world.clock.monotonic_s() + within_s
    while not is_so():
        if world.clock.monotonic_s() >= end_s:
            raise otherwise()
        world.clock.sleep(POLL_S)
