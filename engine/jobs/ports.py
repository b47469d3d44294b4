"""The nodes as jobs reach them. Fakes: :mod:`engine.fakes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from appliance.model.cluster import Cluster, Member, Membership
from appliance.model.disk import DiskCopy, DiskFile, DiskInfo, NewDisk
from appliance.model.domain import DomainMark, DomainState, NoCloudSeed
from appliance.model.image_ticket import ImageTicket, ImageTicketState
from appliance.model.network import HostCapabilities, LogicalNetwork
from appliance.model.node import NodeFacts, NodeStatistics
from appliance.model.task import TaskState
from appliance.model.vm import VmDisk, VmNic, VmSpec, VmState
from appliance.model.vm_backup import VmBackup, VmBackupState
from appliance.model.vm_live import DiskMerge, DiskMirror, GuestAnswer, MigrationLimits, Screen, VmSnapshot, VncTicket
from appliance.wire.definition import JoinHello, VolumeFile
from gluster.model import PoolStatus
from gluster.mount_view import MountBrick


class TaskNode(Protocol):
    """A node's long work, as :class:`appliance.wire.disk_api.TaskApi`."""

    def task(self, task: str) -> TaskState: ...

    def task_cancel(self, task: str) -> TaskState: ...

    def task_forget(self, task: str) -> None: ...


class DiskNode(TaskNode, Protocol):
    """What jobs ask of a node's disks: the part of :class:`appliance.wire.disk_api.DiskApi`, ``TaskApi`` and
    ``DomainApi`` that they use, with the same meaning. The fake is :class:`engine.fakes.disk_node.FakeDiskNode`."""

    def disk_chain(self, file: DiskFile) -> tuple[DiskInfo, ...]: ...

    def disk_create(self, task: str, new: NewDisk) -> TaskState: ...

    def disk_copy(self, task: str, copy: DiskCopy) -> TaskState: ...

    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState: ...

    def disk_resize(self, task: str, file: DiskFile, size_bytes: int) -> TaskState: ...

    def disk_commit(self, task: str, file: DiskFile, base: DiskFile) -> TaskState: ...

    def disk_seed(self, file: DiskFile, seed: NoCloudSeed) -> None: ...

    def disk_rebase(self, task: str, file: DiskFile, backing: DiskFile | None, unsafe: bool) -> TaskState: ...

    def disk_bitmap_add(self, task: str, file: DiskFile, name: str) -> TaskState: ...

    def disk_bitmap_remove(self, task: str, file: DiskFile, name: str) -> TaskState: ...


class VmNode(TaskNode, Protocol):
    """What jobs ask of a node's VMs: the part of ``VmApi``, ``VmDeviceApi``, ``VmDiskApi``, ``VmBackupApi``,
    ``GuestApi`` and ``VmMoveApi`` of :mod:`appliance.wire` that they use, with the same meaning. The fake is
    :class:`engine.fakes.vm_node.FakeVmNode`."""

    def vms(self) -> tuple[VmState, ...]: ...

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState: ...

    def vm_resume(self, name: str) -> None: ...

    def vm_reboot(self, name: str) -> None: ...

    def vm_freeze(self, name: str) -> None: ...

    def vm_thaw(self, name: str) -> None: ...

    def vm_reset(self, name: str) -> None: ...

    def vm_shutdown(self, name: str) -> None: ...

    def vm_destroy(self, name: str) -> None: ...

    def vm_move(self, task: str, name: str, target: str, limits: MigrationLimits) -> TaskState: ...

    def vm_suspend(self, task: str, name: str, file: DiskFile) -> TaskState: ...

    def vm_wake(self, task: str, spec: VmSpec, file: DiskFile, paused: bool) -> TaskState: ...

    def vm_snapshot(self, task: str, name: str, snapshot: VmSnapshot) -> TaskState: ...

    def vm_merge(self, task: str, name: str, merge: DiskMerge) -> TaskState: ...

    def vm_mirror(self, task: str, name: str, mirror: DiskMirror) -> TaskState: ...

    def vm_pivot(self, task: str, name: str, mirror: DiskMirror) -> TaskState: ...

    def vm_break_off(self, name: str, mirror: DiskMirror) -> None: ...

    def vm_disk_resize(self, name: str, disk: str, size_bytes: int) -> None: ...

    def vm_plug_disk(self, name: str, disk: VmDisk) -> None: ...

    def vm_unplug_disk(self, name: str, disk: str) -> None: ...

    def vm_plug_nic(self, name: str, nic: VmNic) -> None: ...

    def vm_unplug_nic(self, name: str, mac: str) -> None: ...

    def vm_set_nic(self, name: str, mac: str, bridge: str, link_up: bool) -> None: ...

    def vm_set_cd(self, name: str, drive: str, path: str, force: bool) -> None: ...

    def vm_set_cpus(self, name: str, cpus: int) -> None: ...

    def vm_set_memory(self, name: str, memory_mib: int) -> int: ...

    def vm_guests(self) -> tuple[GuestAnswer, ...]: ...

    def vm_backups(self) -> tuple[VmBackupState, ...]: ...

    def vm_backup_begin(self, name: str, backup: VmBackup) -> VmBackupState: ...

    def vm_backup_end(self, name: str, backup: str) -> None: ...

    def vm_checkpoint_drop(self, name: str, checkpoint: str, disks: tuple[str, ...]) -> None: ...

    def ha_local_maintenance(self, on: bool) -> None: ...


