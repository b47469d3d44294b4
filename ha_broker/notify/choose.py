"""Which happenings are told, and by whom, so that three nodes do not tell one thing three times. Pure."""

from __future__ import annotations

from appliance.model.ha import HaStatus
from ha_broker.limits import BROKER_SILENT_S
from ha_broker.ports import Event

QUIET = frozenset({"decided", "standby"})
"""Not told: what a broker merely thinks, and a start that the lock refused. All else is, so that a kind of event that is new
is told rather than forgotten."""

SHARED = frozenset({"alert", "alert-over", "finding"})
"""What every broker sees: one of them tells it. Everything else was done by the very broker that wrote it, once."""


def told_here(event: Event, status: HaStatus | None, own: str) -> bool:
    """Whether the node ``own`` tells it. ``status`` is what its broker says now; None or old: unknown.

    Rule: a broker tells what it did, and what is wrong with its own host; the rest is told by the host with the engine VM,
    or, while nobody has it, by the best living one. In doubt it is told: twice is better than never.
    """
    if event.kind in QUIET:
        return False
    if event.kind not in SHARED or event.subject == own:
        return True
    if status is None or status.broker_age_s > BROKER_SILENT_S:
        return True
    return teller(status, own) == own


def teller(status: HaStatus, own: str) -> str:
    """Who tells what all see."""
    living = [host for host in status.hosts if host.alive]
    holder = next((host for host in living if host.engine_here), None)
    if holder is not None:
        return holder.name
    return min(living, key=lambda host: (-host.score, host.name)).name if living else own
