"""IP addresses as text."""

from __future__ import annotations

import ipaddress


def is_address(text: str) -> bool:
    """Whether it is an IP address as it stands (not a name)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
