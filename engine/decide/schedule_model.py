"""What the scheduler decides upon: hosts, VMs, the cluster and its wishes, as plain frozen values.

Sizes are bytes. Networks, storage domains and labels are named as people name them, because the names go into the reasons;
VMs, hosts and groups are known by id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.decide.schedule_policies import Policy

MIB = 1024**2
GIB = 1024**3
QEMU_BYTES = 160 * MIB
"""What a QEMU takes beside its guest's memory: about 150 MiB were measured under emulation."""
PAGE_TABLE_SHARE = 512
"""A page of 4 KiB costs its host 8 bytes of page table."""
HOST_BYTES = 512 * MIB
"""What a host keeps for itself unless told otherwise: agent, broker, libvirt, Gluster's daemons and its mounts."""

HostStatus = Literal[
    "up", "connecting", "down", "error", "initializing", "installing", "install_failed", "installing_os", "kdumping",
    "maintenance", "non_operational", "non_responsive", "pending_approval", "preparing_for_maintenance", "reboot",
    "unassigned",
]  # fmt: skip
"""v4's words."""
Migration = Literal["migratable", "user_migratable", "pinned"]
"""v4's placement_policy.affinity: by itself, only when a person asks, never."""


@dataclass(frozen=True)
class Vm:
    """A VM as the scheduler sees it."""

    id: str
    name: str
    memory_bytes: int
    guaranteed_bytes: int = 0
    """Physical memory guaranteed; 0: all of it. Counts only with ballooning, of the VM and of the cluster."""
    ballooning: bool = True
    sockets: int = 1
    cores: int = 1
    threads: int = 1
    cpu_model: str = ""
    """A name of libvirt's; ``host-passthrough``; empty: whatever the host has."""
    cpu_flags: frozenset[str] = frozenset()
    """CPU flags that it asks for by name."""
    networks: frozenset[str] = frozenset()
    """Of its plugged NICs."""
    storage_domains: frozenset[str] = frozenset()
    """Of its active disks, and of its CD."""
    hosts: frozenset[str] = frozenset()
    """Ids of placement_policy.hosts: the only ones for a pinned VM, preferred ones for others."""
    migration: Migration = "migratable"
    labels: frozenset[str] = frozenset()
    highly_available: bool = False
    priority: int = 1
    """high_availability.priority: the higher, the earlier it is restarted."""
    cpu_percent: float | None = None
    """Of one CPU of the host: 200 keeps two busy. Measured; None: not yet."""
    held_because: str = ""
    """Why it cannot be moved now, in words that follow its name (``is being snapshotted``); empty: it can."""
    moved_ago_s: float | None = None
    """How long ago it was moved last; None: never."""
    is_engine: bool = False
    """The engine's own VM: brokers place it, nobody else."""

    @property
    def cpus(self) -> int:
        """Virtual CPUs."""
        return self.sockets * self.cores * self.threads


@dataclass(frozen=True)
class Host:
    """A host, and the VMs that it has (running, paused, arriving, leaving)."""

    id: str
    name: str
    status: HostStatus = "up"
    status_reason: str = ""
    memory_bytes: int = 0
    """Physical memory; 0: not known yet."""
    free_bytes: int | None = None
    """What could be had now (MemAvailable); None: not known yet."""
    reserved_bytes: int = HOST_BYTES
    cpu_threads: int = 0
    cpu_cores: int = 0
    """0: as many as threads."""
    cpu_name: str = ""
    """The processor, as it names itself: host-passthrough guests move between equal ones only."""
    cpu_models: frozenset[str] | None = None
    """Models of libvirt's that it can run; None: it did not say."""
    cpu_flags: frozenset[str] | None = None
    emulated: bool = False
    """No hardware virtualization: guests are emulated, and move only to hosts that emulate, too."""
    networks: frozenset[str] = frozenset()
    """Attached, with a link."""
    storage_domains: frozenset[str] = frozenset()
    """Active on it."""
    labels: frozenset[str] = frozenset()
    vms: tuple[Vm, ...] = ()
    cpu_percent: float = 0.0
    """Busy, of all its CPUs together."""
    busy_s: float = 0.0
    """How long cpu_percent has been above the policy's HighUtilization."""


@dataclass(frozen=True)
class Promise:
    """A VM that was given to a host and is not seen on it yet: it counts there as if it were."""

    vm: Vm
    host: str
    """Id."""
    is_move: bool = False


@dataclass(frozen=True)
class Rule:
    """One rule of an affinity group. ``enforcing``: hard, else it is a wish."""

    enabled: bool = False
    positive: bool = True
    enforcing: bool = False


@dataclass(frozen=True)
class AffinityGroup:
    """VMs that are to run together or apart, on hosts or not on them. Members by id, or by one of the labels."""

    name: str
    vms: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    vm_labels: frozenset[str] = frozenset()
    host_labels: frozenset[str] = frozenset()
    vms_rule: Rule = field(default_factory=Rule)
    hosts_rule: Rule = field(default_factory=Rule)
    priority: float = 1.0
    """Weighs the wishes of groups against each other."""

    def has_vm(self, vm: Vm) -> bool:
        return vm.id in self.vms or bool(vm.labels & self.vm_labels)

    def has_host(self, host: Host) -> bool:
        return host.id in self.hosts or bool(host.labels & self.host_labels)


@dataclass(frozen=True)
class Cluster:
    """What holds for all hosts of a cluster."""

    name: str = "Default"
    over_commit_percent: int = 100
    ballooning: bool = True
    threads_as_cores: bool = True
    """Whether a VM may have as many CPUs as the host has threads, or only as it has cores."""
    policy: Policy = field(default_factory=Policy)
    affinity_groups: tuple[AffinityGroup, ...] = ()
    implicit_labels: frozenset[str] = frozenset()
    """Labels with an implicit affinity group: who has one runs on hosts that have it."""
    ha_reservation: bool = False
    """Refuse what would leave no room for the HA VMs of a host that is lost."""
    engine_bytes: int = 0
    """What the engine VM needs; 0: nothing is kept for it."""


def need_bytes(vm: Vm, cluster: Cluster) -> int:
    """What a host must have for a VM: its guaranteed memory (all of it, unless a balloon can take the rest), and QEMU's."""
    guest = vm.memory_bytes
    if vm.ballooning and cluster.ballooning and 0 < vm.guaranteed_bytes < guest:
        guest = vm.guaranteed_bytes
    return guest + QEMU_BYTES + vm.memory_bytes // PAGE_TABLE_SHARE


def limit_bytes(host: Host, cluster: Cluster) -> int:
    """How much memory a host may promise to VMs: what it does not keep for itself, times the over-commitment."""
    return max(0, host.memory_bytes - host.reserved_bytes) * cluster.over_commit_percent // 100
