"""The verbs over the fake pool: idempotent, and refusing before they change anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.effects.clock import FakeClock
from appliance.effects.process import Completed
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, NotFound, Unavailable
from appliance.fakes.wire import FakeWire
from gluster import verbs
from gluster.fake import FakePool
from gluster.model import BrickPlace
from gluster.plan import wanted_volumes
from gluster.wire import GlusterApi, GlusterNode
from tests.gluster.recorded import Scripted
from tests.gluster.test_observe import built
from tests.gluster.test_plan import MEMBERS

ENGINE, VMSTORE = wanted_volumes([(member.name, "/data/bricks") for member in MEMBERS])
BRICKS = {"engine": "/data/bricks/engine", "vmstore": "/data/bricks/vmstore"}


def test_everything_twice_changes_once() -> None:
    pool = built()
    before = list(pool.changes)
    verbs.probe(pool, FakeClock(), "node2")
    verbs.create_volume(pool, ENGINE)
    verbs.start(pool, "engine")
    assert pool.changes == before


def test_probe_waits_for_the_connection() -> None:
    pool = FakePool()
    pool.probe("node2")
    pool.disconnect("node2")

    class Reconnecting(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.monotonic_s() > 1003:
                pool.connect("node2")

    clock = Reconnecting()
    verbs.probe(pool, clock, "node2")
    assert 3 <= clock.monotonic_s() - 1000 <= 4


def test_probe_of_a_peer_that_never_connects_ends() -> None:
    pool = FakePool()
    pool.probe("node2")
    pool.disconnect("node2")
    with pytest.raises(Failed) as caught:
        verbs.probe(pool, FakeClock(), "node2")
    assert caught.value.code == "gluster.peer-not-connected"


def test_a_peer_without_bricks_leaves_and_asked_twice_has_left() -> None:
    pool = built()
    pool.reachable.add("node4")
    pool.probe("node4")
    verbs.detach(pool, "node4", force=False)
    verbs.detach(pool, "node4", force=False)
    assert pool.changes[-1] == ("detach", "node4")
    assert "node4" not in [peer.name for peer in pool.peers()]
    pool.probe("node4")
    pool.disconnect("node4")
    with pytest.raises(Failed, match="probably down"):
        verbs.detach(pool, "node4", force=False)
    verbs.detach(pool, "node4", force=True)
    assert "node4" not in [peer.name for peer in pool.peers()]


def test_a_peer_with_bricks_stays_and_they_are_named() -> None:
    pool = built()
    with pytest.raises(Conflict) as caught:
        verbs.detach(pool, "node2", force=True)
    assert caught.value.code == "gluster.peer-has-bricks"
    assert "engine on /data/bricks/engine, vmstore on /data/bricks/vmstore" in caught.value.reason
    assert "node2" in [peer.name for peer in pool.peers()]


def test_create_over_a_volume_with_other_bricks() -> None:
    pool = built()
    other = replace(ENGINE, bricks=(BrickPlace("node1", "/x"), *ENGINE.bricks[1:]))
    with pytest.raises(Conflict) as caught:
        verbs.create_volume(pool, other)
    assert caught.value.code == "gluster.volume-differs"


@pytest.mark.parametrize("verb", [verbs.start, verbs.heal])
def test_unknown_volume(verb: object) -> None:
    assert callable(verb)
    with pytest.raises(NotFound) as caught:
        verb(FakePool(), "engine")
    assert caught.value.code == "gluster.volume-unknown"


def test_a_volume_that_is_not_started_cannot_heal() -> None:
    pool = built()
    pool._volumes["engine"] = replace(pool._volumes["engine"], status="Stopped")
    with pytest.raises(Conflict) as caught:
        verbs.heal(pool, "engine")
    assert caught.value.code == "gluster.volume-stopped"


def test_a_self_heal_daemon_is_ended_and_what_is_missing_of_started_volumes_is_started() -> None:
    pool = built()
    pool._volumes["engine"] = replace(pool._volumes["engine"], status="Stopped")
    pool.changes.clear()
    processes = Scripted(answers={"pkill": Completed(("pkill",), 1, "", "")})
    verbs.renew_healer(pool, processes, FakeClock())
    assert [argv for argv, _ in processes.calls] == [("pkill", "-KILL", "-f", "--", "--process-name glustershd")]
    assert pool.changes == [("start", "vmstore")]


def test_brick_folders_are_made_once(tmp_path: Path) -> None:
    for _ in range(2):
        verbs.prepare_bricks(FakePool(), Root(tmp_path), "node1", BRICKS)
    assert sorted(folder.name for folder in (tmp_path / "data/bricks").iterdir()) == ["engine", "vmstore"]


def test_a_folder_with_files_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "data/bricks/vmstore").mkdir(parents=True)
    (tmp_path / "data/bricks/vmstore/holiday.jpg").touch()
    with pytest.raises(Conflict) as caught:
        verbs.prepare_bricks(FakePool(), Root(tmp_path), "node1", BRICKS)
    assert (caught.value.code, caught.value.subject) == ("gluster.brick-not-empty", "node1:/data/bricks/vmstore")
    assert not (tmp_path / "data/bricks/engine").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/bricks").touch()
    with pytest.raises(Conflict):
        verbs.prepare_bricks(FakePool(), Root(tmp_path), "node1", {"engine": "/data/bricks"})


def test_the_volumes_own_brick_may_hold_files(tmp_path: Path) -> None:
    for path in BRICKS.values():
        (tmp_path / path[1:] / ".glusterfs").mkdir(parents=True)
    verbs.prepare_bricks(built(), Root(tmp_path), "node1", BRICKS)
    with pytest.raises(Conflict):
        verbs.prepare_bricks(built(), Root(tmp_path), "node9", BRICKS)


def test_the_whole_pool_over_the_wire(tmp_path: Path) -> None:
    pool = FakePool()
    node = GlusterNode(pool, Scripted(), FakeClock(), Root(tmp_path))
    client = FakeWire("node1").client(GlusterApi, node)
    client.gluster_prepare_bricks("node1", BRICKS)
    for name in ("node2", "node3"):
        client.gluster_probe(name)
    for spec in (ENGINE, VMSTORE):
        client.gluster_create_volume(spec)
        client.gluster_start(spec.name)
    status = client.gluster_pool()
    assert [volume.name for volume in status.volumes] == ["engine", "vmstore"]
    assert status.volumes[0].places == ENGINE.bricks
    assert client.gluster_set_options("engine", {"features.shard": "off", "cluster.heal-timeout": "30"}) == (
        "cluster.heal-timeout",
    )
    assert client.gluster_reject("vmstore", ("198.18.0.11",))
    assert not client.gluster_reject("vmstore", ("198.18.0.11",))
    assert client.gluster_reject("vmstore", ())
    client.gluster_renew_refusals("vmstore")
    assert not client.gluster_reject("vmstore", ()), "nobody is refused now either"
    pool.brick_down("engine", "node3")
    pool.written("engine", 2)
    assert [heal.pending for heal in client.gluster_heal_summary("engine")] == [2, 2, None]
    client.gluster_heal("engine")


def test_errors_cross_the_wire(tmp_path: Path) -> None:
    pool = FakePool()
    pool.fail["peers"] = Unavailable("gluster.daemon-down", subject="glusterd", reason="down", remedy="Start it.")
    client = FakeWire("node1").client(GlusterApi, GlusterNode(pool, Scripted(), FakeClock(), Root(tmp_path)))
    with pytest.raises(Unavailable) as caught:
        client.gluster_pool()
    assert caught.value.code == "gluster.daemon-down"
