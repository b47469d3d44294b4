"""Restart of HA VMs: only when the old host certainly cannot write, once, in order, and with a reason for all that wait."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.decide.schedule_fence import Fate, Ran, cannot_write, may_return
from engine.decide.schedule_model import Cluster, Promise
from engine.decide.schedule_restart import Lost, Restarts, is_over, restarts
from tests.engine.schedule_world import HARD_APART, cluster, host, vm
from tests.engine.test_schedule_moves import pair

BOOT, LATER = "boot-1", "boot-2"
RAN = Ran("n1", BOOT)
STORE, ENGINE = frozenset({"vmstore"}), frozenset({"engine"})
SILENT = Fate("n1", "node1", answers=False)


def fate(**fields: object) -> Fate:
    return Fate("n1", "node1", **fields)  # type: ignore[arg-type]


WAITS = (
    "node1 does not answer and may still write storage domain vmstore: waiting until it answers, is confirmed to be off, "
    "or is evicted there"
)


@pytest.mark.parametrize(
    ("known", "ran", "certain", "reason"),
    [
        (SILENT, RAN, False, WAITS),
        (fate(answers=False, boot_id=LATER), RAN, False, WAITS),
        (fate(answers=False, ended_boots={LATER: "fence agent ipmilan"}), RAN, False, WAITS),
        (fate(answers=False, ended_boots={"": "x"}), Ran("n1", ""), False, WAITS),
        (fate(answers=False, ended_boots={BOOT: "fence agent ipmilan"}), RAN, True,
         "node1 is off: fence agent ipmilan confirmed it"),
        (fate(answers=False, evicted=ENGINE), RAN, False, WAITS),
        (fate(answers=False, evicted=STORE), RAN, True, "node1 is evicted from vmstore"),
        (fate(answers=False, evicted=STORE), Ran("n1", ""), True, "node1 is evicted from vmstore"),
        (fate(answers=True, boot_id=LATER), RAN, True, "node1 has booted since the VM ran there"),
        (fate(answers=True, boot_id=LATER, vms=frozenset({"v"})), RAN, False, "node1 answers and has the VM"),
        (fate(answers=True, boot_id=BOOT, vms=frozenset({"v"})), RAN, False, "node1 answers and has the VM"),
        (fate(answers=True, boot_id=BOOT, vms=frozenset({"v"}), evicted=STORE), RAN, False, "node1 answers and has the VM"),
        (fate(answers=True, boot_id=BOOT, vms=frozenset({"v"}), ended_boots={BOOT: "x"}), RAN, False,
         "node1 answers and has the VM"),
        (fate(answers=True, boot_id=BOOT, vms=frozenset({"w"})), RAN, True, "node1 answers and does not have the VM"),
    ],
)  # fmt: skip
def test_what_proves_that_a_host_cannot_write(known: Fate, ran: Ran, certain: bool, reason: str) -> None:
    found = cannot_write("v", ran, known, STORE)
    assert (found.certain, found.reason) == (certain, reason)


@pytest.mark.parametrize(
    ("writes", "evicted", "locked", "certain", "reason"),
    [
        (STORE | ENGINE, STORE, frozenset(), False, "may still write storage domain engine:"),
        (STORE | ENGINE, frozenset(), frozenset(), False, "may still write storage domains engine, vmstore:"),
        (STORE | ENGINE, STORE, ENGINE, True, "node1 is evicted from vmstore and has lost its locks on engine"),
        (ENGINE, frozenset(), ENGINE, True, "node1 has lost its locks on engine"),
        (STORE, frozenset(), STORE, False, "may still write storage domain vmstore:"),
        (frozenset(), frozenset(), frozenset(), True, "node1 does not answer, and the VM has no disk that it could write"),
    ],
)
def test_each_domain_must_be_closed_and_locks_count_only_where_they_fence(
    writes: frozenset[str], evicted: frozenset[str], locked: frozenset[str], certain: bool, reason: str
) -> None:
    found = cannot_write("v", RAN, fate(answers=False, evicted=evicted), writes, fencing=ENGINE, locked=locked)
    assert found.certain is certain
    assert reason in found.reason


@pytest.mark.parametrize(
    ("known", "boot", "certain", "reason"),
    [
        (SILENT, BOOT, False, "node1 does not answer: nobody knows what still runs on it"),
        (fate(answers=True, boot_id=BOOT, vms=frozenset({"v"})), BOOT, False,
         "node1 has 1 VM from before it was evicted: end them first"),
        (fate(answers=True, boot_id=BOOT), BOOT, True, "node1 answers and has no VM left from before it was evicted"),
        (fate(answers=True, boot_id=LATER, vms=frozenset({"v"})), BOOT, True, "node1 has booted since it was evicted"),
        (fate(answers=True, boot_id=LATER, vms=frozenset({"v"})), "", False,
         "node1 has 1 VM from before it was evicted: end them first"),
    ],
)  # fmt: skip
def test_when_an_evicted_host_may_come_back(known: Fate, boot: str, certain: bool, reason: str) -> None:
    found = may_return(known, boot)
    assert (found.certain, found.reason) == (certain, reason)


def lost(name: str, gib: float = 1.0, priority: int = 1, ha: bool = True, ran: tuple[Ran, ...] = (RAN,)) -> Lost:
    return Lost(vm(name, gib, highly_available=ha, priority=priority), ran, STORE)


OFF = {"n1": fate(answers=False, evicted=STORE)}
DEAD = host("n1", 16, vm("v"), status="non_responsive")


def outcome(found: Restarts) -> tuple[list[tuple[str, str]], dict[str, str]]:
    return [(one.vm.name, one.placement.host) for one in found.starts], {one.vm.name: one.reason for one in found.waiting}


def test_the_higher_priority_first_then_the_larger_and_each_counts_for_the_next() -> None:
    gone = [lost("a", 1), lost("b", 3), lost("c", 2, priority=50), lost("d", 6)]
    starts, waiting = outcome(restarts(gone, OFF, [DEAD, host("n2", 4.8), host("n3", 4.5)], Cluster()))
    assert starts == [("c", "n2"), ("b", "n3"), ("a", "n2")]
    assert waiting["d"].startswith("Cannot run VM. There is no host")
    assert "n2: needs 6.2 GiB" in waiting["d"]


def test_who_waits_is_told_why_and_whether_it_is_down() -> None:
    gone = [
        lost("plain", ha=False),
        lost("moving", ran=(RAN, Ran("n2", "boot-9"))),
        lost("unheard", ran=(Ran("n7", BOOT),)),
        lost("nowhere", ran=()),
        lost("begun"),
        lost("elsewhere"),
        Lost(vm("HostedEngine", highly_available=True, is_engine=True), (RAN,), STORE),
    ]
    fates = {
        **OFF,
        "n2": Fate("n2", "node2", answers=False),
        "n3": Fate("n3", "node3", answers=True, vms=frozenset({"elsewhere"})),
    }
    found = restarts(gone, fates, [DEAD, host("n3")], Cluster(), [Promise(vm("begun"), "n3")])
    starts, waiting = outcome(found)
    assert not starts
    assert waiting["plain"] == "it is not highly available and stays down (node1 is evicted from vmstore)"
    assert waiting["moving"].startswith("node2 does not answer and may still write storage domain vmstore")
    assert waiting["unheard"] == "nothing is known of the host n7 that may have it"
    assert waiting["nowhere"] == "nobody knows where it ran"
    assert waiting["begun"] == "it is being started or moved already"
    assert waiting["elsewhere"] == "node3 answers and has the VM"
    assert waiting["HostedEngine"] == "the HA brokers start the engine's own VM"
    assert {one.vm.name for one in found.waiting if one.is_over} == {"plain", "HostedEngine"}


def test_a_start_says_why_it_is_safe() -> None:
    found = restarts([lost("v")], OFF, [DEAD, host("n2")], Cluster())
    assert found.starts[0].certainty == "node1 is evicted from vmstore"
    assert found.starts[0].placement.reason.startswith("n2, the only one that fits")


def test_affinity_holds_among_the_restarted() -> None:
    around = cluster("none", pair("xy", HARD_APART, "x", "y"))
    starts, waiting = outcome(restarts([lost("x"), lost("y")], OFF, [DEAD, host("n2"), host("n3", 8)], around))
    assert sorted(starts) == [("x", "n2"), ("y", "n3")]
    assert not waiting
    starts, waiting = outcome(restarts([lost("x"), lost("y")], OFF, [DEAD, host("n2")], around))
    assert starts == [("x", "n2")]
    assert "affinity group xy keeps it apart from x on n2" in waiting["y"]


def test_the_lost_ones_do_not_hold_their_own_room_on_a_host_that_booted_again() -> None:
    back = host("n1", 4, vm("v", 3), free=4)
    found = restarts([lost("v", 3)], {"n1": fate(answers=True, boot_id=LATER)}, [back], Cluster())
    assert outcome(found) == ([("v", "n1")], {})


@settings(max_examples=200, deadline=None)
@given(
    st.booleans(),
    st.sampled_from(["", BOOT, LATER]),
    st.sampled_from([frozenset(), frozenset({"v"})]),
    st.sampled_from([{}, {BOOT: "agent"}, {LATER: "agent"}]),
    st.frozensets(st.sampled_from(["vmstore", "engine"])),
    st.frozensets(st.sampled_from(["vmstore", "engine"])),
    st.frozensets(st.sampled_from(["vmstore", "engine"]), min_size=1),
    st.sampled_from(["", BOOT]),
)
def test_nothing_but_the_named_evidence_is_certain(
    answers: bool,
    boot: str,
    vms: frozenset[str],
    ended: dict[str, str],
    evicted: frozenset[str],
    locked: frozenset[str],
    writes: frozenset[str],
    ran_boot: str,
) -> None:
    """Said again as one formula; and a host that has the VM is never certain, whatever else is claimed."""
    known = fate(answers=answers, boot_id=boot, vms=vms, ended_boots=ended, evicted=evicted)
    found = is_over(Lost(vm("v"), (Ran("n1", ran_boot),), writes, locked), {"n1": known}, fencing=ENGINE)
    closed = all(domain in evicted or (domain in locked and domain == "engine") for domain in writes)
    off = bool(ran_boot) and ran_boot in ended
    assert found.certain == (("v" not in vms) if answers else (off or closed))
    assert found.reason
