"""No QEMU here: forced starts, split-brain, flapping, newer brokers, and who goes first (faults 17, 18, 22, 27, 35, 41)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ha_broker import limits
from ha_broker.decide import decide, recent_starts
from ha_broker.score import Fitness, score
from ha_broker.state import Attempt, Heal, HostFacts, Notes, OwnStorage, PoolView, Score
from tests.ha_broker.observations import GLOBAL, HELD, NOW_S, OPEN, name_of, peer, rule, seen

REFUSED = OwnStorage(0.0, 9.0, 5.0, "Read-only file system")
SPLIT = replace(OPEN, heal=Heal(split_brain=("engine-vm/data.raw",)))


def attempts(outcome: str, *ages: float) -> Notes:
    return Notes(None, tuple(Attempt(NOW_S - age, outcome) for age in ages))  # type: ignore[arg-type]


def test_split_brain_is_never_started_from() -> None:
    decision = decide(seen(pool=SPLIT))
    assert (decision.action, decision.rule) == ("none", "split-brain")
    assert decision.sentence == (
        "engine-vm/data.raw on the volume engine is in split-brain, its copies contradict each other: no start; decide "
        "which copy is the good one, then "
        "`gluster volume heal engine split-brain source-brick HOST:BRICK /engine-vm/data.raw`"
    )
    assert name_of(seen(pool=SPLIT, notes=Notes(HELD))) == "split-brain"


def test_nobody_is_told_to_choose_a_copy_while_one_is_away() -> None:
    bricks = tuple(replace(brick, connected=brick.host != "node3") for brick in OPEN.bricks)
    sentence = decide(seen(pool=replace(SPLIT, bricks=bricks))).sentence
    assert sentence.endswith("no start; bring the brick of node3 back, its copy may be the good one")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/engine-vm/seed.iso", "split-brain"),
        ("engine-vm/epoch", "split-brain"),
        ("<gfid:0d5e>", "split-brain"),
        ("board/node1.slot", "nobody-has-it"),
        ("engine-vm", "nobody-has-it"),
    ],
)
def test_which_files_forbid_a_start(path: str, expected: str) -> None:
    assert name_of(seen(pool=replace(OPEN, heal=Heal(split_brain=(path,))))) == expected


def test_a_pending_heal_forbids_nothing() -> None:
    assert name_of(seen(pool=replace(OPEN, heal=Heal(pending=12)))) == "nobody-has-it"
    assert name_of(seen(pool=replace(OPEN, heal=Heal(error="no answer")))) == "nobody-has-it"


def test_a_flapping_link_is_waited_out() -> None:
    flapping = seen(losses=limits.LOSSES_MAX, storage=OwnStorage(5.0, 0.5))
    decision = decide(flapping)
    assert (decision.action, decision.rule) == ("none", "flapping")
    assert decision.sentence == "own storage was lost 3 times within 10 min: holding until it was good for 20 s"
    assert decision.until_s == NOW_S + 15.0
    assert name_of(replace(flapping, storage=OwnStorage(limits.LOSSES_STEADY_S, 0.5))) == "nobody-has-it"
    assert name_of(replace(flapping, losses=limits.LOSSES_MAX - 1)) == "nobody-has-it"


def test_a_newer_broker_is_alive_and_nothing_is_started_while_it_is() -> None:
    peers = (peer("node1", newer=True, finding="board.newer: …"), peer("node3"))
    because = "node1 has a newer broker that this one does not understand: nothing is started while it lives"
    assert rule(seen(peers=peers)) == ("none", "newer-broker", f"{because}; upgrade this host")
    gone = (peer("node1", newer=True, silent=True, engine="running"), peer("node3"))
    assert name_of(seen(peers=gone)) == "nobody-has-it"


def test_an_unwritable_slot_on_a_good_volume_is_told_apart_from_no_quorum() -> None:
    assert name_of(seen(storage=REFUSED)) == "board-refused"
    assert name_of(seen(storage=REFUSED, pool=PoolView())) == "own-storage-refused"


def test_the_survivor_of_two_says_that_there_is_no_quorum_and_not_that_it_stands_by() -> None:
    peers = (peer("node1", engine="running"), peer("node3"))
    assert name_of(seen(peers=peers, storage=replace(REFUSED, failing_s=1.0), pool=PoolView())) == "runs-elsewhere"
    refused = replace(REFUSED, failing_s=limits.FAILING_DESTROY_S)
    assert name_of(seen(peers=peers, storage=refused, pool=PoolView())) == "own-storage-refused"


def test_a_paused_engine_elsewhere_is_left_to_its_host() -> None:
    peers = (peer("node1", engine="paused"), peer("node3"))
    assert rule(seen(peers=peers)) == ("none", "paused-elsewhere", "node1 has the engine VM, paused: standing by")


def test_a_released_engine_is_left_to_others_for_a_while() -> None:
    notes = Notes(released_s=NOW_S - 10.0)
    decision = decide(seen(notes=notes))
    assert (decision.rule, decision.until_s) == ("released", NOW_S + limits.RELEASED_PAUSE_S - 10.0)
    assert decision.sentence == "the engine VM was given up here: node1, node3 may start it first"
    alone = (peer("node1", silent=True), peer("node3", score=0))
    assert decide(seen(notes=notes, peers=alone)).action == "start"
    assert decide(seen(notes=Notes(released_s=NOW_S - limits.RELEASED_PAUSE_S))).action == "start"


def test_starts_whose_engine_never_answered_count_longer() -> None:
    assert name_of(seen(notes=attempts("unhealthy", 3000.0, 2000.0, 1000.0))) == "starts-used"
    assert name_of(seen(notes=attempts("failed", 3000.0, 2000.0, 1000.0))) == "nobody-has-it"
    assert name_of(seen(notes=attempts("unhealthy", 3601.0, 2000.0, 1000.0))) == "nobody-has-it"
    assert name_of(seen(notes=attempts("unhealthy", 1.0))) == "failed-pause"


def test_a_restart_in_place_needs_a_start_left() -> None:
    used = Notes(HELD, tuple(Attempt(NOW_S - age, "done") for age in (500.0, 300.0, 100.0)))
    assert name_of(seen(notes=used)) == "starts-used"


def test_an_adopted_engine_that_goes_is_restarted_in_place_whatever_was_before() -> None:
    adopted = Notes(HELD, (Attempt(NOW_S - 1.0, "locked"),))
    assert name_of(seen(notes=adopted, nobody_for_s=0.0)) == "restart-in-place"


def test_a_start_that_did_not_reach_the_disk_is_waiting_and_its_pauses_grow_to_eight_seconds() -> None:
    decision = decide(seen(notes=attempts("unreachable", 0.5)))
    assert (decision.action, decision.rule, decision.until_s) == ("none", "disk-unreached", NOW_S + 1.5)
    sentence = "the disk could not be reached from here: the volume may still settle; next try after 2 s"
    assert decision.sentence == sentence
    for count, pause_s in ((2, 4.0), (3, 8.0), (7, 8.0)):
        ages = [8.0 * (count - number) for number in range(1, count)]
        one = seen(notes=attempts("unreachable", *ages, 0.0))
        assert decide(one).until_s == NOW_S + pause_s, count
        assert decide(replace(one, now_s=NOW_S + pause_s)).action == "start"


def test_a_full_volume_uses_no_start_up_and_is_waited_for() -> None:
    """However long: what says that there is space is believed, with growing pauses, because it may be wrong."""
    full, room = replace(OPEN, free_bytes=1 << 20), replace(OPEN, free_bytes=1 << 30)
    long_ago = attempts("no-space", 500.0, 400.0, 300.0, 200.0)
    assert recent_starts(long_ago.attempts, NOW_S) == 0
    decision = decide(seen(notes=long_ago, pool=full))
    assert (decision.action, decision.rule) == ("none", "volume-full")
    assert "make space on the bricks" in decision.sentence
    assert decide(seen(notes=long_ago, pool=room)).action == "start"
    assert decide(seen(notes=long_ago, pool=OPEN)).action == "start", "nobody could say"
    for count, pause_s in ((1, 4.0), (2, 8.0), (5, 40.0)):
        ages = [40.0 * (count - number) for number in range(1, count)]
        one = seen(notes=attempts("no-space", *ages, 0.0), pool=room)
        assert (decide(one).rule, decide(one).until_s) == ("volume-full", NOW_S + pause_s), count
        assert decide(replace(one, now_s=NOW_S + pause_s)).action == "start"


def test_quick_failures_to_reach_the_disk_use_nothing_up_until_a_minute_has_passed() -> None:
    alone = (peer("node1", silent=True), peer("node3", score=0))
    quick = attempts("unreachable", 59.0, 57.0, 53.0, 45.0, 37.0, 29.0, 21.0, 13.0, 5.0)
    assert recent_starts(quick.attempts, NOW_S) == 0
    assert name_of(seen(notes=quick, peers=alone)) == "disk-unreached"
    later = tuple(Attempt(NOW_S + after_s, "unreachable") for after_s in (1.0, 9.0, 17.0))
    truly = Notes(None, quick.attempts + later)
    assert recent_starts(truly.attempts, NOW_S + 17.0) == 3
    assert name_of(seen(now_s=NOW_S + 30.0, notes=truly, peers=alone)) == "hold"


def test_a_row_ends_with_another_outcome_and_with_a_long_gap_but_not_with_a_refusal_of_the_lock() -> None:
    def counted(*made: tuple[float, str]) -> int:
        return recent_starts(tuple(Attempt(NOW_S - age, outcome) for age, outcome in made), NOW_S)  # type: ignore[arg-type]

    steady = [(age, "unreachable") for age in (80.0, 60.0, 40.0)]
    assert counted(*steady, (10.0, "unreachable")) == 1
    assert counted(*steady, (30.0, "locked"), (10.0, "unreachable")) == 1
    assert counted(*steady, (30.0, "done"), (10.0, "unreachable")) == 1, "the start itself, no more"
    assert counted((300.0, "unreachable"), (100.0, "unreachable"), (0.0, "unreachable")) == 0


def test_failed_starts_of_a_host_that_is_alone_are_spaced() -> None:
    alone = (peer("node1", silent=True), peer("node3", score=0))
    for ages, pause_s in (((0.0,), 4.0), ((4.5, 0.0), 20.0)):
        one = seen(notes=attempts("failed", *ages), peers=alone)
        decision = decide(one)
        assert (decision.action, decision.rule, decision.until_s) == ("none", "failed-pause", NOW_S + pause_s)
        assert decision.sentence == (
            f"the last start here failed and no other host is able to: what broke it may pass; next try after {pause_s:g} s"
        )
        assert decide(replace(one, now_s=NOW_S + pause_s)).action == "start"
    before = Notes(None, (Attempt(NOW_S - 300.0, "done"), Attempt(NOW_S, "failed")))
    assert decide(seen(notes=before, peers=alone)).until_s == NOW_S + 20.0, "one start is left, whatever used the others up"
    assert decide(seen(notes=attempts("begun", 0.0), peers=alone)).action == "start", (
        "the broker died in it: no reason to wait"
    )
    assert name_of(seen(notes=attempts("failed", 20.0, 10.0, 0.0), peers=alone)) == "hold"


def test_who_did_not_reach_the_disk_goes_after_those_who_have_not_tried() -> None:
    fit = Fitness("node2", HostFacts(0.5, 2, 8192, "/images/e.raw"), OwnStorage(100.0, 1.0), 1024, NOW_S)
    tried = score(replace(fit, notes=attempts("unreachable", 3.0, 1.0)))
    assert tried == Score(750, ("its last start did not reach the disk: -250",))
    assert score(replace(fit, notes=attempts("unreachable", 60.0))) == Score(1000)


# --- forced


def test_a_forced_start_overrides_what_only_people_can_judge() -> None:
    sentence = "somebody confirmed a forced start: this host starts the engine VM"
    for fields in (
        {"maintenance": GLOBAL},
        {"notes": attempts("failed", 500.0, 300.0, 100.0)},
        {"score": Score(0, ("600 MiB of memory available, 1280 MiB needed",))},
        {"losses": limits.LOSSES_MAX, "storage": OwnStorage(3.0, 0.5)},
        {"notes": attempts("locked", 1.0)},
    ):
        assert rule(seen(forced=True, **fields)) == ("start", "forced", sentence)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"storage": REFUSED}, "own writes to the board are refused (Read-only file system): without a second brick no"),
        ({"pool": SPLIT}, "is in split-brain"),
        ({"peers": (peer("node1", engine="running", engine_epoch=9), peer("node3"))}, "node1 runs the engine VM"),
        ({"peers": (peer("node1", newer=True), peer("node3"))}, "newer broker"),
        ({"peers": (peer("node1", read=False, slot=False), peer("node3"))}, "slot of node1 was not read yet"),
        ({"facts": HostFacts(0.5, 2, 8192, "", "no engine image in /x")}, "no engine image (no engine image in /x)"),
    ],
)
def test_a_forced_start_never_overrides_the_safety_of_the_data(fields: dict[str, object], word: str) -> None:
    decision = decide(seen(forced=True, **fields))
    assert (decision.action, decision.rule) == ("none", "forced-refused")
    assert decision.sentence.startswith("the forced start is refused: ")
    assert word in decision.sentence


def test_a_forced_start_waits_for_the_own_storage() -> None:
    waits = seen(forced=True, storage=OwnStorage(1.0, 0.5))
    assert rule(waits) == ("none", "forced-waits", "the forced start waits until own storage is good")
