"""What a node is and how it does: facts (rarely change) and statistics (always change)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Disk:
    """A block device. ``holds`` says what is on it ("ext4", "partition table gpt", "mounted at /") or is empty."""

    name: str
    size_bytes: int
    model: str
    rotational: bool
    holds: str


@dataclass(frozen=True)
class FolderFacts:
    """A folder asked about: does it exist, is it empty, what file system is it on, is that the root's."""

    path: str
    exists: bool
    empty: bool
    file_system: str
    on_root_file_system: bool
    free_bytes: int
    extended_attributes: bool


@dataclass(frozen=True)
class Nic:
    """A network interface. ``addresses`` in CIDR form; ``bridge`` is the bridge it is a port of, or empty."""

    name: str
    mac: str
    up: bool
    mtu: int
    addresses: tuple[str, ...]
    bridge: str
    physical: bool


@dataclass(frozen=True)
class CpuFacts:
    """The processors, counted as oVirt counts a topology: ``cores`` in one socket, ``threads`` in one core."""

    model: str
    sockets: int
    cores: int
    threads: int
    hardware_virtualization: bool
    """vmx or svm is there *and* /dev/kvm opens; otherwise guests are emulated."""


@dataclass(frozen=True)
class NodeFacts:
    """Facts of a node. ``wall_s`` is its clock at the moment of answering (clock skew is judged by it)."""

    name: str
    node_id: str
    cluster_id: str
    """Empty on a bare node."""
    version: str
    wall_s: float
    boot_id: str
    kernel: str
    cpu: CpuFacts
    memory_bytes: int
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    gluster_version: str
    libvirt_version: str
    qemu_version: str
    gluster_peers: tuple[str, ...]
    """Names or addresses of the peers its glusterd knows, itself excluded."""
    manufacturer: str = ""
    product: str = ""
    serial: str = ""


@dataclass(frozen=True)
class NodeStatistics:
    """What moves: memory and swap, load averages of 1, 5 and 15 minutes, CPU shares since the last reading, NIC totals."""

    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int
    load_1: float
    load_5: float
    load_15: float
    cpu_user_percent: float
    cpu_system_percent: float
    cpu_idle_percent: float
    uptime_s: float
    nics: tuple[NicTraffic, ...]


@dataclass(frozen=True)
class NicTraffic:
    """Bytes through a NIC since it came up, as the kernel counts them."""

    name: str
    received_bytes: int
    sent_bytes: int
