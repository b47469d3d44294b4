"""The reader of the test guest's records: whole ones are found, torn ones are not, and each way to lose one is seen."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from image.guest.build import COMPILE, FILES
from image.guest.records import (
    HEAD,
    MAGIC,
    RECORD_BYTES,
    Lost,
    Record,
    Run,
    Said,
    lost_records,
    make_record,
    parse_record,
    read_console,
    read_records,
)
from image.recipe import MIB

A = Run(UUID("11111111-2222-4333-8444-555555555555"), 0)
B = Run(UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"), 0)
A_AGAIN = replace(A, number=1)
SLOTS = 16


def run_of(run: Run, first: int, last: int, slots: int = SLOTS) -> list[Record]:
    return [Record(number, slots, first, run) for number in range(first, last + 1)]


def disk_of(records: Iterable[Record], slots: int = SLOTS) -> bytes:
    disk = bytearray(slots * RECORD_BYTES)
    for record in records:
        at = record.sequence % slots * RECORD_BYTES
        disk[at : at + RECORD_BYTES] = make_record(record)
    return bytes(disk)


def told(run: Run, first: int, acknowledged: int | None) -> Said:
    return Said(run, "vdb", first, SLOTS, acknowledged)


def lost(said: list[Said], records: Iterable[Record]) -> list[tuple[Run, int, int]]:
    return [(one.run, one.from_sequence, one.to_sequence) for one in lost_records(said, read_records(disk_of(records)))]


def test_a_record_comes_back() -> None:
    record = Record(5_000_000_000, 7, 42, B)
    assert parse_record(make_record(record)) == record


@pytest.mark.parametrize("at", [0, 9, 17, 25, 33, 50, 54, 56, 511, 512, 4095])
def test_one_altered_byte_makes_it_no_record(at: int) -> None:
    block = bytearray(make_record(Record(3, 7, 1, A)))
    block[at] ^= 1
    assert parse_record(bytes(block)) is None


@pytest.mark.parametrize("sector", range(1, 8))
def test_a_sector_of_the_lap_before_makes_it_no_record(sector: int) -> None:
    older, newer = make_record(Record(3, 7, 0, A)), make_record(Record(10, 7, 0, A))
    torn = newer[: sector * 512] + older[sector * 512 :]
    assert parse_record(torn) is None


@pytest.mark.parametrize("block", [b"", bytes(RECORD_BYTES), MAGIC, MAGIC + bytes(RECORD_BYTES - len(MAGIC))])
def test_what_is_no_record(block: bytes) -> None:
    assert parse_record(block) is None


def test_a_record_counts_only_in_its_own_slot() -> None:
    disk = make_record(Record(1, 2, 0, A)) + make_record(Record(3, 2, 0, A)) + b"half a slot"
    assert list(read_records(disk)) == [3]


def test_the_console_is_read_run_by_run() -> None:
    console = (
        "TRIVET-GUEST acknowledged 7\r\n"  # of a run whose beginning is not there
        f"[  1.2] x TRIVET-GUEST recording vdb boot {A.boot} run 0 from 3 slots 16\r\nTRIVET-GUEST acknowledged 5\r\n"
        "TRIVET-GUEST up\r\nTRIVET-GUEST acknowledged 12\r\n"
        f"TRIVET-GUEST recording sda boot {A.boot} run 1 from 13 slots 16\n"
    )
    assert read_console(console) == (told(A, 3, 12), Said(A_AGAIN, "sda", 13, SLOTS, None))


def test_half_a_line_at_the_end_is_not_believed() -> None:
    begun = f"TRIVET-GUEST recording vdb boot {A.boot} run 0 from 0 slots 16\nTRIVET-GUEST acknowledged 3"
    assert read_console(begun)[0].acknowledged is None
    assert read_console(begun + "1\n")[0].acknowledged == 31


def test_nothing_is_lost_over_a_restart() -> None:
    assert lost([told(A, 0, 4), told(B, 6, 9)], [*run_of(A, 0, 5), *run_of(B, 6, 10)]) == []


def test_later_laps_write_over_older_ones_without_loss() -> None:
    assert lost([told(A, 0, 20), told(B, 22, 40)], [*run_of(A, 0, 21), *run_of(B, 22, 40)]) == []


def test_what_was_not_acknowledged_may_be_missing() -> None:
    assert lost([told(A, 0, 4), told(B, 5, None)], run_of(A, 0, 4)) == []


@pytest.mark.parametrize(("kept", "expected"), [(range(3), [(A, 3, 4)]), ((0, 1, 3, 4), [(A, 2, 2)]), ((), [(A, 0, 4)])])
def test_a_missing_record_is_lost(kept: Iterable[int], expected: list[tuple[Run, int, int]]) -> None:
    records = run_of(A, 0, 4)
    assert lost([told(A, 0, 4)], [records[number] for number in kept]) == expected


def test_a_disk_that_fell_back_to_the_lap_before_lost_the_new_ones() -> None:
    assert lost([told(A, 0, 20)], run_of(A, 0, 15)) == [(A, 16, 20)]


@pytest.mark.parametrize("later", [B, A_AGAIN])
def test_a_run_that_began_too_early_shows_what_was_lost_before_it(later: Run) -> None:
    """The lost records' slots are filled again, and with laps even A's last record is gone: the beginning still tells."""
    records = [*run_of(A, 0, 5), *run_of(later, 6, 30)]
    assert lost([told(A, 0, 9), told(later, 6, 30)], records) == [(A, 6, 9)]
    assert lost([told(A, 0, 9)], records) == [(A, 6, 9)], "the later run's console is not needed for it"


def test_a_later_run_on_a_disk_that_lost_everything_is_seen() -> None:
    found = lost_records([told(A, 0, 9), told(B, 0, 9)], read_records(disk_of(run_of(B, 0, 9))))
    assert Lost(A, 0, 9, f"a later run ({B.boot}, 0) did not find them and began at 0") in found
    assert all(one.run == A for one in found), "B lost nothing"


def built(folder: Path, statements: str) -> Path:
    """The writer's own source with another ``main``: what its parts say."""
    source = (FILES / "recorder.c").read_text()
    text = source[: source.index("int main(void)")] + f"int main(int count, char **words) {{ {statements} return 0; }}\n"
    (folder / "part.c").write_text(text)
    subprocess.run(["gcc", "-o", folder / "part", folder / "part.c"], check=True, capture_output=True, timeout=60)
    return folder / "part"


