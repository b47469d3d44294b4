"""When the engine VM is migrated only to open its disk anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ha_broker import fence, limits
from ha_broker.decide import decide
from ha_broker.state import Brick, Heal, Observation, PoolView
from tests.ha_broker.test_decide import RUNNING, seen

BRICKS = (Brick("node1", True, True), Brick("node2", True, True), Brick("node3", True, False))
LONG_S = 100.0


def holder(heal: Heal | None, stale_s: float = LONG_S, steady_s: float = LONG_S) -> Observation:
    pool = PoolView(BRICKS, stale_s=stale_s, steady_s=steady_s, heal=heal, heal_age_s=1.0)
    return replace(seen(**RUNNING), pool=pool, engine_up=True)


@pytest.mark.parametrize(
    ("observation", "due", "words"),
    [
        (holder(Heal()), True, "refresh is due"),
        (holder(Heal(pending=1), stale_s=limits.REFRESH_HEAL_S - 1), False, "refresh waits for heal (1 entry)"),
        (holder(Heal(pending=1)), True, "refresh is due"),
        (holder(Heal(split_brain=("/engine-vm/data.raw",))), False, "repair of /engine-vm/data.raw (split-brain)"),
        (holder(Heal(error="no answer")), False, "waits to know what is to be healed (no answer)"),
        (holder(None), False, "waits to know what is to be healed"),
        (holder(Heal(), steady_s=limits.REFRESH_STEADY_S - 1), False, "waits for steady connections"),
    ],
)
def test_when_the_disk_is_opened_anew(observation: Observation, due: bool, words: str) -> None:
    assert (decide(observation).action == "migrate") is due
    assert fence.words(observation).startswith("disk open on 2 of 3 bricks, ")
    assert words in fence.words(observation)
