"""``nic_configurations`` of a VM as cloud-init's network-config (version 2, which all its renderers read). Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NAME = re.compile(r"[\w.:-]{1,50}")
"""Of an interface in the guest, or of the VM's NIC."""
DEFAULT_ROUTES = {4: "0.0.0.0/0", 6: "::/0"}
"""``default`` is a word that old renderers do not know."""


@dataclass(frozen=True)
class GuestNic:
    """A NIC of the VM: its name in the engine, and its address, by which the guest finds it whatever it calls it."""

    name: str
    mac: str


def words(text: Any) -> list[str]:
    """v4 has lists of names and addresses as one text."""
    return [one for one in re.split(r"[\s,]+", str(text or "")) if one]


def wrong(given: Mapping[str, Any]) -> str:
    """What cannot be in ``nic_configurations``, ``dns_servers`` and ``dns_search``; empty: nothing."""
    for server in words(given.get("dns_servers")):
        if _address(server) is None:
            return f"DNS server '{server[:60]}' is no address"
    seen = set()
    for nic in given.get("nic_configurations") or ():
        name = str(nic.get("name") or "")
        if not NAME.fullmatch(name):
            return f"'{name[:60]}' is no name of a network interface"
        if name in seen:
            return f"network interface {name} is configured twice"
        seen.add(name)
        reason = _wrong_address(nic, 4) or _wrong_address(nic, 6)
        if reason:
            return f"network interface {name}: {reason}"
    return ""


def _wrong_address(nic: Mapping[str, Any], version: int) -> str:
    if _protocol(nic, version) != "static":
        return ""
    given = _given(nic, version)
    gateway = str(given.get("gateway") or "")
    if _interface(given, version) is None:
        said = f"{given.get('address')}/{given.get('netmask')}"
        return f"a static IPv{version} configuration needs address and netmask, not {said[:90]}"
    found = _address(gateway) if gateway else None
    if gateway and (found is None or found.version != version):
        return f"its gateway '{gateway[:60]}' is no IPv{version} address"
    return ""


def network_config(given: Mapping[str, Any], nics: Sequence[GuestNic]) -> dict[str, Any] | None:
    """The network of the guest; ``None``: nothing was said of it, so the guest does as it likes (DHCP).

    An interface that bears the name of one of the VM's NICs is found by that one's address; any other name is the guest's
    own. Who only says which DNS servers to ask gets them on the first NIC, beside DHCP. What is not to be activated at boot
    is left to the guest.
    """
    macs = {one.name: one.mac for one in nics}
    wanted = list(given.get("nic_configurations") or ())
    servers, domains = words(given.get("dns_servers")), words(given.get("dns_search"))
    if not wanted and (servers or domains) and nics:
        wanted = [{"name": nics[0].name, "boot_protocol": "dhcp"}]
    if not wanted:
        return None
    names = {"addresses": servers, "search": domains}
    nameservers = {name: value for name, value in names.items() if value}
    found = {str(one["name"]): _ethernet(one, macs, nameservers) for one in wanted if one.get("on_boot") is not False}
    return {"version": 2, "ethernets": found}


def _ethernet(nic: Mapping[str, Any], macs: Mapping[str, str], nameservers: Mapping[str, Any]) -> dict[str, Any]:
    mac = macs.get(str(nic["name"]))
    found: dict[str, Any] = {"match": {"macaddress": mac}} if mac else {}
    found["dhcp4"] = _protocol(nic, 4) in ("dhcp", "poly_dhcp_autoconf")
    by_version6 = _protocol(nic, 6)
    if by_version6:
        found["dhcp6"] = by_version6 in ("dhcp", "poly_dhcp_autoconf")
    if by_version6 in ("autoconf", "poly_dhcp_autoconf"):
        found["accept-ra"] = True
    static = [version for version in (4, 6) if _protocol(nic, version) == "static"]
    if static:
        found["addresses"] = [str(_interface(_given(nic, version), version)) for version in static]
    gateways = {version: str(_given(nic, version).get("gateway") or "") for version in static}
    routes = [{"to": DEFAULT_ROUTES[version], "via": gateway} for version, gateway in gateways.items() if gateway]
    if routes:
        found["routes"] = routes
    if nameservers:
        found["nameservers"] = dict(nameservers)
    return found


def _protocol(nic: Mapping[str, Any], version: int) -> str:
    """``none``, ``static``, ``dhcp`` …; who gives an address and no word means it."""
    said = str(nic.get("boot_protocol" if version == 4 else "ipv6_boot_protocol") or "")
    return said or ("static" if _given(nic, version).get("address") else "")


def _given(nic: Mapping[str, Any], version: int) -> Mapping[str, Any]:
    return nic.get("ip" if version == 4 else "ipv6") or {}


def _interface(given: Mapping[str, Any], version: int) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    address, mask = str(given.get("address") or "").strip(), str(given.get("netmask") or "").strip()
    try:
        found = ipaddress.ip_interface(f"{address}/{mask}")
    except ValueError:
        return None
    return found if found.version == version and mask else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
