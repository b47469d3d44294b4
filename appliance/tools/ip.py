"""``ip`` of iproute2: argument lists and its JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from appliance.errors import Failed
from appliance.model.node import Nic

ADDRESSES = ("ip", "-json", "-details", "address", "show")


def routes_argv(device: str, family: int) -> tuple[str, ...]:
    """The argv that lists the routes of ``device``. ``family`` 4 or 6."""
    return ("ip", "-json", f"-{family}", "route", "show", "dev", device)


@dataclass(frozen=True)
class Link:
    """An interface with what configuring it needs beyond :class:`Nic`: which addresses were leased (DHCP, router)."""

    nic: Nic
    kind: str
    leased: tuple[str, ...]


def links(text: str) -> tuple[Link, ...]:
    """Parse the output of :data:`ADDRESSES`, loopback left out. Raises ``Failed`` (``tool.output``)."""
    return tuple(_link(entry) for entry in _json_list(text) if entry.get("link_type") != "loopback")


def nics(text: str) -> tuple[Nic, ...]:
    """The interfaces alone."""
    return tuple(link.nic for link in links(text))


def gateways(text: str) -> tuple[str, ...]:
    """The gateways of the default routes in the output of :func:`routes_argv`."""
    return tuple(str(entry["gateway"]) for entry in _json_list(text) if entry.get("dst") == "default" and "gateway" in entry)


def static_routes(text: str) -> tuple[tuple[str, str], ...]:
    """(destination, gateway) of the other routes through a gateway."""
    return tuple(
        (str(entry["dst"]), str(entry["gateway"]))
        for entry in _json_list(text)
        if entry.get("dst") != "default" and "gateway" in entry and entry.get("protocol") not in ("ra", "dhcp")
    )


def _link(entry: dict[str, Any]) -> Link:
    kind = str(entry.get("linkinfo", {}).get("info_kind", ""))
    found = [one for one in entry.get("addr_info", []) if one.get("scope") == "global" and "local" in one]
    in_cidr = tuple(f"{one['local']}/{one['prefixlen']}" for one in found)
    leased = tuple(f"{one['local']}/{one['prefixlen']}" for one in found if one.get("dynamic"))
    nic = Nic(
        name=str(entry["ifname"]),
        mac=str(entry.get("address", "")),
        up="UP" in entry.get("flags", []) and entry.get("operstate") in ("UP", "UNKNOWN"),
        mtu=int(entry.get("mtu", 0)),
        addresses=in_cidr,
        bridge=str(entry.get("master", "")),
        physical=_is_physical(entry, kind),
    )
    return Link(nic, kind, leased)


def _is_physical(entry: dict[str, Any], kind: str) -> bool:
    """Hardware has no kind. A veth whose other end is in another namespace is the cable of a node that is a container."""
    return entry.get("link_type") == "ether" and (not kind or (kind == "veth" and "link_netnsid" in entry))


def _json_list(text: str) -> list[dict[str, Any]]:
    try:
        data = json.loads(text or "[]")
    except ValueError as error:
        reason = f"it did not write JSON ({error})"
        raise Failed("tool.output", subject="ip", reason=reason, remedy="Run it by hand.") from error
    return [entry for entry in data if isinstance(entry, dict) and entry]
