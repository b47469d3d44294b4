"""The whole pool in one look: over recordings through the real adapter, and over the fake."""

from __future__ import annotations

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Failed, Unavailable
from gluster.adapter import GlusterPool
from gluster.fake import GIB, FakePool
from gluster.health import verdict
from gluster.model import Capacity, PoolStatus
from gluster.observe import pool_status
from gluster.plan import wanted_volumes
from gluster.verbs import create_volume, probe, start
from tests.gluster.recorded import Scripted
from tests.gluster.test_plan import MEMBERS


def look(case: str) -> PoolStatus:
    return pool_status(GlusterPool(Scripted(case), FakeClock()))


def built() -> FakePool:
    pool = FakePool()
    for name in ("node2", "node3"):
        probe(pool, FakeClock(), name)
    for spec in wanted_volumes([(member.name, "/data/bricks") for member in MEMBERS]):
        create_volume(pool, spec)
        start(pool, spec.name)
    return pool


def test_one_brick_down() -> None:
    status = look("brick-down")
    engine = status.volume("engine")
    assert engine is not None
    assert [(brick.host, brick.online, brick.heal_pending) for brick in engine.bricks] == [
        ("node1", True, 8),
        ("node2", True, 8),
        ("node3", False, None),
    ]
    judged = verdict(status)
    assert not judged.safe
    assert "brick node3:/data/bricks/engine is down" in judged.sentence
    assert "8 files wait for healing, their newest copy is on node1, node2" in judged.sentence
    assert [one.writable for one in judged.volumes] == [True, True]


def test_a_node_is_cut_off() -> None:
    status = look("peer-disconnected")
    assert [(peer.name, peer.connected) for peer in status.peers] == [("node2", True), ("node3", False)]
    assert all([brick.online for brick in volume.bricks] == [True, True, False] for volume in status.volumes)
    assert "peer node3 is disconnected" in verdict(status).sentence


def test_the_cut_off_node_sees_that_it_cannot_write() -> None:
    status = look("isolated")
    assert [one.writable for one in verdict(status).volumes] == [False, False]
    assert "only 1 of 3 bricks are up and writing needs 2" in verdict(status).sentence


def test_split_brain() -> None:
    assert "in split-brain" in verdict(look("split-brain")).sentence


def test_a_stopped_volume_is_not_asked_for_healing() -> None:
    processes = Scripted("stopped")
    status = pool_status(GlusterPool(processes, FakeClock()))
    assert "volume vmstore: it is not started (stopped)" in verdict(status).sentence
    assert not any("heal" in argv and "vmstore" in argv for argv, _ in processes.calls)


@pytest.mark.parametrize(("case", "peers"), [("bare", 0), ("no-volumes", 2)])
def test_before_there_are_volumes(case: str, peers: int) -> None:
    status = look(case)
    assert (len(status.peers), status.volumes, status.problems) == (peers, (), ())


def test_capacity_is_the_smallest_bricks_without_a_mount() -> None:
    engine = look("healthy").volume("engine")
    assert engine is not None
    assert engine.size_bytes == 270553174016
    assert engine.used_bytes + engine.available_bytes == engine.size_bytes


def test_capacity_is_the_mounts_when_there_is_one() -> None:
    pool = built()
    pool.mounted["engine"] = Capacity(10 * GIB, 3 * GIB, 6 * GIB)
    status = pool_status(pool)
    assert [(volume.size_bytes // GIB, volume.available_bytes // GIB) for volume in status.volumes] == [(10, 6), (100, 90)]


def test_unknown_heal_state_is_told_and_not_safe() -> None:
    pool = built()
    pool.fail["heal_summary"] = Unavailable("gluster.deadline", subject="heal info", reason="late", remedy="Wait.")
    status = pool_status(pool)
    assert [problem.split(":")[0] for problem in status.problems] == [
        "heal state of volume engine unknown",
        "heal state of volume vmstore unknown",
    ]
    assert not verdict(status).safe


def test_unknown_brick_state_is_told_and_taken_from_the_heal_client() -> None:
    pool = built()
    pool.brick_down("engine", "node2")
    pool.fail["brick_states"] = Failed("gluster.failed", subject="volume status", reason="no", remedy="Wait.")
    status = pool_status(pool)
    assert status.problems[0].startswith("state of the bricks unknown")
    assert [[brick.online for brick in volume.bricks] for volume in status.volumes] == [[True, False, True], [True] * 3]


def test_a_stalled_mount_is_told_and_the_bricks_numbers_serve() -> None:
    pool = built()
    pool.fail["capacity"] = Unavailable("process.deadline", subject="df", reason="late", remedy="Wait.")
    status = pool_status(pool)
    assert len(status.problems) == 2
    assert status.volumes[0].size_bytes == 100 * GIB


def test_without_glusterd_there_is_no_status() -> None:
    pool = built()
    pool.fail["peers"] = Unavailable("gluster.daemon-down", subject="glusterd", reason="down", remedy="Start it.")
    with pytest.raises(Unavailable):
        pool_status(pool)
