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


@pytest.mark.parametrize("text", ["", "asked"])
def test_5_a_qemu_that_stands_still_is_ended_and_started_again(text: str) -> None:
    """Also where libvirt says nothing of it any more."""
    world = after(40, Fault(0, "stop-qemu", "@holder", text=text))
    assert starts(world) == [("node1", 1), ("node1", 2)]
    assert world.starts[1].at_s - world.starts[0].at_s - 30 < limits.STOPPED_ALLOWANCE_S + 5


def test_5_a_qemu_that_goes_on_by_itself_is_left_alone() -> None:
    world = after(60, Fault(0, "stop-qemu", "@holder", for_s=6, text="asked"))
    assert starts(world) == [("node1", 1)]


def test_5_a_qemu_that_the_kernel_holds_is_ended_when_it_lets_go_and_never_twice_there() -> None:
    world = after(200, Fault(0, "stop-qemu", "@holder", for_s=100, text="stuck"))
    assert starts(world) == [("node1", 1), ("node1", 2)]
    assert 100 <= world.starts[1].at_s - world.starts[0].at_s - 30 < 103
    assert "ha.engine-hung" in codes(world, "node1")


def test_5_a_hung_guest_whose_qemu_stops_at_its_power_button_is_ended() -> None:
    """libvirt hangs in the button: its call never comes back."""
    world = after(90, Fault(0, "hang-guest", "@holder"), Fault(39, "stop-qemu", "@holder"))
    assert starts(world) == [("node1", 1), ("node1", 2)]


def test_5_a_stopped_qemu_of_a_libvirt_that_hangs_itself_is_started_elsewhere() -> None:
    world = after(60, Fault(0, "libvirt-hangs", "node1"), Fault(6, "stop-qemu", "@holder"))
    assert starts(world) == [("node1", 1), ("node2", 2)]
    assert world.hosts["node1"].qemu is None


def test_4_a_qemu_killed_under_a_libvirt_that_hangs_is_started_elsewhere() -> None:
    world = after(30, Fault(0, "libvirt-hangs", "node1"), Fault(6, "kill-qemu", "node1"))
    assert starts(world) == [("node1", 1), ("node2", 2)]
    assert world.begun(36.0)[0][0] < 8


def test_a_restore_that_hangs_ends_in_a_cold_boot_of_the_same_start() -> None:
    world = after(60, Fault(0, "hang-wake", "node1"), Fault(1, "kill-qemu", "@holder"))
    assert starts(world) == [("node1", 1), ("node1", 2)]
    assert world.starts[1].at_s - world.starts[0].at_s - 30 < 16


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


@pytest.mark.parametrize(("do", "tries"), [("disk-unreachable", 3), ("start-fails", 1)])
def test_34_starts_that_fail_in_quick_succession_do_not_use_a_host_up_that_is_alone(do: str, tries: int) -> None:
    """What does not reach the disk fails thrice in a few seconds; of other failures the last start left is kept."""
    away = [Fault(0, "memory", name, value=100) for name in ("node2", "node3")]
    world = after(60, *away, Fault(3, do, "node1", for_s=16), Fault(4, "kill-qemu", "node1"))
    assert starts(world) == [("node1", 1), ("node1", 2)]
    assert world.starts[1].at_s - world.starts[0].at_s - 30 < 4 + 30
    failed = [e for e in world.hosts["node1"].events if "did not reach the disk" in e.sentence or e.kind == "start-failed"]
    assert len(failed) == tries


@pytest.mark.parametrize("do", ["disk-unreachable", "start-fails"])
def test_34_starts_that_truly_fail_end_in_the_hold(do: str) -> None:
    world = after(240, *[Fault(0, do, name) for name in ("node1", "node2", "node3")], Fault(1, "kill-qemu", "node1"))
    assert starts(world) == [("node1", 1)]
    assert set(world.decisions().values()) == {"hold"}
    assert "ha.hold" in codes(world, "node2")
    spent = {name: sum(1 for e in host.events if e.kind == "start-failed") for name, host in world.hosts.items()}
    assert spent == {"node1": 2, "node2": 3, "node3": 3}, "the one that went well counts as well"


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
    world = after(160, Fault(0, "kill-brick", "node2", for_s=10), Fault(70, "kill-brick", "node3", for_s=10))
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
