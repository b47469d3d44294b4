"""Names to addresses, as the engine VM's name service has them."""

from __future__ import annotations

import socket

from appliance.effects.bounded import Bounded
from appliance.errors import TrivetError
from appliance.tools.addresses import is_address

RESOLVE_S = 5.0
"""A name service answers in milliseconds; one that cannot be reached keeps the caller, and one of the web's threads, no
longer."""
_BOUNDED = Bounded("the name service", "names")


def resolve(name: str) -> str:
    """The IP address of ``name`` (an address is itself), or empty: also when nobody has said so in time."""
    if is_address(name):
        return name
    try:
        found = _BOUNDED(lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM), RESOLVE_S)
    except (OSError, UnicodeError, TrivetError):
        return ""
    return str(found[0][4][0])
