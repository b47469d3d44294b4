"""A message out of events: the sentences of the brokers, as mail and as JSON. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from appliance.codec import encode
from ha_broker.notify.events import Told

SENTENCES_MAX = 50
"""In one message; earlier ones are counted. More would not be read."""
SUBJECT_CHARACTERS = 150
SIGNATURE_HEADER = "Trivet-Signature"


@dataclass(frozen=True)
class Message:
    """What is told at once. ``id`` stays the same when it is sent again, ``title`` is one line."""

    id: str
    cluster: str
    host: str
    title: str
    text: str
    events: tuple[Told, ...]


def message(events: Sequence[Told], cluster: str, host: str) -> Message:
    """All ``events`` (at least one), oldest first."""
    last = events[-SENTENCES_MAX:]
    lines = [f"{_time(one.event.wall_s)}  {_plain(one.event.host)}  {_plain(one.event.sentence)}" for one in last]
    if len(events) > len(last):
        lines.insert(0, f"({len(events) - len(last)} earlier ones: `trivet ha log` on {host})")
    newest = f"{_plain(events[-1].event.host)}: {_plain(events[-1].event.sentence)}"
    title = newest if len(events) == 1 else f"{len(events)} happenings, last: {newest}"
    lines += ["", "Times are UTC. How it is now: `trivet ha status`, or the page https://NODE/status of any node."]
    return Message(f"{host}-{events[0].id}-{len(events)}", cluster, host, title, "\n".join(lines) + "\n", tuple(events))


def _time(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _plain(text: str) -> str:
    """Without line breaks and control characters: a sentence must not become a header."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)


def mail(told: Message, sender: str, to: Sequence[str], wall_s: float) -> EmailMessage:
    """As e-mail. Its Message-ID is the message's, so that a mail system may recognise one that came twice."""
    made = EmailMessage()
    made["From"] = sender
    made["To"] = ", ".join(to)
    made["Subject"] = f"[trivet {_plain(told.cluster)}] {told.title}"[:SUBJECT_CHARACTERS]
    made["Date"] = format_datetime(datetime.fromtimestamp(wall_s, UTC))
    made["Message-ID"] = f"<{told.id}@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(told.text)
    return made


def body(told: Message, wall_s: float) -> bytes:
    """As JSON. ``text`` alone is what chat programs show; each event has an ``id`` by which one that came twice is known."""
    events = [{"id": one.id, "time": _iso(one.event.wall_s), **encode(one.event)} for one in told.events]
    data = {
        "id": told.id,
        "cluster": told.cluster,
        "host": told.host,
        "sent": _iso(wall_s),
        "text": f"[trivet {told.cluster}] {told.title}",
        "events": events,
    }
    return json.dumps(data, ensure_ascii=False).encode()


def _iso(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="seconds")


def signature(secret: str, content: bytes) -> str:
    """Value of the signature header: HMAC-SHA256 of the body with the shared secret."""
    return "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
