"""From a pool that is to the pool that is wanted; and what forbids to begin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Conflict
from appliance.model.cluster import Member
from appliance.model.node import FolderFacts
from gluster import verbs
from gluster.fake import FakePool
from gluster.model import BrickPlace
from gluster.observe import pool_status
from gluster.options import OPTIONS, because, options_for
from gluster.plan import Step, differing_options, plan, settled, strangers, unfit, wanted_volumes
from gluster.ports import Pool

MEMBERS = tuple(Member(f"id-{i}", f"node{i}", f"198.18.0.1{i}") for i in (1, 2, 3))
WANTED = wanted_volumes([(member.name, "/data/bricks/") for member in MEMBERS])


def perform(pool: Pool, step: Step) -> None:
    spec = next((one for one in WANTED if one.name == step.subject), None)
    if step.kind == "probe":
        verbs.probe(pool, FakeClock(), step.subject)
    elif step.kind == "create":
        assert spec is not None
        pool.create(spec)
    elif step.kind == "set":
        pool.set_options(step.subject, step.values)
    else:
        verbs.start(pool, step.subject)


def planned(pool: Pool) -> tuple[Step, ...]:
    return plan(pool_status(pool), "node1", MEMBERS, WANTED)


def test_wanted_volumes_have_a_brick_on_each_node() -> None:
    engine = WANTED[0]
    assert engine.bricks == tuple(BrickPlace(f"node{i}", "/data/bricks/engine") for i in (1, 2, 3))
    assert engine.replica == 3
    assert engine.options == options_for("engine")


def test_only_the_first_three_members_hold_bricks() -> None:
    five = [(f"node{i}", f"/bricks{i}") for i in range(1, 6)]
    engine, vmstore = wanted_volumes(five)
    assert engine.bricks == tuple(BrickPlace(f"node{i}", f"/bricks{i}/engine") for i in (1, 2, 3))
    assert [place.host for place in vmstore.bricks] == ["node1", "node2", "node3"]


def test_the_steps_of_a_new_pool() -> None:
    assert [(step.kind, step.subject) for step in planned(FakePool())] == [
        ("probe", "node2"),
        ("probe", "node3"),
        ("create", "engine"),
        ("set", "engine"),
        ("start", "engine"),
        ("create", "vmstore"),
        ("set", "vmstore"),
        ("start", "vmstore"),
    ]


def test_every_step_has_a_reason() -> None:
    reasons = {f"{step.kind} {step.subject}": step.reason for step in planned(FakePool())}
    assert reasons["probe node2"] == "node2 is not in the pool of node1 yet"
    assert reasons["create engine"] == "there is no volume engine"
    assert because("engine", "client.strict-locks") in reasons["set engine"]


@pytest.mark.parametrize("done", range(9))
def test_interrupted_after_any_step_the_rest_is_planned(done: int) -> None:
    pool = FakePool()
    steps = planned(pool)
    for step in steps[:done]:
        perform(pool, step)
    assert planned(pool) == tuple(
        replace(step, reason=again.reason) for step, again in zip(steps[done:], planned(pool), strict=True)
    )
    for step in planned(pool):
        perform(pool, step)
    assert planned(pool) == ()


def test_a_peer_known_by_its_address_is_not_probed_again() -> None:
    pool = FakePool(reachable=("node1", "198.18.0.12", "node3"))
    pool.probe("198.18.0.12")
    assert [step.subject for step in planned(pool) if step.kind == "probe"] == ["node3"]


def test_only_differing_options_are_set() -> None:
    pool = FakePool()
    for step in planned(pool):
        perform(pool, step)
    pool.set_options("engine", {"client.strict-locks": "off", "auth.reject": "198.18.0.13"})
    (step,) = planned(pool)
    assert (step.kind, step.subject, dict(step.values)) == ("set", "engine", {"client.strict-locks": "on"})


def test_glusters_words_for_on_and_off_are_equal() -> None:
    assert differing_options({"a.b": "on", "c.d": "disable"}, {"a.b": "enable", "c.d": "off"}) == {}
    assert differing_options({"a.b": "on"}, {"a.b": "off"}) == {"a.b": "on"}


def test_a_volume_with_other_bricks_is_refused() -> None:
    pool = FakePool()
    for name in ("node2", "node3"):
        pool.probe(name)
    pool.create(replace(WANTED[0], bricks=tuple(BrickPlace(f"node{i}", "/elsewhere") for i in (1, 2, 3))))
    with pytest.raises(Conflict) as caught:
        planned(pool)
    assert caught.value.code == "gluster.volume-differs"
    assert "node1:/elsewhere" in caught.value.reason


def test_the_fence_is_in_the_options() -> None:
    engine, vmstore = options_for("engine"), options_for("vmstore")
    assert engine["client.strict-locks"] == vmstore["client.strict-locks"] == "on"
    assert (engine["features.shard"], vmstore["features.shard"]) == ("off", "on")
    assert engine["cluster.quorum-type"] == vmstore["cluster.quorum-type"] == "auto"
    assert {engine[name] for name in ("network.ping-timeout", "client.tcp-user-timeout")} == {"5"}
    assert engine["server.tcp-user-timeout"] == "6"


def test_every_option_has_one_value_a_volume_and_a_reason() -> None:
    for volume in ("engine", "vmstore"):
        names = [option.name for option in OPTIONS if volume in option.volumes]
        assert len(names) == len(set(names))
    assert all(option.because for option in OPTIONS)


# What forbids to begin

EMPTY = FolderFacts("/data/bricks", True, True, "xfs", False, 10**12, True)


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        (EMPTY, None),
        (replace(EMPTY, exists=False, empty=False), None),
        (replace(EMPTY, empty=False), "brick-not-empty"),
        (replace(EMPTY, on_root_file_system=True), "brick-on-root"),
        (replace(EMPTY, extended_attributes=False, file_system="overlay"), "brick-file-system"),
    ],
    ids=["empty", "absent", "with files", "on the root", "without attributes"],
)
def test_a_folder_for_bricks(folder: FolderFacts, code: str | None) -> None:
    found = unfit(folder, root_allowed=False)
    assert [one.code for one in found] == ([code] if code else [])
    assert all(one.found.startswith("/data/bricks is ") and one.needed and one.remedy for one in found)


def test_the_root_may_be_allowed_and_all_is_told_at_once() -> None:
    bad = replace(EMPTY, empty=False, on_root_file_system=True, extended_attributes=False)
    assert [one.code for one in unfit(bad, root_allowed=True)] == ["brick-not-empty", "brick-file-system"]


def test_peers_of_another_pool() -> None:
    ours = {"node1", "198.18.0.13"}
    assert strangers(("node1", "198.18.0.13"), ours, bare=False) == ()
    assert strangers(("node1", "old-storage"), ours, bare=False) == ("old-storage",)
    assert strangers(("node1",), ours, bare=True) == ("node1",), "a bare node has no peers at all"


def test_a_peer_has_settled_once_it_is_connected_and_knows_the_pool() -> None:
    pool = FakePool()
    assert not settled(pool_status(pool), MEMBERS[1])
    pool.probe("node2")
    assert settled(pool_status(pool), MEMBERS[1])
    assert not settled(pool_status(pool), MEMBERS[2])
