"""A mail server and a webhook's server on loopback, that can be told to misbehave."""

from __future__ import annotations

import http.server
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message


@dataclass
class Letter:
    """What arrived. ``secure``: over TLS; ``login``: the credentials given (base64, as sent)."""

    sender: str
    to: tuple[str, ...]
    data: bytes
    secure: bool
    login: str

    @property
    def mail(self) -> Message:
        return message_from_bytes(self.data)

    @property
    def text(self) -> str:
        payload = self.mail.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode()


@dataclass
class MailServer:
    """RFC 5321 as far as smtplib speaks it, with STARTTLS and AUTH PLAIN. ``answers`` replaces the answer to a verb (or to
    "greeting"); None: close the connection; a function is called and may sleep."""

    context: ssl.SSLContext | None = None
    login: str = ""
    answers: dict[str, bytes | Callable[[], bytes] | None] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    port: int = 0


class _Smtp(socketserver.StreamRequestHandler):
    server: _SmtpServer

    def handle(self) -> None:
        self._secure, self._login = False, ""
        try:
            if self._say("greeting", b"220 mail.test ready"):
                self._talk()
        except (OSError, ValueError):
            return  # the other side left

    def _say(self, verb: str, usual: bytes) -> bool:
        """Answer; False ends the connection, as a refusal by us does not."""
        given = self.server.mail.answers.get(verb, usual)
        found = given() if callable(given) else given
        if found is None:
            return False
        self.wfile.write(found + b"\r\n")
        return True

    def _talk(self) -> None:
        sender, to = "", list[str]()
        while line := self.rfile.readline(1000):
            verb = line[:4].decode("latin-1").upper().strip()
            if verb == "EHLO":
                more = b"250-STARTTLS\r\n" if self.server.mail.context and not self._secure else b""
                more += b"250-AUTH PLAIN\r\n" if self.server.mail.login else b""
                usual = b"250-mail.test\r\n" + more + b"250 8BITMIME"
            elif verb == "MAIL":
                sender, usual = line.decode().partition("<")[2].partition(">")[0], b"250 fine"
            elif verb == "RCPT":
                address = line.decode().partition("<")[2].partition(">")[0]
                key = f"RCPT {address}"
                usual = b"250 fine"
                if key in self.server.mail.answers:
                    verb = key
                else:
                    to.append(address)
            elif verb == "AUTH":
                self._login = line.decode().split()[2]
                usual = b"235 welcome" if self._login == self.server.mail.login else b"535 5.7.8 no such user"
            else:
                usual = {"STAR": b"220 go ahead", "DATA": b"354 send it", "QUIT": b"221 bye", "RSET": b"250 fine"}.get(
                    verb, b"500 what?"
                )
            if not self._say(verb, usual) or verb == "QUIT":
                return
            if verb == "STAR" and self.server.mail.context and "STAR" not in self.server.mail.answers:
                self._to_tls()
            if verb == "DATA" and "DATA" not in self.server.mail.answers:
                data = b"".join(iter(self.rfile.readline, b".\r\n"))
                if not self._say("accepted", b"250 taken"):
                    return
                if "accepted" not in self.server.mail.answers:
                    self.server.mail.letters.append(Letter(sender, tuple(to), data, self._secure, self._login))

    def _to_tls(self) -> None:
        assert self.server.mail.context
        self.request = self.server.mail.context.wrap_socket(self.request, server_side=True)
        self._secure = True
        self.setup()


class _SmtpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, mail: MailServer) -> None:
        self.mail = mail
        super().__init__(("127.0.0.1", mail.port), _Smtp)


@contextmanager
def mail_server(mail: MailServer) -> Iterator[MailServer]:
    with _SmtpServer(mail) as server:
        mail.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield mail
        server.shutdown()
        thread.join()


@dataclass
class Hook:
    """A webhook's server. ``statuses`` are answered one after another, then 200; ``wait_s`` before each; ``taken`` is called
    before the answer."""

    context: ssl.SSLContext
    statuses: list[int] = field(default_factory=list)
    wait_s: float = 0.0
    taken: Callable[[], None] = lambda: None
    bodies: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0


class _HookHandler(http.server.BaseHTTPRequestHandler):
    server: _HookServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        hook = self.server.hook
        hook.bodies.append(({**dict(self.headers.items()), "path": self.path}, content))
        hook.taken()
        time.sleep(hook.wait_s)
        status = hook.statuses.pop(0) if hook.statuses else 200
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"https://127.0.0.1:{hook.port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Quiet."""


class _HookServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        super().__init__(("127.0.0.1", hook.port), _HookHandler)
        self.socket = hook.context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that left is what is tested."""


@contextmanager
def hook_server(hook: Hook) -> Iterator[Hook]:
    with _HookServer(hook) as server:
        hook.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield hook
        server.shutdown()
        thread.join()
