"""Handing the engine VM over: why, to whom, how often; arriving; and speaking for the target (faults 9, 11, 27, 36, 38)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ha_broker import limits
from ha_broker.decide import decide
from ha_broker.decide.moving import targets
from ha_broker.state import Brick, Guest, Heal, LocalVm, Move, Notes, Observation, OwnStorage, PoolView, Register, Work
from tests.ha_broker.observations import GLOBAL, HELD, NOW_S, OPEN, name_of, peer, rule, running, seen

UNWRITABLE = OwnStorage(0.0, 4.0, limits.FAILING_DESTROY_S, "Input/output error")
UNREACHED = Guest(running_s=200.0, answered=True, unreached_s=limits.UNREACHED_S)
CRASHES = tuple(NOW_S - age for age in range(limits.CRASHES_MAX))
STALE = PoolView(
    (Brick("node1", True, True), Brick("node2", True, True), Brick("node3", True, False)),
    stale_s=15.0,
    steady_s=15.0,
    heal=Heal(),
    heal_age_s=2.0,
)


def moves(*ages: float, reason: str = "local-maintenance", done: bool = False) -> Notes:
    return Notes(HELD, moves=tuple(Move(NOW_S - age, reason, done) for age in ages))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("observation", "move", "because"),
    [
        (
            running(notes=Notes(HELD, broker_starts=CRASHES)),
            "broker-crashes",
            "the broker of this host started 5 times within 120 s",
        ),
        (
            running(storage=UNWRITABLE),
            "board-unwritable",
            "the own slot on the board cannot be written (Input/output error), although the volume can",
        ),
        (running(local_maintenance=True), "local-maintenance", "local maintenance is on for this host"),
        (running(guest=UNREACHED), "unreached", "the engine answers here, but no other host reaches it"),
        (running(pool=STALE), "refresh", "the disk is not open on the restarted bricks of node3: it is opened anew"),
    ],
)
def test_why_it_is_handed_over(observation: Observation, move: str, because: str) -> None:
    decision = decide(observation)
    assert (decision.action, decision.rule, decision.move, decision.target) == ("migrate", "hand-over", move, "node1")
    assert decision.sentence == f"{because}: the engine VM is migrated to node1"


def test_one_crash_less_is_no_loop_nor_are_old_ones() -> None:
    assert name_of(running(notes=Notes(HELD, broker_starts=CRASHES[1:]))) == "running"
    old = tuple(at_s - limits.CRASHES_WINDOW_S for at_s in CRASHES)
    assert name_of(running(notes=Notes(HELD, broker_starts=old))) == "running"
    steady = tuple(at_s - limits.CRASHES_STEADY_S for at_s in CRASHES)
    assert name_of(running(notes=Notes(HELD, broker_starts=steady))) == "running"


def test_a_board_that_fails_a_moment_is_waited_for() -> None:
    assert name_of(running(storage=replace(UNWRITABLE, failing_s=1.0))) == "running-stalled"


def test_a_board_that_fails_with_the_volume_is_a_lost_storage() -> None:
    thin = PoolView((Brick("node1", False, False), Brick("node2", True, True), Brick("node3", False, False)))
    assert name_of(running(storage=UNWRITABLE, pool=thin)) == "storage-lost"
    assert name_of(running(storage=UNWRITABLE, pool=PoolView())) == "storage-lost"


def test_only_who_was_asked_moves_it_in_global_maintenance() -> None:
    assert decide(running(local_maintenance=True, maintenance=GLOBAL)).action == "migrate"
    assert name_of(running(guest=UNREACHED, maintenance=GLOBAL)) == "running"
    assert name_of(running(pool=STALE, maintenance=GLOBAL)) == "running"


def test_a_stall_is_waited_out_before_a_planned_move() -> None:
    assert name_of(running(local_maintenance=True, storage=OwnStorage(0.0, 4.0))) == "running-stalled"


def test_the_best_living_able_host_gets_it() -> None:
    peers = (peer("node1", score=500), peer("node3", score=900))
    assert decide(running(local_maintenance=True, peers=peers)).target == "node3"


@pytest.mark.parametrize(
    "other",
    [
        peer("node1", silent=True),
        peer("node1", score=0),
        peer("node1", engine="paused"),
        peer("node1", local_maintenance=True),
        peer("node1", newer=True),
        peer("node1", slot=False),
    ],
)
def test_who_cannot_take_it(other: object) -> None:
    assert targets(running(peers=(other,)), "refresh") == []


def test_nobody_to_take_it() -> None:
    nobody = (peer("node1", silent=True), peer("node3", score=0))
    stays = "no other host is able to take the engine VM: it stays here"
    sentence = f"local maintenance is on for this host; {stays}"
    assert rule(running(local_maintenance=True, peers=nobody)) == ("none", "nobody-to-take-it", sentence)
    assert name_of(running(pool=STALE, peers=nobody)) == "running"
    assert name_of(running(guest=UNREACHED, peers=nobody)) == "running"


def test_a_host_where_nobody_reached_it_does_not_get_it_for_that_reason() -> None:
    peers = (peer("node1", unreached=True), peer("node3", unreached=True))
    assert name_of(running(guest=UNREACHED, peers=peers)) == "running"
    assert decide(running(local_maintenance=True, peers=peers)).target == "node1"


def test_after_a_failed_migration_it_is_tried_again_later_and_not_for_ever() -> None:
    just = decide(running(local_maintenance=True, notes=moves(1.0)))
    assert (just.rule, just.until_s) == ("move-pause", NOW_S + limits.MOVE_RETRY_S - 1.0)
    assert decide(running(local_maintenance=True, notes=moves(limits.MOVE_RETRY_S))).action == "migrate"
    used = decide(running(local_maintenance=True, notes=moves(300.0, 200.0, 100.0)))
    assert (used.action, used.rule) == ("none", "moves-used")
    assert used.sentence == (
        "local maintenance is on for this host; 3 migrations failed within 10 min: "
        "the engine VM stays here, somebody has to look at it"
    )
    assert decide(running(local_maintenance=True, notes=moves(700.0, 200.0, 100.0))).action == "migrate"


@pytest.mark.parametrize(("reason", "fields"), [("unreached", {"guest": UNREACHED}), ("broker-crashes", {})])
def test_where_it_is_of_no_use_it_is_released(reason: str, fields: dict[str, object]) -> None:
    notes = replace(moves(1.0, reason=reason), broker_starts=CRASHES if reason == "broker-crashes" else ())
    decision = decide(running(notes=notes, **fields))
    assert (decision.action, decision.rule, decision.move, decision.again) == ("shutdown", "release", reason, False)
    assert decision.sentence.endswith("and its migration failed: it is shut down here, node1, node3 may start it")


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (replace(STALE, heal=None), "not known what is to be healed"),
        (replace(STALE, heal=Heal(error="no answer")), "not known what is to be healed"),
        (replace(STALE, heal=Heal(pending=3)), "still healing"),
        (replace(STALE, heal=Heal(split_brain=("engine-vm/data.raw",))), "split-brain"),
        (replace(STALE, heal_age_s=15.0), "the answer is older than the trouble"),
        (replace(STALE, stale_s=limits.REFRESH_STEADY_S - 1), "just now"),
        (replace(STALE, steady_s=limits.REFRESH_STEADY_S - 1), "connections come and go"),
        (OPEN, "open everywhere"),
        (replace(STALE, bricks=(Brick("node1", True, True), Brick("node3", False, False))), "not connected"),
    ],
)
def test_what_a_refresh_waits_for(pool: PoolView, why: str) -> None:
    assert name_of(running(pool=pool)) == "running", why


def test_a_heal_that_cannot_end_is_not_waited_for_for_ever() -> None:
    """Each write through the bad handle blames the brick anew."""
    pool = replace(STALE, heal=Heal(pending=1), stale_s=limits.REFRESH_HEAL_S)
    assert decide(running(pool=pool)).move == "refresh"
    assert name_of(running(pool=replace(pool, stale_s=limits.REFRESH_HEAL_S - 1))) == "running"


def test_refreshes_are_rare() -> None:
    assert name_of(running(pool=STALE, notes=moves(30.0, reason="refresh", done=True))) == "running"
    assert decide(running(pool=STALE, notes=moves(60.0, reason="refresh", done=True))).move == "refresh"
    many = moves(*(70.0 * n for n in range(1, limits.REFRESHES_MAX + 1)), reason="refresh", done=True)
    assert name_of(running(pool=STALE, notes=many)) == "running"


def test_a_refresh_needs_an_engine_that_answers() -> None:
    observation = running(pool=STALE, engine_up=False, guest=Guest(running_s=5.0))
    assert name_of(observation) == "running-starting"


def test_a_hung_guest_is_no_matter_of_moving() -> None:
    guest = Guest(running_s=500.0, answered=True, unanswered_s=limits.HEALTH_ALLOWANCE_S)
    assert name_of(running(engine_up=False, guest=guest, pool=STALE)) == "guest-hung"


# --- under way

MOVING = Work("migrate to node1", 2.0, kind="migrate", target="node1")


def test_a_migration_is_waited_for() -> None:
    decision = decide(running(vm=LocalVm("migrating", 7), work=MOVING))
    assert (decision.action, decision.rule) == ("none", "migrating")
    assert decision.sentence == "the engine VM is being migrated from here to node1"
    assert decision.until_s == NOW_S + limits.MOVE_DEADLINE_S - 2.0


def test_a_late_migration_is_told() -> None:
    late = replace(MOVING, for_s=limits.MOVE_DEADLINE_S)
    sentence = "the migration to node1 takes longer than 60 s: waiting for libvirt to end it"
    assert rule(running(work=late)) == ("none", "migration-late", sentence)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"vm": LocalVm("paused-io-error", 7)}, "io-error"),
        ({"storage": UNWRITABLE, "pool": PoolView()}, "storage-lost"),
        ({"storage": OwnStorage(0.0, limits.UNWRITTEN_DESTROY_S)}, "storage-lost"),
        ({"peers": (peer("node1"), peer("node3", engine="running", engine_epoch=5))}, "superseded"),
    ],
)
def test_a_migration_does_not_keep_a_lost_qemu(fields: dict[str, object], expected: str) -> None:
    decision = decide(running(work=MOVING, **fields))
    assert (decision.action, decision.rule) == ("destroy", expected)


def test_a_broken_off_migration_is_waited_for() -> None:
    cancelled = replace(MOVING, cancelled=True)
    sentence = "a migration here was broken off: waiting for its step “migrate to node1” to end"
    assert rule(seen(work=cancelled)) == ("none", "migrate-ending", sentence)


# --- arriving, handed over

INCOMING = LocalVm("incoming", 9)
SENDER = peer("node1", engine="migrating", engine_epoch=4, handing_to="node2")


def test_what_arrives_is_left_alone_while_its_sender_lives() -> None:
    arriving = seen(vm=INCOMING, peers=(SENDER, peer("node3")), source_gone_s=500.0)
    assert rule(arriving) == ("none", "arriving", "the engine VM is arriving here from node1")


def test_what_arrives_without_storage_is_left_to_libvirt() -> None:
    lost = OwnStorage(0.0, 60.0, 60.0, "Read-only file system")
    assert name_of(seen(vm=INCOMING, peers=(SENDER,), storage=lost, pool=PoolView())) == "arriving"


def test_what_arrives_from_a_silent_host_is_ended_so_that_it_can_be_started() -> None:
    gone = replace(SENDER, silent=True)
    sentence = "the engine VM was arriving here; node1, which sent it, is silent: what arrived is destroyed"
    assert rule(seen(vm=INCOMING, peers=(gone, peer("node3")))) == ("destroy", "sender-gone", sentence)


def test_what_nobody_sends_is_ended_after_a_while() -> None:
    early = decide(seen(vm=INCOMING, source_gone_s=limits.ORPHAN_S - 1))
    assert (early.rule, early.until_s) == ("arriving", NOW_S + 1)
    assert name_of(seen(vm=INCOMING, source_gone_s=limits.ORPHAN_S)) == "orphan"


def test_a_sender_that_cannot_write_its_slot_has_more_time() -> None:
    mute = peer("node1", silent=True, engine="running", engine_epoch=4)
    arriving = seen(vm=INCOMING, peers=(mute, peer("node3")), source_gone_s=limits.ORPHAN_S)
    assert name_of(arriving) == "arriving"
    assert name_of(replace(arriving, source_gone_s=limits.MOVE_DEADLINE_S)) == "orphan"


def test_the_one_that_hands_it_to_us_is_no_rival() -> None:
    assert name_of(running(peers=(SENDER, peer("node3")))) == "running"
    other = replace(SENDER, slot=replace(SENDER.slot, handing_to="node3"))  # type: ignore[type-var]
    assert name_of(running(peers=(other, peer("node3")))) == "two-claims"


@pytest.mark.parametrize("fields", [{"handing_to": "node1"}, {"notes": Notes(HELD, moving="node1")}])
def test_after_the_hand_over_nothing_is_started_here(fields: dict[str, object]) -> None:
    sentence = "the engine VM was handed to node1: waiting until it says so, for at most 5 s"
    assert rule(seen(**fields)) == ("none", "handed-over", sentence)


def test_a_pause_in_the_middle_of_a_migration_ends_it() -> None:
    left = seen(vm=LocalVm("paused", 7), notes=Notes(HELD, moving="node1"))
    sentence = "QEMU here was left paused by a migration to node1 that broke off: it is destroyed"
    assert rule(left) == ("destroy", "left-paused", sentence)


def test_others_stand_by_during_a_migration() -> None:
    sending = peer("node1", engine="migrating", engine_epoch=4, handing_to="node3")
    assert rule(seen(peers=(sending, peer("node3")))) == (
        "none",
        "moves-elsewhere",
        "node1 is migrating the engine VM to node3: standing by",
    )
    arriving = peer("node3", engine="incoming")
    assert name_of(seen(peers=(peer("node1"), arriving), maintenance=Register())) == "moves-elsewhere"
