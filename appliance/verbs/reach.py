"""Whether a name resolves here and a port of it answers."""

from __future__ import annotations

from appliance.effects import network
from appliance.errors import Refused
from appliance.wire.definition import Reached

RESOLVE_TIMEOUT_S = 5.0
"""With names in /etc/hosts it takes a millisecond; a resolver that times out is as bad as one that says no."""
CONNECT_TIMEOUT_S = 3.0
"""Twice the retry of a lost SYN: a lossy link answers, a filtered port does not hold up the preflight of 16 nodes."""


def reach(name: str, port: int) -> Reached:
    """Resolve ``name`` and try ``port``. Raises ``Refused`` (``reach.port``)."""
    if not 0 < port < 65536:
        raise Refused("reach.port", subject=f"port {port}", reason="there is no such TCP port", remedy="Use 1 to 65535.")
    address = network.resolve(name, RESOLVE_TIMEOUT_S)
    return Reached(address, bool(address) and network.answers(address, port, CONNECT_TIMEOUT_S))
