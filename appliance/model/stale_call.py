"""What a node's agent notes when it refuses an engine: for the broker, which tells people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StaleCall:
    """A call that was refused because a later engine had been followed before: whoever sent it commands nobody any more."""

    caller: str
    """Name of the caller's certificate."""
    epoch: int
    """What it sent."""
    highest: int
    """What this node follows."""
    at_s: float
    """When, by this boot's monotonic clock."""
