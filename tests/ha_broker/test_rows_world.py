"""Rows of the fault table with production brokers in the simulated world: what the rules make of them together."""

from __future__ import annotations

import pytest

from ha_broker import limits
from ha_broker.sim.faults import Fault, apply
from ha_broker.sim.world import World


def after(seconds: float, *faults: Fault) -> World:
    """Node1 has run the engine VM for half a minute; then the faults, and so much time passes."""
    world = World()
    world.run_until_started(1, 30)
    world.run(30)
    for fault in faults:
        world.heap.after(fault.at_s, lambda fault=fault: apply(world, fault))  # type: ignore[misc]
    world.run(seconds)
    return world


def starts(world: World) -> list[tuple[str, int]]:
    return [(start.host, start.epoch) for start in world.starts]


def holder(world: World) -> list[str]:
    return [host.name for host in world.hosts.values() if host.qemu is not None]


def codes(world: World, name: str) -> set[str]:
    return {event.code for event in world.hosts[name].events if event.kind == "alert"}


def test_5_a_hung_guest_is_restarted_in_place() -> None:
    world = after(70, Fault(0, "hang-guest", "@holder"))
    assert starts(world) == [("node1", 1), ("node1", 2)]
    assert world.starts[1].at_s - world.starts[0].at_s - 30 < limits.HEALTH_ALLOWANCE_S + 30


def test_6_an_engine_that_its_own_guest_restarts_is_left_alone() -> None:
    world = after(60, Fault(0, "engine-crash", "@holder"))
    assert starts(world) == [("node1", 1)]


def test_7_a_slow_engine_is_an_alert() -> None:
    world = after(120, Fault(0, "engine-slow", "@holder", value=10.0))
    assert starts(world) == [("node1", 1)]
    assert "ha.engine-slow" in codes(world, "node1")


def test_9_a_crash_looping_broker_hands_over_without_a_restart() -> None:
    world = after(40, Fault(0, "crash-loop", "node1"))
    assert starts(world) == [("node1", 1)]
    assert holder(world) == ["node2"]
    assert world.decisions()["node2"] == "running"
    assert "ha.broker-crashes" in codes(world, "node1")


def test_11_a_holder_that_nobody_reaches_lets_go() -> None:
    world = after(60, Fault(0, "cut", "@holder", network="management"))
    assert starts(world) == [("node1", 1), ("node2", 2)]
    assert "ha.engine-unreached" in codes(world, "node1")
    world.heal("node1")
    world.run(120)
    assert len(world.starts) == 2
    status = world.hosts["node1"].status
    assert status is not None
    assert next(host for host in status.hosts if host.name == "node1").score == 500


def test_15_a_cut_between_two_hosts_begins_no_start() -> None:
    world = after(150, Fault(0, "cut", "node1", to="node2", for_s=60))
    assert starts(world) == [("node1", 1)]
    assert not world.begun(10.0)


def test_17_a_flapping_host_causes_one_failover() -> None:
    world = after(650, Fault(0, "flap", "node1", value=15.0, for_s=600))
    assert starts(world) == [("node1", 1), ("node2", 2)]


def test_22_split_brain_is_named_and_not_started_from() -> None:
    world = after(60, Fault(0, "split-brain", "node1"))
    assert starts(world) == [("node1", 1)]
    assert set(world.decisions().values()) == {"split-brain"}
    assert "engine-vm/data.raw" in world.hosts["node2"].decision.sentence
    world.volume.model.repair()
    world.run(60)
    assert len(world.starts) == 2


def test_25_a_full_volume_stops_the_guest_until_there_is_space() -> None:
    world = after(120, Fault(0, "volume-full", for_s=60))
    assert starts(world) == [("node1", 1)]
    assert world.decisions()["node1"] == "running"
    assert "ha.no-space" in codes(world, "node1")


def test_27_a_board_that_cannot_be_written_moves_the_engine() -> None:
    world = after(60, Fault(0, "board-unwritable", "node1"))
    assert starts(world) == [("node1", 1)]
    assert holder(world) == ["node2"]


