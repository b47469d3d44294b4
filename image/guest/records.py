"""Reads the disk that the test guest's record writer (``files/recorder.c``) wrote, and judges what it acknowledged. Pure.

A record is one slot of 4 KiB, at its sequence number modulo the ring's size. A *run* is one stretch of writing: a boot,
and how often that boot began. The writer goes on behind the newest record that it finds, so over the runs of a disk the
numbers only rise; a run that begins at or before a number which an earlier one acknowledged did not find that record.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Final
from uuid import UUID

RECORD_BYTES: Final = 4096
MAGIC: Final = b"TRIVREC1"
HEAD: Final = struct.Struct("<8sQQQ16sII")
"""Magic, sequence, slots, first, boot, run, CRC; behind it the sequence again and again."""

CRC_AT: Final = HEAD.size - 4
WORD: Final = struct.Struct("<Q")

_SAID: Final = re.compile(
    r"TRIVET-GUEST (?:recording (?P<disk>\w+) boot (?P<boot>[0-9a-f-]{36}) run (?P<run>\d+) from (?P<first>\d+) "
    r"slots (?P<slots>\d+)|acknowledged (?P<acknowledged>\d+))(?=[\r\n])"
)
"""A line counts when its end is there: the console of a machine that was killed may end in half a number."""


@dataclass(frozen=True)
class Run:
    """One stretch of writing: which boot, and how often it had begun before."""

    boot: UUID
    number: int


@dataclass(frozen=True)
class Record:
    """A whole record. ``first`` is the sequence with which its run began, ``slots`` the size of the ring."""

    sequence: int
    slots: int
    first: int
    run: Run


@dataclass(frozen=True)
class Said:
    """What a run said on the console. ``acknowledged``: its newest record that must be on the disk; None: none yet."""

    run: Run
    disk: str
    first: int
    slots: int
    acknowledged: int | None


@dataclass(frozen=True)
class Lost:
    """Acknowledged records of a run that are not on the disk: from, to (both lost), and how it is known."""

    run: Run
    from_sequence: int
    to_sequence: int
    reason: str


def crc_of(block: bytes) -> int:
    """The checksum that belongs into ``block``: CRC-32 with its own field zero."""
    return zlib.crc32(block[HEAD.size :], zlib.crc32(bytes(4), zlib.crc32(block[:CRC_AT])))


def make_record(record: Record) -> bytes:
    """The slot as the writer writes it (for tests of the reader)."""
    head = (MAGIC, record.sequence, record.slots, record.first, record.run.boot.bytes, record.run.number)
    filler = WORD.pack(record.sequence) * ((RECORD_BYTES - HEAD.size) // WORD.size)
    crc = crc_of(HEAD.pack(*head, 0) + filler)
    return HEAD.pack(*head, crc) + filler


def parse_record(block: bytes) -> Record | None:
    """The record in a slot; None: empty, torn, or something else."""
    if len(block) != RECORD_BYTES or not block.startswith(MAGIC):
        return None
    _, sequence, slots, first, boot, run, crc = HEAD.unpack_from(block)
    if crc != crc_of(block) or slots == 0:
        return None
    return Record(sequence, slots, first, Run(UUID(bytes=boot), run))


def read_records(disk: bytes | mmap) -> dict[int, Record]:
    """All whole records of a disk's bytes (a mapped file will do) that lie where they belong, by their sequence."""
    found = {}
    with memoryview(disk) as view:
        for slot in range(len(view) // RECORD_BYTES):
            record = parse_record(bytes(view[slot * RECORD_BYTES : (slot + 1) * RECORD_BYTES]))
            if record is not None and record.sequence % record.slots == slot:
                found[record.sequence] = record
    return found


def read_console(text: str) -> tuple[Said, ...]:
    """What the runs of a console (of one boot or of several) said, in their order."""
    found: list[Said] = []
    for match in _SAID.finditer(text):
        if match["boot"] is not None:
            run = Run(UUID(match["boot"]), int(match["run"]))
            found.append(Said(run, match["disk"], int(match["first"]), int(match["slots"]), None))
        elif found:
            last = found[-1]
            found[-1] = Said(last.run, last.disk, last.first, last.slots, int(match["acknowledged"]))
    return tuple(found)


def lost_records(said: Sequence[Said], records: Mapping[int, Record]) -> tuple[Lost, ...]:
    """Which acknowledged records of one disk are not there; empty: none is lost.

    ``said``: the runs on that disk. What later laps of the ring wrote over is no loss.
    """
    spoken = [one for one in said if one.acknowledged is not None]
    newest = max([*records, *(one.acknowledged for one in spoken if one.acknowledged is not None)], default=-1)
    begun = {record.run: record.first for record in records.values()} | {one.run: one.first for one in said}
    found: list[Lost] = []
    for one in spoken:
        assert one.acknowledged is not None
        for run, first in begun.items():
            if run != one.run and one.first <= first <= one.acknowledged and not _before(run, one.run, said):
                reason = f"a later run ({run.boot}, {run.number}) did not find them and began at {first}"
                found.append(Lost(one.run, first, one.acknowledged, reason))
        kept = range(max(one.first, newest - one.slots + 1), one.acknowledged + 1)
        missing = [number for number in kept if number not in records or records[number].run != one.run]
        found += [Lost(one.run, low, high, "they are not in their slots") for low, high in _stretches(missing)]
    return tuple(found)


def _before(run: Run, other: Run, said: Sequence[Said]) -> bool:
    """Whether ``run`` is known to have begun before ``other``: by the console's order, or by the numbers of one boot."""
    if run.boot == other.boot:
        return run.number < other.number
    order = [one.run for one in said]
    return run in order and order.index(run) < order.index(other)


def _stretches(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Rising numbers as stretches without a gap."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
