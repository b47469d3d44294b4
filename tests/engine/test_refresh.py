"""VMs whose disks are not open on all bricks are moved, one after the other, and those that were opened since are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.effects.clock import FakeClock
from engine.core import Engine
from engine.decide.refresh import AGAIN_S, HEAL_S, STEADY_S, Mount, Opened, Refresh, refresh
from engine.decide.shut_out import AGAIN_S as TOLD_AGAIN_S
from engine.decide.shut_out import SHUT_S, ShutOut, shut_out
from engine.decide.starved import AGAIN_S as HELPED_AGAIN_S
from engine.decide.starved import STARVED_S, starved
from engine.jobs.desk import Desk
from engine.jobs.keep_refresh import RefreshKeeper
from engine.jobs.types import BY_NAME
from gluster.model import Brick, PoolStatus, Volume
from tests.engine.vm_world import Vms, fake_hosts

STALE = Mount("h1", "node1", "vmstore", unopened=("node3",), steady_s=STEADY_S, pending=0)
OLD = Opened("1", "old", "h1", frozenset({"vmstore"}), 1000)
NEW = Opened("2", "new", "h1", frozenset({"vmstore"}), 2000)
VMS = (NEW, OLD, Opened("3", "elsewhere", "h2", frozenset({"vmstore"}), 10), Opened("4", "local", "h1", frozenset(), 10))


WELL = Mount("h2", "node2", "vmstore")


def decided(mount: Mount = STALE, vms: tuple[Opened, ...] = VMS, is_moving: bool = False, **tried: float) -> Refresh:
    return refresh(
        [mount, WELL, Mount("h3", "node3", "vmstore", away=("node1",))],
        vms,
        {name.removeprefix("vm"): at_s for name, at_s in tried.items()},
        is_moving,
    )


def test_the_one_whose_disks_have_been_open_for_longest_is_moved() -> None:
    found = decided()
    assert (found.vm, found.hosts) == (OLD, ("h2",)), "not where a brick is away: it would be the same there"
    assert found.why == "to open its disks on the brick of node3 again"
    assert found.words == (
        (
            "vmstore on node1",
            "disks of vmstore on node1 are not open on the brick of node3: old is moved, which opens its disks anew",
        ),
    )
    assert decided(vm1=10).vm == NEW, "the first was moved, and it is still so"
    assert decided(vm1=AGAIN_S).vm == OLD


@pytest.mark.parametrize(
    ("mount", "waits"),
    [
        (replace(STALE, away=("node2",)), "waits for the brick of node2"),
        (replace(STALE, host="h2"), "waits for another host that has all bricks"),
        (replace(STALE, steady_s=STEADY_S - 1), "waits for steady connections"),
        (replace(STALE, pending=7), "waits for the heal (7 left)"),
        (replace(STALE, pending=None), "waits for the heal"),
        (replace(STALE, pending=7, steady_s=HEAL_S), ""),
        (replace(STALE, pending=None, steady_s=HEAL_S), ""),
    ],
)
def test_what_it_waits_for(mount: Mount, waits: str) -> None:
    found = decided(mount)
    assert (found.vm is None) is bool(waits)
    assert not waits or found.words[0][1].endswith(f": {waits}")


def test_nothing_is_said_of_mounts_that_are_well() -> None:
    assert refresh([Mount("h1", "node1", "vmstore", away=("node2",), steady_s=99.0)], VMS, {}, is_moving=False) == Refresh()


def test_one_at_a_time_in_the_whole_cluster() -> None:
    assert decided(is_moving=True).vm is None
    assert "when no other VM is on its way" in decided(is_moving=True).words[0][1]
    found = refresh([STALE, replace(STALE, host="h2", host_name="node2")], VMS, {}, is_moving=False)
    assert found.vm == OLD
    assert "elsewhere is moved when no other" in found.words[1][1]


def test_who_does_not_move_is_named() -> None:
    pinned = replace(OLD, stays="it is pinned to its host")
    assert decided(vms=(pinned, NEW)).vm == NEW
    found = decided(vms=(pinned, NEW), vm2=1)
    assert found.vm is None
    assert "old (it is pinned to its host)" in found.words[0][1]
    assert "were moved within the last 30 min" in decided(vms=(NEW,), vm2=1).words[0][1]
    assert "a copy or a backup" in decided(vms=()).words[0][1]


# The keeper


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def keeper(vms: Vms, clock: FakeClock, said: list[str]) -> RefreshKeeper:
    store = vms.engine.store.entities
    return RefreshKeeper(store, vms.nodes, Desk(store, vms.engine.jobs, BY_NAME, clock), said.append)


def pool_of(vms: Vms) -> Path:
    """Where the fake nodes keep what the pool is like."""
    folder = next(iter(vms.nodes.nodes.values())).folder / "pool"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def loses(vms: Vms, host: str, *bricks: str) -> None:
    """The mount of ``host`` has files that are not open on those bricks."""
    (pool_of(vms) / f"vmstore.unopened.{host}").write_text(" ".join(bricks))


def after(keeper: RefreshKeeper, clock: FakeClock, seconds: float) -> None:
    clock.sleep(seconds)
    keeper.turn()


def test_a_vm_is_moved_once_its_host_is_steady_and_the_event_says_why(
    vms: Vms, keeper: RefreshKeeper, clock: FakeClock, said: list[str]
) -> None:
    vm = vms.started()
    host = vms.host_of(vm)
    loses(vms, host, "node3" if host != "node3" else "node2")
    keeper.turn()
    vms.work()
    assert vms.host_of(vm) == host
    assert said[-1].endswith("waits for steady connections")
    after(keeper, clock, HEAL_S)
    vms.work()
    vms.look()
    assert vms.host_of(vm) != host
    events = [one["description"] for one in vms.ask("GET", "events")[1]["event"]]
    assert any("initiated by system" in one and "to open its disks on the brick of" in one for one in events)
    moved_to = vms.host_of(vm)
    loses(vms, moved_to, host)
    after(keeper, clock, HEAL_S)
    vms.work()
    assert vms.host_of(vm) == moved_to, "not again within half an hour"
    after(keeper, clock, AGAIN_S)
    vms.work()
    assert vms.host_of(vm) != moved_to


def test_a_pinned_vm_stays_and_is_named(vms: Vms, keeper: RefreshKeeper, clock: FakeClock, said: list[str]) -> None:
    vm = vms.started(placement_policy={"affinity": "pinned"})
    host = vms.host_of(vm)
    keeper.turn()
    loses(vms, host, "node2")
    after(keeper, clock, HEAL_S)
    vms.work()
    assert vms.host_of(vm) == host
    assert "web1 (it is pinned to its host)" in said[-1]
    after(keeper, clock, HEAL_S)
    events = [one["description"] for one in vms.ask("GET", "events")[1]["event"]]
    (warned,) = [one for one in events if "may write its disks without the copies on node2" in one]
    assert warned.startswith("VM web1") and warned.endswith("It does not move by itself: it is pinned to its host.")
    loses(vms, host)
    after(keeper, clock, HEAL_S)
    loses(vms, host, "node2")
    after(keeper, clock, HEAL_S)
    events = [one["description"] for one in vms.ask("GET", "events")[1]["event"]]
    assert events.count(warned) == 2, "it was well in between"


def test_who_is_refused_is_not_tried_each_turn(vms: Vms, keeper: RefreshKeeper, clock: FakeClock, said: list[str]) -> None:
    vm = vms.started()
    host = vms.host_of(vm)
    vms.nodes.down |= set(vms.nodes.nodes) - {host}
    loses(vms, host, host)
    for _ in range(4):
        after(keeper, clock, HEAL_S)
    vms.work()
    assert vms.host_of(vm) == host
    assert len([one for one in vms.engine.jobs.list() if one.type == "vm.migrate"]) <= 1


# A brick that shuts a host out

SHUT = Mount("h1", "node1", "vmstore", away=("node1",), steady_s=SHUT_S)


def pool_with(*bricks: Brick) -> PoolStatus:
    return PoolStatus((), (Volume("1", "vmstore", "Replicate", "Started", 3, bricks, {}),))


RUNS = pool_with(*(Brick(f"node{number}", "/data", True) for number in (1, 2, 3)))


def test_a_brick_that_runs_and_does_not_let_a_host_in_is_told_anew() -> None:
    found = shut_out([SHUT, WELL, replace(SHUT, host="h3", host_name="node3")], RUNS, {})
    assert found == (ShutOut("vmstore", ("node1", "node3")),)
    assert shut_out([SHUT], RUNS, {"vmstore": TOLD_AGAIN_S}) == (ShutOut("vmstore", ("node1",)),)
    down = pool_with(Brick("node1", "/data", False), Brick("node2", "/data", True))
    unknown = pool_with(Brick("node1", "/data", None), Brick("node2", "/data", True))
    for mounts, pool, tried in (
        ([replace(SHUT, steady_s=SHUT_S - 1)], RUNS, {}),
        ([SHUT], RUNS, {"vmstore": TOLD_AGAIN_S - 1}),
        ([SHUT], down, {}),
        ([SHUT], unknown, {}),
        ([SHUT], None, {}),
        ([WELL], RUNS, {}),
        ([replace(SHUT, volume="other")], RUNS, {}),
    ):
        assert shut_out(mounts, pool, tried) == ()


@pytest.mark.parametrize("kind", ["shut", "unmounted"])
def test_the_keeper_lets_a_host_in_that_a_brick_shuts_out(
    vms: Vms, keeper: RefreshKeeper, clock: FakeClock, said: list[str], kind: str
) -> None:
    (pool_of(vms) / f"vmstore.{kind}.node2").write_text("node2")
    keeper.turn()
    assert not [one for one in vms.engine.jobs.list() if one.type == "pool.admit"]
    after(keeper, clock, SHUT_S)
    vms.work()
    (job,) = [one for one in vms.engine.jobs.list() if one.type == "pool.admit"]
    assert (job.status, job.result) == ("finished", {"left": []})
    assert said[-1] == "node2: a brick of vmstore runs and shuts them out: bricks are told anew"
    assert vms.nodes.renewed == ["node2"], "its self-heal daemon, and no other"
    (pool_of(vms) / f"vmstore.{kind}.node2").write_text("node2")
    after(keeper, clock, SHUT_S)
    after(keeper, clock, SHUT_S)
    vms.work()
    assert len([one for one in vms.engine.jobs.list() if one.type == "pool.admit"]) == 1, "not again so soon"


# A heal that does not go on


def test_a_heal_without_progress_is_helped_once_in_a_while() -> None:
    def seen(left: int | None, **more: tuple[str, ...]) -> list[Mount]:
        return [Mount("h1", "node1", "vmstore", pending=left, away=more.get("away", ()), unopened=more.get("unopened", ()))]

    kept, due = starved({}, seen(3), 100.0)
    assert not due
    kept, due = starved(kept, seen(2), 100.0 + STARVED_S)
    assert not due, "it went on"
    early, due = starved(kept, seen(2), 99.0 + 2 * STARVED_S)
    assert not due
    kept, due = starved(early, seen(2), 100.0 + 2 * STARVED_S)
    assert due == ("vmstore",)
    kept, due = starved(kept, seen(2), 100.0 + 4 * STARVED_S)
    assert not due, "not again at once"
    kept, due = starved(kept, seen(2), 100.0 + 2 * STARVED_S + HELPED_AGAIN_S)
    assert due == ("vmstore",)
    for well in (seen(0), seen(None), seen(2, away=("node2",)), seen(2, unopened=("node2",))):
        assert starved(early, well, 1e6) == ({}, ())


def test_the_keeper_lets_a_starved_volume_heal(vms: Vms, keeper: RefreshKeeper, clock: FakeClock) -> None:
    vms.started()
    folder = pool_of(vms)
    (folder / "vmstore.pending").write_text("2")
    keeper.turn()
    (folder / "vmstore.pending").rename(folder / "vmstore.healing")  # being tried: it waits again a moment later
    after(keeper, clock, STARVED_S / 2)
    (folder / "vmstore.healing").rename(folder / "vmstore.pending")
    after(keeper, clock, STARVED_S / 2)
    vms.work()
    (job,) = [one for one in vms.engine.jobs.list() if one.type == "pool.heal"]
    assert (job.status, job.result) == ("finished", {"whole": True})
    assert not (folder / "vmstore.pending").exists()
    assert (folder / "vmstore.cluster.eager-lock").read_text() == "on"
