"""Three production brokers in the simulated world: the main rows of the fault table."""

from __future__ import annotations

import pytest

from ha_broker import board, limits
from ha_broker.ports import Event
from ha_broker.sim.check import Broken
from ha_broker.sim.host import RECORD
from ha_broker.sim.storage import VolumeOptions
from ha_broker.sim.world import World, WorldOptions

START_BEGUN = Event(0.0, "node1", "start-begun", 0, "this host starts it")


def running_world() -> World:
    """Three hosts, the engine VM up on node1 with epoch 1."""
    world = World()
    first = world.run_until_started(1, 20)
    assert (first.host, first.epoch) == ("node1", 1)
    world.run(30)
    assert world.hosts["node2"].status is not None
    assert world.hosts["node2"].status.engine.state == "up"
    assert world.decisions() == {"node1": "running", "node2": "runs-elsewhere", "node3": "runs-elsewhere"}
    return world


def test_an_idle_cluster_starts_the_engine_once_and_keeps_it() -> None:
    world = running_world()
    world.run(600)
    assert len(world.starts) == 1


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.5, 0.8])
def test_power_cut_of_the_engines_host(phase: float) -> None:
    world = running_world()
    world.run(phase)
    cut_s = world.now_s
    world.power_off("node1")
    start = world.run_until_started(2, 20)
    assert (start.host, start.epoch) == ("node2", 2)
    begun = world.begun(cut_s)
    assert len(begun) == 1
    assert begun[0][0] <= 8.6
    world.run(30)
    assert world.decisions()["node3"] == "runs-elsewhere"
    world.power_on("node1")
    world.run(60)
    assert sorted(world.decisions().values()) == ["running", "runs-elsewhere", "runs-elsewhere"]
    assert len(world.starts) == 2


@pytest.mark.parametrize("phase", [0.0, 0.4, 0.9])
def test_a_killed_qemu_is_restarted_in_place(phase: float) -> None:
    world = running_world()
    world.run(phase)
    killed_s = world.now_s
    world.kill_qemu("node1")
    start = world.run_until_started(2, 10)
    assert (start.host, start.epoch) == ("node1", 2)
    assert world.begun(killed_s)[0][0] <= 3
    assert "restart-in-place" in world.hosts["node1"].rules


def test_an_isolated_host_loses_the_lock_and_its_qemu() -> None:
    world = running_world()
    old = world.hosts["node1"].qemu
    assert old is not None
    cut_s = world.now_s
    world.cut("node1")
    start = world.run_until_started(2, 20)
    assert start.host == "node2"
    world.run(limits.UNWRITTEN_DESTROY_S)
    assert world.hosts["node1"].qemu is None
    destroyed = [event for event in world.hosts["node1"].events if event.kind == "destroyed"]
    assert destroyed[0].wall_s - 1_800_000_000.0 - cut_s <= 10
    world.heal("node1")
    world.run(60)
    assert world.decisions()["node1"] == "runs-elsewhere"
    assert len(world.starts) == 2
    assert world.hosts["node1"].epoch == 2


def test_the_world_can_show_the_damage() -> None:
    """Without strict locks a holder that stood still through the takeover writes again: the invariant must notice."""
    world = World(options=WorldOptions(volume=VolumeOptions(strict_locks=False)))
    world.run_until_started(1, 20)
    world.run(30)
    world.kill_broker("node1", restart_s=None)
    qemu = world.hosts["node1"].qemu
    assert qemu is not None
    qemu.hung = True  # it does not notice by a write of its own
    world.cut("node1")
    world.run_until_started(2, 20)
    with pytest.raises(Broken, match="S1"):
        world.heal("node1")
        world.run(10)


def test_a_frozen_holder_that_goes_on_is_refused_and_destroyed() -> None:
    world = running_world()
    host = world.hosts["node1"]
    world.freeze("node1")
    world.run_until_started(2, 20)
    world.run(40)
    assert host.qemu is not None
    world.thaw("node1")
    world.run(5)
    assert host.qemu is None
    world.run(30)
    assert len(world.starts) == 2


def test_another_hosts_loss_restarts_nothing() -> None:
    world = running_world()
    world.power_off("node3")
    world.run(60)
    assert len(world.starts) == 1
    assert world.decisions()["node1"] == "running"
    world.power_on("node3")
    world.run(60)
    assert len(world.starts) == 1


def test_a_short_blip_restarts_nothing() -> None:
    world = running_world()
    world.cut("node1")
    world.run(4)
    world.heal("node1")
    world.run(60)
    assert len(world.starts) == 1


