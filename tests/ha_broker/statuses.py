"""Statuses and events of a cluster in the situations that people meet: for the terminal, the page and the messages."""

from __future__ import annotations

from dataclasses import replace

from appliance.model.ha import EngineHa, FenceHa, HaAlert, HaDecision, HaStatus, HostHa
from ha_broker.notify.events import Told
from ha_broker.ports import Event

NOW_S = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC."""


def host(name: str, decision: str, **other: object) -> HostHa:
    return replace(HostHa(name, True, 1000, (), decision, False, 0.2), **other)  # type: ignore[arg-type]


ENGINE = EngineHa("up", "node1", 7, "2027-01-15T05:48:30+00:00", "198.18.0.100", "engine.trivet.lab")
BEFORE = "nobody has the engine VM; node3 may try before this host"
LOCK_REFUSED = "the disk's lock refused the start: node1 probably still has it, its broker is silent; next try after 5 s"
STANDS_BY = "node1 runs the engine VM with epoch 7: standing by"

UP = HaStatus(
    engine=ENGINE,
    maintenance="none",
    hosts=(
        host("node1", "the engine VM runs here with epoch 7 and its API answers", engine_here=True),
        host("node2", STANDS_BY, score=900, reasons=("load 4.0 on 2 CPUs: -100",)),
        host("node3", STANDS_BY),
    ),
    decisions=(
        HaDecision(NOW_S - 90_000, "node2", "nobody has the engine VM (all hosts answer): this host starts it", "start"),
        HaDecision(NOW_S - 7890, "node1", "QEMU here has gone (epoch 6): restarting it in place", "start"),
        HaDecision(NOW_S - 7888, "node1", "this host is starting the engine VM", "none"),
        HaDecision(NOW_S - 7887, "node2", "node1 is starting the engine VM: standing by"),
        HaDecision(NOW_S - 7880, "node1", "the engine VM runs here with epoch 7 and its API answers", "none"),
        HaDecision(NOW_S - 7879, "node2", STANDS_BY),
        HaDecision(NOW_S - 7878.5, "node3", STANDS_BY),
    ),
    broker_age_s=0.4,
    fence=FenceHa(3, 3, "disk open on 3 of 3 bricks"),
    warm="woken from saved memory (engine image 0.1.0)",
    host="node2",
)

FAILOVER = replace(
    UP,
    engine=replace(ENGINE, state="down", host="", since=""),
    hosts=(
        host("node1", STANDS_BY, alive=False, silent_s=6.0),
        host("node2", BEFORE, score=900, reasons=UP.hosts[1].reasons, decision_until_s=3.0),
        host("node3", LOCK_REFUSED, decision_until_s=5.0),
    ),
    decisions=(
        *UP.decisions,
        HaDecision(NOW_S - 2, "node2", BEFORE, "none"),
    ),
    fence=FenceHa(),
)

TROUBLED = replace(
    UP,
    maintenance="global",
    hosts=(
        UP.hosts[0],
        host("node2", "standing by", score=0, reasons=("212 MiB of memory available, 1280 MiB needed",)),
        host("node3", "standing by", score=0, maintenance=True, reasons=("local maintenance",)),
    ),
    fence=FenceHa(2, 3, "disk open on 2 of 3 bricks; refresh waits for heal (12 entries)"),
    alerts=(HaAlert("ha.engine-slow", "the engine answers, but took 3 s to do so"),),
    warm="",
)

SILENT = replace(UP, broker_age_s=42.0)


def event(number: int, kind: str = "start-begun", **other: object) -> Event:
    """The event that says "sentence NUMBER"."""
    return replace(Event(NOW_S + number, "node1", kind, 7, f"sentence {number}"), **other)  # type: ignore[arg-type]


def numbers(found: tuple[Told, ...]) -> list[int]:
    """Of such events."""
    return [int(one.event.sentence.split()[1]) for one in found]
