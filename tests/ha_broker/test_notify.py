"""Messages: the configuration's door, the event file, who tells what, when, and in which words."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.codec import encode
from appliance.command import Output
from appliance.effects.clock import FakeClock
from appliance.errors import NotFound, TrivetError, Unavailable
from appliance.model.ha import HaStatus
from appliance.verbs.ha_status import write_status
from ha_broker.effects.node import EventFile
from ha_broker.notify import commands, outbox
from ha_broker.notify.choose import teller, told_here
from ha_broker.notify.config import Mail, Settings
from ha_broker.notify.events import EventReader, Position, Told
from ha_broker.notify.message import Message, body, mail, message, signature
from ha_broker.notify.outbox import Place, backoff_s, due_wall_s
from ha_broker.notify.run import Messages, Whose, read_memory
from tests.ha_broker.statuses import FAILOVER, NOW_S, SILENT, UP, event, numbers
from tests.ha_broker.test_notify_config import GOOD

# --- who tells what


@pytest.mark.parametrize(
    ("kind", "subject", "status", "own", "told"),
    [
        ("start-begun", "", UP, "node3", True),
        ("something-new", "", UP, "node3", True),
        ("decided", "", UP, "node1", False),
        ("standby", "", UP, "node1", False),
        ("alert", "", UP, "node1", True),
        ("alert", "", UP, "node3", False),
        ("alert", "node3", UP, "node3", True),
        ("alert", "node3", UP, "node2", False),
        ("alert-over", "", UP, "node2", False),
        ("finding", "", UP, "node1", True),
        ("alert", "", FAILOVER, "node3", True),
        ("alert", "", FAILOVER, "node2", False),
        ("alert", "", SILENT, "node3", True),
        ("alert", "", None, "node3", True),
    ],
)
def test_one_host_tells_a_thing(kind: str, subject: str, status: HaStatus | None, own: str, told: bool) -> None:
    assert told_here(event(1, kind, subject=subject), status, own) is told


def test_exactly_one_living_host_tells_what_all_see() -> None:
    for status in (UP, FAILOVER):
        living = [host.name for host in status.hosts if host.alive]
        assert [name for name in living if teller(status, name) == name] == [teller(status, "x")]
    assert teller(replace(UP, hosts=()), "node2") == "node2"


# --- when


def told(number: int) -> Told:
    return Told(f"id-{number}", event(number), Position("f", number))


def test_the_first_event_waits_for_company() -> None:
    assert due_wall_s(Place(), (told(0), told(3)), NOW_S + 3) == NOW_S + outbox.GATHER_S


def test_failures_are_waited_out_longer_and_longer() -> None:
    place, waits = Place(), []
    for _ in range(12):
        place = outbox.failed(place, "down", NOW_S + 1000)
        waits.append(due_wall_s(place, (told(0),), NOW_S + 1000) - NOW_S - 1000)
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == outbox.RETRY_LAST_S
    assert backoff_s(10**6) == outbox.RETRY_LAST_S
    assert outbox.delivered(place, Position("f", 1), NOW_S).failures == 0


def test_beyond_the_limit_comes_one_digest() -> None:
    place = Place()
    for number in range(outbox.MESSAGES_MAX):
        place = outbox.delivered(place, Position("f", number), NOW_S + number)
    assert due_wall_s(place, (told(10),), NOW_S + 20) == NOW_S + outbox.WINDOW_S
    assert len(outbox.delivered(place, Position(), NOW_S + 10).sent_wall_s) == outbox.MESSAGES_MAX


def test_a_clock_set_back_blocks_nothing() -> None:
    place = Place(sent_wall_s=(NOW_S + 9e5,) * 6, failures=1, failed_wall_s=NOW_S + 9e5)
    assert due_wall_s(place, (told(900_000),), NOW_S) <= NOW_S + outbox.RETRY_FIRST_S


def test_what_is_too_old_is_given_up_only_after_a_failure() -> None:
    later_s = NOW_S + outbox.GIVE_UP_S + 5
    waiting = (told(1), told(2), told(100))
    assert outbox.without_old(Place(), waiting, later_s) == Place()
    found = outbox.without_old(outbox.failed(Place(), "down", later_s), waiting, later_s)
    assert (found.delivered, found.given_up) == (Position("f", 2), 2)


# --- the words


def test_one_sentence_is_the_subject() -> None:
    letter = mail(message((told(1),), "office", "node1"), "t@x.test", ("a@x.test", "b@x.test"), NOW_S)
    assert letter["Subject"] == "[trivet office] node1: sentence 1"
    assert letter["To"] == "a@x.test, b@x.test"
    assert letter["Message-ID"] == "<node1-id-1-1@x.test>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter.get_content().startswith("2027-01-15 08:00:01  node1  sentence 1\n\nTimes are UTC.")


def test_many_are_counted_and_the_newest_shown() -> None:
    made = message([told(number) for number in range(70)], "office", "node1")
    assert made.title == "70 happenings, last: node1: sentence 69"
    assert made.text.startswith("(20 earlier ones: `trivet ha log` on node1)\n")
    assert "sentence 19" not in made.text and "sentence 20\n" in made.text


def test_a_sentence_can_not_become_a_header() -> None:
    evil = Told("i", event(1, sentence="a\r\nBcc: victim@x.test\x00\u2028b", host="n\n1"), Position())
    letter = mail(message((evil,), "of\nfice", "node1"), "t@x.test", ("a@x.test",), NOW_S)
    assert "Bcc" not in letter
    assert letter["Subject"] == "[trivet of fice] n 1: a Bcc: victim@x.test b"
    assert (
        len(mail(message((replace(evil, event=event(1, sentence="x" * 999)),), "c", "h"), "t@x", ("a@x",), 0)["Subject"])
        == 150
    )


def test_the_json_has_text_for_chats_and_ids_for_programs() -> None:
    found = json.loads(body(message((told(1), told(2)), "office", "node1"), NOW_S))
    assert found["text"] == "[trivet office] 2 happenings, last: node1: sentence 2"
    assert found["events"][1] == {**encode(event(2)), "id": "id-2", "time": "2027-01-15T08:00:02+00:00"}
    assert (found["cluster"], found["host"], found["sent"]) == ("office", "node1", "2027-01-15T08:00:00+00:00")


def test_the_signature_is_the_known_one() -> None:
    """RFC 4231's test case 2 of HMAC-SHA256."""
    expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signature("Jefe", b"what do ya want for nothing?") == expected


