"""A host at its limits: what is slow there is not called hung (fault 45), and what hangs is not left for ever."""

from __future__ import annotations

import pytest

from ha_broker import limits
from ha_broker.decide import decide
from ha_broker.state import Guest, HostFacts
from tests.ha_broker.test_decide import RUNNING, seen

QUIET, FULL = HostFacts(1.0, 2, 4096, "/image"), HostFacts(2 * limits.OVERLOAD, 2, 4096, "/image")


@pytest.mark.parametrize(
    ("facts", "unanswered_s", "rule"),
    [
        (QUIET, limits.HEALTH_ALLOWANCE_S - 1, "running-unanswered"),
        (QUIET, limits.HEALTH_ALLOWANCE_S, "guest-hung"),
        (FULL, limits.HEALTH_ALLOWANCE_S, "running-unanswered"),
        (FULL, limits.HEALTH_ALLOWANCE_S * limits.OVERLOAD_FACTOR, "guest-hung"),
    ],
    ids=["quiet, slow", "quiet, hung", "overloaded, slow", "overloaded, hung"],
)
def test_how_long_an_engine_may_be_silent(facts: HostFacts, unanswered_s: float, rule: str) -> None:
    decision = decide(seen(**RUNNING, facts=facts, guest=Guest(100.0, True, unanswered_s)))
    assert decision.rule == rule
    assert decision.action == ("shutdown" if rule == "guest-hung" else "none")


def test_emulated_guests_and_those_of_a_host_at_its_limits_may_boot_longer() -> None:
    late = Guest(limits.BOOT_ALLOWANCE_S)
    assert decide(seen(**RUNNING, facts=QUIET, guest=late)).rule == "guest-never-up"
    emulated = HostFacts(1.0, 2, 4096, "/image", emulated=True)
    assert decide(seen(**RUNNING, facts=emulated, guest=late)).rule == "running-starting"
    assert decide(seen(**RUNNING, facts=FULL, guest=late)).rule == "running-starting"
