"""Addresses for NICs: which are allowed, and the next free one of a pool. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from appliance.errors import Conflict, Refused

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MULTICAST = 1
"""The lowest bit of the first byte."""


def normal(address: str) -> str:
    """The address in our form (small letters, colons). Raises ``Refused`` ``nic.mac`` when no NIC can have it."""
    found = address.strip().lower().replace("-", ":")
    if not MAC.fullmatch(found) or int(found[:2], 16) & MULTICAST or found == "00:00:00:00:00:00":
        reason = "it is no unicast MAC address of six pairs"
        raise Refused(
            "nic.mac", subject=f"MAC address '{address[:40]}'", reason=reason, remedy="Leave it out, or correct it."
        )
    return found


def address_of(nic: Mapping[str, Any]) -> str:
    """The address in a NIC's attributes; empty: it has none."""
    return str((nic.get("mac") or {}).get("address") or "")


def free(ranges: Sequence[Mapping[str, str]], used: Collection[str]) -> str:
    """The lowest address of the pool's ranges that nobody has. Raises ``Conflict`` ``mac-pool.empty``."""
    for one in ranges:
        first, last = (number(str(one.get(end) or "")) for end in ("from_", "to"))
        for value in range(first, last + 1):
            address = text(value)
            if address not in used and not value >> 40 & MULTICAST:
                return address
    raise Conflict(
        "mac-pool.empty",
        subject="the MAC pool",
        reason="Cannot add VM Interface. Not enough MAC addresses left in MAC Address Pool",
        remedy="Add a range to the pool of its cluster.",
    )


def number(address: str) -> int:
    """The address as a number. Raises as :func:`normal`."""
    if not MAC.fullmatch(address.lower()):
        normal(address)
    return int(address.replace(":", ""), 16)


def text(value: int) -> str:
    """A number as an address."""
    return ":".join(f"{value >> shift & 255:02x}" for shift in range(40, -1, -8))
