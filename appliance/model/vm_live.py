"""What a running VM says of itself, and what is asked of it while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appliance.model.disk import DiskFile, Preallocation


@dataclass(frozen=True)
class DiskStatistics:
    """A disk since its VM started. ``disk`` is its serial; ``path`` the file that is written now (of a
    drive: its CD, or empty). ``allocation_bytes`` is the highest byte written in it, ``physical_bytes`` the file's size."""

    disk: str
    path: str
    read_bytes: int = 0
    read_requests: int = 0
    read_time_s: float = 0.0
    write_bytes: int = 0
    write_requests: int = 0
    write_time_s: float = 0.0
    flush_requests: int = 0
    flush_time_s: float = 0.0
    allocation_bytes: int = 0
    capacity_bytes: int = 0
    physical_bytes: int = 0


@dataclass(frozen=True)
class NicStatistics:
    """A NIC since its VM started, as the guest sees the directions."""

    mac: str
    received_bytes: int = 0
    received_packets: int = 0
    received_errors: int = 0
    received_drops: int = 0
    sent_bytes: int = 0
    sent_packets: int = 0
    sent_errors: int = 0
    sent_drops: int = 0


@dataclass(frozen=True)
class VmStatistics:
    """A running VM. Memory in KiB; what only the guest's balloon driver knows is 0 where it does not tell."""

    id: str
    name: str
    cpu_time_s: float
    cpu_user_s: float
    cpu_system_s: float
    cpus: int
    cpus_maximum: int
    memory_kib: int
    """What the balloon leaves it now."""
    memory_maximum_kib: int
    memory_rss_kib: int
    """What its QEMU really takes of the host."""
    memory_unused_kib: int = 0
    memory_usable_kib: int = 0
    """Free plus what its caches could give back."""
    memory_available_kib: int = 0
    swap_in_kib: int = 0
    swap_out_kib: int = 0
    disks: tuple[DiskStatistics, ...] = ()
    nics: tuple[NicStatistics, ...] = ()


@dataclass(frozen=True)
class GuestNic:
    """A NIC as the guest sees it; addresses in CIDR form."""

    name: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class GuestInfo:
    """What the guest agent tells. ``agent`` False: none answers, everything else is empty then."""

    agent: bool
    hostname: str = ""
    nics: tuple[GuestNic, ...] = ()
    os_id: str = ""
    os_name: str = ""
    os_version: str = ""
    kernel: str = ""
    machine: str = ""
    time_zone: str = ""
    time_zone_offset_s: int = 0
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuestAnswer:
    """What the agent in the guest of a VM told; ``vm`` is its name for libvirt."""

    vm: str
    said: GuestInfo


@dataclass(frozen=True)
class Screen:
    """Where a VM's screen is. ``port`` -1: it has none yet."""

    address: str
    port: int


@dataclass(frozen=True)
class VncTicket:
    """Where the screen is and until when its word opens it."""

    address: str
    port: int
    expires_wall_s: float


@dataclass(frozen=True)
class MigrationLimits:
    """Ceilings of a live migration. ``deadline_s`` 0: 30 s and 1 s for each 50 MiB. It is always encrypted."""

    bandwidth_mib_s: int = 400
    downtime_ms: int = 300
    auto_converge: bool = True
    """Slow the guest down while it writes memory faster than the link carries it."""
    deadline_s: float = 0.0


@dataclass(frozen=True)
class JobProgress:
    """How far libvirt's work on a domain is (migration, saving). All 0 until it has looked at the memory."""

    total_bytes: int = 0
    done_bytes: int = 0
    remaining_bytes: int = 0

    @property
    def percent(self) -> float:
        """Of the memory. A guest that goes on writing makes the total grow."""
        return 100 * self.done_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass(frozen=True)
class BlockJob:
    """Work of QEMU on the chain of a disk. ``ready``: all is copied, an active merge or a mirror waits for its pivot.
    ``target``: the path that a mirror writes to."""

    kind: Literal["commit", "active-commit", "copy", "other"]
    done_bytes: int
    total_bytes: int
    ready: bool = False
    target: str = ""

    @property
    def percent(self) -> float:
        """Of what has to be copied."""
        return 100 * self.done_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass(frozen=True)
class DiskSnapshot:
    """From now on ``disk`` (its serial) is written to ``overlay``, a new qcow2 file on the disk's own domain."""

    disk: str
    overlay: DiskFile


Quiesce = Literal["no", "try", "must"]


@dataclass(frozen=True)
class VmSnapshot:
    """A snapshot of a running VM: of the disks named, all at the same moment, and of its memory if a file is given for it.

    ``quiesce``: have the guest agent flush and freeze file systems: ``no``, ``try`` (without an
    agent: as after a power cut), ``must``.
    """

    disks: tuple[DiskSnapshot, ...]
    memory: DiskFile | None = None
    quiesce: Quiesce = "try"


@dataclass(frozen=True)
class DiskMerge:
    """Write what lies in ``disk``'s chain from ``top`` down to above ``base`` into ``base``. ``top`` None: from
    what is written now."""

    disk: str
    base: DiskFile
    top: DiskFile | None = None


@dataclass(frozen=True)
class DiskMirror:
    """What is written to ``disk`` is written to ``target``, too, from some moment on, so that its VM can go over to it.
    ``backing``: what ``target`` lies over, which holds what is below the disk's own layer; without it the whole chain is
    copied into ``target``."""

    disk: str
    target: DiskFile
    backing: DiskFile | None = None
    preallocation: Preallocation = "off"
    stays_paused: bool = False
    """It stood still before, and is not to run when it has gone over."""
