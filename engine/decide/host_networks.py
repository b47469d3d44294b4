"""Which bridges a host is to have: v4's network attachments as :class:`appliance.model.network.LogicalNetwork`. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import Conflict, Refused
from appliance.model.network import LogicalNetwork

USUAL_MTU = 1500
"""Of a network that says none."""
BRIDGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
"""What Linux and networkd take for an interface's name: 15 characters."""
ATTACHMENTS_LIMIT = 64
"""Of one host: a port each, and a file or two of networkd."""


@dataclass(frozen=True)
class Network:
    """What of a logical network concerns hosts. ``vlan`` 0: none; ``bridge``: what it is called on hosts."""

    id: str
    name: str
    bridge: str
    vlan: int = 0
    mtu: int = USUAL_MTU


@dataclass(frozen=True)
class Attachment:
    """A network on a host's NIC (empty: on none). ``assignments``: v4's ``ip_address_assignments``."""

    id: str
    network: str
    nic: str = ""
    assignments: tuple[Mapping[str, Any], ...] = ()
    properties: tuple[Mapping[str, Any], ...] = field(default=())


def bridge_of(network_id: str, name: str, given: str = "") -> str:
    """What a network is called on hosts: as somebody said (``vdsm_name``), else its name where an interface can be called
    so, else ``on`` and 13 digits of its id, as oVirt calls such."""
    for one in (given, name):
        if BRIDGE_NAME.fullmatch(one):
            return one
    return f"on{network_id.replace('-', '')[:13]}"


def changed(
    before: Sequence[Attachment], modified: Sequence[Attachment], removed: Sequence[str], subject: str
) -> tuple[Attachment, ...]:
    """All attachments of a host after a change. A modified one takes the place of the one with its id, or of its network.

    Raises ``Refused`` ``network.attachments``: too many of them, or two of one network.
    """
    gone = {*removed, *(one.id for one in modified)}
    networks = {one.network for one in modified}
    kept = [one for one in before if one.id not in gone and one.network not in networks]
    found = (*kept, *modified)
    if len(found) > ATTACHMENTS_LIMIT:
        raise _refused("network.attachments", subject, f"a host has at most {ATTACHMENTS_LIMIT} networks")
    if len({one.network for one in found}) < len(found):
        raise _refused("network.attachments", subject, "a network is on a host only once")
    return tuple(sorted(found, key=lambda one: one.id))


def logical(attachments: Sequence[Attachment], networks: Mapping[str, Network]) -> tuple[LogicalNetwork, ...]:
    """The bridges, in the order of their names. Raises ``Refused`` ``network.address``, ``Conflict`` ``network.vlan``."""
    found = [_logical(one, networks[one.network]) for one in attachments]
    carried: dict[tuple[str, int], str] = {}
    for one in found:
        other = carried.setdefault((one.nic, one.vlan), one.name) if one.nic else one.name
        if other != one.name:
            vlan = f"VLAN {one.vlan}" if one.vlan else "no VLAN"
            why = f"{other} and {one.name} would both be on {one.nic} with {vlan}"
            raise Conflict(
                "network.vlan", subject=f"network {one.name}", reason=why, remedy="Give one another VLAN, or NIC."
            )
    return tuple(sorted(found, key=lambda one: one.name))


def _logical(one: Attachment, network: Network) -> LogicalNetwork:
    addresses = tuple(text for given in one.assignments if (text := _address(given, network.name)))
    is_leased = any(given.get("assignment_method") == "dhcp" for given in one.assignments)
    return LogicalNetwork(network.bridge, one.nic, network.vlan, network.mtu, addresses, is_leased)


def _address(given: Mapping[str, Any], name: str) -> str:
    """In CIDR form; empty: none of its own."""
    method, ip, subject = given.get("assignment_method") or "none", given.get("ip") or {}, f"network {name}"
    if method in ("none", "dhcp"):
        return ""
    if method != "static":
        raise _refused("network.address", subject, f"addresses by {method} are not supported, only static and dhcp are")
    if ip.get("gateway"):
        raise _refused("network.address", subject, "only the management network has a gateway")
    try:
        return str(ipaddress.ip_interface(f"{ip.get('address') or ''}/{ip.get('netmask') or ''}"))
    except ValueError as error:
        raise _refused("network.address", subject, f"{error}") from error


def _refused(code: str, subject: str, why: str) -> Refused:
    return Refused(code, subject=subject, reason=f"Cannot setup Networks. {why}", remedy="Correct it.")
