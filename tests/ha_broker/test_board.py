"""The slot's bytes, its findings, and silence."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest

from appliance.errors import Refused
from ha_broker import limits
from ha_broker.board import (
    SLOT_BYTES,
    Ended,
    Io,
    Track,
    account,
    from_bytes,
    next_sequence,
    own_storage,
    peer,
    stood_still,
    to_bytes,
    track,
    unreadable,
)
from ha_broker.state import OwnStorage, Register, Slot

SLOT = Slot(
    "node1",
    "boot-1",
    5,
    990,
    ("load 3.0 on 2 CPUs: -10",),
    "running",
    7,
    True,
    "2026-01-01",
    7,
    Register(2, "node1", "global"),
    "ok",
)
GOOD = OwnStorage(60.0, 0.5)
HEADER = struct.Struct(">8sHHHQ32s")


def sealed(version: int, reads: int, sequence: int, payload: bytes) -> bytes:
    """A slot as a broker of any version writes it."""
    body = payload.ljust(SLOT_BYTES - HEADER.size, b"\0")
    blank = HEADER.pack(b"TRIVETHA", version, reads, len(payload), sequence, bytes(32)) + body
    return HEADER.pack(b"TRIVETHA", version, reads, len(payload), sequence, hashlib.sha256(blank).digest()) + body


def test_a_slot_comes_back_as_it_was_written() -> None:
    data = to_bytes(SLOT)
    assert len(data) == SLOT_BYTES
    assert from_bytes("node1", data) == SLOT


def test_long_texts_are_cut_to_fit() -> None:
    data = to_bytes(replace(SLOT, decision="ж" * 5000, reasons=("€" * 500,) * 20))
    slot = from_bytes("node1", data)
    assert len(data) == SLOT_BYTES
    assert slot.decision.startswith("жжж")
    assert slot.engine_epoch == 7


def test_attributes_of_a_newer_broker_are_ignored() -> None:
    payload = to_bytes(SLOT)[HEADER.size :].rstrip(b"\0").replace(b'"host":', b'"mood":"fine","host":', 1)
    assert from_bytes("node1", sealed(1, 1, 5, payload)) == SLOT


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "board.short"),
        (to_bytes(SLOT)[:100], "board.short"),
        (bytes(SLOT_BYTES), "board.garbage"),
        (b"\xff" * SLOT_BYTES, "board.garbage"),
        (b"TRIVETHA\x00\x02" + to_bytes(SLOT)[10:], "board.checksum"),
        (sealed(2, 2, 5, b"who knows"), "board.newer"),
        (sealed(1, 1, 5, b"no json"), "board.payload"),
        (_flip(to_bytes(SLOT), 60), "board.checksum"),
        (_flip(to_bytes(SLOT), SLOT_BYTES - 1), "board.checksum"),
        (_flip(to_bytes(SLOT), 11), "board.checksum"),
    ],
)
def test_findings(data: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        from_bytes("node1", data)
    assert caught.value.code == code
    assert caught.value.subject == "board slot of node1"
    assert caught.value.remedy


def test_a_slot_of_another_host_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        from_bytes("node2", to_bytes(SLOT))
    assert caught.value.code == "board.other-host"


def test_every_single_flipped_bit_is_noticed() -> None:
    data = to_bytes(SLOT)
    for at in range(0, SLOT_BYTES, 7):
        with pytest.raises(Refused):
            from_bytes("node1", _flip(data, at))


def test_life_is_a_sequence_that_rises() -> None:
    first = track(Track(0.0), "node1", to_bytes(SLOT), 10.0)
    assert (first.changed_s, first.read, first.slot) == (10.0, True, SLOT)
    same = track(first, "node1", to_bytes(SLOT), 11.0)
    assert same.changed_s == 10.0
    newer = replace(SLOT, sequence=6)
    assert track(same, "node1", to_bytes(newer), 12.0) == Track(12.0, True, newer)


def test_a_lower_sequence_of_the_same_boot_is_a_replay() -> None:
    held = track(Track(0.0), "node1", to_bytes(SLOT), 10.0)
    replayed = track(held, "node1", to_bytes(replace(SLOT, sequence=4)), 12.0)
    assert (replayed.changed_s, replayed.slot) == (10.0, SLOT)
    assert replayed.finding.startswith("board.replayed: sequence 4 is older than 5")


def test_a_new_boot_may_begin_low_and_the_old_one_is_over() -> None:
    held = track(Track(0.0), "node1", to_bytes(SLOT), 10.0)
    rebooted = replace(SLOT, boot_id="boot-2", sequence=1)
    now = track(held, "node1", to_bytes(rebooted), 12.0)
    assert (now.changed_s, now.slot) == (12.0, rebooted)
    again = track(now, "node1", to_bytes(replace(SLOT, sequence=900)), 13.0)
    assert again.slot == rebooted
    assert again.finding.startswith("board.replayed")


def test_garbage_keeps_the_last_good_slot_and_is_no_life() -> None:
    held = track(Track(0.0), "node1", to_bytes(SLOT), 10.0)
    bad = track(held, "node1", bytes(SLOT_BYTES), 12.0)
    assert (bad.changed_s, bad.slot) == (10.0, SLOT)
    assert bad.finding.startswith("board.garbage")
    assert track(bad, "node1", to_bytes(SLOT), 13.0).finding == ""


def test_a_missing_file() -> None:
    assert track(Track(0.0), "node1", None, 1.0) == Track(0.0, True)
    held = track(Track(0.0), "node1", to_bytes(SLOT), 10.0)
    assert track(held, "node1", None, 12.0).finding.startswith("board.missing")


def test_an_unreadable_slot_is_a_finding() -> None:
    assert unreadable(Track(0.0), "Input/output error").finding == "board.unreadable: Input/output error"


def test_silence_needs_time_and_good_own_storage() -> None:
    held = Track(10.0, True, SLOT)
    assert not peer("node1", held, GOOD, 10.0 + limits.SILENT_S - 0.1).silent
    assert peer("node1", held, GOOD, 10.0 + limits.SILENT_S).silent
    assert not peer("node1", held, OwnStorage(limits.GRACE_S - 0.1, 0.5), 30.0).silent
    assert peer("node1", held, OwnStorage(limits.GRACE_S, 0.5), 30.0).silent


def test_only_a_look_that_ended_tells_of_silence() -> None:
    """Not the time since: what was written meanwhile is not known; nor one of before own storage was good."""
    held = Track(10.0, True, SLOT)
    assert peer("node1", held, GOOD, 10.0 + limits.SILENT_S + 1.0, looked_ago_s=1.0).silent
    assert not peer("node1", held, GOOD, 10.0 + limits.SILENT_S + 1.0, looked_ago_s=1.1).silent
    good_again = OwnStorage(limits.GRACE_S + 1.0, 0.5)
    assert peer("node1", held, good_again, 30.0, looked_ago_s=limits.TURN_S + 0.9).silent
    assert not peer("node1", held, good_again, 30.0, looked_ago_s=limits.TURN_S + 1.1).silent


def test_a_slot_is_old_until_it_changes_after_own_storage_became_good() -> None:
    held = Track(10.0, True, Slot("node1", "boot", 1, 1000))
    assert not peer("node1", held, OwnStorage(2.0, 0.5), 12.0).old
    assert peer("node1", held, OwnStorage(1.9, 0.5), 12.0).old
    assert not peer("node1", Track(10.0, True), OwnStorage(1.9, 0.5), 12.0).old, "it never wrote one"


def test_only_a_living_claim_counts() -> None:
    held = Track(10.0, True, SLOT)
    assert peer("node1", held, GOOD, 11.0).claims
    assert not peer("node1", held, GOOD, 30.0).claims


def test_the_sequence_rises_also_over_a_restart_of_the_broker() -> None:
    assert next_sequence(0, 12.3456) == 12345
    assert next_sequence(12345, 12.3457) == 12346
    assert next_sequence(0, 13.0) > 12346


def test_a_slow_operation_is_a_stall_until_it_ends() -> None:
    start = Io(0.0, 0.0)
    pending = account(start, (), limits.STALL_S + 0.1, 5.0)
    assert own_storage(pending, 5.0).good_for_s == 0.0
    ended = account(pending, (Ended(True, 1.0, 6.6),), None, 7.0)
    storage = own_storage(ended, 7.0)
    assert storage.good_for_s == pytest.approx(0.4)
    assert storage.unwritten_s == pytest.approx(0.4)


def test_a_refused_write_is_failing_until_one_succeeds() -> None:
    refused = account(Io(0.0, 0.0), (Ended(True, 1.0, 1.1, "Read-only file system"),), None, 2.0)
    storage = own_storage(refused, 3.0)
    assert (storage.good_for_s, storage.error) == (0.0, "Read-only file system")
    assert storage.failing_s == pytest.approx(1.9)
    good = own_storage(account(refused, (Ended(True, 3.0, 3.1),), None, 3.2), 4.0)
    assert (good.failing_s, good.error) == (0.0, "")
    assert good.good_for_s == pytest.approx(2.9)


def test_time_in_which_nobody_looked_is_no_time_to_show_oneself() -> None:
    """After a stall: a late turn makes the grace longer by as much, never longer than from now. Later it says nothing."""
    just = Io(9.0, 8.0)
    assert own_storage(stood_still(just, 1.2, 10.0), 10.0).good_for_s == pytest.approx(0.8)
    assert own_storage(stood_still(just, 9.0, 10.0), 10.0).good_for_s == 0.0
    assert stood_still(just, -0.6, 10.0) is just
    assert stood_still(Io(9.0, 1.0), 1.2, 10.0) == Io(9.0, 1.0)


def test_another_hosts_unreadable_slot_is_no_fault_of_own_storage() -> None:
    storage = own_storage(account(Io(0.0, 0.0), (Ended(False, 1.0, 1.1, "Input/output error"),), None, 2.0), 3.0)
    assert storage.good_for_s == 3.0