def test_global_maintenance_is_obeyed_and_lifted() -> None:
    world = running_world()
    world.hosts["node3"].request = "global"
    world.run(5)
    assert world.hosts["node3"].request is None
    assert world.hosts["node2"].status is not None
    assert world.hosts["node2"].status.maintenance == "global"
    world.power_off("node1")
    world.run(120)
    assert len(world.starts) == 1
    assert world.decisions()["node2"] == "maintenance"
    world.hosts["node2"].request = "none"
    start = world.run_until_started(2, 15)
    assert start.epoch == 2


def test_maintenance_survives_the_loss_of_all_power() -> None:
    world = running_world()
    world.hosts["node1"].request = "global"
    world.run(5)
    for name in world.hosts:
        world.power_off(name)
    world.run(30)
    for name in world.hosts:
        world.power_on(name)
    world.run(60)
    assert set(world.decisions().values()) == {"maintenance"}
    assert len(world.starts) == 1


@pytest.mark.parametrize("order", [("node1", "node2", "node3"), ("node3", "node2", "node1")])
def test_all_nodes_lose_power_and_come_back(order: tuple[str, ...]) -> None:
    world = running_world()
    for name in world.hosts:
        world.power_off(name)
    world.run(60)
    world.power_on(order[0])
    world.run(20)
    assert world.decisions()[order[0]] == "own-storage-refused"
    world.power_on(order[1])
    back_s = world.now_s
    world.run(3)
    world.power_on(order[2])
    start = world.run_until_started(2, 40)
    assert start.epoch == 2
    assert start.at_s - back_s <= 30
    world.run(120)
    assert len(world.starts) == 2


def test_without_quorum_nothing_runs() -> None:
    world = running_world()
    world.power_off("node2")
    world.power_off("node3")
    world.run(20)
    assert world.hosts["node1"].qemu is None
    assert world.decisions()["node1"] == "own-storage-refused"
    assert len(world.starts) == 1


def test_two_starts_at_once_let_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """All turns in the same instant and nobody waits for a better one: the lock refuses all but one, and they say so."""
    monkeypatch.setattr(limits, "STAGGER_S", 0.0)
    world = World(options=WorldOptions(jitter_s=0.0), phases=(0.0, 0.0, 0.0))
    world.run_until_started(1, 20)
    assert len({at_s for at_s, _ in world.begun(0)}) == 1
    world.run(30)
    assert len(world.starts) == 1
    refused = [host.name for host in world.hosts.values() if any(event.kind == "standby" for event in host.events)]
    assert refused == ["node2", "node3"]
    sentences = [event.sentence for event in world.hosts["node2"].events if event.kind == "standby"]
    assert "lock refused the start" in sentences[0]
    assert set(world.decisions().values()) == {"running", "runs-elsewhere"}


def test_a_garbage_slot_counts_as_silence_and_is_reported() -> None:
    world = running_world()
    for _ in range(120):
        world.volume.files["board/node3.slot"] = b"garbage" * 100
        world.run(0.1)
    status = world.hosts["node1"].status
    assert status is not None
    node3 = next(host for host in status.hosts if host.name == "node3")
    assert not node3.alive
    assert any("board.short" in reason for reason in node3.reasons)
    assert any(event.kind == "finding" and "node3" in event.sentence for event in world.hosts["node1"].events)
    assert len(world.starts) == 1


def test_a_failing_host_is_tried_at_most_three_times_then_others_then_hold() -> None:
    world = World()
    for host in world.hosts.values():
        host.start_error = "guest disk is upside down"
    world.run(300)
    counts = {name: sum(1 for event in host.events if event.kind == "start-begun") for name, host in world.hosts.items()}
    assert counts == {"node1": 3, "node2": 3, "node3": 3}
    assert set(world.decisions().values()) == {"hold"}
    for host in world.hosts.values():
        host.start_error = ""
    world.run_until_started(1, 700)


def test_a_failing_host_lets_the_next_one_start() -> None:
    world = World()
    world.hosts["node1"].start_error = "no space for the console log"
    start = world.run_until_started(1, 40)
    assert start.host == "node2"


def test_a_killed_broker_adopts_the_running_engine() -> None:
    world = running_world()
    world.kill_broker("node1")
    world.run(60)
    assert len(world.starts) == 1
    assert world.decisions()["node1"] == "running"


def test_a_broker_that_stays_dead_costs_no_second_writer() -> None:
    world = running_world()
    world.kill_broker("node1", restart_s=None)
    world.run(300)
    assert len(world.starts) == 1
    assert world.decisions()["node2"] in ("lock-refused", "nobody-has-it", "starting", "starts-elsewhere", "stagger")


