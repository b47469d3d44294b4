"""The board's slot: its bytes, what can be wrong with them, and when a host counts as silent. Pure.

Layout of the 4096 bytes (big-endian): magic ``TRIVETHA``, format version of the payload (u16), highest version that the
writer reads (u16), payload length (u16), sequence (u64), sha256 of everything else with zeros in its own place (32 bytes),
then the payload, padded with zeros. The header never changes: so brokers of different versions see each other live. A
payload of version 1 is JSON of :class:`ha_broker.state.Slot`; attributes may be added without a new version, because
unknown ones are ignored and missing ones have a default.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from appliance.codec import decode, encode
from appliance.errors import Refused
from ha_broker import limits
from ha_broker.state import Brick, OwnStorage, Peer, Slot

SLOT_BYTES: Final = 4096
"""One block: what O_DIRECT writes at once on every file system."""
MAGIC: Final = b"TRIVETHA"
VERSION: Final = 1
"""The newest payload that this broker writes and reads."""
_HEADER: Final = struct.Struct(">8sHHHQ32s")
_DECISION_CHARACTERS: Final = 600
_REASON_CHARACTERS: Final = 120
_REASONS: Final = 8
"""Texts are cut to these lengths: together they fit the slot also when every character takes three bytes."""
_PAYLOAD_BYTES: Final = SLOT_BYTES - _HEADER.size

_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _json_1(slot: Slot) -> bytes:
    decision, reasons = slot.decision[:_DECISION_CHARACTERS], slot.reasons[:_REASONS]
    reasons = tuple([reason[:_REASON_CHARACTERS] for reason in reasons])
    cut = (decision, reasons) != (slot.decision, slot.reasons)
    short = replace(slot, decision=decision, reasons=reasons) if cut else slot
    payload = _JSON.encode(encode(short)).encode()
    if len(payload) > _PAYLOAD_BYTES:
        return _json_1(replace(short, decision=decision[: len(decision) // 2], reasons=reasons[: len(reasons) // 2]))
    return payload


WRITERS: Final[Mapping[int, Callable[[Slot], bytes]]] = {1: _json_1}
"""Every payload version that this broker can write: during an upgrade it writes the newest that all living hosts read."""


def to_bytes(slot: Slot, version: int = VERSION) -> bytes:
    """The slot's 4096 bytes. Long texts are cut."""
    payload = WRITERS[version](slot)
    return sealed(version, max(WRITERS), slot.sequence, payload)


def sealed(version: int, reads: int, sequence: int, payload: bytes) -> bytes:
    """A payload of any version with its header, as 4096 bytes."""
    body = payload.ljust(_PAYLOAD_BYTES, b"\0")
    blank = _HEADER.pack(MAGIC, version, reads, len(payload), sequence, bytes(32)) + body
    return _HEADER.pack(MAGIC, version, reads, len(payload), sequence, hashlib.sha256(blank).digest()) + body


def version_for(reads: Iterable[int]) -> int:
    """The payload version to write, when living hosts read up to ``reads``: the newest that all of them understand."""
    lowest = min([VERSION, *reads])
    if lowest in WRITERS:
        return lowest
    return max([version for version in WRITERS if version <= lowest], default=min(WRITERS))


@dataclass(frozen=True)
class Header:
    """What every version of a broker says about its slot in the same place."""

    version: int
    reads: int
    sequence: int


def header(host: str, data: bytes) -> Header:
    """The slot's header, after its checksum. Raises ``Refused``: ``board.short``, ``board.garbage``,
    ``board.checksum``."""
    if len(data) != SLOT_BYTES:
        raise _finding(host, "board.short", f"it has {len(data)} bytes, not {SLOT_BYTES}")
    magic, version, reads, length, sequence, digest = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise _finding(host, "board.garbage", "it does not begin like a slot")
    blank = _HEADER.pack(magic, version, reads, length, sequence, bytes(32)) + data[_HEADER.size :]
    if hashlib.sha256(blank).digest() != digest:
        raise _finding(host, "board.checksum", "its checksum is wrong")
    return Header(version, reads, sequence)


