"""Parsers over what Gluster really printed."""

from __future__ import annotations

import pytest

from appliance.errors import Failed
from gluster import parse
from gluster.model import BrickPlace, Capacity
from tests.gluster.recorded import VERSIONS, recorded


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["pool_list", "peer_status"])
def test_peers_of_a_healthy_pool(version: str, command: str) -> None:
    peers = parse.peers(recorded("healthy", command, version))
    assert [(peer.name, peer.connected, peer.state) for peer in peers] == [
        ("node2", True, "Peer in Cluster"),
        ("node3", True, "Peer in Cluster"),
    ]
    assert peers[0].uuid == "e67086df-1fdd-42a5-8e1f-ac2ef51b387e"


def test_peers_seen_by_an_isolated_node_are_disconnected() -> None:
    peers = parse.peers(recorded("isolated", "pool_list"))
    assert [(peer.name, peer.connected) for peer in peers] == [("node1", False), ("node2", False)]


def test_a_node_alone_has_no_peers() -> None:
    assert parse.peers(recorded("bare", "pool_list")) == ()


def test_volumes_with_options_and_bricks() -> None:
    engine, vmstore = parse.volumes(recorded("healthy", "volume_info"))
    assert (engine.name, engine.kind, engine.status, engine.replica) == ("engine", "Replicate", "Started", 3)
    assert engine.places == tuple(BrickPlace(f"node{i}", "/data/bricks/engine") for i in (1, 2, 3))
    assert engine.options["client.strict-locks"] == "on"
    assert vmstore.options["features.shard"] == "on"


def test_no_volumes() -> None:
    assert parse.volumes(recorded("no-volumes", "volume_info")) == ()
    assert parse.brick_states(recorded("no-volumes", "volume_status_detail")) == {}


def test_a_stopped_volume_is_configured_but_has_no_brick_states() -> None:
    assert [volume.status for volume in parse.volumes(recorded("stopped", "volume_info"))] == ["Started", "Stopped"]
    assert set(parse.brick_states(recorded("stopped", "volume_status_detail"))) == {"engine"}


def test_brick_states_with_one_brick_down() -> None:
    bricks = parse.brick_states(recorded("brick-down", "volume_status_detail"))["engine"]
    assert [(brick.place.host, brick.online, brick.pid > 0) for brick in bricks] == [
        ("node1", True, True),
        ("node2", True, True),
        ("node3", False, False),
    ]
    assert bricks[2].port == 0
    assert bricks[0].size_bytes == 270553174016
    assert bricks[0].file_system == "ext4"


def test_self_heal_daemons_are_not_bricks() -> None:
    assert len(parse.brick_states(recorded("healthy", "volume_status"))["engine"]) == 3


def test_bricks_of_an_unreachable_peer_are_missing() -> None:
    states = parse.brick_states(recorded("peer-disconnected", "volume_status_detail"))
    assert [brick.place.host for brick in states["engine"]] == ["node1", "node2"]


def test_heal_summary_counts() -> None:
    heals = parse.heal_summary(recorded("brick-down", "heal_info_summary_engine"))
    assert [(heal.connected, heal.pending, heal.split_brain) for heal in heals] == [
        (True, 8, 0),
        (True, 8, 0),
        (False, None, None),
    ]


def test_heal_summary_of_a_split_brain() -> None:
    heals = parse.heal_summary(recorded("split-brain", "heal_info_summary_vmstore"))
    assert [heal.split_brain for heal in heals] == [1, 1, 1]


def test_capacity_of_a_mounted_volume() -> None:
    text = "Type                   1B-blocks        Used        Avail\nfuse.glusterfs 270553174016 30754766848 81604378624\n"
    assert parse.capacity(text) == Capacity(270553174016, 30754766848, 81604378624)


def test_capacity_of_a_plain_folder_is_not_the_volumes() -> None:
    assert parse.capacity("Type 1B-blocks Used Avail\next4 1000 10 990\n") is None


@pytest.mark.parametrize(
    ("read", "text", "word"),
    [
        (parse.peers, "Connection failed", "not XML"),
        (parse.peers, "<cliOutput><peerStatus><peer/></peerStatus></cliOutput>", "<hostname>"),
        (parse.volumes, "", "not XML"),
        (parse.capacity, "", "four columns"),
        (
            parse.heal_summary,
            "<cliOutput><healInfo><bricks><brick><name>node1</name></brick></bricks></healInfo></cliOutput>",
            "HOST:/PATH",
        ),
    ],
)
def test_unreadable_answers_name_what_is_missing(read: object, text: str, word: str) -> None:
    assert callable(read)
    with pytest.raises(Failed) as caught:
        read(text)
    assert caught.value.code == "gluster.unreadable"
    assert word in caught.value.reason


def test_files_in_split_brain_are_named_once() -> None:
    bricks = "".join(
        f"<brick><name>{host}:/b</name><file gfid='1'>/engine-vm/data.raw</file>{extra}</brick>"
        for host, extra in (("node1", ""), ("node2", "<file gfid='2'>&lt;gfid:2&gt;</file>"))
    )
    found = parse.split_brain_files(f"<cliOutput><healInfo><bricks>{bricks}</bricks></healInfo></cliOutput>")
    assert found == ("/engine-vm/data.raw", "<gfid:2>")