def test_35_an_engine_that_never_answers_is_tried_three_times_a_host_then_held() -> None:
    world = after(2000, Fault(0, "never-healthy", for_s=5000), Fault(1, "kill-qemu", "@holder"))
    tried = starts(world)[1:]
    assert {name: sum(1 for host, _ in tried if host == name) for name in world.names} == dict.fromkeys(world.names, 3)
    assert "hold-console" in world.decisions().values()
    assert len(holder(world)) == 1, "its console is reachable"
    assert "ha.hold" in codes(world, holder(world)[0])


@pytest.mark.parametrize("stage", ["prepare", "transfer", "switch-over", "finish"])
def test_36_the_source_dies_while_it_sends(stage: str) -> None:
    died = Fault(0, "migration-fault", text=f"{stage} source-dies")
    world = after(60, died, Fault(1, "local-maintenance", "node1"))
    assert len(holder(world)) == 1
    assert holder(world)[0] != "node1"
    assert len(world.starts) == (1 if stage == "finish" else 2)


@pytest.mark.parametrize("stage", ["prepare", "transfer", "switch-over"])
def test_37_the_target_dies_while_it_arrives(stage: str) -> None:
    died = Fault(0, "migration-fault", text=f"{stage} target-dies")
    world = after(60, died, Fault(1, "local-maintenance", "node1"))
    assert starts(world) == [("node1", 1)]
    assert holder(world) == ["node3"]


@pytest.mark.parametrize("at_s", [0.3, 0.9, 1.3, 1.7, 2.1, 2.5])
def test_a_broker_killed_while_it_hands_over(at_s: float) -> None:
    world = after(40, Fault(0, "local-maintenance", "node1"), Fault(at_s + 0.7, "kill-broker", "node1"))
    assert starts(world) == [("node1", 1)]
    assert holder(world) == ["node2"]
    assert world.decisions()["node1"] == "runs-elsewhere"
    assert world.hosts["node1"].notes.moving == ""


def test_38_the_disk_is_opened_anew_between_two_brick_restarts() -> None:
    world = after(
        160, Fault(0, "kill-brick", "node2", for_s=10), Fault(70, "kill-brick", "node3", for_s=10)
    )
    assert starts(world) == [("node1", 1)]
    status = world.hosts["node1"].status
    assert status is not None
    assert status.fence.text == "disk open on 3 of 3 bricks"
    assert status.fence.open_hosts == ("node1", "node2", "node3")


def test_local_maintenance_moves_it_and_keeps_it_away() -> None:
    world = after(30, Fault(0, "local-maintenance", "node1"))
    assert starts(world) == [("node1", 1)]
    assert holder(world) == ["node2"]
    world.kill_qemu("node2")
    world.run(10)
    assert holder(world) == ["node2"]
    world.power_off("node2")
    world.run(20)
    assert holder(world) == ["node3"]
    status = world.hosts["node3"].status
    assert status is not None
    assert [host.maintenance for host in status.hosts] == [True, False, False]


def test_41_a_newer_broker_is_never_silent() -> None:
    world = after(60, Fault(0, "newer-format", "node1"))
    assert starts(world) == [("node1", 1)]
    assert (world.decisions()["node2"], world.decisions()["node3"]) == ("newer-broker", "newer-broker")


def test_18_a_forced_start_without_quorum_is_refused_once_and_told() -> None:
    world = after(
        40,
        Fault(0, "power-off", "node2"),
        Fault(8, "power-off", "node3"),
        Fault(30, "forced-start", "node1"),
    )
    assert starts(world) == [("node1", 1)]
    assert holder(world) == []
    assert not world.hosts["node1"].forced
    told = [event.sentence for event in world.hosts["node1"].events if event.kind == "forced-refused"]
    assert len(told) == 1
    assert "without a second brick no write is safe" in told[0]


def test_a_forced_start_overrides_maintenance() -> None:
    world = after(20, Fault(0, "maintenance", "node2"), Fault(6, "kill-qemu", "node1"), Fault(12, "forced-start", "node3"))
    assert starts(world) == [("node1", 1), ("node3", 2)]
    assert not world.hosts["node3"].forced
