"""Networks as a node has them, and its NICs and hardware."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LogicalNetwork:
    """A bridge called ``name`` over ``nic`` (empty: over none), in VLAN ``vlan`` (0: untagged)."""

    name: str
    nic: str = ""
    vlan: int = 0
    mtu: int = 1500
    addresses: tuple[str, ...] = ()
    """The node's own addresses in it, in CIDR form."""
    dhcp: bool = False


@dataclass(frozen=True)
class HostNic:
    """An interface of the node, not the loopback. ``speed_mbit_s`` 0: unknown (no cable, or virtual). ``bridge``: the one
    it is a port of."""

    name: str
    mac: str
    carrier: bool
    speed_mbit_s: int
    mtu: int
    bridge: str
    is_bridge: bool
    physical: bool
    received_bytes: int = 0
    received_packets: int = 0
    received_errors: int = 0
    received_drops: int = 0
    sent_bytes: int = 0
    sent_packets: int = 0
    sent_errors: int = 0
    sent_drops: int = 0


@dataclass(frozen=True)
class Hardware:
    """What the firmware says of the machine (DMI); empty where it says nothing."""

    manufacturer: str
    product: str
    version: str
    family: str
    serial: str
    uuid: str
    bios_vendor: str
    bios_version: str


@dataclass(frozen=True)
class HostCapabilities:
    """What VMs here can be given. ``machine`` is the newest that this QEMU has."""

    accelerated: bool
    machine: str
    cpus_maximum: int
    cpu_models: tuple[str, ...]
    uefi: bool
    secure_boot: bool
