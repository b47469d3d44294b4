"""Sockets: resolving, reaching, listening."""

from __future__ import annotations

import socket
from pathlib import Path

from appliance.effects.bounded import Bounded
from appliance.errors import Conflict, TrivetError

_resolving = Bounded("name resolution", "names")


def resolve(name: str, timeout_s: float) -> str:
    """The first address of ``name``, or empty. Bounded: a resolver with an unreachable server takes half a minute."""
    try:
        found = _resolving(lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM), timeout_s)
    except (OSError, UnicodeError, TrivetError):
        return ""  # the answer to the question: it does not resolve (in time)
    return str(found[0][4][0])


def answers(address: str, port: int, timeout_s: float) -> bool:
    """Whether a TCP connection to ``port`` is accepted within ``timeout_s``."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return True
    except (OSError, OverflowError):
        return False


def listens(path: Path, timeout_s: float) -> bool:
    """Whether somebody accepts connections at a Unix socket; one whose program has died is a file without anybody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout_s)
        try:
            asking.connect(str(path))
        except OSError:
            return False
    return True


def listen(address: str, port: int, backlog: int) -> socket.socket:
    """A listening TCP socket; an empty ``address`` is all of them. Raises ``Conflict`` (``agent.port-taken``)."""
    try:
        if address:
            return socket.create_server((address, port), backlog=backlog)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True)
        return socket.create_server(("", port), backlog=backlog)
    except OSError as error:
        raise Conflict(
            "agent.port-taken",
            subject=f"port {port}",
            reason=f"cannot listen on it: {error.strerror or error}",
            remedy=f"`ss -ltnp 'sport = :{port}'` names the program that has it; stop that one.",
            facts={"port": port},
        ) from error
