"""Emptying a host and balancing: tables, and that no plan breaks a rule or ever swings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from engine.decide.schedule_balance import REST_S, Shift, Stay, balance
from engine.decide.schedule_evacuate import evacuate, together
from engine.decide.schedule_model import GIB, AffinityGroup, Cluster, Host, Promise, Vm, need_bytes
from engine.decide.schedule_units import PolicyName
from tests.engine.schedule_world import (
    HARD_APART,
    HARD_TOGETHER,
    NETWORKS,
    SOFT_TOGETHER,
    cluster,
    fits_by_promise,
    host,
    vm,
    worlds,
)

World = tuple[tuple[Host, ...], Cluster, tuple[Promise, ...], Vm]


def pair(rule_name: str, rule: object, *names: str) -> AffinityGroup:
    return AffinityGroup(rule_name, frozenset(names), vms_rule=rule)  # type: ignore[arg-type]


# emptying a host


def test_the_largest_vm_chooses_first_and_each_counts_for_the_next() -> None:
    hosts = [host("s", 16, vm("small", 1), vm("large", 6), vm("middle", 3)), host("a", 8), host("b", 6)]
    plan = evacuate("s", hosts, Cluster())
    assert [(move.vm.name, move.placement.host) for move in plan.moves] == [("large", "a"), ("middle", "b"), ("small", "b")]
    assert not plan.stuck


def test_what_cannot_leave_is_told_with_its_reason() -> None:
    there = (
        vm("pinned", migration="pinned"),
        vm("manual", migration="user_migratable"),
        vm("huge", 30),
        vm("HostedEngine", is_engine=True),
        vm("fine"),
    )
    plan = evacuate("s", [host("s", 64, *there), host("a", 8)], Cluster(), [Promise(vm("late"), "s")])
    stuck = {one.vm.name: one.reason for one in plan.stuck}
    assert stuck.keys() == {"pinned", "manual", "huge", "late"}
    assert stuck["pinned"].endswith("s: the VM runs there now; a: the VM is pinned and never moves")
    assert stuck["manual"].endswith("a: the VM moves only when a person asks for it")
    assert stuck["huge"].endswith("a: needs 30.2 GiB, has 8.0 GiB")
    assert stuck["late"] == "it is on its way to s and does not run there yet"
    assert [move.vm.name for move in plan.moves] == ["fine"]
    assert [one.name for one in plan.left_to_brokers] == ["HostedEngine"]


def test_vms_that_stay_together_go_where_all_of_them_fit() -> None:
    hosts = [host("s", 16, vm("x", 3), vm("y", 3), vm("z", 1)), host("roomy", 8), host("small", 5, cpu_threads=64)]
    plan = evacuate("s", hosts, cluster("none", pair("xy", HARD_TOGETHER, "x", "y")))
    assert {move.vm.name: move.placement.host for move in plan.moves} == {"x": "roomy", "y": "roomy", "z": "small"}
    plan = evacuate("s", [hosts[0], hosts[2]], cluster("none", pair("xy", HARD_TOGETHER, "x", "y")))
    assert {one.vm.name for one in plan.stuck} == {"x", "y"}
    assert "it stays together with y, which is stuck" in {one.reason for one in plan.stuck}
    assert [move.vm.name for move in plan.moves] == ["z"]


def test_groups_that_share_a_vm_are_one() -> None:
    bound = together(
        [vm("a"), vm("b"), vm("c"), vm("d")],
        cluster(
            "none",
            pair("1", HARD_TOGETHER, "a", "b"),
            pair("2", HARD_TOGETHER, "b", "c"),
            pair("3", SOFT_TOGETHER, "c", "d"),
        ),
    )
    assert sorted(sorted(one.name for one in group) for group in bound) == [["a", "b", "c"], ["d"]]


def test_vms_that_are_kept_apart_part() -> None:
    hosts = [host("s", 16, vm("x"), vm("y"), status="preparing_for_maintenance"), host("a", 32), host("b", 8)]
    plan = evacuate("s", hosts, cluster("none", pair("xy", HARD_APART, "x", "y")))
    assert sorted(move.placement.host for move in plan.moves) == ["a", "b"]


def test_an_unknown_or_empty_host_needs_no_moves() -> None:
    assert not evacuate("nobody", [host("a")], Cluster()).moves
    assert not evacuate("a", [host("a"), host("b")], Cluster()).moves


@settings(max_examples=120, deadline=None)
@given(worlds())
def test_no_plan_exceeds_memory_or_breaks_hard_affinity(world: World) -> None:
    hosts, around, promises, _new = world
    source = hosts[0]
    plan = evacuate(source.id, hosts, around, promises)
    moved = {move.vm.id: move.placement.host for move in plan.moves}
    stuck = {one.vm.id for one in plan.stuck}
    assert len(moved) == len(plan.moves)
    assert moved.keys() | stuck == {one.id for one in source.vms} | {p.vm.id for p in promises if p.host == source.id}
    assert not moved.keys() & stuck
    end = {one.id: [*one.vms, *(p.vm for p in promises if p.host == one.id)] for one in hosts}
    end[source.id] = [one for one in end[source.id] if one.id not in moved]
    for move in plan.moves:
        end[move.placement.host].append(move.vm)
    for where in hosts[1:]:
        if where.id in moved.values():
            assert where.status == "up"
            assert fits_by_promise(where, tuple(end[where.id]), around)
            arriving = [move.vm for move in plan.moves if move.placement.host == where.id]
            arriving += [p.vm for p in promises if p.host == where.id]
            assert sum(need_bytes(one, around) for one in arriving) <= (where.free_bytes or 0)
    for rule in around.affinity_groups:
        if rule.vms_rule.enabled and rule.vms_rule.enforcing:
            for move in plan.moves:
                others = [one for one in end[move.placement.host] if rule.has_vm(one) and one.id != move.vm.id]
                bound = {move.placement.host for move in plan.moves if rule.has_vm(move.vm)}
                assert not rule.has_vm(move.vm) or (len(bound) == 1 if rule.vms_rule.positive else not others)


# balancing


def busy(name: str, percent: float, *vms: Vm, seconds: float = 300.0, gib: float = 64) -> Host:
    return host(name, gib, *vms, cpu_percent=percent, busy_s=seconds)


def loaded(name: str, percent: float, gib: float = 1.0, **fields: object) -> Vm:
    """A VM that keeps ``percent`` of one CPU busy."""
    return vm(name, gib, cpu_percent=percent, **fields)


HEAVY, LIGHT = loaded("heavy", 200, 4), loaded("light", 10, 1)


@pytest.mark.parametrize(
    ("policy", "hosts", "reason"),
    [
        ("none", [busy("a", 99, HEAVY), busy("b", 1)], "policy none moves nothing"),
        ("evenly_distributed", [busy("a", 79, HEAVY), busy("b", 1)], "no host is over-utilized"),
        ("evenly_distributed", [busy("a", 99, HEAVY, seconds=60), busy("b", 1)], "no host is over-utilized"),
        ("evenly_distributed", [busy("a", 99, HEAVY), busy("b", 60)],
         "a: over-utilized, but no VM can be moved to a host that would stay below the thresholds"),
        ("evenly_distributed", [busy("a", 99, loaded("idle", 0)), busy("b", 1)],
         "a: over-utilized, but no VM can be moved to a host that would stay below the thresholds"),
        ("evenly_distributed", [busy("a", 99, replace(HEAVY, moved_ago_s=REST_S - 1)), busy("b", 1)],
         "a: over-utilized, but no VM can be moved to a host that would stay below the thresholds"),
        ("evenly_distributed", [busy("a", 99, replace(HEAVY, migration="user_migratable")), busy("b", 1)],
         "a: over-utilized, but no VM can be moved to a host that would stay below the thresholds"),
        ("vm_evenly_distributed", [busy("a", 9, *(vm(f"v{n}") for n in range(9))), busy("b", 1)], "no host has 10 VMs"),
        ("vm_evenly_distributed",
         [busy("a", 9, *(vm(f"v{n}") for n in range(12))), busy("b", 1, *(vm(f"w{n}") for n in range(8)))],
         "no host has 5 VMs fewer than another and takes one of that other's"),
        ("power_saving", [busy("a", 10, LIGHT), busy("b", 1)], "no host is over-utilized"),
        ("power_saving", [busy("a", 30, LIGHT), busy("b", 40, HEAVY)], "no host is over-utilized"),
        ("power_saving", [busy("a", 10, LIGHT), busy("b", 69.5, HEAVY)], "no host is over-utilized"),
        ("power_saving", [busy("a", 10, LIGHT, vm("p", migration="pinned")), busy("b", 20, HEAVY, vm("w"), vm("x"))],
         "no host is over-utilized"),
    ],
)  # fmt: skip
def test_nothing_is_moved_without_need(policy: PolicyName, hosts: list[Host], reason: str) -> None:
    assert balance(hosts, cluster(policy)) == Stay(reason)


@pytest.mark.parametrize(
    ("policy", "hosts", "vm_name", "goes_to", "reason"),
    [
        ("evenly_distributed", [busy("a", 99, HEAVY, LIGHT), busy("b", 1), busy("c", 30)], "heavy", "b",
         "a is 99 % busy for 300 s: heavy to b"),
        ("evenly_distributed", [busy("a", 81, HEAVY, replace(LIGHT, cpu_percent=20.0)), busy("b", 1)], "light", "b",
         "a is 81 % busy for 300 s: light to b"),
        ("vm_evenly_distributed", [busy("a", 9, *(vm(f"v{n}") for n in range(12))), busy("b", 1)], "v0", "b",
         "a has 12 VMs: v0 to b"),
        ("power_saving", [busy("a", 5, LIGHT), busy("b", 30, HEAVY, vm("w")), busy("c", 0)], "light", "b",
         "a is 5 % busy, and all it has fits elsewhere: light to b"),
        ("power_saving", [busy("a", 99, HEAVY), busy("b", 30, vm("w"), vm("x"))], "heavy", "b",
         "a is 99 % busy for 300 s: heavy to b"),
    ],
)  # fmt: skip
def test_what_is_moved_and_why(policy: PolicyName, hosts: list[Host], vm_name: str, goes_to: str, reason: str) -> None:
    found = balance(hosts, cluster(policy))
    assert isinstance(found, Shift)
    assert (found.vm.name, found.source, found.placement.host, found.reason) == (vm_name, "a", goes_to, reason)


def test_power_saving_moves_nothing_to_a_host_that_is_used_less() -> None:
    held = [vm(f"p{number}", migration="pinned") for number in range(4)]
    closed = replace(busy("c", 30, *held[1:]), networks=frozenset())
    hosts = [busy("a", 5, held[0]), busy("b", 9, LIGHT, vm("w", cpu_percent=1.0)), closed]
    assert balance(hosts, cluster("power_saving")) == Stay("no host is over-utilized")


def test_a_host_short_of_memory_is_relieved() -> None:
    around = cluster("evenly_distributed")
    around = replace(around, policy=replace(around.policy, tight_bytes=GIB, ample_bytes=2 * GIB))
    full = host("a", 8, vm("large", 4), vm("small", 2.6))
    found = balance([full, host("b", 8)], around)
    assert isinstance(found, Shift)
    assert (found.vm.name, found.placement.host) == ("small", "b")
    assert isinstance(balance([full, host("b", 5)], around), Stay)


def test_a_running_move_is_waited_for() -> None:
    hosts = [busy("a", 99, HEAVY), busy("b", 1)]
    assert balance(hosts, cluster("evenly_distributed"), [Promise(vm("x"), "b", is_move=True)]) == Stay(
        "x is still being moved"
    )


def test_power_saving_keeps_together_what_hard_affinity_keeps_together() -> None:
    together_xy = pair("xy", HARD_TOGETHER, "light", "peer")
    hosts = [busy("a", 5, LIGHT), busy("b", 30, HEAVY, vm("w")), busy("c", 0, vm("peer"), vm("q"))]
    found = balance(hosts, cluster("power_saving", together_xy))
    assert isinstance(found, Shift)
    assert (found.vm.name, found.placement.host) == ("light", "c")


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_balancing_comes_to_an_end(world: World) -> None:
    """Loads go along with the VMs, and nothing rests: if it could swing, it would swing here."""
    hosts, around, _promises, _new = world
    current = {one.id: replace(one, free_bytes=12 * GIB, networks=NETWORKS | {"blue"}) for one in hosts}
    limit = 3 * sum(len(one.vms) for one in hosts) + 1
    for _ in range(limit):
        found = balance(tuple(current.values()), around)
        if isinstance(found, Stay):
            return
        share = (found.vm.cpu_percent if found.vm.cpu_percent is not None else 50.0 * found.vm.cpus) / 8
        source, goal = current[found.source], current[found.placement.host]
        assert source.id != goal.id
        left = tuple(one for one in source.vms if one.id != found.vm.id)
        current[source.id] = replace(source, vms=left, cpu_percent=max(0.0, source.cpu_percent - share))
        current[goal.id] = replace(goal, vms=(*goal.vms, found.vm), cpu_percent=min(100.0, goal.cpu_percent + share))
    raise AssertionError(f"it is still moving VMs after {limit} moves")