class ScreenNode(Protocol):
    """What the API asks of a node itself, without a job, because no journal may have the word: the part of
    ``VmDeviceApi`` that opens screens. The fake is :class:`engine.fakes.vm_node.FakeVmNode`."""

    def vm_screen(self, name: str) -> Screen: ...

    def vm_set_ticket(self, name: str, word: str, valid_s: float) -> VncTicket: ...


class ImageNode(Protocol):
    """What jobs ask of a node's image tickets: :class:`appliance.wire.image_api.ImageApi`, with the same meaning. The
    fake is :class:`engine.fakes.image_node.FakeImageNode`."""

    def image_tickets(self) -> tuple[ImageTicketState, ...]: ...

    def image_ticket(self, transfer: str) -> ImageTicketState: ...

    def image_open(self, ticket: ImageTicket) -> ImageTicketState: ...

    def image_extend(self, transfer: str, timeout_s: int) -> ImageTicketState: ...

    def image_close(self, transfer: str) -> None: ...


class PoolNode(Protocol):
    """What jobs ask of a node about the pool, and of its own mounts: the part of :class:`gluster.wire.GlusterApi` and
    ``FilesApi`` that they use. The fake is :class:`engine.fakes.pool_node.FakePoolNode`."""

    def gluster_pool(self) -> PoolStatus: ...

    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool: ...

    def gluster_renew_refusals(self, volume: str) -> None: ...

    def gluster_mount(self, volume: str) -> tuple[MountBrick, ...]: ...

    def gluster_renew_healer(self) -> None: ...

    def gluster_set_options(self, volume: str, options: Mapping[str, str]) -> tuple[str, ...]: ...

    def gluster_heal(self, volume: str) -> None: ...

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None: ...


class StorageNode(Protocol):
    """What jobs ask of a node about its storage domains: the part of :class:`appliance.wire.host_api.DomainApi` and
    ``FilesApi`` that they use, with the same meaning. The fake is :class:`engine.fakes.storage_node.FakeStorageNode`."""

    def domains(self) -> tuple[DomainState, ...]: ...

    def domain(self, domain: str) -> DomainState: ...

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None: ...

    def domain_mount_posix(self, domain: str, device: str, file_system: str, options: str) -> None: ...

    def domain_mount_local(self, domain: str, folder: str) -> None: ...

    def domain_unmount(self, domain: str) -> None: ...

    def domain_mark(self, domain: str, mark: DomainMark) -> None: ...

    def domain_unmark(self, domain: str, domain_id: str) -> None: ...

    def list_files(self, volume: str, path: str) -> tuple[VolumeFile, ...]: ...

    def make_folder(self, volume: str, path: str, owner_uid: int, mode: int) -> None: ...

    def read_file(self, volume: str, path: str) -> str: ...

    def write_file(self, volume: str, path: str, content: str, mode: int) -> None: ...

    def remove_file(self, volume: str, path: str) -> None: ...


class NetworkNode(Protocol):
    """A host's networks beside the management network: a part of :class:`appliance.wire.host_api.HostApi`, with the same
    meaning. The fake is :class:`engine.fakes.network_node.FakeNetworkNode`."""

    def networks(self) -> tuple[LogicalNetwork, ...]: ...

    def set_networks(self, networks: tuple[LogicalNetwork, ...]) -> None: ...


