"""Deliveries to a real mail server and a real HTTPS server on loopback, both well and badly behaved; and kill -9 between
sending and remembering."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.errors import TrivetError
from ha_broker.effects.node import EventFile
from ha_broker.notify import deliver
from ha_broker.notify.config import Mail, Webhook
from ha_broker.notify.deliver import MailWay, WebhookWay
from ha_broker.notify.events import Position, Told
from ha_broker.notify.message import Message, message, signature
from ha_broker.notify.run import read_memory
from ha_broker.ports import Event
from tests.appliance.agents import REPOSITORY, Certificates
from tests.ha_broker.receivers import Hook, MailServer, hook_server, mail_server

PASSWORD = "korrekt-pferd-batterie"
LOGIN = base64.b64encode(f"\0trivet\0{PASSWORD}".encode()).decode()
TOLD = message(
    (Told("id-1", Event(1_800_000_000.0, "node1", "start-done", 8, "the engine VM runs, größer als je"), Position()),),
    "office",
    "node1",
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def context(certificates: Certificates) -> ssl.SSLContext:
    tls = certificates.tls("mail")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(tls.certificate, tls.key)
    return made


@pytest.fixture
def post(context: ssl.SSLContext) -> Iterator[MailServer]:
    with mail_server(MailServer(context, LOGIN)) as server:
        yield server


@pytest.fixture
def hook(context: ssl.SSLContext) -> Iterator[Hook]:
    with hook_server(Hook(context)) as server:
        yield server


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_text(PASSWORD + "\n")
    return str(file)


def way(post: MailServer, certificates: Certificates, **other: object) -> MailWay:
    base = Mail("127.0.0.1", "t@x.test", ("a@x.test", "b@x.test"), post.port, ca_file=str(certificates.folder / "ca.pem"))
    return MailWay(replace(base, **other), SystemClock(), "node1")  # type: ignore[arg-type]


def refused(send: Callable[[Message], str]) -> TrivetError:
    with pytest.raises(TrivetError) as caught:
        send(TOLD)
    assert PASSWORD not in str(caught.value) and LOGIN not in str(caught.value)
    return caught.value


# --- mail


def test_with_starttls_and_login(post: MailServer, certificates: Certificates, secret: str) -> None:
    assert way(post, certificates, user="trivet", password_file=secret).deliver(TOLD) == ""
    (letter,) = post.letters
    assert (letter.sender, letter.to, letter.secure, letter.login) == ("t@x.test", ("a@x.test", "b@x.test"), True, LOGIN)
    assert letter.mail["Message-ID"] == "<node1-id-1-1@x.test>"
    assert "2027-01-15 08:00:00  node1  the engine VM runs, größer als je" in letter.text


def test_without_tls_if_so_wanted(post: MailServer, certificates: Certificates) -> None:
    way(post, certificates, security="none").deliver(TOLD)
    assert not post.letters[0].secure


def test_with_tls_from_the_first_byte(certificates: Certificates, context: ssl.SSLContext) -> None:
    with mail_server(MailServer()) as plain, socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=tunnel, args=(listener, context, plain.port), daemon=True).start()
        port = listener.getsockname()[1]
        way(plain, certificates, security="tls", port=port).deliver(TOLD)
        assert plain.letters[0].to == ("a@x.test", "b@x.test")


def tunnel(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    accepted, _ = listener.accept()
    with context.wrap_socket(accepted, server_side=True) as outer, socket.create_connection(("127.0.0.1", port)) as inner:
        back = threading.Thread(target=pump, args=(inner, outer), daemon=True)
        back.start()
        pump(outer, inner)


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either end left
        while data := source.recv(4096):
            target.sendall(data)


def test_never_without_the_tls_that_was_wanted(certificates: Certificates) -> None:
    with mail_server(MailServer(None)) as plain:
        assert refused(way(plain, certificates).deliver).code == "notify.mail-refused"
        assert plain.letters == []


def test_a_server_that_nobody_vouches_for_gets_nothing(post: MailServer, certificates: Certificates) -> None:
    assert refused(way(post, certificates, ca_file="").deliver).code == "notify.certificate"
    assert refused(way(post, certificates, server="localhost").deliver).code == "notify.certificate"
    assert post.letters == []


def test_a_wrong_password_is_said_without_it(post: MailServer, certificates: Certificates, secret: str) -> None:
    post.login = "other"
    error = refused(way(post, certificates, user="trivet", password_file=secret).deliver)
    assert (error.code, error.reason) == ("notify.mail-login", "it said 535 5.7.8 no such user")


@pytest.mark.parametrize(
    ("verb", "answer", "said"),
    [
        ("greeting", b"554 go away", "554"),
        ("greeting", b"HTTP/1.1 400 Bad Request", ""),
        ("greeting", b"\x00\xff\xfe" * 200, ""),
        ("greeting", b"2" * 20_000, ""),
        ("greeting", None, ""),
        ("EHLO", None, ""),
        ("STAR", b"454 not now", "454"),
        ("MAIL", b"451 4.3.0 busy", "it said 451 4.3.0 busy"),
        ("MAIL", b"550 5.7.1 not you", "it said 550 5.7.1 not you"),
        ("DATA", b"452 full", "it said 452 full"),
        ("DATA", None, ""),
        ("accepted", b"552 too large", "it said 552 too large"),
        ("accepted", None, ""),
    ],
)
def test_what_goes_wrong_is_an_error_of_ours(
    post: MailServer, certificates: Certificates, verb: str, answer: bytes | None, said: str
) -> None:
    post.answers[verb] = answer
    error = refused(way(post, certificates).deliver)
    assert error.code in ("notify.mail-refused", "notify.unreachable")
    assert said in error.reason
    assert post.letters == []
    post.answers.clear()
    way(post, certificates).deliver(TOLD)
    assert len(post.letters) == 1


def test_one_refused_recipient_does_not_keep_it_from_the_other(post: MailServer, certificates: Certificates) -> None:
    post.answers["RCPT a@x.test"] = b"550 no such user"
    assert way(post, certificates).deliver(TOLD) == "a@x.test was refused: 550 no such user"
    assert post.letters[0].to == ("b@x.test",)
    post.answers["RCPT b@x.test"] = b"450 later"
    error = refused(way(post, certificates).deliver)
    assert error.reason == "a@x.test: 550 no such user; b@x.test: 450 later"


def test_a_server_that_is_down(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert refused(way(MailServer(port=port), certificates).deliver).code == "notify.unreachable"


def test_a_slow_one_is_left_at_the_deadline(
    post: MailServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "DELIVERY_S", 1.0)
    done = threading.Event()

    def late() -> bytes:
        done.wait(20)
        return b"220 at last"

    post.answers["greeting"] = late
    began_s = time.monotonic()
    assert refused(way(post, certificates).deliver).code == "notify.deadline"
    assert time.monotonic() - began_s < 5
    done.set()


# --- webhook


def to_hook(hook: Hook, certificates: Certificates, path: str = "/in?token=t0psecret", **other: str) -> WebhookWay:
    settings = Webhook(f"https://127.0.0.1:{hook.port}{path}", ca_file=str(certificates.folder / "ca.pem"))
    return WebhookWay(replace(settings, **other), 1, SystemClock())


def test_a_webhook_gets_signed_json(hook: Hook, certificates: Certificates, secret: str) -> None:
    to_hook(hook, certificates, secret_file=secret).deliver(TOLD)
    headers, content = hook.bodies[0]
    assert headers["Trivet-Signature"] == signature(PASSWORD, content)
    assert (headers["Content-Type"], headers["path"]) == ("application/json", "/in?token=t0psecret")
    assert json.loads(content)["events"][0]["id"] == "id-1"
    to_hook(hook, certificates).deliver(TOLD)
    assert "Trivet-Signature" not in hook.bodies[1][0]


@pytest.mark.parametrize("status", [301, 307, 400, 404, 429, 500, 503])
def test_other_answers_than_2xx_are_failures_and_nothing_is_followed(
    hook: Hook, certificates: Certificates, status: int
) -> None:
    hook.statuses.append(status)
    error = refused(to_hook(hook, certificates).deliver)
    assert error.code == "notify.webhook-refused"
    assert str(status) in error.reason
    assert "t0psecret" not in str(error) and len(hook.bodies) == 1


def test_a_webhook_that_nobody_vouches_for_gets_nothing(hook: Hook, certificates: Certificates) -> None:
    assert refused(to_hook(hook, certificates, ca_file="").deliver).code == "notify.certificate"
    assert hook.bodies == []


def test_a_slow_webhook_is_left_at_the_deadline(
    hook: Hook, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "DELIVERY_S", 0.5)
    hook.wait_s = 2.0
    assert refused(to_hook(hook, certificates).deliver).code == "notify.deadline"


def test_what_speaks_no_http_is_an_error_of_ours(certificates: Certificates, context: ssl.SSLContext) -> None:
    with mail_server(MailServer()) as plain, socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=tunnel, args=(listener, context, plain.port), daemon=True).start()
        hook = Hook(context, port=listener.getsockname()[1])
        assert refused(to_hook(hook, certificates).deliver).code == "notify.unreachable"


# --- the process


RUN = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from appliance.effects.clock import SystemClock
from ha_broker.notify.commands import fresh_ways
from ha_broker.notify.events import EventReader
from ha_broker.notify.run import Messages, Whose, run
from ha_broker.notify import outbox, run as running
outbox.GATHER_S, outbox.RETRY_FIRST_S, running.LOOK_EVERY_S = 0.2, 0.2, 0.1
folder, clock = Path(sys.argv[2]), SystemClock()
reader = EventReader(folder / "events.jsonl")
messages = Messages(Whose("office", "node1"), reader, folder / "s.json", folder / "n.json", clock)
run(messages, fresh_ways(folder / "notify.toml", clock, "node1"), clock)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-c", RUN, str(REPOSITORY), str(folder)], stderr=subprocess.PIPE, text=True, env={}
    )


def until(probe: Callable[[], object], within_s: float = 30.0) -> None:
    end_s = time.monotonic() + within_s
    while not probe():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_killed_between_sending_and_remembering_it_is_sent_again(
    tmp_path: Path, hook: Hook, certificates: Certificates, secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = certificates.folder / "ca.pem"
    (tmp_path / "notify.toml").write_text(
        f'[[webhook]]\nurl = "https://127.0.0.1:{hook.port}/in"\nca_file = "{ca}"\nsecret_file = "{secret}"\n'
    )
    log = EventFile(tmp_path / "events.jsonl")
    clock = SystemClock()
    process = start(tmp_path)
    until((tmp_path / "n.json").exists)
    hook.taken = lambda: os.kill(process.pid, signal.SIGKILL)
    log.write(Event(clock.wall_s(), "node1", "destroyed", 8, "QEMU here was destroyed"))
    assert process.wait(30) == -signal.SIGKILL
    hook.taken = lambda: None
    log.write(Event(clock.wall_s(), "node1", "start-begun", 8, "this host starts it"))
    process = start(tmp_path)
    try:
        until(lambda: len(hook.bodies) >= 2)
        until(lambda: any(place.sent_wall_s for place in read_memory(tmp_path / "n.json").places.values()))
        command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
    finally:
        process.terminate()
        said = process.communicate(timeout=10)[1]
    ids = [[event["id"] for event in json.loads(content)["events"]] for _, content in hook.bodies]
    assert ids[0] == ids[1][:1] and len(ids[1]) == 2  # the first one again, by its own name; then the next
    assert len(ids) == 2
    everything = said + command_line.decode() + (tmp_path / "n.json").read_text() + capsys.readouterr().err
    assert PASSWORD not in everything
