"""From a pool that is to the pool that is wanted; and what forbids to begin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Conflict, TrivetError
from appliance.model.cluster import Member
from appliance.model.node import CpuFacts, FolderFacts, NodeFacts
from appliance.wire.definition import Reached
from gluster import verbs
from gluster.fake import FakePool
from gluster.model import BrickPlace, PoolStatus
from gluster.observe import pool_status
from gluster.options import OPTIONS, because, options_for
from gluster.plan import CLOCK_SKEW_LIMIT_S, NodeView, Step, differing_options, plan, refusals, wanted_volumes
from gluster.ports import Pool

MEMBERS = tuple(Member(f"id-{i}", f"node{i}", f"198.18.0.1{i}") for i in (1, 2, 3))
WANTED = wanted_volumes(MEMBERS, "/data/bricks/")


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
    five = (*MEMBERS, Member("id-4", "node4", "198.18.0.14"), Member("id-5", "node5", "198.18.0.15"))
    assert {place.host for spec in wanted_volumes(five, "/bricks") for place in spec.bricks} == {"node1", "node2", "node3"}


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
    assert {engine[name] for name in ("network.ping-timeout", "client.tcp-user-timeout", "server.tcp-user-timeout")} == {"5"}


def test_every_option_has_one_value_a_volume_and_a_reason() -> None:
    for volume in ("engine", "vmstore"):
        names = [option.name for option in OPTIONS if volume in option.volumes]
        assert len(names) == len(set(names))
    assert all(option.because for option in OPTIONS)


# Refusals


def facts(name: str, peers: tuple[str, ...] = ()) -> NodeFacts:
    return NodeFacts(
        name=name,
        node_id="",
        cluster_id="",
        version="0",
        wall_s=0.0,
        boot_id="",
        kernel="",
        cpu=CpuFacts("", 1, 1, 1, False),
        memory_bytes=0,
        disks=(),
        nics=(),
        gluster_version="11.1",
        libvirt_version="",
        qemu_version="",
        gluster_peers=peers,
    )


EMPTY = FolderFacts("/data/bricks/engine", True, True, "xfs", False, 10**12, True)


def view(member: Member, **changes: object) -> NodeView:
    reached = {one.name: Reached(one.address, True) for one in MEMBERS}
    made = NodeView(member, facts(member.name), {"engine": EMPTY}, reached)
    return replace(made, **changes)  # type: ignore[arg-type]


def views(**second: object) -> tuple[NodeView, ...]:
    return (view(MEMBERS[0]), view(MEMBERS[1], **second), view(MEMBERS[2]))


def codes(found: tuple[TrivetError, ...]) -> list[str]:
    return [one.code for one in found]


def test_nothing_against_three_good_nodes() -> None:
    assert refusals(views()) == ()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_nodes(count: int) -> None:
    (found,) = refusals(views()[:count])
    assert found.code == "gluster.too-few-nodes"
    assert f"it has {count} nodes" in found.reason


def test_brick_folder_with_files() -> None:
    (found,) = refusals(views(bricks={"engine": replace(EMPTY, empty=False)}))
    assert (found.code, found.subject) == ("gluster.brick-not-empty", "node2:/data/bricks/engine")


def test_brick_folder_with_this_volumes_own_brick() -> None:
    pool = FakePool()
    for name in ("node2", "node3"):
        pool.probe(name)
    pool.create(WANTED[0])
    full = {"engine": replace(EMPTY, empty=False, on_root_file_system=True)}
    assert refusals(views(bricks=full), pool_status(pool)) == ()
    other = {"engine": replace(EMPTY, empty=False, path="/other")}
    assert codes(refusals(views(bricks=other), pool_status(pool))) == ["gluster.brick-not-empty"]


def test_an_absent_brick_folder_is_fine() -> None:
    assert refusals(views(bricks={"engine": replace(EMPTY, exists=False, empty=False)})) == ()


def test_brick_on_root_unless_allowed() -> None:
    on_root = {"engine": replace(EMPTY, on_root_file_system=True)}
    assert codes(refusals(views(bricks=on_root))) == ["gluster.brick-on-root"]
    assert refusals(views(bricks=on_root), root_allowed=True) == ()


def test_brick_without_extended_attributes() -> None:
    overlay = {"engine": replace(EMPTY, extended_attributes=False, file_system="overlay")}
    (found,) = refusals(views(bricks=overlay))
    assert found.code == "gluster.no-extended-attributes"
    assert "overlay" in found.reason


@pytest.mark.parametrize(("resolved", "said"), [("", "does not resolve"), ("192.0.2.7", "resolves to 192.0.2.7")])
def test_name_that_does_not_resolve_to_the_member(resolved: str, said: str) -> None:
    good = {one.name: Reached(one.address, True) for one in MEMBERS}
    (found,) = refusals(views(reached={**good, "node3": Reached(resolved, False)}))
    assert (found.code, found.subject) == ("gluster.name-not-resolvable", "node2")
    assert f"the name node3 {said}" in found.reason
    assert "needed: 198.18.0.13" in found.reason


def test_own_name_on_the_loopback() -> None:
    good = {one.name: Reached(one.address, True) for one in MEMBERS}
    assert codes(refusals(views(reached={**good, "node2": Reached("127.0.1.1", True)}))) == ["gluster.name-not-resolvable"]


def test_names_not_asked_yet_are_no_refusal() -> None:
    assert refusals(views(reached={})) == ()


def test_node_of_another_pool() -> None:
    (found,) = refusals(views(facts=facts("node2", ("node1", "old-storage"))))
    assert (found.code, found.subject, found.facts) == ("gluster.other-pool", "node2", {"peers": ["old-storage"]})


def test_peers_of_this_cluster_by_name_or_address_are_fine() -> None:
    assert refusals(views(facts=facts("node2", ("node1", "198.18.0.13")))) == ()


@pytest.mark.parametrize(
    ("offset_s", "doubt_s", "refused"), [(1.9, 0, False), (-2.1, 0, True), (2.1, 0.2, False), (3600, 1, True)]
)
def test_clock_skew(offset_s: float, doubt_s: float, refused: bool) -> None:
    found = refusals(views(clock_offset_s=offset_s, clock_doubt_s=doubt_s))
    assert codes(found) == (["gluster.clock-skew"] if refused else [])
    assert all(f"at most {CLOCK_SKEW_LIMIT_S:g} s" in one.reason for one in found)


def test_all_refusals_are_told_at_once() -> None:
    found = refusals(
        views(
            bricks={"engine": replace(EMPTY, empty=False, on_root_file_system=True)},
            facts=facts("node2", ("stranger",)),
            clock_offset_s=9.0,
        )
    )
    assert set(codes(found)) == {
        "gluster.brick-not-empty",
        "gluster.brick-on-root",
        "gluster.other-pool",
        "gluster.clock-skew",
    }
    assert PoolStatus((), ()).volume("engine") is None
