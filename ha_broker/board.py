"""The board's slot: its bytes, what can be wrong with them, and when a host counts as silent. Pure.

Layout of the 4096 bytes (big-endian): magic ``TRIVETHA``, format version (u16), payload length (u16), sha256 of everything
else with zeros in its own place (32 bytes), then the payload, JSON of :class:`ha_broker.state.Slot`, padded with zeros.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, replace
from typing import Final

from appliance.codec import decode, encode
from appliance.errors import Refused
from ha_broker import limits
from ha_broker.state import OwnStorage, Peer, Slot

SLOT_BYTES: Final = 4096
"""One block: what O_DIRECT writes at once on every file system."""
MAGIC: Final = b"TRIVETHA"
VERSION: Final = 1
_HEADER: Final = struct.Struct(">8sHH32s")
_DECISION_CHARACTERS: Final = 600
_REASON_CHARACTERS: Final = 120
_REASONS: Final = 8
"""Texts are cut to these lengths: together they fit the slot also when every character takes three bytes."""


def to_bytes(slot: Slot) -> bytes:
    """The slot's 4096 bytes. Long texts are cut."""
    decision, reasons, keep = slot.decision[:_DECISION_CHARACTERS], slot.reasons[:_REASONS], _REASON_CHARACTERS
    short = replace(slot, decision=decision, reasons=tuple(reason[:keep] for reason in reasons))
    payload = json.dumps(encode(short), ensure_ascii=False, separators=(",", ":")).encode()
    if len(payload) > SLOT_BYTES - _HEADER.size:
        return to_bytes(replace(short, decision=decision[: len(decision) // 2], reasons=reasons[: len(reasons) // 2]))
    body = payload.ljust(SLOT_BYTES - _HEADER.size, b"\0")
    blank = _HEADER.pack(MAGIC, VERSION, len(payload), bytes(32)) + body
    return _HEADER.pack(MAGIC, VERSION, len(payload), hashlib.sha256(blank).digest()) + body


def from_bytes(host: str, data: bytes) -> Slot:
    """The slot of ``host``. Raises ``Refused``: ``board.short``, ``board.garbage``, ``board.version``, ``board.checksum``,
    ``board.payload``, ``board.other-host``."""
    if len(data) != SLOT_BYTES:
        raise _finding(host, "board.short", f"it has {len(data)} bytes, not {SLOT_BYTES}")
    magic, version, length, digest = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise _finding(host, "board.garbage", "it does not begin like a slot")
    if version != VERSION:
        raise _finding(host, "board.version", f"it has format version {version}, this broker reads {VERSION}")
    body = data[_HEADER.size :]
    if hashlib.sha256(_HEADER.pack(magic, version, length, bytes(32)) + body).digest() != digest:
        raise _finding(host, "board.checksum", "its checksum is wrong")
    try:
        value = json.loads(body[:length])
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


def track(before: Track, host: str, data: bytes | None, now_s: float) -> Track:
    """``before`` with a new reading: bytes of the slot, or None when there is no such file.

    ``now_s`` is when the reading *began*: one that was stalled for seconds shows what was written before the stall.
    """
    if data is None:
        return replace(before, read=True, finding="" if before.slot is None else "board.missing: the slot's file is gone")
    try:
        slot = from_bytes(host, data)
    except Refused as wrong:
        return replace(before, read=True, finding=f"{wrong.code}: {wrong.reason}")
    old = before.slot
    if old is None:
        return Track(now_s, True, slot)
    if slot.boot_id in before.retired or (slot.boot_id == old.boot_id and slot.sequence < old.sequence):
        text = f"board.replayed: sequence {slot.sequence} is older than {old.sequence}, which was read before"
        return replace(before, read=True, finding=text)
    if slot.boot_id != old.boot_id:
        return Track(now_s, True, slot, before.retired | {old.boot_id})
    if slot.sequence == old.sequence:
        return replace(before, read=True, finding="")
    return Track(now_s, True, slot, before.retired)


def unreadable(before: Track, error: str) -> Track:
    """``before`` after a reading that ended in an error (a slot in split-brain, a volume without quorum)."""
    return replace(before, finding=f"board.unreadable: {error}")


def peer(name: str, held: Track, storage: OwnStorage, now_s: float) -> Peer:
    """The host as a decision sees it. Nobody is silent while own storage is not good: a stall of one's own is no
    silence of others."""
    silent_s = now_s - held.changed_s
    silent = silent_s >= limits.SILENT_S and storage.good_for_s >= limits.GRACE_S
    return Peer(name, held.slot, held.read, silent, silent_s, held.finding)


def next_sequence(before: int, monotonic_s: float) -> int:
    """Rises within a boot also over restarts of the broker, without being stored: milliseconds since boot."""
    return max(before + 1, int(monotonic_s * 1000))


@dataclass(frozen=True)
class Io:
    """Book-keeping of one's own reads and writes of the volume."""

    written_s: float
    """End of the last good write (at first: the broker's start)."""
    good_since_s: float
    """Since when everything ended well and in time."""
    failing_since_s: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Ended:
    """One own read or write that ended. ``error`` empty: well. ``write``: of the own slot. That *another's* slot cannot
    be read is no statement about own storage: one slot in split-brain must not stop everybody."""

    write: bool
    began_s: float
    ended_s: float
    error: str = ""


def account(before: Io, ended: tuple[Ended, ...], oldest_pending_s: float | None, now_s: float) -> Io:
    """``before`` with what ended since, and how old the oldest read or write still under way is (None: none)."""
    now = before
    for one in ended:
        if (one.error and one.write) or one.ended_s - one.began_s > limits.STALL_S:
            now = replace(now, good_since_s=max(now.good_since_s, one.ended_s))
        if one.write and not one.error:
            now = replace(now, written_s=one.ended_s, failing_since_s=None, error="")
        elif one.write:
            since = now.failing_since_s if now.failing_since_s is not None else one.ended_s
            now = replace(now, failing_since_s=since, error=one.error)
    if oldest_pending_s is not None and oldest_pending_s > limits.STALL_S:
        now = replace(now, good_since_s=now_s)
    return now


def own_storage(io: Io, now_s: float) -> OwnStorage:
    """How own storage fares. Never written yet counts as not good."""
    failing_s = 0.0 if io.failing_since_s is None else max(now_s - io.failing_since_s, 0.001)
    good_for_s = 0.0 if failing_s else max(0.0, now_s - io.good_since_s)
    return OwnStorage(good_for_s, now_s - io.written_s, failing_s, io.error)
