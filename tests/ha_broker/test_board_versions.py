"""Brokers of different versions on one board (fault 41): they see each other live, and write what all of them read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from appliance.errors import Refused
from ha_broker import board, limits
from ha_broker.state import Brick, OwnStorage, Slot

SLOT = Slot("node1", "boot-1", 5, 990, engine="running", engine_epoch=7)
GOOD = OwnStorage(60.0, 0.5)


def newer(sequence: int) -> bytes:
    return board.sealed(9, 9, sequence, b"\x00only version 9 knows")


@pytest.mark.parametrize(
    ("reads", "version"),
    [((), 1), ((1, 1), 1), ((1, 9), 1), ((9, 9), 1), ((0,), 1)],
)
def test_the_version_that_all_living_hosts_read(reads: tuple[int, ...], version: int) -> None:
    assert board.version_for(reads) == version


def test_a_broker_that_writes_two_versions_takes_the_lower_one_while_somebody_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def two(slot: Slot) -> bytes:
        return b"2" + json.dumps({"host": slot.host}).encode()

    monkeypatch.setattr(board, "WRITERS", {**board.WRITERS, 2: two})
    monkeypatch.setattr(board, "VERSION", 2)
    assert board.version_for((2, 2)) == 2
    assert board.version_for((2, 1)) == 1
    assert board.header("node1", board.to_bytes(SLOT, 2)) == board.Header(2, 2, 5)
    assert board.header("node1", board.to_bytes(SLOT, 1)) == board.Header(1, 2, 5)


def test_every_version_of_a_slot_shows_its_header() -> None:
    assert board.header("node1", newer(77)) == board.Header(9, 9, 77)
    with pytest.raises(Refused) as caught:
        board.from_bytes("node1", newer(77))
    assert caught.value.code == "board.newer"
    assert "that host is alive" in caught.value.reason


def test_a_newer_broker_lives_as_long_as_its_sequence_rises() -> None:
    known = board.track(board.Track(0.0), "node1", board.to_bytes(SLOT), 10.0)
    first = board.track(known, "node1", newer(6), 11.0)
    assert (first.changed_s, first.slot, first.read) == (11.0, SLOT, True)
    assert first.finding.startswith("board.newer")
    assert board.peer("node1", first, GOOD, 12.0).newer
    assert not board.peer("node1", first, GOOD, 12.0).silent
    assert not board.peer("node1", first, GOOD, 12.0).claims
    same = board.track(first, "node1", newer(6), 12.0)
    assert same.changed_s == 11.0
    assert board.peer("node1", same, GOOD, 11.0 + limits.SILENT_S).silent
    assert board.track(same, "node1", newer(7), 13.0).changed_s == 13.0


def test_one_that_went_back_to_a_version_that_is_understood() -> None:
    alien = board.track(board.Track(0.0), "node1", newer(6), 11.0)
    assert (alien.slot, alien.reads) == (None, 9)
    back = board.track(alien, "node1", board.to_bytes(replace(SLOT, sequence=8)), 12.0)
    assert (back.newer, back.finding, back.changed_s) == (None, "", 12.0)
    held = board.track(board.Track(0.0), "node1", board.to_bytes(SLOT), 10.0)
    returned = board.track(board.track(held, "node1", newer(6), 11.0), "node1", board.to_bytes(SLOT), 12.0)
    assert (returned.newer, returned.changed_s) == (None, 12.0)


def test_what_a_slot_says_of_the_versions_it_reads() -> None:
    held = board.track(board.Track(0.0), "node1", board.to_bytes(replace(SLOT, reads=4)), 10.0)
    assert held.reads == 4


@pytest.mark.parametrize(
    ("silent_s", "linked", "good_for_s", "silent"),
    [
        (limits.SILENT_S, False, 60.0, True),
        (limits.SILENT_S - 0.1, False, 60.0, False),
        (limits.SILENT_S, True, 60.0, False),
        (limits.SILENT_UNSTALLED_S, True, 60.0, True),
        (limits.SILENT_S, True, limits.GRACE_S, True),
        (limits.SILENT_S, True, limits.GRACE_S - 0.1, False),
    ],
)
def test_a_host_that_a_link_between_others_may_stall_has_more_time(
    silent_s: float, linked: bool, good_for_s: float, silent: bool
) -> None:
    """Its brick is connected, and nothing stalled here since it was seen last: it did not vanish from here (fault 15)."""
    track = board.Track(100.0, True, SLOT)
    storage = OwnStorage(good_for_s, 0.5)
    bricks = (Brick("node1", linked, linked), Brick("node2", True, True))
    assert board.peer("node1", track, storage, 100.0 + silent_s, bricks).silent is silent


def test_no_space_is_told_from_other_errors() -> None:
    full = board.Ended(True, 1.0, 1.1, "No space left on device", no_space=True)
    io = board.account(board.Io(0.0, 0.0), (full,), None, 2.0)
    assert board.own_storage(io, 3.0).no_space
    written = board.account(io, (board.Ended(True, 3.0, 3.1),), None, 4.0)
    assert not board.own_storage(written, 5.0).no_space
