"""Parts of a VM beyond disks and NICs. Every default is what a VM without that part has always had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CpuPin:
    """Virtual CPU ``vcpu`` runs on the host's CPUs ``host_cpus`` only (``0-3,^2``, as libvirt writes sets)."""

    vcpu: int
    host_cpus: str


@dataclass(frozen=True)
class CpuLayout:
    """How the CPUs look to the guest. Topology 0: not told. ``maximum`` 0: as many as it starts with, none can be added."""

    maximum: int = 0
    """All sockets × cores × threads; those beyond ``VmSpec.cpus`` are plugged in while it runs."""
    sockets: int = 0
    cores: int = 0
    threads: int = 0
    pins: tuple[CpuPin, ...] = ()
    shares: int = 0
    """Weight against other VMs of the host (1024 is usual); 0: the host's default. Needs cgroups."""


@dataclass(frozen=True)
class MemoryLayout:
    """Memory beyond what it starts with. ``maximum_mib`` 0: none can be added."""

    maximum_mib: int = 0
    slots: int = 0
    """How many pieces can be added; 0 with a maximum: 16."""
    guaranteed_mib: int = 0
    """The balloon never goes below; QEMU knows nothing of it, the verbs obey it."""
    ballooning: bool = True
    statistics_s: int = 0
    """How often the guest's balloon driver tells its statistics; 0: when asked by hand."""


@dataclass(frozen=True)
class DiskLimits:
    """Ceilings a second; 0: none. A total and its parts exclude each other (QEMU's rule)."""

    total_bytes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    total_requests: int = 0
    read_requests: int = 0
    write_requests: int = 0


@dataclass(frozen=True)
class Graphics:
    """A VNC screen on a port that libvirt chooses. Closed until a ticket is set. TLS is the node's setting for all VMs."""

    listen: str
    """The address of the node that takes connections."""
    video: Literal["vga", "virtio", "bochs", "qxl"] = "vga"
    keymap: str = ""


@dataclass(frozen=True)
class Console:
    """A serial console one can talk to. ``log`` is a file on the node that gets all it says as well; empty: none."""

    kind: Literal["isa", "virtio"] = "isa"
    log: str = ""


@dataclass(frozen=True)
class Rng:
    """Where the guest's random numbers come from, and at most ``bytes`` of them in ``period_ms`` (0: no limit)."""

    source: Literal["urandom", "random"] = "urandom"
    bytes: int = 0
    period_ms: int = 1000


@dataclass(frozen=True)
class Watchdog:
    """A watchdog that the guest must feed, and what happens when it does not."""

    model: Literal["i6300esb", "itco"] = "i6300esb"
    action: Literal["reset", "shutdown", "poweroff", "pause", "none", "dump"] = "reset"
