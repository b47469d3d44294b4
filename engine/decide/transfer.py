"""Image transfers: their phases, what may be asked in which, and what becomes of one that nobody uses. Pure.

The phases are oVirt's. A transfer whose host serves its disk is ``transferring``; every other phase is on the way there, at
rest, or at its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["upload", "download"]
TimeoutPolicy = Literal["legacy", "pause", "cancel"]
Act = Literal["pause", "resume", "cancel", "finalize", "extend"]
Stop = Literal["pause", "cancel"]

PAUSED = ("paused_user", "paused_system")
FINISHED = ("finished_success", "finished_failure", "finished_cleanup")
MAY: Mapping[Act, tuple[str, ...]] = {
    "pause": ("transferring",),
    "resume": PAUSED,
    "cancel": ("transferring", *PAUSED),
    "finalize": ("transferring", *PAUSED),
    "extend": ("transferring",),
}
"""What may be asked in which phase. In all others a job is at work, or it has ended."""

INACTIVITY_S = 60
"""oVirt's TransferImageClientInactivityTimeoutInSeconds, for who names none."""
LONGEST_INACTIVITY_S = 24 * 3600
"""A client that is silent for a day has been forgotten, and its disk is locked as long."""
TICKET_S = 300
"""oVirt's ImageTransferClientTicketValidityInSeconds. An engine that is away for less costs a client nothing."""
RENEW_S = 60
"""How often a ticket is renewed meanwhile: several renewals may fail before it expires."""
KEPT_MS = 15 * 60 * 1000
"""How long an ended transfer is still shown: clients ask how it ended, and oVirt removes it after as long."""
QCOW2_FACTOR, QCOW2_EXTRA_BYTES = 1.1, 1024**2
"""How much larger a qcow2 file may be than what its guest sees: oVirt's factor, and room for the tables of a small one."""


@dataclass(frozen=True)
class Seen:
    """What is known of a transfer that should be served: its host, and what that said of the ticket. ``idle_s``: since the
    last request of a client, or since somebody extended it."""

    host_is_up: bool
    is_known: bool = True
    is_served: bool = True
    idle_s: float = 0.0
    is_cut_off: bool = False
    """Whether its host is cut off from the storage: what it answers says nothing of what it can write."""


@dataclass(frozen=True)
class Verdict:
    """``go-on``, or how the system stops it and why."""

    what: Literal["go-on", "pause", "cancel"]
    reason: str = ""


def judge(seen: Seen, direction: Direction, policy: TimeoutPolicy, inactivity_s: int) -> Verdict:
    """What becomes of a transfer. What breaks is paused, whoever waits may resume it; only silence may cancel it."""
    if not seen.host_is_up:
        return Verdict("pause", "its host does not answer")
    if seen.is_cut_off:
        return Verdict("pause", "its host is cut off from its storage")
    if not seen.is_known or not seen.is_served:
        return Verdict("pause", "its host serves it no more")
    if seen.idle_s > inactivity_s:
        return Verdict(on_silence(direction, policy), f"nothing was transferred for {inactivity_s} seconds")
    return Verdict("go-on")


def on_silence(direction: Direction, policy: TimeoutPolicy) -> Stop:
    """``legacy``: who uploads may come back, who downloads begins anew."""
    if policy == "legacy":
        return "pause" if direction == "upload" else "cancel"
    return policy


def room_of(virtual_bytes: int) -> int:
    """How long a qcow2 file may be that is uploaded as it is."""
    return math.ceil(virtual_bytes * QCOW2_FACTOR) + QCOW2_EXTRA_BYTES
