"""What a service tells systemd: one datagram, in systemd's own words."""

from __future__ import annotations

import os
import socket


def tell_systemd(state: str) -> bool:
    """Send ``state`` (``WATCHDOG=1``, ``STATUS=…``); False when nobody listens (started by hand)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())
    return True


def watchdog_s() -> float:
    """The watchdog time that systemd gave this service, 0.0 for none."""
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() else 0.0
