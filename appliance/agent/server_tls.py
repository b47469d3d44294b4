"""TLS of what a node serves: the agent's calls, and consoles."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.wire.tls import TLS_MINIMUM

IO_TIMEOUT_S = 10.0
"""How long a peer may be silent in the handshake or inside a request: silent peers must not hold all threads."""


@dataclass(frozen=True)
class Identity:
    """Files of the TLS server. ``ca`` is None on a bare node, which asks nobody for a certificate."""

    certificate: Path
    key: Path
    ca: Path | None


class TimedContext(ssl.SSLContext):
    """Gives every accepted connection a limit of silence, the handshake included."""

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        sock.settimeout(IO_TIMEOUT_S)
        return super().wrap_socket(sock, *arguments, **named)


def server_context(identity: Identity) -> ssl.SSLContext:
    """A member asks for a certificate without insisting, so that a caller without one is told so in words; one that is shown
    must be signed by the cluster's CA, or the handshake ends."""
    context = TimedContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = TLS_MINIMUM
    context.load_cert_chain(identity.certificate, identity.key)
    if identity.ca is not None:
        context.load_verify_locations(identity.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context
