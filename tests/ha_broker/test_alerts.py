"""Alerts, the fence in words, who may leave, and the score's penalties."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.model.ha import EngineHa, FenceHa, HaStatus, HostHa
from appliance.model.stale_call import StaleCall
from ha_broker import limits
from ha_broker.alerts import alerts
from ha_broker.decide import decide
from ha_broker.fence import fence, words
from ha_broker.leave import may_leave
from ha_broker.score import Fitness, score
from ha_broker.state import (
    Attempt,
    Brick,
    Guest,
    Heal,
    HostFacts,
    Move,
    Notes,
    Observation,
    OwnStorage,
    PoolView,
    ScoreSettings,
    Slot,
)
from tests.ha_broker.observations import GLOBAL, GOOD, HELD, NOW_S, OPEN, peer, running, seen

FACTS = HostFacts(0.5, 2, 8192, "/images/e.raw")
STALE = PoolView(
    (Brick("node1", True, True), Brick("node2", True, True), Brick("node3", True, False)), 15.0, 15.0, Heal(), 2.0
)
HUNG = Guest(running_s=500.0, answered=True, unanswered_s=limits.HEALTH_ALLOWANCE_S)


def standing(observation: Observation) -> list[tuple[str, str]]:
    return [(alert.code, alert.subject) for alert in alerts(observation, decide(observation))]


def test_nothing_is_wrong() -> None:
    assert standing(running()) == []
    assert standing(seen(peers=(peer("node1", engine="running", engine_epoch=4), peer("node3")))) == []


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (seen(peers=(peer("node1", silent=True), peer("node3"))), ("ha.host-silent", "node1")),
        (seen(peers=(peer("node1", newer=True), peer("node3"))), ("ha.newer-broker", "node2")),
        (seen(storage=OwnStorage(0.0, 9.0, 9.0, "gone"), pool=PoolView()), ("ha.no-quorum", "node2")),
        (running(storage=OwnStorage(0.0, 9.0, 9.0, "gone")), ("ha.board-unwritable", "node2")),
        (running(storage=OwnStorage(0.0, 9.0, 9.0, "full", no_space=True)), ("ha.no-space", "")),
        (running(guest=replace(HUNG, unanswered_s=1.0, slow_s=limits.SLOW_ALERT_S)), ("ha.engine-slow", "")),
        (running(guest=Guest(answered=True, unreached_s=limits.UNREACHED_S)), ("ha.engine-unreached", "")),
        (running(engine_up=False, guest=HUNG), ("ha.engine-hung", "")),
        (seen(pool=replace(OPEN, heal=Heal(split_brain=("engine-vm/data.raw",)))), ("ha.split-brain", "")),
        (seen(losses=3, storage=OwnStorage(5.0, 0.5)), ("ha.flapping", "")),
        (running(facts=replace(FACTS, certificate_days_left=-1.0)), ("ha.certificate", "node2")),
        (running(facts=replace(FACTS, certificate_days_left=3.0)), ("ha.certificate", "node2")),
        (running(facts=replace(FACTS, state_error="No space left on device")), ("ha.state-disk", "node2")),
        (running(facts=replace(FACTS, settings_error="ha.toml: …")), ("ha.settings", "node2")),
        (running(facts=replace(FACTS, stale_call=StaleCall("engine", 3, 4, NOW_S - 60))), ("ha.stale-engine", "node2")),
        (running(notes=Notes(HELD, broker_starts=(NOW_S,) * limits.CRASHES_MAX)), ("ha.broker-crashes", "node2")),
    ],
)
def test_what_is_an_alert(observation: Observation, expected: tuple[str, str]) -> None:
    assert standing(observation) == [expected]


def test_an_expired_certificate_moves_nothing() -> None:
    """Fault 43."""
    assert decide(running(facts=replace(FACTS, certificate_days_left=-1.0))).rule == "running"
    assert decide(seen(facts=replace(FACTS, certificate_days_left=-1.0))).action == "start"


def test_a_refused_engine_is_told_of_for_ten_minutes_and_changes_nothing() -> None:
    """Fault 46."""
    call = StaleCall("engine", 3, 4, NOW_S - limits.STALE_CALL_ALERT_S + 1)
    observation = running(facts=replace(FACTS, stale_call=call))
    (alert,) = alerts(observation, decide(observation))
    assert alert.sentence.startswith("security: node2 refused an engine with epoch 3")
    assert decide(observation).rule == "running"
    assert standing(running(facts=replace(FACTS, stale_call=replace(call, at_s=call.at_s - 2)))) == []


def test_an_old_engine_is_told_of() -> None:
    """Fault 46: the agents refuse it; people should know where it still runs."""
    observation = running(peers=(peer("node1", engine="running", engine_epoch=3), peer("node3")))
    found = alerts(observation, decide(observation))
    assert [(alert.code, alert.subject) for alert in found] == [("ha.old-engine", "node1")]
    assert found[0].sentence == "node1 still runs an old engine VM with epoch 3: it commands nobody"


def test_a_hold_is_an_alert_and_says_the_decision() -> None:
    used = Notes(None, tuple(Attempt(NOW_S - age, "failed") for age in (500.0, 300.0, 100.0)))
    observation = seen(notes=used, peers=(peer("node1", starts=3), peer("node3", score=0)))
    decision = decide(observation)
    assert [(one.code, one.sentence) for one in alerts(observation, decision)] == [("ha.hold", decision.sentence)]


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (running(), "disk open on 3 of 3 bricks"),
        (running(pool=PoolView()), "the view of the bricks is not known"),
        (running(pool=STALE), "disk open on 2 of 3 bricks, refresh is due"),
        (
            running(pool=replace(STALE, heal=Heal(pending=12))),
            "disk open on 2 of 3 bricks, refresh waits for heal (12 entries)",
        ),
        (running(pool=replace(STALE, heal=Heal(pending=1))), "disk open on 2 of 3 bricks, refresh waits for heal (1 entry)"),
        (
            running(pool=replace(STALE, heal_age_s=15.0)),
            "disk open on 2 of 3 bricks, refresh waits to know what is to be healed",
        ),
        (
            running(pool=replace(STALE, heal=Heal(error="no answer"))),
            "disk open on 2 of 3 bricks, refresh waits to know what is to be healed (no answer)",
        ),
        (
            running(pool=replace(STALE, steady_s=1.0)),
            "disk open on 2 of 3 bricks, refresh waits for steady connections",
        ),
        (running(pool=STALE, engine_up=False), "disk open on 2 of 3 bricks, refresh waits for the engine to answer"),
        (
            running(pool=STALE, maintenance=GLOBAL),
            "disk open on 2 of 3 bricks, refresh waits for the end of global maintenance",
        ),
        (
            running(pool=replace(STALE, heal=Heal(split_brain=("a",)))),
            "disk open on 2 of 3 bricks, refresh waits for the repair of a (split-brain)",
        ),
        (
            running(pool=PoolView((Brick("node1", True, True), Brick("node2", True, True), Brick("node3", False, False)))),
            "disk open on 2 of 3 bricks, node3 not connected",
        ),
        (
            running(pool=STALE, notes=Notes(moves=tuple(Move(NOW_S - 70 * n, "refresh", True) for n in range(1, 7)))),
            "disk open on 2 of 3 bricks, no refresh: 6 within 10 min are used up",
        ),
    ],
)
def test_the_fence_in_words(observation: Observation, expected: str) -> None:
    assert words(observation) == expected


def test_the_fence_is_the_holders_everywhere() -> None:
    everywhere = ("node1", "node2", "node3")
    own = Slot("node2", "b", 1, 1000, engine="running", fence="disk open on 3 of 3 bricks", open_on=everywhere)
    told = FenceHa(3, 3, own.fence, own.open_on)
    assert fence(running(), own) == told
    holder = peer("node1", engine="running", fence=own.fence, open_on=own.open_on)
    assert fence(seen(peers=(holder, peer("node3"))), Slot("node2", "b", 1, 1000)) == told
    assert fence(seen(), Slot("node2", "b", 1, 1000)) == FenceHa()


def host(name: str, **fields: object) -> HostHa:
    return replace(HostHa(name, True, 1000, (), "", False, 0.0), **fields)  # type: ignore[arg-type]


def status(*hosts: HostHa, engine: str = "node1", **fields: object) -> HaStatus:
    firm = FenceHa(3, 3, "disk open on 3 of 3 bricks", ("node1", "node2", "node3"))
    one = HaStatus(EngineHa("up", engine, 4, ""), "none", hosts, (), 0.0, firm)
    return replace(one, **fields)  # type: ignore[arg-type]


HOSTS = (host("node1", engine_here=True), host("node2"), host("node3"))


def test_who_may_leave() -> None:
    """Fault 47."""
    assert may_leave(status(*HOSTS), "node2") == ""
    assert may_leave(status(*HOSTS), "node9") == ""
    assert may_leave(status(*HOSTS), "node1") == (
        "the engine VM is on node1: put node1 into maintenance first, which moves it"
    )


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (replace(status(*HOSTS), engine=EngineHa("unknown", "", 4, "")), "not known where"),
        (status(host("node1", score=0), host("node2"), host("node3", alive=False)), "no host but node2 is able"),
        (
            status(*HOSTS, fence=FenceHa(2, 3, "disk open on 2 of 3 bricks", ("node1", "node2"))),
            "without node2 the engine's disk would not be open on a majority of its bricks (disk open on 2 of 3 bricks)",
        ),
    ],
)
def test_who_may_not_leave(told: HaStatus, word: str) -> None:
    assert word in may_leave(told, "node2")


FIT = Fitness("node2", FACTS, GOOD, 1024, NOW_S, pool=OPEN)


@pytest.mark.parametrize(
    ("fit", "value", "reason"),
    [
        (FIT, 1000, ""),
        (
            replace(FIT, pool=PoolView((Brick("node2", False, False),))),
            700,
            "the local brick of the volume engine does not answer: -300",
        ),
        (replace(FIT, pool=PoolView((Brick("node1", False, False),))), 1000, ""),
        (replace(FIT, losses=2), 800, "own storage lost 2 times in the last 10 min: -200"),
        (replace(FIT, losses=1), 900, "own storage lost 1 time in the last 10 min: -100"),
        (replace(FIT, notes=Notes(unreached_s=NOW_S - 10)), 500, "no other host reached the engine VM here: -500"),
        (replace(FIT, notes=Notes(unreached_s=NOW_S - limits.UNREACHED_MARK_S)), 1000, ""),
        (replace(FIT, notes=Notes(None, (Attempt(NOW_S, "unhealthy"),))), 750, "1 failed start in the last 10 min: -250"),
        (replace(FIT, local_maintenance=True), 0, "local maintenance is on"),
        (replace(FIT, facts=replace(FACTS, cpu_error="no Nehalem")), 0, "no Nehalem"),
        (
            replace(FIT, facts=replace(FACTS, settings=ScoreSettings(eligible=False))),
            0,
            "this host is not to run the engine VM (eligible = false in its settings)",
        ),
        (replace(FIT, facts=replace(FACTS, settings=ScoreSettings(preferred=50))), 1050, "preferred: +50"),
        (replace(FIT, facts=replace(FACTS, settings=ScoreSettings(preferred=-50))), 950, "preferred: -50"),
        (
            replace(FIT, facts=replace(FACTS, load_1=6.0, settings=ScoreSettings(load=10))),
            980,
            "load 6.0 on 2 CPUs: -20",
        ),
        (
            replace(FIT, notes=Notes(broker_starts=(NOW_S,) * limits.CRASHES_MAX)),
            0,
            "its broker started 5 times within 120 s",
        ),
    ],
)
def test_scores(fit: Fitness, value: int, reason: str) -> None:
    found = score(fit)
    assert found.value == value
    assert found.reasons == ((reason,) if reason else ())
