"""A status in words: the same on the terminal, on the node's page and in a message. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from appliance.model.ha import EngineHa, HaDecision, HaStatus, HostHa
from ha_broker.limits import BROKER_SILENT_S

Mood = Literal["good", "bad", "busy", "plain"]
"""Which colour a word deserves, where there are colours."""

DECISIONS_SHOWN = 10
"""The last ones on a screen: an incident has about five."""


def mood_of(status: HaStatus) -> Mood:
    """How the engine fares."""
    moods: dict[str, Mood] = {"up": "good", "starting": "busy", "down": "bad", "unknown": "bad"}
    return moods[status.engine.state]


def engine_words(engine: EngineHa, now_wall_s: float) -> str:
    """As in: up on node1 since 14:03:12 UTC (2 h 11 min), epoch 7."""
    where = f" on {engine.host}" if engine.host else ""
    since = _since(engine.since, now_wall_s)
    epoch = f", epoch {engine.epoch}" if engine.host else f", last epoch {engine.epoch}" if engine.epoch else ""
    return f"{engine.state}{where}{since}{epoch}"


def _since(iso: str, now_wall_s: float) -> str:
    try:
        began = datetime.fromisoformat(iso)
    except ValueError:
        return ""
    if began.tzinfo is None:
        return ""
    for_s = now_wall_s - began.timestamp()
    today = datetime.fromtimestamp(now_wall_s, UTC).date() == began.astimezone(UTC).date()
    when = began.astimezone(UTC).strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")
    return f" since {when} UTC" + (f" ({span(for_s)})" if for_s >= 0 else "")


def span(seconds: float) -> str:
    """A span of time as people say it: "12 s", "5 min", "2 h 11 min", "3 days"."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days"


def start_words(status: HaStatus) -> str:
    """How the engine VM would be started on the answering host."""
    return status.warm or "not known"


def fence_words(status: HaStatus) -> str:
    """How firmly the holder has the data disk."""
    fence = status.fence
    if fence.text:
        return fence.text
    if fence.bricks:
        return f"disk open on {fence.open_on} of {fence.bricks} bricks"
    return "nobody has the disk" if status.engine.state == "down" else "not known"


def maintenance_words(status: HaStatus) -> str:
    """Global and local maintenance, and what they mean."""
    local = ", ".join(host.name for host in status.hosts if host.maintenance)
    if status.maintenance == "global":
        also = f"; local on {local}" if local else ""
        return f"global: no broker starts or restarts the engine VM{also}"
    return f"local on {local}: the engine VM keeps off there" if local else "none"


def waiting_words(status: HaStatus, now_wall_s: float) -> str:
    """Until when which hosts wait at most, or empty."""
    left = [(host.name, host.decision_until_s - status.broker_age_s) for host in status.hosts if host.alive]
    waits = [
        f"{name} until {clock_time(now_wall_s + left_s)} UTC ({span(left_s + 0.5)})" for name, left_s in left if left_s > 0
    ]
    return f"at most: {', '.join(waits)}" if waits else ""


def source_words(status: HaStatus) -> str:
    """Who tells this, and how fresh it is."""
    age_s = status.broker_age_s
    who = f"the broker of {status.host}" if status.host else "the broker of this node"
    return f"{who}, {age_s:.0f} s ago" if age_s > BROKER_SILENT_S else f"{who}, just now"


def alive_words(host: HostHa) -> str:
    """Whether a host answers, and what it is to the engine VM."""
    if not host.alive:
        return f"silent for {span(host.silent_s)}" if host.silent_s else "not heard of"
    return "has the engine" if host.engine_here else "maintenance" if host.maintenance else "stands by"


def score_words(host: HostHa) -> str:
    """The score; of a host that does not answer nobody knows it."""
    return str(host.score) if host.alive else "-"


def host_words(host: HostHa) -> str:
    """The last decision of a host."""
    return host.decision if host.alive or not host.decision else f"last heard: {host.decision}"


def host_mood(host: HostHa) -> Mood:
    """How a host fares."""
    if not host.alive:
        return "bad"
    if host.maintenance or host.score == 0:
        return "busy"
    return "good" if host.engine_here else "plain"


def eligible_words(host: HostHa) -> tuple[str, ...]:
    """Each penalty or bar with its reason; empty for a host with nothing against it."""
    if not host.alive or host.score:
        return host.reasons
    return tuple(f"not eligible: {reason}" for reason in host.reasons) or ("not eligible",)


def last_decisions(status: HaStatus, count: int = DECISIONS_SHOWN) -> tuple[HaDecision, ...]:
    """The newest ones of all hosts, newest first."""
    return tuple(sorted(status.decisions, key=lambda one: one.wall_s, reverse=True))[:count]


def clock_time(wall_s: float) -> str:
    """As in 14:03:12, UTC."""
    return datetime.fromtimestamp(wall_s, UTC).strftime("%H:%M:%S")


def decision_time(wall_s: float, now_wall_s: float) -> str:
    """The time of a decision; with its day when that is not today."""
    when, now = datetime.fromtimestamp(wall_s, UTC), datetime.fromtimestamp(now_wall_s, UTC)
    return when.strftime("%H:%M:%S" if when.date() == now.date() else "%m-%d %H:%M:%S")
