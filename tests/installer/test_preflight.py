"""The preflight: a bad world is refused with node, value found, value needed and remedy, all at once; nothing changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Refused, Unavailable
from appliance.model.node import FolderFacts, NodeFacts
from appliance.wire.definition import Reached
from installer import answers
from installer.fake import FakeAgents, FakeInstallingNode
from installer.fake_servers import GIB, FakeServers
from installer.install import prepare
from installer.preflight import Problem, judge
from installer.probe import NodeView, View, look
from tests.installer.test_crash import ANSWERS, rack

READ = answers.parse(ANSWERS, "answers.toml")


@pytest.fixture
def view(tmp_path: Path) -> View:
    """A world in which nothing stands in the way."""
    rack(tmp_path)
    servers = FakeServers(tmp_path / "world.json", FakeClock())
    return look(READ, None, FakeAgents(servers), FakeInstallingNode(servers, tmp_path / "state", "node1"), servers.clock)


def with_node2(view: View, **changes: object) -> View:
    nodes = list(view.nodes)
    nodes[1] = replace(nodes[1], **changes)  # type: ignore[arg-type]
    return replace(view, nodes=tuple(nodes))


def with_facts(view: View, **changes: object) -> View:
    facts = view.nodes[1].facts
    assert facts is not None
    return with_node2(view, facts=replace(facts, **changes))  # type: ignore[arg-type]


def folder_of(view: View) -> FolderFacts:
    folder = view.nodes[0].folder
    assert folder is not None
    return folder


def test_a_good_world_has_no_problem(view: View) -> None:
    assert judge(READ, view) == ()
    assert view.here == "node1"


def nics(facts: NodeFacts, **changes: object) -> tuple[object, ...]:
    return tuple(replace(nic, **changes) for nic in facts.nics)  # type: ignore[arg-type]


BAD: dict[str, tuple[Callable[[View], View], str, str, str]] = {
    "clock behind": (lambda v: with_node2(v, skew_s=-40.0), "preflight.clock-skew", "40.0 s behind", "at most 5 s"),
    "little memory": (lambda v: with_facts(v, memory_bytes=GIB), "preflight.memory", "1024 MiB", "2048 MiB"),
    "other version": (lambda v: with_facts(v, version="9.9"), "preflight.version", "Trivet 9.9", "Trivet 0.1.0"),
    "other gluster": (lambda v: with_facts(v, gluster_version="10.3"), "preflight.version", "Gluster 10.3", "Gluster 11.1"),
    "no gluster": (lambda v: with_facts(v, gluster_version=""), "preflight.version", "not installed", "Gluster"),
    "other cluster": (lambda v: with_facts(v, cluster_id="abc"), "preflight.other-cluster", "cluster abc", "a bare node"),
    "other pool": (lambda v: with_facts(v, gluster_peers=("old9",)), "preflight.other-pool", "old9", "without peers"),
    "no such nic": (lambda v: with_facts(v, nics=()), "preflight.nic-missing", "no interface eth0", "interface eth0"),
    "nic in a bridge": (
        lambda v: with_facts(v, nics=nics(facts_of(v), bridge="br7")),
        "preflight.nic-taken",
        "port of bridge br7",
        "ovirtmgmt",
    ),
    "nic without the address": (
        lambda v: with_facts(v, nics=nics(facts_of(v), addresses=("10.0.0.1/8",))),
        "preflight.nic-address",
        "10.0.0.1/8",
        "198.18.0.12/24",
    ),
    "disk with data": (
        lambda v: with_facts(v, disks=tuple(replace(disk, holds="ext4") for disk in facts_of(v).disks)),
        "preflight.disk-holds-data",
        "holds ext4",
        "a blank disk",
    ),
    "no such disk": (lambda v: with_facts(v, disks=()), "preflight.disk-missing", "no disk /dev/vdb", "/dev/vdb"),
    "small disk": (
        lambda v: with_facts(v, disks=tuple(replace(disk, size_bytes=GIB) for disk in facts_of(v).disks)),
        "preflight.brick-space",
        "1.0 GiB",
        "21 GiB",
    ),
    "folder with files": (
        lambda v: with_node2(v, folder=replace(folder_of(v), exists=True, empty=False)),
        "preflight.brick-not-empty",
        "/data/bricks is not empty",
        "an empty folder",
    ),
    "folder on root": (
        lambda v: with_node2(v, folder=replace(folder_of(v), on_root_file_system=True)),
        "preflight.brick-on-root",
        "on the root file system",
        "a file system of its own",
    ),
    "folder without attributes": (
        lambda v: with_node2(v, folder=replace(folder_of(v), extended_attributes=False, file_system="overlay")),
        "preflight.brick-file-system",
        "on overlay",
        "XFS or ext4",
    ),
    "full folder": (
        lambda v: with_node2(v, folder=replace(folder_of(v), free_bytes=2 * GIB)),
        "preflight.brick-space",
        "2.0 GiB free",
        "21 GiB",
    ),
    "unreachable": (
        lambda v: with_node2(v, reaches=(("node1", Reached("198.18.0.11", False)),)),
        "preflight.unreachable",
        "does not reach node1",
        "every other one",
    ),
    "unresolved": (lambda v: with_node2(v, address=""), "preflight.name-unresolved", "does not resolve", "an IP address"),
    "engine answers": (
        lambda v: with_node2(v, engine_answered=True),
        "preflight.engine-address-taken",
        "answers at 198.18.0.100",
        "nobody uses",
    ),
    "silent": (
        lambda v: with_node2(
            v,
            state="silent",
            facts=None,
            error=Unavailable("agent.unreachable", subject="node2", reason="did not answer within 10 s", remedy="Look."),
        ),
        "preflight.agent-unreachable",
        "did not answer within 10 s",
        "accepts the token",
    ),
}


def facts_of(view: View) -> NodeFacts:
    facts = view.nodes[1].facts
    assert facts is not None
    return facts


@pytest.mark.parametrize("what", BAD)
def test_each_check_names_node_found_needed_and_remedy(what: str, view: View) -> None:
    spoil, code, found, needed = BAD[what]
    problems = judge(READ, spoil(view))
    problem = next((one for one in problems if one.code == code), None)
    assert problem is not None, problems
    assert problem.node == "node2"
    assert found in problem.found
    assert needed in problem.needed
    assert problem.remedy


def test_root_brick_may_be_allowed(view: View) -> None:
    allowed = replace(READ, cluster=replace(READ.cluster, allow_root_brick=True))
    assert judge(allowed, with_node2(view, folder=replace(folder_of(view), on_root_file_system=True))) == ()


def test_engine_and_place(view: View) -> None:
    spoiled = replace(view, here="", fqdn_resolves_to="203.0.113.9", engine_image_problem="it is missing")
    assert [problem.code for problem in judge(READ, spoiled)] == [
        "preflight.name-differs",
        "preflight.not-a-node",
        "preflight.engine-image",
    ]


def test_names_that_only_some_resolve(view: View) -> None:
    named = replace(READ, nodes=(*READ.nodes[:2], replace(READ.nodes[2], address="node3.example.org")))
    problems = judge(named, with_node2(view, reaches=(("node3.example.org", Reached("", False)),)))
    assert [(problem.code, problem.node) for problem in problems] == [("preflight.name-unresolved", "node2")]


def test_a_member_is_not_asked_for_an_empty_brick_again(view: View) -> None:
    facts = replace(facts_of(view), cluster_id="ours", gluster_peers=("node1", "node3"))
    member = NodeView("node2", "198.18.0.12", "member", facts)
    nodes = (view.nodes[0], member, view.nodes[2])
    assert judge(READ, replace(view, nodes=nodes, cluster_id="ours")) == ()


def test_all_failures_at_once_and_nothing_changed(tmp_path: Path) -> None:
    rack(tmp_path)
    servers = FakeServers(tmp_path / "world.json", FakeClock())
    servers.data["nodes"]["node1"]["token"] = "another"
    servers.data["nodes"]["node2"]["disk_holds"] = "xfs"
    servers.data["nodes"]["node3"]["peers"] = ["stranger"]
    before = json.dumps(servers.data, sort_keys=True)
    installing = FakeInstallingNode(servers, tmp_path / "state", "node1")
    agents = FakeAgents(servers)
    with pytest.raises(Refused) as caught:
        prepare(READ, installing, lambda _cluster: agents, servers.clock)
    assert caught.value.code == "install.preflight"
    assert caught.value.exit_code == 2
    problems = [Problem(**problem) for problem in caught.value.facts["problems"]]  # type: ignore[attr-defined]
    assert {(problem.node, problem.code) for problem in problems} == {
        ("node1", "preflight.join-token-wrong"),
        ("node2", "preflight.disk-holds-data"),
        ("node3", "preflight.other-pool"),
    }
    for problem in problems:
        assert str(problem) in caught.value.reason
    assert json.dumps(servers.data, sort_keys=True) == before
    assert not (tmp_path / "state").exists()
