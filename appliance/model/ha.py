"""What a broker says of itself and of the others: written by ha_broker, read by command line, agent and engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EngineState = Literal["up", "starting", "down", "unknown"]
MaintenanceState = Literal["none", "global"]


@dataclass(frozen=True)
class Penalty:
    """Why a score is lower than the best: "load 12.4 on 2 CPUs" costs ``points``."""

    points: int
    reason: str


@dataclass(frozen=True)
class HostHa:
    """A host as the answering broker knows it. ``decision`` is its last decision in one sentence (L6)."""

    name: str
    alive: bool
    score: int
    reasons: tuple[str, ...]
    decision: str
    engine_here: bool
    silent_s: float
    maintenance: bool = False
    """Local maintenance: this host alone neither starts nor takes the engine VM."""
    decision_until_s: float = 0.0
    """For how many seconds more the decision waits, if that is bounded; else 0."""


@dataclass(frozen=True)
class EngineHa:
    """Where the engine is.

    ``since`` is ISO 8601 UTC or empty; ``host`` empty when nobody holds it; ``epoch`` the highest known.
    """

    state: EngineState
    host: str
    epoch: int
    since: str
    address: str = ""
    """Its management address, so that a page which reads nothing else can point there."""
    fqdn: str = ""


@dataclass(frozen=True)
class HaDecision:
    """A line of the decision log: wall time for people, the sentence for everybody."""

    wall_s: float
    host: str
    sentence: str
    action: str = ""
    """What it made the host do: "start", "destroy", "migrate" …; "none": to wait; empty: heard of another host."""


@dataclass(frozen=True)
class FenceHa:
    """How firmly the holder has the data disk: on ``open_on`` of ``bricks`` bricks its file is open and locked. ``text``
    for people: "disk open on 3 of 3 bricks", "refresh waits for heal (12 entries)". ``bricks`` 0: not known."""

    open_on: int = 0
    bricks: int = 0
    text: str = ""
    open_hosts: tuple[str, ...] = ()
    """The hosts of those bricks."""


@dataclass(frozen=True)
class HaAlert:
    """Something a person should look at. ``code`` is stable ("ha.engine-slow", "ha.hold"); it stands until its cause is
    over. ``subject`` is the host that it is about; empty: the cluster, so that every broker raises it."""

    code: str
    sentence: str
    subject: str = ""


@dataclass(frozen=True)
class HaStatus:
    """What ``trivet ha status --json`` prints. ``hosts`` sorted by name; ``decisions`` the answering broker's last
    ones, and those of the other hosts as it heard them, oldest first."""

    engine: EngineHa
    maintenance: MaintenanceState
    hosts: tuple[HostHa, ...]
    decisions: tuple[HaDecision, ...]
    broker_age_s: float
    """How long ago the answering node's broker finished a turn; large: it hangs or is not running."""
    fence: FenceHa = FenceHa()
    alerts: tuple[HaAlert, ...] = ()
    warm: str = ""
    """Whether this node can wake the engine VM from saved memory, in words; empty: not known."""
    host: str = ""
    """Whose broker answers."""