# --- together, with a place in memory


class Box:
    """A :class:`ha_broker.notify.deliver.Way` that keeps what it takes."""

    def __init__(self, key: str = "box") -> None:
        self.key = self.name = key
        self.taken: list[Message] = []
        self.error: TrivetError | None = None

    def deliver(self, told: Message) -> str:
        if self.error:
            raise self.error
        self.taken.append(told)
        return ""

    def numbers(self) -> list[list[int]]:
        return [numbers(one.events) for one in self.taken]


DOWN = Unavailable("notify.unreachable", subject="box", reason="it is down", remedy="Wait.")


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock(wall_s=NOW_S)
        self.log = EventFile(folder / "events.jsonl")
        self.restart()

    def restart(self) -> None:
        reader = EventReader(self.folder / "events.jsonl")
        whose = Whose("office", "node1")
        self.messages = Messages(whose, reader, self.folder / "s.json", self.folder / "ha" / "notify.json", self.clock)

    def happens(self, number: int, kind: str = "start-begun") -> None:
        self.log.write(replace(event(number, kind), wall_s=self.clock.wall_s()))

    def look(self, *boxes: Box, for_s: float = 10.0) -> None:
        for _ in range(int(for_s / 2)):
            self.messages.look(boxes, lambda: None)
            self.clock.sleep(2)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path)


def test_from_the_event_to_the_message(desk: Desk) -> None:
    box = Box()
    desk.happens(0)
    desk.look(box)
    assert box.taken == []  # it was there before anybody asked to be told
    desk.happens(1)
    desk.happens(2, "decided")
    desk.happens(3, "start-done")
    desk.look(box)
    assert box.numbers() == [[1, 3]]
    desk.restart()
    desk.look(box)
    assert box.numbers() == [[1, 3]]
    assert (desk.folder / "ha" / "notify.json").stat().st_mode & 0o777 == 0o600


