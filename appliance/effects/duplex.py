"""Bytes that go both ways over a socket (plain or TLS) while neither side is made to wait for the other."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol

PIECE_BYTES = 16 * 1024
"""A TLS record's most."""
IDLE_S, AGAIN_S, TIMES = 5, 3, 3
"""TCP asks a silent peer: a host or an engine that lost its power is noticed after 14 s, not after hours."""
UNSENT_LIMIT_MS = 14_000
"""The same for what was sent and is not confirmed."""
CANNOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Outgoing:
    """Bytes that are sent as the other side takes them. ``send`` gives it a piece now, and tells how much of it it took."""

    def __init__(self, send: Callable[[bytearray], int], piece_bytes: int = PIECE_BYTES) -> None:
        self._send = send
        self._piece_bytes = piece_bytes
        self._unsent = bytearray()

    @property
    def unsent(self) -> int:
        """Bytes that the other side has not taken yet."""
        return len(self._unsent)

    def write(self, data: bytes) -> None:
        """Send it, now or with :meth:`flush`."""
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now. What a broken connection does not take is dropped: reading says that it has ended."""
        try:
            while self._unsent:
                del self._unsent[: self._send(self._unsent[: self._piece_bytes])]
        except CANNOT_NOW:
            return
        except OSError:
            self._unsent.clear()


class Duplex(Outgoing):
    """A connected socket. All calls come from one thread: a TLS connection is not two."""

    def __init__(self, channel: socket.socket) -> None:
        super().__init__(channel.send)
        channel.setblocking(False)
        if channel.family != socket.AF_UNIX:
            notice_silence(channel)
        self._channel = channel

    def read(self) -> bytes | None:
        """What has come; empty: the other side has ended; None: nothing now. A connection that broke has ended."""
        try:
            return self._channel.recv(PIECE_BYTES)
        except CANNOT_NOW:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        """Close it."""
        self._channel.close()

    def fileno(self) -> int:
        return self._channel.fileno()

    @property
    def has_read_ahead(self) -> bool:
        """Whether TLS has bytes that the kernel no longer knows of."""
        return isinstance(self._channel, ssl.SSLSocket) and self._channel.pending() > 0


class End(Protocol):
    """What :func:`wait` waits for: one of these, or a VM's line."""

    @property
    def unsent(self) -> int: ...

    @property
    def has_read_ahead(self) -> bool: ...

    def fileno(self) -> int: ...


def wait(readers: Sequence[End], writers: Sequence[End], timeout_s: float) -> None:
    """Until one of them can go on, or so long. Who of ``writers`` has nothing unsent is not asked."""
    if any(one.has_read_ahead for one in readers):
        return
    unsent = [one for one in writers if one.unsent]
    select.select(readers, unsent, (), timeout_s)


def read_line(channel: socket.socket, limit_bytes: int) -> bytes:
    """Up to the end of a line, of the connection, or ``limit_bytes``. What follows is left: it is somebody else's."""
    line = b""
    while not line.endswith(b"\n") and len(line) < limit_bytes:
        more = channel.recv(1)
        if not more:
            break
        line += more
    return line


def notice_silence(channel: socket.socket) -> None:
    """Let TCP find out that the other side is gone."""
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, IDLE_S),
        (socket.TCP_KEEPINTVL, AGAIN_S),
        (socket.TCP_KEEPCNT, TIMES),
        (socket.TCP_USER_TIMEOUT, UNSENT_LIMIT_MS),
        (socket.TCP_NODELAY, 1),
    ):
        channel.setsockopt(socket.IPPROTO_TCP, option, value)
