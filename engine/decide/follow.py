"""What changed, judged from how long ago each node was heard: host states and the sentences about their changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

HostStatus = Literal["up", "non_responsive", "initializing"]

SILENCE_S = 10.0
"""A node not heard for this long is non_responsive. Because a lost brick stalls a node's answers for 5.6 s
(measured), and the
nodes are asked every 2 s."""


@dataclass(frozen=True)
class Change:
    """A host went over to ``status``."""

    host: str
    status: HostStatus
    sentence: str


def host_status(age_s: float | None, since_start_s: float) -> HostStatus:
    """``age_s``: how long ago it was heard, ``None``: never. ``since_start_s``: how long we have been asking."""
    if age_s is None:
        return "initializing" if since_start_s < SILENCE_S else "non_responsive"
    return "up" if age_s < SILENCE_S else "non_responsive"


def changes(before: Mapping[str, HostStatus], now: Mapping[str, HostStatus]) -> tuple[Change, ...]:
    """The changes that people should hear about. Coming to know a host for the first time is one; ``initializing``
    is none."""
    found = []
    for host, status in sorted(now.items()):
        if status == before.get(host) or status == "initializing":
            continue
        if status == "up":
            sentence = (
                f"Host {host} is up." if host not in before or before[host] == "initializing" else f"Host {host} is back."
            )
        else:
            sentence = f"Host {host} does not answer (for {SILENCE_S:g} s)."
        found.append(Change(host, status, sentence))
    return tuple(found)
