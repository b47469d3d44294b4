"""Each branch of the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gluster.health import quorum, verdict, volume_verdict
from gluster.model import Brick, Peer, PoolStatus, Volume

BRICKS = tuple(Brick(f"node{i}", "/b/engine", online=True, pid=i, heal_pending=0, split_brain=0) for i in (1, 2, 3))
ENGINE = Volume("id", "engine", "Replicate", "Started", 3, BRICKS, {"cluster.quorum-type": "auto"})
PEERS = tuple(Peer(f"u{i}", f"node{i}", (f"node{i}",), True, "Peer in Cluster") for i in (2, 3))
GOOD = PoolStatus(PEERS, (ENGINE, replace(ENGINE, name="vmstore")))


def with_third(**changes: object) -> Volume:
    return replace(ENGINE, bricks=(*BRICKS[:2], replace(BRICKS[2], **changes)))  # type: ignore[arg-type]


def test_all_is_well() -> None:
    judged = verdict(GOOD)
    assert judged.safe
    assert judged.sentence == (
        "safe to lose one node: yes, because all bricks of engine and vmstore are up, nothing waits for healing, "
        "and without any one node a quorum remains"
    )


def test_no_volume() -> None:
    assert verdict(PoolStatus(PEERS, ())).sentence == "safe to lose one node: no, because there is no volume"


def test_disconnected_peer() -> None:
    judged = verdict(replace(GOOD, peers=(replace(PEERS[0], connected=False), PEERS[1])))
    assert (judged.safe, judged.sentence) == (False, "safe to lose one node: no, because peer node2 is disconnected")


def test_volume_not_started() -> None:
    judged = volume_verdict(replace(ENGINE, status="Stopped"))
    assert (judged.writable, judged.safe, judged.reasons) == (False, False, ("it is not started (stopped)",))


def test_one_brick_down() -> None:
    judged = volume_verdict(with_third(online=False, pid=0, heal_pending=None))
    assert (judged.writable, judged.safe) == (True, False)
    assert judged.reasons == (
        "brick node3:/b/engine is down",
        "one node less leaves 1 of 3 bricks, and writing needs 2",
    )


def test_two_bricks_down() -> None:
    bricks = (BRICKS[0], *(replace(brick, online=False) for brick in BRICKS[1:]))
    judged = volume_verdict(replace(ENGINE, bricks=bricks))
    assert not judged.writable
    assert judged.reasons[-1] == "only 1 of 3 bricks are up and writing needs 2: it cannot be written now"


def test_brick_of_which_nothing_is_known() -> None:
    judged = volume_verdict(with_third(online=None, heal_pending=None))
    assert not judged.safe
    assert judged.reasons[0] == "the state of brick node3:/b/engine is unknown"


def test_files_wait_for_healing() -> None:
    bricks = tuple(replace(brick, heal_pending=pending) for brick, pending in zip(BRICKS, (4, 3, 0), strict=True))
    judged = volume_verdict(replace(ENGINE, bricks=bricks))
    assert (judged.writable, judged.safe) == (True, False)
    assert judged.reasons == ("4 files wait for healing, their newest copy is on node1, node2",)


def test_files_that_are_being_healed_are_not_whole_yet() -> None:
    bricks = tuple(replace(brick, healing=1) for brick in BRICKS)
    judged = volume_verdict(replace(ENGINE, bricks=bricks))
    assert (judged.writable, judged.safe) == (True, False)
    assert judged.reasons == ("1 files are being healed: until that is done, a copy is old",)


def test_heal_state_unknown() -> None:
    assert volume_verdict(with_third(heal_pending=None)).reasons == ("the heal state of node3:/b/engine is unknown",)


def test_split_brain() -> None:
    judged = volume_verdict(with_third(split_brain=2))
    assert not judged.safe
    assert judged.reasons[0].startswith("2 entries are in split-brain")


def test_no_client_quorum() -> None:
    judged = volume_verdict(replace(ENGINE, options={"cluster.quorum-type": "none"}))
    assert (judged.writable, judged.safe) == (True, False)
    assert "two halves could both write" in judged.reasons[0]


def test_two_bricks_of_a_set_on_one_node() -> None:
    judged = volume_verdict(with_third(host="node1"))
    assert judged.reasons == ("one node less leaves 1 of 3 bricks, and writing needs 2",)


def test_replica_two_is_never_safe() -> None:
    judged = volume_verdict(replace(ENGINE, replica=2, bricks=BRICKS[:2]))
    assert judged.reasons == ("one node less leaves 1 of 2 bricks, and writing needs 2",)


def test_each_replica_set_counts() -> None:
    second = tuple(replace(brick, host=f"node{i}") for i, brick in enumerate(BRICKS, 4))
    assert volume_verdict(replace(ENGINE, bricks=BRICKS + second)).safe
    broken = (*second[:2], replace(second[2], online=False))
    assert "brick node6:/b/engine is down" in volume_verdict(replace(ENGINE, bricks=BRICKS + broken)).reasons


@pytest.mark.parametrize(("bricks", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_quorum_is_more_than_half(bricks: int, needed: int) -> None:
    assert quorum(bricks) == needed
