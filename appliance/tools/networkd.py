"""The management bridge as files of systemd-networkd."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.layout import MANAGEMENT_BRIDGE

FOLDER = "/etc/systemd/network"
PREFIX = f"05-trivet-{MANAGEMENT_BRIDGE}"
"""networkd takes the first matching file by name, over all its folders: 05 comes before cloud-init's and netplan's 10."""


@dataclass(frozen=True)
class BridgePlan:
    """The bridge over ``nic``. Addresses in CIDR form; ``dhcp`` when they were leased; routes are (destination, gateway)."""

    nic: str
    mac: str
    mtu: int
    dhcp: bool
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]


def bridge_files(plan: BridgePlan) -> tuple[tuple[str, str], ...]:
    """(file name, content). The bridge has the NIC's MAC: switches and DHCP servers see the machine they know."""
    return (
        (f"{PREFIX}.netdev", _netdev(plan)),
        (f"{PREFIX}-port.network", _port(plan)),
        (f"{PREFIX}.network", _network(plan)),
    )


def _netdev(plan: BridgePlan) -> str:
    return f"""\
# Written by trivet-agent: the management network.
[NetDev]
Name={MANAGEMENT_BRIDGE}
Kind=bridge
MACAddress={plan.mac}
MTUBytes={plan.mtu}

[Bridge]
# one uplink, so no loop can arise; and a delay would cut the node off while the bridge is made
STP=no
ForwardDelaySec=0
"""


def _port(plan: BridgePlan) -> str:
    return f"""\
# Written by trivet-agent: the management network's uplink.
[Match]
Name={plan.nic}

[Link]
MTUBytes={plan.mtu}

[Network]
Bridge={MANAGEMENT_BRIDGE}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


def _network(plan: BridgePlan) -> str:
    lines = ["# Written by trivet-agent: the management network.", "[Match]", f"Name={MANAGEMENT_BRIDGE}", "", "[Network]"]
    lines += [f"DHCP={'ipv4' if plan.dhcp else 'no'}", "ConfigureWithoutCarrier=yes"]
    if not plan.dhcp:
        lines += [f"Address={address}" for address in plan.addresses]
        lines += [f"Gateway={gateway}" for gateway in plan.gateways]
        for destination, gateway in plan.routes:
            lines += ["", "[Route]", f"Destination={destination}", f"Gateway={gateway}"]
    if plan.dhcp:
        lines += ["", "[DHCPv4]", "ClientIdentifier=mac"]
    return "\n".join(lines) + "\n"
