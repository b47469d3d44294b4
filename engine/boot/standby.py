"""Standby: everything is imported and the port is open, but there is no database, no identity and no certificate yet.

A program in standby waits for the mark of :mod:`engine.boot.activate`. Its memory may be saved and woken many times, so it
draws no random number before the mark is there, and renews its generators then.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.effects.clock import Clock
from appliance.effects.notify import tell_systemd
from appliance.version import VERSION
from engine.boot.wake import renew_own_random
from engine.layout import Guest

LOOK_EVERY_S = 0.05
"""A look costs a system call; this is how late a program learns that it is active."""
FEED_EVERY_S = 5.0
"""A sixth of the shortest WatchdogSec of our units."""
SERVING_WAIT_S = 10.0
"""Three times what the web program takes on an idle emulated CPU."""
REQUEST_LIMIT_BYTES = 4096
REQUEST_WAIT_S = 1.0
"""Whoever asks is on this machine."""

Feed = Callable[[], object]


def wait_until_active(guest: Guest, clock: Clock, look: Callable[[], object] | None = None) -> None:
    """Return when the engine is active. ``look`` is called in each round and may block for ``LOOK_EVERY_S``."""
    tell_systemd("READY=1\nSTATUS=standby")
    fed_s = clock.monotonic_s()
    while not guest.active_file.exists():
        if look is None:
            clock.sleep(LOOK_EVERY_S)
        else:
            look()
        if clock.monotonic_s() - fed_s >= FEED_EVERY_S:
            tell_systemd("WATCHDOG=1")
            fed_s = clock.monotonic_s()
    renew_own_random()
    tell_systemd("STATUS=active")


def wait_until_serving(guest: Guest, clock: Clock) -> None:
    """Return when the web program has answered, or after ``SERVING_WAIT_S``: it is what people and brokers wait for."""
    end_s = clock.monotonic_s() + SERVING_WAIT_S
    while not guest.serving_file.exists() and clock.monotonic_s() < end_s:
        clock.sleep(LOOK_EVERY_S)


@contextmanager
def health_socket(path: Path) -> Iterator[Callable[[], object]]:
    """A unix socket that answers every request with the standby's health. Yields what is to be called again and again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
        listener.bind(str(path))
        listener.listen(8)
        listener.settimeout(LOOK_EVERY_S)
        try:
            yield lambda: _answer_one(listener)
        finally:
            path.unlink(missing_ok=True)


def health() -> dict[str, str]:
    """``GET /health`` in standby."""
    return {"status": "standby", "version": VERSION}


def _answer_one(listener: socket.socket) -> None:
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        return
    body = json.dumps(health()).encode()
    head = f"HTTP/1.1 503 Standby\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with connection:
        connection.settimeout(REQUEST_WAIT_S)
        try:
            connection.recv(REQUEST_LIMIT_BYTES)
            connection.sendall(head.encode() + body)
        except OSError:
            return  # the caller went away; nobody is left to be told
