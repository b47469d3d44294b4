"""Words to systemd: ready, alive. One datagram each; without systemd (``NOTIFY_SOCKET`` unset) they go nowhere."""

from __future__ import annotations

import os
import socket


def tell(words: str) -> None:
    """Send ``words`` ("READY=1", "WATCHDOG=1") to the service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        out.sendall(words.encode())