def said_by(program: Path, *words: Path) -> list[int]:
    done = subprocess.run([program, *words], check=True, capture_output=True, text=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


DECLARED = re.compile(r"    (?:char|uint\d+_t) (\w+)(?:\[[^]]*\])?;")


def test_writer_and_reader_agree_on_the_layout(tmp_path: Path) -> None:
    """The compiler itself says where the writer's fields are."""
    source = (FILES / "recorder.c").read_text()
    names = DECLARED.findall(source[source.index("struct record {") : source.index("_Static_assert")])
    assert names == ["magic", "sequence", "slots", "first", "boot", "run", "crc", "filler"]
    offsets = "".join(f'printf("%zu ", __builtin_offsetof(struct record, {name}));' for name in names)
    assert said_by(built(tmp_path, f"(void)count; (void)words; {offsets}")) == [0, 8, 16, 24, 32, 48, 52, HEAD.size]
    assert f'"{MAGIC.decode()}"' in source and f"RECORD_BYTES = {RECORD_BYTES}," in source


FIND = """
    prepare();
    for (int at = 1; at < count; at++) {
        int disk = open(words[at], O_RDONLY);
        uint64_t slots = lseek(disk, 0, SEEK_END) / RECORD_BYTES;
        long long next = next_sequence(disk, &slots);
        printf("%lld %llu ", next, (unsigned long long)slots);
    }
"""


def test_the_writer_goes_on_behind_the_newest_record(tmp_path: Path) -> None:
    torn = bytearray(disk_of(run_of(A, 0, 31)))
    torn[0] ^= 255
    torn[1:RECORD_BYTES] = disk_of(run_of(A, 32, 32))[1:RECORD_BYTES]
    torn[: len(MAGIC)] = MAGIC
    torn[4000] ^= 1
    inside = bytearray(disk_of(run_of(A, 0, 20)))
    inside[5 * RECORD_BYTES + 4000] ^= 1  # record 21 was begun and not ended
    cases = {
        disk_of(()): (0, SLOTS),
        disk_of(run_of(A, 0, 0)): (1, SLOTS),
        disk_of(run_of(A, 0, 6)): (7, SLOTS),
        disk_of(run_of(A, 0, 15)): (16, SLOTS),
        disk_of([*run_of(A, 0, 18), *run_of(B, 19, 40)]): (41, SLOTS),
        bytes(inside): (21, SLOTS),
        bytes(torn): (32, SLOTS),
        disk_of(run_of(A, 0, 20)) + bytes(9 * RECORD_BYTES): (21, SLOTS),  # the disk has grown, the ring has not
        b"X" + bytes(SLOTS * RECORD_BYTES - 1): (-1, SLOTS),  # somebody else's
        bytes(1024) + b"X" + bytes(SLOTS * RECORD_BYTES - 1025): (-1, SLOTS),
    }
    paths = [tmp_path / f"disk{number}" for number in range(len(cases))]
    for path, disk in zip(paths, cases, strict=True):
        path.write_bytes(disk)
    said = said_by(built(tmp_path, FIND), *paths)
    assert list(zip(said[::2], said[1::2], strict=True)) == list(cases.values())


def test_a_disk_that_asks_for_it_is_measured_behind_its_first_piece(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"TRIVPACE".ljust(5 * MIB, b"\0"))
    statements = '(void)count; int disk = open(words[1], O_RDWR); measure(disk, "vdb", lseek(disk, 0, SEEK_END));'
    done = subprocess.run([built(tmp_path, statements), disk], check=True, capture_output=True, text=True, timeout=60)
    *rounds, last = done.stdout.splitlines()
    assert len(rounds) == 7 and last == "TRIVET-GUEST pace vdb over"
    for line in rounds:
        found = re.fullmatch(r"TRIVET-GUEST pace vdb write ([0-9.]+) read ([0-9.]+) MiB/s", line)
        assert found and min(map(float, found.groups())) > 0, line
    assert disk.read_bytes() == b"TRIVPACE".ljust(MIB, b"\0") + b"\xa5" * 4 * MIB


def test_the_recorder_is_compiled_without_a_warning() -> None:
    assert {"-Wall", "-Wextra", "-Werror", "-static"} <= set(COMPILE)
