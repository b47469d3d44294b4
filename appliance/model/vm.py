"""VMs as a node sees them: what to start, and what runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VmPower = Literal[
    "running", "paused", "paused-io-error", "paused-no-space", "shutting-down", "off", "crashed", "migrating", "incoming"
]
"""``paused-no-space``: stopped on ENOSPC alone, its disk is still its own. ``migrating``: it is leaving this host;
``incoming``: it is arriving here and does not run yet."""


@dataclass(frozen=True)
class VmDisk:
    """A disk of a VM. ``serial`` names it to the guest; ``bus`` "scsi" is virtio-scsi. Raw or qcow2 file at ``path``."""

    path: str
    serial: str
    format: Literal["raw", "qcow2"] = "raw"
    bus: Literal["virtio", "scsi", "cdrom"] = "scsi"
    read_only: bool = False
    boot_order: int = 0
    """0: not bootable."""


@dataclass(frozen=True)
class VmNic:
    """A virtio NIC on a bridge of the host (empty: on none); ``mac`` as six hexadecimal pairs with colons."""

    bridge: str
    mac: str


@dataclass(frozen=True)
class VmSpec:
    """What a host needs to start a VM. ``cpu_model`` is named, because migration needs it. ``firmware`` as booted."""

    id: str
    name: str
    memory_mib: int
    cpus: int
    cpu_model: str
    disks: tuple[VmDisk, ...]
    nics: tuple[VmNic, ...]
    firmware: Literal["bios", "uefi"] = "bios"
    on_reboot: Literal["restart", "destroy"] = "restart"
    """What a reboot from within the guest does: the same QEMU again, or its end (whoever keeps the VM starts it anew)."""
    serial_log: str = ""
    """File on the node that gets what the guest writes on its first serial console; empty: none."""


@dataclass(frozen=True)
class VmState:
    """A VM that libvirt of this node knows."""

    id: str
    name: str
    power: VmPower
    memory_mib: int
    cpus: int
    cpu_time_s: float
    pid: int
    """QEMU's process id, 0 when there is none."""
