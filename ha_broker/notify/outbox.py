"""When a place is written to: gathered, limited, retried. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from ha_broker.notify.events import Position, Told

GATHER_S = 4.0
"""From the first event to the message: a start has three events within a second, a failover's first ones four."""
MESSAGES_MAX = 6
"""Within the window below; what happens beyond it comes in one digest when the window allows. A flapping link must not
fill a mailbox: 36 an hour at most."""
WINDOW_S = 600.0
RETRY_FIRST_S = 5.0
"""After a failed delivery; doubles with each one in a row …"""
RETRY_LAST_S = 600.0
"""… up to this: a server that was repaired gets its messages within ten minutes."""
GIVE_UP_S = 3 * 86_400.0
"""Events older than this are not tried any more: a weekend's outage of the mail server is outlasted."""


BEGINNING = Position()


@dataclass(frozen=True)
class Place:
    """What is remembered of one place, over restarts. ``delivered`` is the position behind the last event that it has."""

    delivered: Position = BEGINNING
    sent_wall_s: tuple[float, ...] = ()
    """Of the messages within the window."""
    failures: int = 0
    """In a row."""
    failed_wall_s: float = 0.0
    error: str = ""
    given_up: int = 0
    """Events that were dropped after ``GIVE_UP_S``, ever."""


def due_wall_s(place: Place, waiting: Sequence[Told], now_wall_s: float) -> float:
    """When the events that wait are to be sent. Wall time, because events and restarts know no other; a clock that jumps
    costs one message too early or a gathering anew, never an event."""
    gathered_s = min(waiting[0].event.wall_s, now_wall_s) + GATHER_S
    retry_s = min(place.failed_wall_s, now_wall_s) + backoff_s(place.failures) if place.failures else 0.0
    recent = _recent(place, now_wall_s)
    limited_s = recent[-MESSAGES_MAX] + WINDOW_S if len(recent) >= MESSAGES_MAX else 0.0
    return max(gathered_s, retry_s, limited_s)


def backoff_s(failures: int) -> float:
    """The wait after so many failures in a row."""
    return min(RETRY_FIRST_S * 2 ** min(failures - 1, 16), RETRY_LAST_S) if failures else 0.0


def delivered(place: Place, behind: Position, now_wall_s: float) -> Place:
    """After a message was taken."""
    recent = (*_recent(place, now_wall_s), now_wall_s)[-MESSAGES_MAX:]
    return replace(place, delivered=behind, sent_wall_s=recent, failures=0, failed_wall_s=0.0, error="")


def failed(place: Place, error: str, now_wall_s: float) -> Place:
    """After a delivery that failed."""
    return replace(place, failures=place.failures + 1, failed_wall_s=now_wall_s, error=error)


def without_old(place: Place, waiting: Sequence[Told], now_wall_s: float) -> Place:
    """The place with those events given up that nobody can be told in time any more."""
    old = list(takewhile(lambda one: now_wall_s - one.event.wall_s > GIVE_UP_S, waiting))
    if not old or not place.failures:
        return place
    return replace(place, delivered=old[-1].behind, given_up=place.given_up + len(old))


def _recent(place: Place, now_wall_s: float) -> list[float]:
    return [at_s for at_s in place.sent_wall_s if 0 <= now_wall_s - at_s < WINDOW_S]
