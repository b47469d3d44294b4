"""Connections to an agent that are kept for the next question."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.layout import AGENT_KEEPALIVE_S

KEPT_FOR_S = AGENT_KEEPALIVE_S - 5.0
"""How long an idle connection is taken for alive: the agent closes it later, however slow this side is."""
KEPT_LIFE_S = 300.0
"""After this a connection is made anew, and with it everybody's certificate looked at."""
KEPT_MAX = 2
"""For each client object: who asks again and again, and who asks at the same moment."""


@dataclass
class Connection:
    """A channel after its handshake; times are monotonic seconds."""

    channel: ssl.SSLSocket
    made_s: float = field(default_factory=time.monotonic)
    idle_since_s: float = 0.0


class Kept:
    """Connections over which nothing is being asked, the newest last. Thread-safe."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    def take(self) -> Connection | None:
        """One that the agent has not closed yet, as far as its own limit tells."""
        with self._lock:
            while self._idle:
                found = self._idle.pop()
                if self._now() - found.idle_since_s < KEPT_FOR_S:
                    return found
                found.channel.close()
            return None

    def put(self, connection: Connection) -> bool:
        """Keep it. False: it is not kept, because it is old or there are enough; the caller closes it."""
        with self._lock:
            now_s = self._now()
            if len(self._idle) >= KEPT_MAX or now_s - connection.made_s >= KEPT_LIFE_S:
                return False
            connection.idle_since_s = now_s
            self._idle.append(connection)
            return True