def from_bytes(host: str, data: bytes) -> Slot:
    """The slot of ``host``. Raises ``Refused``: those of :func:`header`, ``board.newer``, ``board.payload``,
    ``board.other-host``."""
    found = header(host, data)
    if found.version not in WRITERS:
        text = f"its format has version {found.version}, this broker reads {VERSION}: that host is alive, and not understood"
        raise _finding(host, "board.newer", text)
    length = _HEADER.unpack_from(data)[3]
    try:
        value = json.loads(data[_HEADER.size : _HEADER.size + length].decode())
    except ValueError as error:
        raise _finding(host, "board.payload", f"its payload is not JSON ({error})") from error
    slot = decode(Slot, value, subject=f"board slot of {host}", code="board.payload", ignore_unknown=True)
    if slot.host != host:
        raise _finding(host, "board.other-host", f"it was written by {slot.host}")
    return slot


def _finding(host: str, code: str, reason: str) -> Refused:
    remedy = "The host's own broker overwrites it at its next turn; if it stays, look at that broker's journal."
    return Refused(code, subject=f"board slot of {host}", reason=reason, remedy=remedy)


@dataclass(frozen=True)
class Track:
    """What a reader remembers of one slot. ``changed_s``: when (its own monotonic clock) the sequence last rose."""

    changed_s: float
    read: bool = False
    slot: Slot | None = None
    retired: frozenset[str] = frozenset()
    """Boots of that host that were over when seen: a slot of one of them is a replay."""
    finding: str = ""
    newer: Header | None = None
    """The header of its newest slot, when this broker cannot read more of it."""
    reads: int = VERSION
    """The highest payload version that this host reads."""


def track(before: Track, host: str, data: bytes | None, now_s: float) -> Track:
    """``before`` with a new reading: bytes of the slot, or None when there is no such file.

    ``now_s`` is when the reading *began*: one that was stalled for seconds shows what was written before the stall.
    """
    if data is None:
        return replace(before, read=True, finding="" if before.slot is None else "board.missing: the slot's file is gone")
    try:
        slot = from_bytes(host, data)
    except Refused as wrong:
        finding = f"{wrong.code}: {wrong.reason}"
        if wrong.code == "board.newer":
            return _newer(before, header(host, data), finding, now_s)
        return replace(before, read=True, finding=finding)
    return _track(before, slot, now_s)


def _newer(before: Track, head: Header, finding: str, now_s: float) -> Track:
    """A slot of a newer format: another sequence than last time is a sign of life, nothing more is known."""
    alive = before.newer is None or before.newer.sequence != head.sequence
    changed_s = now_s if alive else before.changed_s
    return replace(before, changed_s=changed_s, read=True, finding=finding, newer=head, reads=head.reads)


def _track(before: Track, slot: Slot, now_s: float) -> Track:
    old = before.slot
    if old is None:
        return Track(now_s, True, slot, reads=slot.reads)
    if slot.boot_id in before.retired or (slot.boot_id == old.boot_id and slot.sequence < old.sequence):
        text = f"board.replayed: sequence {slot.sequence} is older than {old.sequence}, which was read before"
        return replace(before, read=True, finding=text, reads=slot.reads)
    if slot.boot_id != old.boot_id:
        return Track(now_s, True, slot, before.retired | {old.boot_id}, reads=slot.reads)
    if slot.sequence == old.sequence and before.newer is None:
        if before.read and not before.finding and before.reads == slot.reads:
            return before
        return replace(before, read=True, finding="", reads=slot.reads)
    return Track(now_s, True, slot, before.retired, "", None, slot.reads)


def unreadable(before: Track, error: str) -> Track:
    """``before`` after a reading that ended in an error (a slot in split-brain, a volume without quorum)."""
    return replace(before, finding=f"board.unreadable: {error}")


