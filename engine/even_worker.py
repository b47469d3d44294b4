"""gunicorn's worker with threads, made fair: workers share one door, and who comes to it first is mostly the same one."""

from __future__ import annotations

import socket

from gunicorn.workers.gthread import ThreadWorker

from appliance.effects.clock import SystemClock

CLOCK = SystemClock()
STEP_S = 0.0005
"""Long against the wake-up of a worker that has nothing to do, short against a handshake of TLS."""
STEPS_MAX = 4
"""Whoever has more connections than this waits no longer: no caller notices 2 ms."""


class EvenWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """The more connections it has, the longer it lets another one go first; that the door is empty then is no error."""

    def accept(self, listener: socket.socket) -> None:
        CLOCK.sleep(STEP_S * min(self.nr_conns, STEPS_MAX))
        super().accept(listener)
