"""The way to a VM's screen: the ticket that opens it, and the file that ``remote-viewer`` opens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.errors import Refused

TICKET_CHARACTERS = 8
"""All that VNC's authentication takes: 47 bits, guessed over the network in no two hours."""
DEFAULT_S = 7200
"""oVirt's, for a ticket that names no end."""
VIEWER_S = 120
"""oVirt's, for a ticket inside a file: a viewer opens it at once."""
LONGEST_S = 7 * 86_400
"""A ticket for ever would be a password."""


@dataclass(frozen=True)
class Screen:
    """Where the screen is and what opens it. ``ca_pem`` is who has signed the host's certificate."""

    address: str
    port: int
    word: str
    valid_s: int
    title: str
    ca_pem: str


def wanted_ticket(given: Mapping[str, Any], drawn: str, subject: str) -> tuple[str, int]:
    """(word, seconds) of a v4 ticket, in which both may be left open; ``drawn`` is a word that nobody knows. Raises
    ``Refused`` ``vm.ticket``."""
    word = str(given.get("value") or drawn)
    valid_s = DEFAULT_S if given.get("expiry") is None else int(given["expiry"])
    reason = ""
    if len(word) > TICKET_CHARACTERS or not word.isascii() or not word.isprintable():
        reason = f"Its value has at most {TICKET_CHARACTERS} printable ASCII characters: VNC takes no more"
    elif not 0 < valid_s <= LONGEST_S:
        reason = f"Its expiry is 1 to {LONGEST_S} seconds, not {valid_s}"
    if reason:
        raise Refused(
            "vm.ticket", subject=subject, reason=f"Cannot set ticket. {reason}", remedy="Leave it out: one is drawn."
        )
    return word, valid_s


def viewer_file(screen: Screen) -> str:
    """The connection file, in the form of ``virt-viewer(1)``. ``ca`` has its line ends as ``\\n``."""
    entries = {
        "type": "vnc",
        "host": screen.address,
        "port": screen.port,
        "password": screen.word,
        "delete-this-file": 1,
        "fullscreen": 0,
        "title": f"{_line(screen.title)}:%d",
        "toggle-fullscreen": "shift+f11",
        "release-cursor": "shift+f12",
        "secure-attention": "ctrl+alt+end",
        "ca": screen.ca_pem.strip().replace("\n", "\\n"),
    }
    lines = [f"{name}={value}" for name, value in entries.items()]
    return "\n".join(["[virt-viewer]", f"# Password is valid for {screen.valid_s} seconds.", *lines, ""])


def _line(text: str) -> str:
    return " ".join(text.split())
