"""The broker's event file, read from where we were."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from appliance.codec import encode
from ha_broker import limits
from ha_broker.effects.node import EventFile
from ha_broker.notify import events
from ha_broker.notify.events import EventReader, Position
from tests.ha_broker.statuses import event, numbers


@pytest.fixture
def log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> EventFile:
    return EventFile(tmp_path / "events.jsonl")


def test_events_are_read_from_where_we_were(tmp_path: Path, log: EventFile) -> None:
    reader = EventReader(tmp_path / "events.jsonl")
    assert reader.end() == Position()
    assert reader.after(Position()).events == ()
    log.write(event(1))
    log.write(event(2))
    found = reader.after(Position())
    assert numbers(found.events) == [1, 2]
    assert found.behind == reader.end() == found.events[1].behind
    assert numbers(reader.after(found.events[0].behind).events) == [2]
    log.write(event(3))
    assert numbers(reader.after(found.behind).events) == [3]


def test_rotation_loses_and_doubles_nothing(tmp_path: Path, log: EventFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVENTS_MAX_BYTES", 700)
    reader = EventReader(tmp_path / "events.jsonl")
    position = reader.end()
    seen: list[int] = []
    for number in range(60):
        log.write(event(number))
        if number % 4 == 3:  # at most one rotation between two looks
            found = reader.after(position)
            seen += numbers(found.events)
            position = found.behind
    assert seen == list(range(60))
    assert (tmp_path / "events.old.jsonl").exists()


def test_two_rotations_in_one_sleep_give_what_is_left(
    tmp_path: Path, log: EventFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENTS_MAX_BYTES", 700)
    reader = EventReader(tmp_path / "events.jsonl")
    log.write(event(0))
    position = reader.end()
    for number in range(1, 40):
        log.write(event(number))
    left = numbers(reader.after(position).events)
    assert left == list(range(left[0], 40))
    assert len(left) >= 5


def test_a_rotation_between_two_opens_shows_nothing_twice(tmp_path: Path, log: EventFile) -> None:
    log.write(event(1))
    os.link(tmp_path / "events.jsonl", tmp_path / "events.old.jsonl")
    assert numbers(EventReader(tmp_path / "events.jsonl").after(Position()).events) == [1]


def test_half_lines_wait_and_damage_is_stepped_over(tmp_path: Path, log: EventFile) -> None:
    file = tmp_path / "events.jsonl"
    reader = EventReader(file)
    log.write(event(1))
    line = json.dumps(encode(event(2)))
    with file.open("a") as opened:
        opened.write(line[:20])
    found = reader.after(Position())
    assert numbers(found.events) == [1]
    with file.open("ab") as opened:
        opened.write(line[20:].encode() + b"\n" + b"\x00" * 300 + b"\r\xff\n[1]\n{}\n" + b"\n")
    log.write(event(3))
    assert numbers(reader.after(found.behind).events) == [2, 3]


def test_a_file_that_a_power_cut_shortened_is_read_on_from_its_end(tmp_path: Path, log: EventFile) -> None:
    reader = EventReader(tmp_path / "events.jsonl")
    for number in range(3):
        log.write(event(number))
    position = reader.end()
    first = (tmp_path / "events.jsonl").read_text().splitlines(keepends=True)[0]
    (tmp_path / "events.jsonl").write_text(first)
    found = reader.after(position)
    assert found.events == ()
    log.write(event(9))
    assert numbers(reader.after(found.behind).events) == [9]


def test_much_comes_in_portions(tmp_path: Path, log: EventFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "READ_MAX_BYTES", 500)
    reader = EventReader(tmp_path / "events.jsonl")
    for number in range(30):
        log.write(event(number))
    position, seen, looks = Position(), list[int](), 0
    while (found := reader.after(position)).behind != position:
        seen += numbers(found.events)
        position = found.behind
        looks += 1
    assert seen == list(range(30))
    assert looks > 5