def test_a_place_that_is_down_gets_it_later_and_does_not_hold_up_the_other(desk: Desk) -> None:
    good, bad = Box("good"), Box("bad")
    desk.look(good, bad)
    bad.error = DOWN
    for number in range(3):
        desk.happens(number)
        desk.look(good, bad, for_s=60)
    assert good.numbers() == [[0], [1], [2]]
    bad.error = None
    desk.restart()
    desk.look(good, bad, for_s=outbox.RETRY_LAST_S)
    assert bad.numbers() == [[0, 1, 2]]
    assert good.numbers() == [[0], [1], [2]]


def test_a_storm_becomes_a_few_messages_and_loses_nothing(desk: Desk) -> None:
    box = Box()
    desk.look(box)
    for number in range(100):
        desk.happens(number)
        desk.look(box, for_s=10)
    desk.look(box, for_s=outbox.WINDOW_S)
    assert len(box.taken) <= 2 * outbox.MESSAGES_MAX + 1
    assert [number for batch in box.numbers() for number in batch] == list(range(100))


def test_an_alert_that_another_host_tells_is_not_told_here(desk: Desk) -> None:
    box = Box()
    desk.look(box)
    write_status(desk.folder / "s.json", replace(UP, engine=UP.engine, hosts=UP.hosts[1:]), desk.clock)
    desk.happens(1, "alert")
    desk.messages.look((box,), lambda: None)
    assert (
        read_memory(desk.folder / "ha" / "notify.json").places["box"].delivered
        == EventReader(desk.folder / "events.jsonl").end()
    )
    desk.look(box)
    assert box.taken == []


@pytest.mark.parametrize("content", ["", "{", '{"places": 3}', "\x00\x00"])
def test_a_damaged_memory_begins_anew_and_says_so(desk: Desk, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (desk.folder / "ha").mkdir()
    (desk.folder / "ha" / "notify.json").write_text(content)
    desk.happens(1)
    desk.restart()
    assert "begun anew" in capsys.readouterr().err
    box = Box()
    desk.look(box)
    desk.happens(2)
    desk.look(box)
    assert box.numbers() == [[2]]


def test_a_full_disk_stops_no_message(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box()
    desk.look(box)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ha_broker.notify.run.write_atomically", full)
    desk.happens(1)
    desk.look(box, for_s=30)
    assert box.numbers() == [[1]]


def test_failures_are_said_once_and_without_flood(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    box = Box()
    desk.look(box)
    box.error = DOWN
    desk.happens(1)
    capsys.readouterr()
    desk.look(box, for_s=3600)
    assert capsys.readouterr().err.count("it is down") == 1


# --- the command


def test_the_status_tells_what_waits_and_why(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.folder / "notify.toml").write_text(GOOD.partition("[[webhook]]")[0])
    box = Box("mail")

    def asked() -> tuple[int | None, str, dict[str, object]]:
        texts = []
        for as_json in (False, True):
            stdout = io.StringIO()
            paths = (desk.folder / "notify.toml", desk.folder / "ha" / "notify.json", desk.folder / "events.jsonl")
            status = commands.status(Output(as_json, stdout, stdout), *paths, Whose("office", "node1"), desk.clock)
            texts.append(stdout.getvalue())
        return status, texts[0], json.loads(texts[1])["places"][0]

    assert "not begun" in asked()[1]
    desk.look(box)
    assert asked()[0] is None
    box.error = DOWN
    desk.happens(1)
    desk.look(box)
    status, text, data = asked()
    assert status == 1
    assert "mail by mail.example.com:587" in text and "it is down" in text
    assert (data["waiting"], data["last_told"]) == (1, "-")
    box.error = None
    desk.look(box, for_s=60)
    assert "good" in asked()[1] and asked()[2]["waiting"] == 0


def test_the_configuration_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "notify.toml"
    file.write_text(GOOD)
    look = commands.fresh_ways(file, FakeClock(), "node1")
    first = look()
    assert look() is first
    assert [way.name for way in first] == ["mail by mail.example.com:587", "webhook 1 at chat.example.com"]
    file.write_text(GOOD.partition("[[webhook]]")[0])
    os.utime(file, ns=(1, 1))
    assert [way.key for way in look()] == ["mail"]
    file.unlink()
    with pytest.raises(NotFound):
        look()
    assert Settings(Mail("m", "a@b", ("c@d",), port=2525)).mail.port_used == 2525  # type: ignore[union-attr]
