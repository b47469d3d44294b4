"""Placement: tables of single reasons, and properties that hold for any world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.decide.schedule import Placement, Refusal, place, target
from engine.decide.schedule_model import GIB, MIB, AffinityGroup, Cluster, Host, Promise, Rule, Vm, need_bytes
from tests.engine.schedule_world import (
    HARD_APART,
    HARD_TOGETHER,
    SOFT_APART,
    SOFT_TOGETHER,
    cluster,
    fits_by_promise,
    host,
    vm,
    worlds,
)


def reasons(found: Placement | Refusal) -> dict[str, str]:
    """Host → its one reason."""
    ranked = {one.name: one.reason for one in found.ranking} if isinstance(found, Placement) else {}
    return ranked | {one.name: one.reason for one in found.misfits}


PASS: dict[str, Any] = {"cpu_model": "host-passthrough"}


@pytest.mark.parametrize(
    ("one", "where", "around", "reason"),
    [
        (vm("v"), host("n", status="maintenance"), Cluster(), "is in state maintenance"),
        (vm("v"), host("n", status="preparing_for_maintenance"), Cluster(), "is in state preparing for maintenance"),
        (vm("v"), host("n", status="non_responsive", status_reason="for 12 s"), Cluster(), "does not answer (for 12 s)"),
        (vm("v", is_engine=True), host("n"), Cluster(), "the engine's own VM is placed by the HA brokers"),
        (vm("v", migration="pinned", hosts=frozenset({"m"})), host("n"), Cluster(), "the VM is pinned to other hosts"),
        (vm("v", sockets=2, cores=3, threads=2), host("n"), Cluster(), "needs 12 CPUs, has 8"),
        (vm("v", cores=5), host("n", cpu_cores=4), Cluster(threads_as_cores=False), "needs 5 CPU cores, has 4"),
        (vm("v"), host("n", cpu_threads=0), Cluster(), "needs 1 CPU, has none that it told of"),
        (vm("v", cpu_model="EPYC"), host("n", cpu_models=frozenset({"Haswell"})), Cluster(),
         "cannot give the CPU model EPYC"),
        (vm("v", cpu_flags=frozenset({"avx2", "aes"})), host("n", cpu_flags=frozenset({"aes"})), Cluster(),
         "its CPU lacks avx2"),
        (vm("v", networks=frozenset({"red", "blue"})), host("n"), Cluster(), "lacks network blue, red"),
        (vm("v", storage_domains=frozenset({"iso"})), host("n"), Cluster(), "does not reach storage domain iso"),
        (vm("v", labels=frozenset({"gpu"})), host("n"), Cluster(implicit_labels=frozenset({"gpu"})),
         "lacks its affinity label gpu"),
        (vm("v", 2), host("n", 16, free=1.2), Cluster(), "needs 2.2 GiB, has 1.2 GiB"),
        (vm("v", 2), host("n", 16, free=0), Cluster(), "needs 2.2 GiB, has 0 MiB"),
        (vm("v", 2), host("n", 2.5, free=2.5), Cluster(), "needs 2.2 GiB, has 2.0 GiB of the 100 % that may be promised"),
        (vm("v", 2), replace(host("n"), free_bytes=None), Cluster(), "its memory is not known yet"),
        (vm("v"), host("n"), cluster("cluster_maintenance"),
         "the cluster is in maintenance: only highly available VMs are started"),
        (vm("v", highly_available=True), host("n"), Cluster(ha_reservation=True),
         "no room would be left for the highly available VMs of n if it were lost"),
    ],
)  # fmt: skip
def test_a_host_that_does_not_fit_says_why(one: Vm, where: Host, around: Cluster, reason: str) -> None:
    found = place(one, [where], around)
    assert isinstance(found, Refusal)
    assert reasons(found) == {"n": reason}


def test_a_refusal_is_worded_as_ovirts_and_lists_each_host() -> None:
    hosts = [host("node1", status="maintenance"), host("node2", free=1.2), host("node3", status="maintenance")]
    found = place(vm("web", 1.8), hosts, Cluster())
    assert isinstance(found, Refusal)
    assert found.sentence == (
        "Cannot run VM. There is no host that satisfies current scheduling constraints. See below for details: "
        "node1, node3: is in state maintenance; node2: needs 2.0 GiB, has 1.2 GiB"
    )
    error = found.error("web")
    assert (error.code, error.status, error.subject) == ("schedule.no-host", 409, "VM web")
    assert error.facts["hosts"] == reasons(found)
    nowhere = place(vm("web"), [], Cluster())
    assert isinstance(nowhere, Refusal)
    assert nowhere.sentence.endswith("details: there are no hosts")


@pytest.mark.parametrize(
    ("one", "source", "other", "by_hand", "reason"),
    [
        (vm("v", migration="pinned"), host("s"), host("n"), True, "the VM is pinned and never moves"),
        (vm("v", migration="user_migratable"), host("s"), host("n"), False, "the VM moves only when a person asks for it"),
        (vm("v", held_because="is being snapshotted"), host("s"), host("n"), True, "the VM is being snapshotted"),
        (vm("v"), host("s"), host("n", emulated=True), True,
         "emulates guests, s does not: a running VM cannot change over"),
        (vm("v"), host("s", emulated=True), host("n"), True,
         "does not emulate guests, s does: a running VM cannot change over"),
        (vm("v", **PASS), host("s", cpu_name="Xeon"), host("n", cpu_name="EPYC"), True,
         "has another CPU (EPYC) than s, and the VM has its host's"),
    ],
)  # fmt: skip
def test_a_move_has_reasons_of_its_own(one: Vm, source: Host, other: Host, by_hand: bool, reason: str) -> None:
    found = target(one, "s", [replace(source, vms=(one,)), other], Cluster(), by_hand=by_hand)
    assert isinstance(found, Refusal)
    assert found.sentence.startswith("Cannot migrate VM. ")
    assert reasons(found) == {"s": "the VM runs there now", "n": reason}


def test_a_user_migratable_vm_moves_when_a_person_asks() -> None:
    one = vm("v", migration="user_migratable", **PASS)
    found = target(one, "s", [host("s", 16, one), host("n")], Cluster(), by_hand=True)
    assert isinstance(found, Placement)
    assert found.host == "n"
    assert found.reason == "n, the only one that fits: CPU 0 % busy, 15.5 GiB left"


def test_only_the_hosts_that_were_asked_for_are_considered() -> None:
    found = place(vm("v"), [host("a"), host("b", 2)], Cluster(), only=frozenset({"b"}))
    assert isinstance(found, Placement)
    assert (found.host, reasons(found)["a"]) == ("b", "is not among the hosts that were asked for")


# memory


@pytest.mark.parametrize(
    ("one", "around", "need_mib"),
    [
        (vm("v", 1), Cluster(), 1024 + 160 + 2),
        (vm("v", 1, guaranteed_bytes=512 * MIB), Cluster(), 512 + 160 + 2),
        (vm("v", 1, guaranteed_bytes=512 * MIB, ballooning=False), Cluster(), 1024 + 160 + 2),
        (vm("v", 1, guaranteed_bytes=512 * MIB), Cluster(ballooning=False), 1024 + 160 + 2),
        (vm("v", 1, guaranteed_bytes=2 * GIB), Cluster(), 1024 + 160 + 2),
    ],
)
def test_a_vm_needs_what_no_balloon_can_take(one: Vm, around: Cluster, need_mib: int) -> None:
    assert need_bytes(one, around) == need_mib * MIB


def test_over_commitment_lets_more_be_promised_but_not_more_be_taken() -> None:
    full = host("n", 4.5, vm("a", 2), free=3)
    assert isinstance(place(vm("b", 2), [full], Cluster(over_commit_percent=100)), Refusal)
    assert isinstance(place(vm("b", 2), [full], Cluster(over_commit_percent=150)), Placement)
    assert isinstance(place(vm("b", 2), [replace(full, free_bytes=GIB)], Cluster(over_commit_percent=150)), Refusal)


def test_ten_starts_at_once_do_not_all_go_to_the_emptiest_host() -> None:
    hosts = [host("a", 8), host("b", 9), host("c", 8)]
    promises: list[Promise] = []
    for number in range(10):
        found = place(one := vm(f"v{number}", 1), hosts, Cluster(), promises)
        assert isinstance(found, Placement)
        promises.append(Promise(one, found.host))
    assert sorted(sum(one.host == name for one in promises) for name in "abc") == [3, 3, 4]


def test_a_promise_that_was_kept_does_not_count_twice() -> None:
    there = vm("v", 4)
    seen = host("n", 10, there)
    found = place(vm("w", 4), [seen], Cluster(), [Promise(there, "n")])
    assert isinstance(found, Placement)
    assert isinstance(
        place(vm("w", 4), [replace(seen, vms=())], Cluster(), [Promise(there, "n"), Promise(vm("u", 4), "n")]), Refusal
    )


# affinity


def group(rule: Rule, *names: str, hosts: str = "", hosts_rule: Rule = Rule()) -> AffinityGroup:  # noqa: B008 (frozen)
    return AffinityGroup("web", frozenset(names), frozenset(hosts), vms_rule=rule, hosts_rule=hosts_rule)


@pytest.mark.parametrize(
    ("rule", "chosen", "reason_of_a"),
    [
        (HARD_APART, "b", "affinity group web keeps it apart from v on a"),
        (SOFT_APART, "b", "CPU 0 % busy, 26.3 GiB left, not as wished: affinity group web keeps it apart from v on a"),
        (HARD_TOGETHER, "a", "CPU 0 % busy, 26.3 GiB left"),
        (SOFT_TOGETHER, "a", "CPU 0 % busy, 26.3 GiB left"),
        (Rule(), "a", "CPU 0 % busy, 26.3 GiB left"),
    ],
)
def test_affinity_between_vms(rule: Rule, chosen: str, reason_of_a: str) -> None:
    hosts = [host("a", 32, vm("v", 5)), host("b", 8)]
    found = place(vm("w"), hosts, cluster("none", group(rule, "v", "w")))
    assert isinstance(found, Placement)
    assert found.host == chosen
    assert reasons(found)["a"] == reason_of_a
    assert ("b" in reasons(found)) and (rule != HARD_TOGETHER or "together with v on a" in reasons(found)["b"])


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [(HARD_TOGETHER, "b"), (SOFT_TOGETHER, "b"), (HARD_APART, "a"), (SOFT_APART, "a")],
)
def test_affinity_to_hosts(rule: Rule, chosen: str) -> None:
    found = place(vm("w"), [host("a", 12), host("b", 8)], cluster("none", group(Rule(), "w", hosts="b", hosts_rule=rule)))
    assert isinstance(found, Placement)
    assert found.host == chosen


def test_groups_take_members_by_label() -> None:
    rule = AffinityGroup("web", vm_labels=frozenset({"web"}), host_labels=frozenset({"ssd"}), hosts_rule=HARD_TOGETHER)
    hosts = [host("a", 32), host("b", labels=frozenset({"ssd"}))]
    labelled = place(vm("w", labels=frozenset({"web"})), hosts, cluster("none", rule))
    assert isinstance(labelled, Placement)
    assert labelled.host == "b"
    assert reasons(labelled)["a"] == "affinity group web keeps it on other hosts"
    other = place(vm("w"), hosts, cluster("none", rule))
    assert isinstance(other, Placement)
    assert other.host == "a"


def test_who_is_on_a_host_that_is_being_emptied_holds_nobody_there() -> None:
    hosts = [host("a", 16, vm("v"), status="preparing_for_maintenance"), host("b")]
    assert isinstance(place(vm("w"), hosts, cluster("none", group(HARD_TOGETHER, "v", "w"))), Placement)


def test_promises_count_for_affinity() -> None:
    found = place(vm("w"), [host("a", 32), host("b")], cluster("none", group(HARD_APART, "v", "w")), [Promise(vm("v"), "a")])
    assert isinstance(found, Placement)
    assert found.host == "b"


# weights


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [("none", "big"), ("evenly_distributed", "big"), ("power_saving", "used"), ("vm_evenly_distributed", "big")],
)
def test_policies_choose_differently(policy: str, chosen: str) -> None:
    hosts = [host("big", 32), host("used", 16, vm("v"), cpu_percent=30), host("busy", 16, vm("x"), cpu_percent=79)]
    found = place(vm("w"), hosts, cluster(policy))  # type: ignore[arg-type]
    assert isinstance(found, Placement)
    assert found.host == chosen


def test_preferred_hosts_go_before_evenness() -> None:
    hosts = [host("a", 64), host("b", 8, vm("x"), cpu_percent=90)]
    found = place(vm("w", hosts=frozenset({"b"})), hosts, Cluster())
    assert isinstance(found, Placement)
    assert found.reason == "b, the best of 2 that fit: CPU 90 % busy, 6.3 GiB left, preferred for this VM"


def test_highly_available_vms_are_spread() -> None:
    hosts = [host("a", 16, vm("x", highly_available=True)), host("b", 15.5, vm("y"))]
    found = place(vm("w", highly_available=True), hosts, Cluster())
    assert isinstance(found, Placement)
    assert found.host == "b"


def test_memory_is_kept_for_the_engine() -> None:
    around = cluster(engine_bytes=2 * GIB)
    around = replace(around, policy=replace(around.policy, engine_spares=1))
    engine = host("e", 8, vm("HostedEngine", 2, is_engine=True))
    hosts = [replace(engine, status="maintenance"), host("a", 4)]
    found = place(vm("w", 2), hosts, around)
    assert isinstance(found, Refusal)
    assert reasons(found)["a"] == "its memory is kept for the engine VM (1 to spare, 0 besides it)"
    assert isinstance(place(vm("w", 2), [*hosts, host("b", 4)], around), Placement)
    assert isinstance(place(vm("w", 2), [engine], around), Placement)
    assert isinstance(place(vm("w", 2), [replace(engine, status="maintenance"), host("c", 8)], around), Placement)


# properties


@settings(max_examples=120, deadline=None)
@given(worlds())
def test_every_host_has_exactly_one_reason(world: tuple[tuple[Host, ...], Cluster, tuple[Promise, ...], Vm]) -> None:
    hosts, around, promises, new = world
    found = place(new, hosts, around, promises)
    ranked = [one.id for one in found.ranking] if isinstance(found, Placement) else []
    assert sorted(ranked + [one.id for one in found.misfits]) == sorted(one.id for one in hosts)
    assert all(reasons(found).values())
    assert not isinstance(found, Placement) or found.host == ranked[0]
    assert place(new, hosts[::-1], around, promises[::-1]).__class__ is found.__class__
    if isinstance(found, Placement):
        again = place(new, hosts[::-1], around, promises[::-1])
        assert isinstance(again, Placement)
        assert again.ranking == found.ranking


@settings(max_examples=120, deadline=None)
@given(worlds(), st.integers(0, 3), st.integers(1, 8))
def test_more_memory_never_turns_a_fit_into_a_misfit(
    world: tuple[tuple[Host, ...], Cluster, tuple[Promise, ...], Vm], which: int, more: int
) -> None:
    hosts, around, promises, new = world
    before = place(new, hosts, around, promises)
    richer = list(hosts)
    one = richer[which % len(richer)]
    richer[which % len(richer)] = replace(
        one, memory_bytes=one.memory_bytes + more * GIB, free_bytes=(one.free_bytes or 0) + more * GIB
    )
    after = place(new, richer, around, promises)
    if isinstance(before, Placement):
        assert isinstance(after, Placement)
        assert {one.id for one in before.ranking} <= {one.id for one in after.ranking}


@settings(max_examples=120, deadline=None)
@given(worlds())
def test_what_fits_is_within_memory_state_and_hard_affinity(
    world: tuple[tuple[Host, ...], Cluster, tuple[Promise, ...], Vm],
) -> None:
    hosts, around, promises, new = world
    found = place(new, hosts, around, promises)
    if isinstance(found, Refusal):
        return
    on = {one.id: one.vms + tuple(p.vm for p in promises if p.host == one.id) for one in hosts}
    for ranked in found.ranking:
        where = next(one for one in hosts if one.id == ranked.id)
        assert where.status == "up"
        assert new.networks <= where.networks
        assert fits_by_promise(where, (*on[where.id], new), around)
        pending = sum(need_bytes(p.vm, around) for p in promises if p.host == where.id)
        assert (where.free_bytes or 0) >= pending + need_bytes(new, around)
        for one in around.affinity_groups:
            if one.has_vm(new):
                assert_rules_kept(one, where, on, hosts)


def assert_rules_kept(one: AffinityGroup, where: Host, on: dict[str, tuple[Vm, ...]], hosts: tuple[Host, ...]) -> None:
    """Said again without the scheduler's own code: hard rules of a group hold for a VM of it on ``where``."""
    up = {each.id for each in hosts if each.status == "up"}
    if one.vms_rule.enabled and one.vms_rule.enforcing:
        peers = {name for name, there in on.items() if any(one.has_vm(each) for each in there)}
        if one.vms_rule.positive:
            assert where.id in peers or not peers & up
        else:
            assert where.id not in peers
    if one.hosts_rule.enabled and one.hosts_rule.enforcing and one.hosts:
        assert (where.id in one.hosts) == one.hosts_rule.positive
