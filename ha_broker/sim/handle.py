"""The data disk as a QEMU has it open, and a write that was accepted: data of :mod:`ha_broker.sim.volume`."""

from __future__ import annotations

from typing import NamedTuple


class Write(NamedTuple):
    """A write to the data disk that was accepted."""

    at_s: float
    host: str
    epoch: int
    beyond: bool
    """Beyond the first 64 MiB."""
    handle: int
    version: int
    bricks: tuple[str, ...]
    """Those that took it."""


class Handle:
    """The data disk, opened by a QEMU of ``host``."""

    __slots__ = ("bad", "good", "host", "is_open", "locked", "number", "wants")

    def __init__(self, number: int, host: str) -> None:
        self.number = number
        self.host = host
        self.is_open = True
        self.wants = False
        """It has asked for the lock, and got it."""
        self.good: set[str] = set()
        """Bricks on which it is open."""
        self.locked: set[str] = set()
        """Bricks that hold its lock."""
        self.bad: set[str] = set()
        """Bricks on which it lost its lock: with strict locks, bad there until the file is opened anew."""

    def __repr__(self) -> str:
        return f"<handle {self.number} of {self.host}: good {sorted(self.good)} locked {sorted(self.locked)}>"
