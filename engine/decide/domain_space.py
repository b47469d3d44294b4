"""Whether a storage domain has room: oVirt's two thresholds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

GIB = 1024**3
GRAIN_BYTES = GIB
"""A change of what is available that is smaller is not written down: at full speed that is a commit every few seconds, and
no threshold is finer."""
WARNING_LOW_SPACE_PERCENT = 10
CRITICAL_SPACE_GIB = 5
"""Both oVirt's defaults."""

Level = Literal["ok", "low", "critical"]
EVENTS: Mapping[Level, str] = {"low": "IRS_DISK_SPACE_LOW", "critical": "IRS_DISK_SPACE_LOW_ERROR"}
"""What people are told when a domain gets there."""
ORDER: tuple[Level, ...] = ("ok", "low", "critical")


def critical_bytes(body: Mapping[str, Any]) -> int:
    """Below this nothing new is made on the domain."""
    given = body.get("critical_space_action_blocker")
    return (CRITICAL_SPACE_GIB if given is None else int(given)) * GIB


def level(body: Mapping[str, Any], available_bytes: int, used_bytes: int) -> Level:
    """How a domain is off. ``body``: its thresholds."""
    given = body.get("warning_low_space_indicator")
    percent = WARNING_LOW_SPACE_PERCENT if given is None else int(given)
    if available_bytes < critical_bytes(body):
        return "critical"
    return "low" if available_bytes * 100 < (available_bytes + used_bytes) * percent else "ok"


def is_news(before: int | None, available_bytes: int, was: str, now: Level) -> bool:
    """Whether it is worth a write."""
    return before is None or was != now or abs(before - available_bytes) >= GRAIN_BYTES


def has_got_worse(was: str, now: Level) -> bool:
    """Whether people are to be told."""
    return now in EVENTS and ORDER.index(now) > (ORDER.index(was) if was in ORDER else 0)
