"""The worker asks itself over the network whether it answers, and only then tells systemd that it lives."""

from __future__ import annotations

import sys
import threading
import time

from appliance.effects.notify import tell_systemd, watchdog_s
from appliance.errors import TrivetError

CHECKS_PER_WATCHDOG = 3
"""One lost answer must not kill the agent; two in a row still leave time for a third."""


def start_watchdog(address: str, port: int) -> None:
    """Start the thread, if systemd watches this service."""
    period_s = watchdog_s() / CHECKS_PER_WATCHDOG
    if period_s > 0:
        thread = threading.Thread(target=_watch, args=(address, port, period_s), name="watchdog", daemon=True)
        thread.start()


def _watch(address: str, port: int, period_s: float) -> None:
    while True:
        began_s = time.monotonic()
        if check(address, port, period_s):
            tell_systemd("WATCHDOG=1")
        threading.Event().wait(max(0.0, period_s - (time.monotonic() - began_s)))


def check(address: str, port: int, timeout_s: float) -> bool:
    """Whether the agent at ``address`` completes a TLS handshake and answers a request."""
    from appliance.wire.client import alive

    try:
        alive(address, port, timeout_s)
    except TrivetError as error:
        print(f"watchdog: {error}", file=sys.stderr)  # noqa: T201 - the journal
        return False
    return True
