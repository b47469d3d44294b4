from __future__ import annotations

from pathlib import Path

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Conflict
from engine.core import Engine
from engine.decide.follow import SILENCE_S
from engine.jobs.follow import SECURITY_EVENT, TURN_S, Following, rest_s
from tests.engine import world


@pytest.fixture
def nodes() -> dict[str, world.FakeNode]:
    return {one.name: world.FakeNode(one, engine_here=one.name == "node2") for one in world.MEMBERS}


@pytest.fixture
def following(engine: Engine, nodes: dict[str, world.FakeNode], clock: FakeClock, tmp_path: Path) -> Following:
    for member in world.MEMBERS:
        engine.observations.drop(member.name)
    return Following(
        world.CLUSTER, 7, lambda member: nodes[member.name], engine.store, engine.observations, clock, lambda _text: None
    )


def turn(following: Following, clock: FakeClock) -> None:
    for one in following.followers:
        one.turn()
    following.conclude()
    clock.sleep(2)


def sentences(engine: Engine) -> list[str]:
    return [event.description for event in engine.store.events()]


def test_what_nodes_say_is_seen(following: Following, engine: Engine, clock: FakeClock) -> None:
    turn(following, clock)
    view = engine.view()
    assert [host.status for host in view.hosts] == ["up"] * 3
    found = view.vm("HostedEngine")
    assert found is not None
    assert found[0].member.name == "node2"
    assert sentences(engine)[:3] == ["Host node3 is up.", "Host node2 is up.", "Host node1 is up."]


def test_a_lost_node_is_told_once_and_its_return_too(
    following: Following, engine: Engine, nodes: dict[str, world.FakeNode], clock: FakeClock
) -> None:
    turn(following, clock)
    nodes["node1"].error = world.unreachable("node1")
    for _ in range(20):
        turn(following, clock)
    assert sentences(engine)[0].startswith("Host node1 does not answer (for 10 s). node1: did not answer")
    assert sum("node1 does not" in text for text in sentences(engine)) == 1
    assert following.speaker.member.name == "node2"
    nodes["node1"].error = None
    turn(following, clock)
    assert sentences(engine)[0] == "Host node1 is back."


def test_a_pool_that_cannot_be_asked_does_not_make_its_node_silent(
    following: Following, engine: Engine, nodes: dict[str, world.FakeNode], clock: FakeClock
) -> None:
    turn(following, clock)
    nodes["node1"].pool_error = world.unreachable("glusterd")
    following.speaker.aside("pool", nodes["node1"].pool)
    assert engine.view().pool is None
    assert engine.view().hosts[0].status == "up"
    nodes["node1"].pool_error = None
    following.speaker.aside("pool", nodes["node1"].pool)
    volume = engine.view().volume("engine")
    assert volume is not None
    assert volume.used_bytes == 40 * 1024**3


def test_a_superseded_engine_says_so_and_stops_asking(
    following: Following, engine: Engine, nodes: dict[str, world.FakeNode], clock: FakeClock
) -> None:
    turn(following, clock)
    nodes["node3"].error = Conflict("engine.stale-epoch", subject="epoch 7", reason="9 has been seen", remedy="Stop.")
    turn(following, clock)
    assert following.superseded
    assert engine.health()[1]["status"] == "superseded"
    event = engine.store.events()[0]
    assert (event.code, event.severity) == (SECURITY_EVENT, "alert")
    count = len(engine.store.events())
    turn(following, clock)
    assert len(engine.store.events()) == count
    following.stopped.set()
    asked = [len(node.asked) for node in nodes.values()]
    following.run(lambda: None)
    assert [len(node.asked) for node in nodes.values()] == asked


def test_facts_are_asked_for_less_often(following: Following, nodes: dict[str, world.FakeNode], clock: FakeClock) -> None:
    for _ in range(10):
        turn(following, clock)
    assert nodes["node1"].asked.count("facts") == 1
    assert nodes["node1"].asked.count("statistics") == 10
    for _ in range(10):
        turn(following, clock)
    assert nodes["node1"].asked.count("facts") == 2


def test_a_rest_ends_when_a_vm_changes_its_state(following: Following, nodes: dict[str, world.FakeNode]) -> None:
    follower, node, waited = following.followers[0], nodes["node1"], list[float]()

    def rest() -> list[float]:
        waited.clear()
        follower.rest(2.0, waited.append)
        return waited

    follower.turn()
    assert rest() == [2.0], "nobody knows what was before"
    assert rest() == [2.0], "nothing has changed, and this node does not wait"
    node.mark = "another one"
    assert rest() == []
    assert rest() == [2.0]
    node.error = world.unreachable("node1")
    assert rest() == [2.0]
    node.error = None
    assert rest() == [2.0], "nobody knows what was before"
    node.error = world.unreachable("node1")
    follower.turn()
    asked = node.asked.count("vm-changes")
    assert rest() == [2.0] and node.asked.count("vm-changes") == asked, "who is silent is not asked to wait"


@pytest.mark.parametrize(("took_s", "rests_s"), [(0.02, 2.0), (0.5, 3.0), (4.0, 5.0)])
def test_a_slow_engine_rests_longer_but_never_as_long_as_a_silence(took_s: float, rests_s: float) -> None:
    assert rest_s(TURN_S, took_s) == rests_s
    assert rest_s(TURN_S, took_s) + took_s < SILENCE_S
