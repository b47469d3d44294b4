"""Logical networks as files of systemd-networkd. They sort after the management network's and before everybody else's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from appliance.errors import Conflict, NotFound, Refused
from appliance.layout import MANAGEMENT_BRIDGE
from appliance.model.network import LogicalNetwork
from appliance.tools import networkd
from appliance.tools.ip import Link

PREFIX = "06-trivet-"
MANAGEMENT_VLANS = f"{networkd.PREFIX}-port.network.d/vlans.conf"
"""VLANs over the NIC of the management bridge are added to its file, which stays what it is."""
NAME_LIMIT = 15
"""Of the kernel, for any interface."""
VLAN_LIMIT = 4094
MTU_RANGE = (68, 65520)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HEAD = "# Written by trivet-agent.\n"


def vlan_device(network: LogicalNetwork) -> str:
    """The interface that carries a tagged network: ``eth0.10``."""
    return f"{network.nic}.{network.vlan}"


def uplink(network: LogicalNetwork) -> str:
    """What its bridge has as a port towards the cable; empty: nothing."""
    return vlan_device(network) if network.nic and network.vlan else network.nic


def devices(networks: Sequence[LogicalNetwork]) -> set[str]:
    """All interfaces that these networks make."""
    return {one.name for one in networks} | {vlan_device(one) for one in networks if one.nic and one.vlan}


def check(networks: Sequence[LogicalNetwork], before: Sequence[LogicalNetwork], links: Mapping[str, Link]) -> None:
    """Whether these can take the place of those ``before``.

    Raises ``Refused`` (``network.definition``), ``NotFound`` (``nic.unknown``), ``Conflict`` (``nic.in-use``).
    """
    seen: set[str] = set()
    carried: set[tuple[str, int]] = set()
    ours = devices(networks) | devices(before)
    for one in networks:
        _check_words(one)
        if one.name in seen or (one.nic and (one.nic, one.vlan) in carried):
            raise _refuse(one, "another network has that name, or that NIC and VLAN")
        seen.add(one.name)
        carried.add((one.nic, one.vlan))
        if one.nic:
            _check_nic(one, links, ours)


def _check_words(one: LogicalNetwork) -> None:
    if not _NAME.fullmatch(one.name) or len(one.name) > NAME_LIMIT or one.name == MANAGEMENT_BRIDGE:
        raise _refuse(one, f"a bridge cannot be called so (at most {NAME_LIMIT} characters, not {MANAGEMENT_BRIDGE})")
    if not 0 <= one.vlan <= VLAN_LIMIT or (one.vlan and not one.nic):
        raise _refuse(one, f"VLAN {one.vlan} does not exist, or has no NIC to be on")
    if one.nic and len(uplink(one)) > NAME_LIMIT:
        raise _refuse(one, f"{uplink(one)} is longer than the kernel's {NAME_LIMIT} characters")
    if not MTU_RANGE[0] <= one.mtu <= MTU_RANGE[1]:
        raise _refuse(one, f"an MTU of {one.mtu} does not exist")
    if any(not re.fullmatch(r"[0-9a-fA-F:.]+/\d{1,3}", address) for address in one.addresses):
        raise _refuse(one, f"{list(one.addresses)} are no addresses in CIDR form")


def _check_nic(one: LogicalNetwork, links: Mapping[str, Link], ours: set[str]) -> None:
    link = links.get(one.nic)
    if link is None:
        raise NotFound(
            "nic.unknown",
            subject=f"NIC {one.nic}",
            reason=f"network {one.name} is to be on it, and there is none; there are {', '.join(sorted(links))}",
            remedy="Name one of these.",
        )
    bridge, is_management = link.nic.bridge, link.nic.bridge == MANAGEMENT_BRIDGE
    if is_management and one.vlan:
        return
    if (bridge and bridge not in ours) or (link.nic.addresses and not is_management) or is_management:
        what = f"it is a port of {bridge}" if bridge else f"it has the addresses {', '.join(link.nic.addresses)}"
        raise Conflict("nic.in-use", subject=f"NIC {one.nic}", reason=what, remedy="Choose another NIC, or a VLAN on it.")


def _refuse(one: LogicalNetwork, reason: str) -> Refused:
    return Refused("network.definition", subject=f"network {one.name}", reason=reason, remedy="Correct its definition.")


def network_files(networks: Sequence[LogicalNetwork], management_nic: str) -> Mapping[str, str]:
    """File name below networkd's folder → content."""
    files: dict[str, str] = {}
    for one in networks:
        files[f"{PREFIX}net-{one.name}.netdev"] = _bridge(one)
        files[f"{PREFIX}net-{one.name}.network"] = _addresses(one)
        if one.nic and one.vlan:
            device = vlan_device(one)
            files[f"{PREFIX}vlan-{device}.netdev"] = _vlan(one)
            files[f"{PREFIX}vlan-{device}.network"] = _port(device, one.mtu, one.name, ())
    for nic in sorted({one.nic for one in networks if one.nic}):
        on_it = [one for one in networks if one.nic == nic]
        vlans = tuple(vlan_device(one) for one in on_it if one.vlan)
        if nic == management_nic:
            files[MANAGEMENT_VLANS] = _HEAD + "[Network]\n" + "".join(f"VLAN={vlan}\n" for vlan in vlans)
        else:
            bridge = next((one.name for one in on_it if not one.vlan), "")
            files[f"{PREFIX}nic-{nic}.network"] = _port(nic, max(one.mtu for one in on_it), bridge, vlans)
    return files


def _bridge(one: LogicalNetwork) -> str:
    # without STP and delay: one uplink, so no loop can arise
    head = f"{_HEAD}[NetDev]\nName={one.name}\nKind=bridge\nMTUBytes={one.mtu}\n"
    return f"{head}\n[Bridge]\nSTP=no\nForwardDelaySec=0\n"


def _vlan(one: LogicalNetwork) -> str:
    return f"{_HEAD}[NetDev]\nName={vlan_device(one)}\nKind=vlan\nMTUBytes={one.mtu}\n\n[VLAN]\nId={one.vlan}\n"


def _port(device: str, mtu: int, bridge: str, vlans: Sequence[str]) -> str:
    lines = [f"{_HEAD}[Match]", f"Name={device}", "", "[Link]", f"MTUBytes={mtu}", "", "[Network]"]
    lines += [f"Bridge={bridge}"] if bridge else []
    lines += [f"VLAN={vlan}" for vlan in vlans]
    return "\n".join([*lines, "LinkLocalAddressing=no", "IPv6AcceptRA=no"]) + "\n"


def _addresses(one: LogicalNetwork) -> str:
    lines = [f"{_HEAD}[Match]", f"Name={one.name}", "", "[Network]", f"DHCP={'ipv4' if one.dhcp else 'no'}"]
    lines += [f"Address={address}" for address in one.addresses]
    if not one.dhcp and not one.addresses:
        lines += ["LinkLocalAddressing=no", "IPv6AcceptRA=no"]
    return "\n".join([*lines, "ConfigureWithoutCarrier=yes"]) + "\n"