class BareNode(Protocol):
    """What is asked of a node that is to join: the part of :class:`appliance.wire.definition.JoinApi` that is needed.
    Each call carries its token."""

    def join_hello(self, token: str) -> JoinHello: ...

    def join_csr(self, token: str, name: str, address: str) -> str: ...

    def join_accept(
        self, token: str, certificate_pem: str, ca_pem: str, cluster: Cluster, membership: Membership
    ) -> None: ...


class MemberNode(Protocol):
    """What makes a node a host, and what takes that back: parts of ``NodeApi``, ``FilesApi``, ``HostApi``, ``DomainApi``,
    :class:`gluster.wire.GlusterApi` and the broker's interface, with the same meaning."""

    def facts(self) -> NodeFacts: ...

    def capabilities(self) -> HostCapabilities: ...

    def set_cluster(self, cluster: Cluster) -> None: ...

    def set_names(self, members: tuple[Member, ...], engine_fqdn: str, engine_address: str) -> None: ...

    def leave_cluster(self) -> None: ...

    def unit(self, name: str, action: Literal["enable-start", "stop-disable", "restart", "state"]) -> str: ...

    def ensure_management_bridge(self, nic: str) -> None: ...

    def configure_libvirt(self) -> None: ...

    def gluster_configure(self) -> bool: ...

    def gluster_pool(self) -> PoolStatus: ...

    def gluster_probe(self, name: str) -> None: ...

    def gluster_detach(self, name: str, force: bool) -> None: ...

    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool: ...

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None: ...

    def domains(self) -> tuple[DomainState, ...]: ...

    def domain_unmount(self, domain: str) -> None: ...

    def remove_file(self, volume: str, path: str) -> None: ...

    def ha_local_maintenance(self, on: bool) -> None: ...


class Enrolment(Protocol):
    """How hosts come into the cluster and leave it. The real one is :class:`engine.enrolment.WireEnrolment`, the fake
    :class:`engine.fakes.enrolment.FakeEnrolment`."""

    @property
    def founded(self) -> Cluster:
        """The cluster as it was founded."""

    @property
    def ca_pem(self) -> str:
        """The certificate of the cluster's CA."""

    def bare(self, address: str, token: str) -> BareNode:
        """A node that is no member yet, known by the fingerprint in its token. Nothing is sent before the first call."""

    def member(self, member: Member) -> MemberNode:
        """A node that has the cluster's certificate, whether it is followed yet or not. Likewise."""

    def sign(self, member: Member, csr_pem: str) -> str:
        """The certificate (PEM) that makes it that member. Raises ``Refused`` when the request names something else,
        ``Unavailable`` ``engine.signer``."""


@dataclass(frozen=True)
class HostReport:
    """A host as it is known now, from what it said last. ``None``: it has not said. ``address``: where its clients of the
    storage come from."""

    id: str
    name: str
    is_up: bool
    facts: NodeFacts | None = None
    statistics: NodeStatistics | None = None
    vms: tuple[VmState, ...] = ()
    address: str = ""


class Nodes(Protocol):
    """All nodes."""

    @property
    def enrolment(self) -> Enrolment:
        """How they come and go."""

    def up(self) -> Sequence[str]:
        """Names of the hosts that are up, the least loaded first."""

    def reports(self) -> Sequence[HostReport]:
        """All hosts, those too that are down."""

    def vms(self, host: str) -> VmNode:
        """That host's VM verbs. Raises ``Unavailable`` when it cannot be reached."""

    def pool(self) -> PoolStatus | None:
        """What a node that is up said last of the pool; ``None``: nothing that is not too old."""

    def pools(self, host: str) -> PoolNode:
        """That host's verbs of the pool. Raises ``Unavailable`` when it cannot be reached."""

    def images(self, host: str) -> ImageNode:
        """That host's image tickets. Raises ``Unavailable`` when it cannot be reached."""

    def storage(self, host: str) -> StorageNode:
        """That host's verbs of its storage domains. Raises ``Unavailable`` when it cannot be reached."""

    def networks(self, host: str) -> NetworkNode:
        """That host's networks. Raises ``Unavailable`` when it cannot be reached."""

    def disks(self, host: str) -> DiskNode:
        """That host's disk verbs. Raises ``Unavailable`` when it cannot be reached."""
