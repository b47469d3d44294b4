"""The page's process: TLS on a port, a thread a connection, everything counted and with a deadline.

Written on sockets, because a page that must be there when nothing else is shall cost little memory (http.server with its
e-mail parser and gunicorn with flask take 10 and 60 MiB more) and because neither bounds a whole connection in time.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

from appliance.effects.clock import Clock
from appliance.effects.notify import tell_systemd
from appliance.wire.tls import TLS_MINIMUM
from ha_broker.page.http import END_OF_HEADERS, Answer, Request, parse, to_bytes
from ha_broker.page.site import HEADERS, Site

CONNECTIONS_MAX = 24
"""At once: a handful of people with a browser each; a thread with its TLS state takes about 100 KiB."""
CONNECTIONS_PER_ADDRESS = 8
"""One address may not keep the others out: browsers open up to 6."""
CONNECTION_S = 6.0
"""From accept to the end of the answer, handshake included, for whoever is slow on purpose or by a bad line."""
FAREWELL_S = 0.5
"""How long is waited for the other side to take the rest; closing at once would reset the connection under the answer."""
POLL_S = 1.0
"""How often the accepting loop looks at the clock."""
STUCK_S = 60.0
"""A connection ten times older than it may be means that the deadlines do not work: then the watchdog is not fed."""
LIFE_S = 24 * 3600.0
"""After a day the process ends and systemd starts it anew: so it reads a renewed certificate well before the old ends."""
CHUNK_BYTES = 16_384
"""A record of TLS."""
READ_LIMIT_BYTES = 65_536
"""Headers beyond what is answered well are still read up to here, so that the refusal arrives and not a reset."""
BACKLOG = 32


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS with this node's certificate. Nobody is asked for one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = TLS_MINIMUM
    context.load_cert_chain(certificate, key)
    return context


class PageServer:
    """Serves ``site`` on ``listener`` until :meth:`stop` or the end of its life."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext, site: Site, clock: Clock) -> None:
        self._listener = listener
        self._context = context
        self._site = site
        self._clock = clock
        self._lock = threading.Lock()
        self._began_s: dict[int, float] = {}
        self._addresses: Counter[str] = Counter()
        self._stopped = False

    def stop(self) -> None:
        """Let :meth:`serve` end within a second."""
        self._stopped = True

    def serve(self) -> None:
        """Accept, and feed systemd's watchdog while connections end when they have to."""
        end_s = self._clock.monotonic_s() + LIFE_S
        self._listener.settimeout(POLL_S)
        tell_systemd("READY=1")
        while not self._stopped and self._clock.monotonic_s() < end_s:
            if not self._stuck():
                tell_systemd("WATCHDOG=1")
            try:
                channel, address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # out of descriptors, or a peer that left at once: the next one may do
                print(f"accept: {error}", file=sys.stderr)  # noqa: T201 - the journal
                self._clock.sleep(POLL_S)
                continue
            self._take(channel, str(address[0]))
        self._listener.close()

    def _stuck(self) -> bool:
        with self._lock:
            oldest_s = min(self._began_s.values(), default=None)
        return oldest_s is not None and self._clock.monotonic_s() - oldest_s > STUCK_S

    def _take(self, channel: socket.socket, address: str) -> None:
        with self._lock:
            full = len(self._began_s) >= CONNECTIONS_MAX or self._addresses[address] >= CONNECTIONS_PER_ADDRESS
            if not full:
                self._addresses[address] += 1
                self._began_s[id(channel)] = self._clock.monotonic_s()
        if full:
            channel.close()
            return
        try:
            threading.Thread(target=self._serve_one, args=(channel, address), daemon=True).start()
        except RuntimeError as error:  # no more threads: TasksMax, or memory
            print(f"thread: {error}", file=sys.stderr)  # noqa: T201 - the journal
            self._forget(channel, address)

    def _forget(self, channel: socket.socket, address: str) -> None:
        key = id(channel)  # before it is closed: afterwards a new one may have the same
        with self._lock:
            del self._began_s[key]
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
        channel.close()

    def _serve_one(self, channel: socket.socket, address: str) -> None:
        try:
            connection = _Connection(channel, self._clock)
            with contextlib.suppress(OSError):  # the peer left, is too slow, or speaks no TLS: its own loss
                connection.answer(self._context, self._site)
        finally:
            self._forget(channel, address)


class _Connection:
    """One connection with one deadline. OpenSSL's handshake and reads keep to a socket's limit as a whole."""

    def __init__(self, channel: socket.socket, clock: Clock) -> None:
        self._channel = channel
        self._clock = clock
        self._end_s = clock.monotonic_s() + CONNECTION_S

    def _left_s(self) -> float:
        left_s = self._end_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise TimeoutError("the connection's time is over")
        return left_s

    def answer(self, context: ssl.SSLContext, site: Site) -> None:
        self._channel.settimeout(self._left_s())
        with context.wrap_socket(self._channel, server_side=True, do_handshake_on_connect=False) as secure:
            secure.settimeout(self._left_s())
            secure.do_handshake()
            self._send(secure, self._answer(parse(self._request(secure)), site))
            self._farewell(secure)

    def _answer(self, asked: Request | Answer, site: Site) -> bytes:
        if isinstance(asked, Answer):  # it was no request
            return to_bytes(replace(asked, headers={**HEADERS, **asked.headers}), True, self._clock.wall_s())
        return to_bytes(site.answer(asked), asked.method != "HEAD", self._clock.wall_s())

    def _request(self, secure: ssl.SSLSocket) -> bytes:
        data = b""
        while END_OF_HEADERS not in data and len(data) <= READ_LIMIT_BYTES:
            secure.settimeout(self._left_s())
            part = secure.recv(CHUNK_BYTES)
            if not part:
                raise ConnectionError("it left in the middle of its request")
            data += part
        return data.partition(END_OF_HEADERS)[0]

    def _send(self, secure: ssl.SSLSocket, data: bytes) -> None:
        for begin in range(0, len(data), CHUNK_BYTES):
            secure.settimeout(self._left_s())
            secure.sendall(data[begin : begin + CHUNK_BYTES])

    def _farewell(self, secure: ssl.SSLSocket) -> None:
        """Say the end and hear it before closing."""
        secure.settimeout(min(FAREWELL_S, self._left_s()))
        secure.unwrap()