@pytest.mark.parametrize("calls", range(1, 16))
def test_a_broker_killed_after_any_port_call_of_a_start(calls: int) -> None:
    """The next broker converges: one engine VM, higher epochs, nothing paused left behind."""
    world = World()
    world.hosts["node1"].die_after_calls = calls
    world.run(90)
    running = [host.name for host in world.hosts.values() if host.qemu is not None]
    assert len(running) == 1
    holder = world.hosts[running[0]].qemu
    assert holder is not None
    assert holder.power == "running"
    assert world.volume.may_write(holder.handle)
    assert world.hosts[running[0]].read_record() == holder.epoch
    assert sorted(world.decisions().values()) == ["running", "runs-elsewhere", "runs-elsewhere"]
    assert len(world.starts) <= 2


@pytest.mark.parametrize("calls", range(1, 16))
def test_power_lost_after_any_port_call_of_a_start(calls: int) -> None:
    world = World()
    host = world.hosts["node1"]
    host.die_after_calls = calls
    for _ in range(600):
        world.run(0.1)
        if host.broker is None and host.power:
            world.power_off("node1")
            break
    world.run(60)
    alive = [one for one in world.hosts.values() if one.qemu is not None]
    assert len(alive) == 1
    assert alive[0].qemu is not None
    assert world.volume.may_write(alive[0].qemu.handle)
    assert alive[0].read_record() == alive[0].epoch


def test_a_damaged_epoch_record_is_made_up_for_by_the_agents() -> None:
    world = running_world()
    world.volume.files[RECORD] = b"garbage"
    world.kill_qemu("node1")
    assert world.run_until_started(2, 15).epoch == 2
    assert world.hosts["node1"].read_record() == 2


def test_a_replayed_slot_is_no_sign_of_life() -> None:
    world = running_world()
    old = world.volume.files["board/node1.slot"]
    world.run(5)
    cut_s = world.now_s
    world.power_off("node1")
    world.run(6)
    world.volume.files["board/node1.slot"] = old
    start = world.run_until_started(2, 15)
    assert start.at_s - cut_s < 15
    assert board.from_bytes("node1", old).engine == "running"
    findings = [event.sentence for event in world.hosts["node2"].events if event.kind == "finding"]
    assert any("board.replayed" in sentence for sentence in findings)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_host_that_stood_still_between_looking_and_deciding_calls_nobody_silent(frozen: bool) -> None:
    """What it read before is no silence of the others: it looks again first."""
    world = World()
    world.run(100.0)
    standby = world.hosts["node3"]
    assert standby.process is not None
    began_s = standby.process.began_s
    while standby.process.began_s == began_s:
        world.run(0.001)
    (world.freeze if frozen else lambda name: world.brokers.stop(world.hosts[name]))("node3")
    world.run(9.0)
    (world.thaw if frozen else lambda name: world.brokers.go_on(world.hosts[name]))("node3")
    world.run(5.0)
    assert world.begun(100.0) == []
    assert "ha.host-silent" not in {event.code for at_s, event in standby.told_at if at_s >= 100.0}


def migrated_world() -> World:
    """The engine VM came from node1 to node2, and both know it."""
    world = running_world()
    world.hosts["node1"].local_maintenance = True
    world.run(10)
    world.hosts["node1"].local_maintenance = False
    world.run(10)
    assert world.decisions()["node2"] == "running"
    return world


@pytest.mark.parametrize("dead_s", [0.0, 3.0])
def test_who_sent_the_engine_vm_starts_none_also_when_its_new_host_has_only_just_said_so(dead_s: float) -> None:
    world = migrated_world()
    if dead_s:
        world.kill_broker("node2", dead_s)
    wrote_s = world.now_s
    while world.hosts["node2"].wrote_s <= wrote_s:
        world.run(0.01)
    with pytest.raises(Broken, match="L3"):
        world.told(world.hosts["node1"], START_BEGUN)


def test_after_a_silence_that_was_no_blip_who_sent_the_engine_vm_may_doubt_where_it_is() -> None:
    """… until the new host's first slot can have been read. The lock refuses the start."""
    world = migrated_world()
    silent_s = world.now_s
    world.kill_broker("node2", 27.3)
    while world.hosts["node2"].wrote_s <= silent_s:
        world.run(0.01)
    world.told(world.hosts["node1"], START_BEGUN)
    world.run(5.0)
    with pytest.raises(Broken, match="L3"):
        world.told(world.hosts["node1"], START_BEGUN)
