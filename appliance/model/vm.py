"""VMs as a node sees them: what to start, and what runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from appliance.model.vm_parts import Console, CpuLayout, DiskLimits, Graphics, MemoryLayout, Rng, Watchdog

VmPower = Literal[
    "running", "paused", "paused-io-error", "paused-no-space", "shutting-down", "off", "crashed", "migrating", "incoming"
]
"""``paused-no-space``: stopped on ENOSPC alone, its disk is still its own. ``migrating``: it is leaving this host;
``incoming``: it is arriving here and does not run yet."""


DiskBus = Literal["virtio", "scsi", "sata", "ide", "cdrom"]
"""``scsi`` is virtio-scsi; ``cdrom`` a drive on the machine's own controller (SATA of q35, IDE of pc)."""


@dataclass(frozen=True)
class VmDisk:
    """A disk of a VM. ``serial`` names it to the guest, and to the verbs. Raw or qcow2 file at ``path`` (empty: no CD)."""

    path: str
    serial: str
    format: Literal["raw", "qcow2"] = "raw"
    bus: DiskBus = "scsi"
    read_only: bool = False
    boot_order: int = 0
    """0: not bootable."""
    shareable: bool = False
    """Several VMs write to it at once; their file systems have to know."""
    discard: bool = True
    """What the guest discards is given back to the domain."""
    io: Literal["io_uring", "native", "threads"] = "io_uring"
    on_error: Literal["stop", "report"] = "stop"
    """Stop the guest on an I/O error, or let it see the error."""
    limits: DiskLimits | None = None


@dataclass(frozen=True)
class VmNic:
    """A NIC on a bridge of the host (empty: on none); ``mac`` as six hexadecimal pairs with colons names it to the verbs."""

    bridge: str
    mac: str
    model: Literal["virtio", "e1000", "e1000e", "rtl8139"] = "virtio"
    link_up: bool = True
    mtu: int = 0
    """0: the bridge's."""
    boot_order: int = 0


@dataclass(frozen=True)
class VmSpec:
    """What a host needs to start a VM. ``cpu_model`` is named, because migration needs it. ``firmware`` as booted.

    Every field that has a default was added later: left out, the domain is to the byte what it was before (the engine VM's
    saved memory is known by it).
    """

    id: str
    name: str
    memory_mib: int
    cpus: int
    cpu_model: str
    """A name of libvirt's, or ``host-passthrough``: then it migrates between equal hosts only."""
    disks: tuple[VmDisk, ...]
    nics: tuple[VmNic, ...]
    firmware: Literal["bios", "uefi"] = "bios"
    on_reboot: Literal["restart", "destroy"] = "restart"
    """What a reboot from within the guest does: the same QEMU again, or its end (whoever keeps the VM starts it anew)."""
    serial_log: str = ""
    """File on the node that gets what the guest writes on its first serial console; empty: none."""
    on_poweroff: Literal["destroy", "restart"] = "destroy"
    machine: str = "q35"
    """``q35``, ``pc`` or one of a version (``pc-q35-10.0``): migration to an older QEMU needs the older machine."""
    secure_boot: bool = False
    """Only signed boot loaders (UEFI of q35)."""
    nvram: str = ""
    """File with the UEFI variables, made at the first start; empty: libvirt's own place on this node."""
    cpu: CpuLayout = field(default_factory=CpuLayout)
    memory: MemoryLayout = field(default_factory=MemoryLayout)
    graphics: Graphics | None = None
    console: Console | None = None
    """None: a pty without log, or the file ``serial_log``."""
    rng: Rng = field(default_factory=Rng)
    watchdog: Watchdog | None = None
    time_zone: str = ""
    """What the guest takes its hardware clock for (``Europe/Berlin``); empty: UTC."""
    smbios_serial: str = ""
    """The serial number of the machine that the guest sees; empty: its id."""
    hotplug_ports: int = 0
    """Free PCIe ports of q35, each for one virtio disk or NIC plugged in later (virtio-scsi disks need none)."""


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
