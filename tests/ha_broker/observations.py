"""Observations for the tests of the rules: node2 looks, node1 and node3 are the others."""

from __future__ import annotations

from dataclasses import replace

from ha_broker.decide import decide
from ha_broker.state import (
    Attempt,
    Brick,
    Guest,
    Held,
    HostFacts,
    LocalVm,
    Notes,
    Observation,
    OwnStorage,
    Peer,
    PoolView,
    Register,
    Score,
    Slot,
)

GOOD = OwnStorage(100.0, 1.0)
NOW_S = 1000.0
HELD = Held(4, 7, "2026-01-01T00:00:00+00:00")
OPEN = PoolView(tuple(Brick(name, True, True) for name in ("node1", "node2", "node3")), steady_s=100.0)
GLOBAL = Register(3, "node1", "global")


def peer(
    name: str,
    *,
    silent: bool = False,
    read: bool = True,
    finding: str = "",
    slot: bool = True,
    newer: bool = False,
    **fields: object,
) -> Peer:
    one = Slot(name, "boot", 1, 1000)
    content = replace(one, **fields) if slot else None  # type: ignore[arg-type]
    return Peer(name, content, read, silent, 10.0 if silent else 0.5, finding, newer)


def seen(**fields: object) -> Observation:
    """node2 with good storage, nobody has the engine VM; node1 and node3 alive."""
    base = Observation(
        now_s=NOW_S,
        host="node2",
        vm=LocalVm("off"),
        storage=GOOD,
        peers=(peer("node1"), peer("node3")),
        score=Score(1000),
        maintenance=Register(),
        notes=Notes(),
        nobody_for_s=100.0,
        facts=HostFacts(0.5, 2, 8192, "/images/e.raw"),
        pool=OPEN,
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def running(**fields: object) -> Observation:
    """The engine VM is on node2 with epoch 4, up, and everybody reaches it."""
    base = seen(
        vm=LocalVm("running", 7),
        notes=Notes(HELD, (Attempt(900.0, "done"),)),
        nobody_for_s=0.0,
        engine_up=True,
        guest=Guest(running_s=100.0, answered=True, unanswered_s=1.0, reached_by=("node1", "node3")),
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def rule(observation: Observation) -> tuple[str, str, str]:
    decision = decide(observation)
    return decision.action, decision.rule, decision.sentence


def name_of(observation: Observation) -> str:
    """The rule's name alone."""
    return decide(observation).rule