def peer(
    name: str, held: Track, storage: OwnStorage, now_s: float, bricks: tuple[Brick, ...] = (), looked_ago_s: float = 0.0
) -> Peer:
    """The host as a decision sees it. Nobody is silent while own storage is not good: a stall of one's own is no silence of
    others. ``bricks`` are as seen from here: if the host's own is connected and it had vanished, own storage would have
    stalled; as it has not, the host may itself be stalled by a link between others (fault 15), and gets the time for that.

    ``looked_ago_s``: since the last read of its slot that ended, well or not, was begun. Only that says how long the slot
    has stood still: a read that lost packets hold up, or one of before own storage was good, says nothing of it."""
    silent_s = now_s - looked_ago_s - held.changed_s
    good = storage.good_for_s - max(0.0, looked_ago_s - limits.TURN_S) >= limits.GRACE_S
    silent = silent_s >= limits.SILENT_S and good
    if silent and storage.good_for_s >= silent_s and name in [brick.host for brick in bricks if brick.connected]:
        silent = silent_s >= limits.SILENT_UNSTALLED_S
    old = held.slot is not None and held.changed_s < now_s - storage.good_for_s
    return Peer(name, held.slot, held.read, silent, silent_s, held.finding, held.newer is not None, old)


def next_sequence(before: int, monotonic_s: float) -> int:
    """Rises within a boot also over restarts of the broker, without being stored: milliseconds since boot."""
    uptime_ms = int(monotonic_s * 1000)
    return uptime_ms if uptime_ms > before else before + 1


@dataclass(frozen=True)
class Io:
    """Book-keeping of one's own reads and writes of the volume."""

    written_s: float
    """End of the last good write (at first: the broker's start)."""
    good_since_s: float
    """Since when everything ended well and in time."""
    failing_since_s: float | None = None
    error: str = ""
    no_space: bool = False


@dataclass(frozen=True)
class Ended:
    """One own read or write that ended. ``error`` empty: well. ``write``: of the own slot. That *another's* slot cannot
    be read is no statement about own storage: one slot in split-brain must not stop everybody."""

    write: bool
    began_s: float
    ended_s: float
    error: str = ""
    no_space: bool = False
    """The error is "no space left"."""


def account(before: Io, ended: tuple[Ended, ...], oldest_pending_s: float | None, now_s: float) -> Io:
    """``before`` with what ended since, and how old the oldest read or write still under way is (None: none)."""
    written_s, good_since_s, failing_since_s = before.written_s, before.good_since_s, before.failing_since_s
    error, no_space = before.error, before.no_space
    for one in ended:
        if (one.error and one.write) or one.ended_s - one.began_s > limits.STALL_S:
            good_since_s = max(good_since_s, one.ended_s)
        if one.write and not one.error:
            written_s, failing_since_s, error, no_space = one.ended_s, None, "", False
        elif one.write:
            failing_since_s = failing_since_s if failing_since_s is not None else one.ended_s
            error, no_space = one.error, one.no_space
    if oldest_pending_s is not None and oldest_pending_s > limits.STALL_S:
        good_since_s = now_s
    return Io(written_s, good_since_s, failing_since_s, error, no_space)


def stood_still(io: Io, late_s: float, now_s: float) -> Io:
    """``io`` after a turn that came ``late_s`` late: nobody looked meanwhile, so it was no time in which the others, which
    were stalled together with this host, could have shown themselves (``GRACE_S``). A quarter of a second is any load."""
    if late_s <= limits.SETTLE_S or now_s - io.good_since_s >= limits.GRACE_S + late_s:
        return io
    return replace(io, good_since_s=min(now_s, io.good_since_s + late_s))


def own_storage(io: Io, now_s: float) -> OwnStorage:
    """How own storage fares. Never written yet counts as not good."""
    failing_s = 0.0 if io.failing_since_s is None else max(now_s - io.failing_since_s, 0.001)
    good_for_s = 0.0 if failing_s or io.good_since_s > now_s else now_s - io.good_since_s
    return OwnStorage(good_for_s, now_s - io.written_s, failing_s, io.error, io.no_space)
