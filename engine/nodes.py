"""The engine's way to the nodes: one object a node, over the agent's wire, with the engine's certificate and epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar, cast

from appliance.model.cluster import Cluster, Member
from appliance.model.disk import DiskCopy, DiskFile, DiskInfo, NewDisk
from appliance.model.domain import DomainMark, DomainState, NoCloudSeed
from appliance.model.task import TaskState
from appliance.model.vm import VmDisk, VmNic, VmSpec, VmState
from appliance.model.vm_backup import VmBackup, VmBackupState
from appliance.model.vm_live import DiskMerge, DiskMirror, GuestAnswer, MigrationLimits, VmSnapshot
from appliance.wire.client import connect
from appliance.wire.definition import FilesApi, VmApi, VolumeFile
from appliance.wire.disk_api import DiskApi, TaskApi
from appliance.wire.host_api import DomainApi, HostApi
from appliance.wire.image_api import ImageApi
from appliance.wire.route import route
from appliance.wire.tls import MutualTls
from appliance.wire.vm_api import GuestApi, VmBackupApi, VmDeviceApi, VmDiskApi, VmMoveApi
from engine.jobs.ports import NetworkNode, ScreenNode
from engine.layout import Guest
from gluster.model import PoolStatus
from gluster.mount_view import MountBrick
from gluster.wire import GlusterApi

T = TypeVar("T")


class BrokerApi(Protocol):
    """What the engine asks of a node's broker: a part of ``ha_broker.wire.HaApi``, which we may not import; a test holds the
    two together."""

    @route("POST", "/v1/ha/local-maintenance", "command")
    def ha_local_maintenance(self, on: bool) -> None: ...


@dataclass(frozen=True)
class _WireTasks:
    """A node's tasks."""

    tasks: TaskApi

    def task(self, task: str) -> TaskState:
        return self.tasks.task(task)

    def task_cancel(self, task: str) -> TaskState:
        return self.tasks.task_cancel(task)

    def task_forget(self, task: str) -> None:
        self.tasks.task_forget(task)


@dataclass(frozen=True)
class WireDisks(_WireTasks):
    """A node's disk verbs over HTTPS (:class:`engine.jobs.ports.DiskNode`)."""

    files: DiskApi
    domains: DomainApi

    def disk_chain(self, file: DiskFile) -> tuple[DiskInfo, ...]:
        return self.files.disk_chain(file)

    def disk_create(self, task: str, new: NewDisk) -> TaskState:
        return self.files.disk_create(task, new)

    def disk_copy(self, task: str, copy: DiskCopy) -> TaskState:
        return self.files.disk_copy(task, copy)

    def disk_remove(self, task: str, file: DiskFile, wipe: bool) -> TaskState:
        return self.files.disk_remove(task, file, wipe)

    def disk_resize(self, task: str, file: DiskFile, size_bytes: int) -> TaskState:
        return self.files.disk_resize(task, file, size_bytes)

    def disk_commit(self, task: str, file: DiskFile, base: DiskFile) -> TaskState:
        return self.files.disk_commit(task, file, base)

    def disk_seed(self, file: DiskFile, seed: NoCloudSeed) -> None:
        self.domains.disk_seed(file, seed)

    def disk_rebase(self, task: str, file: DiskFile, backing: DiskFile | None, unsafe: bool) -> TaskState:
        return self.files.disk_rebase(task, file, backing, unsafe)

    def disk_bitmap_add(self, task: str, file: DiskFile, name: str) -> TaskState:
        return self.files.disk_bitmap_add(task, file, name)

    def disk_bitmap_remove(self, task: str, file: DiskFile, name: str) -> TaskState:
        return self.files.disk_bitmap_remove(task, file, name)


@dataclass(frozen=True)
class WireVms(_WireTasks):
    """A node's VM verbs over HTTPS (:class:`engine.jobs.ports.VmNode`)."""

    power: VmApi
    devices: VmDeviceApi
    moves: VmMoveApi
    layers: VmDiskApi
    backups: VmBackupApi
    guests: GuestApi
    broker: BrokerApi

    def vms(self) -> tuple[VmState, ...]:
        return self.power.vms()

    def vm_start(self, spec: VmSpec, paused: bool) -> VmState:
        return self.power.vm_start(spec, paused)

    def vm_resume(self, name: str) -> None:
        self.power.vm_resume(name)

    def vm_reboot(self, name: str) -> None:
        self.power.vm_reboot(name)

    def vm_freeze(self, name: str) -> None:
        self.power.vm_freeze(name)

    def vm_thaw(self, name: str) -> None:
        self.power.vm_thaw(name)

    def vm_reset(self, name: str) -> None:
        self.power.vm_reset(name)

    def vm_shutdown(self, name: str) -> None:
        self.power.vm_shutdown(name)

    def vm_destroy(self, name: str) -> None:
        self.power.vm_destroy(name)

    def vm_move(self, task: str, name: str, target: str, limits: MigrationLimits) -> TaskState:
        return self.moves.vm_move(task, name, target, limits)

    def vm_suspend(self, task: str, name: str, file: DiskFile) -> TaskState:
        return self.moves.vm_suspend(task, name, file)

    def vm_wake(self, task: str, spec: VmSpec, file: DiskFile, paused: bool) -> TaskState:
        return self.moves.vm_wake(task, spec, file, paused)

    def vm_snapshot(self, task: str, name: str, snapshot: VmSnapshot) -> TaskState:
        return self.layers.vm_snapshot(task, name, snapshot)

    def vm_merge(self, task: str, name: str, merge: DiskMerge) -> TaskState:
        return self.layers.vm_merge(task, name, merge)

    def vm_mirror(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        return self.layers.vm_mirror(task, name, mirror)

    def vm_pivot(self, task: str, name: str, mirror: DiskMirror) -> TaskState:
        return self.layers.vm_pivot(task, name, mirror)

    def vm_break_off(self, name: str, mirror: DiskMirror) -> None:
        self.layers.vm_break_off(name, mirror)

    def vm_disk_resize(self, name: str, disk: str, size_bytes: int) -> None:
        self.layers.vm_disk_resize(name, disk, size_bytes)

    def vm_plug_disk(self, name: str, disk: VmDisk) -> None:
        self.devices.vm_plug_disk(name, disk)

    def vm_unplug_disk(self, name: str, disk: str) -> None:
        self.devices.vm_unplug_disk(name, disk)

    def vm_plug_nic(self, name: str, nic: VmNic) -> None:
        self.devices.vm_plug_nic(name, nic)

    def vm_unplug_nic(self, name: str, mac: str) -> None:
        self.devices.vm_unplug_nic(name, mac)

    def vm_set_nic(self, name: str, mac: str, bridge: str, link_up: bool) -> None:
        self.devices.vm_set_nic(name, mac, bridge, link_up)

    def vm_set_cd(self, name: str, drive: str, path: str, force: bool) -> None:
        self.devices.vm_set_cd(name, drive, path, force)

    def vm_set_cpus(self, name: str, cpus: int) -> None:
        self.devices.vm_set_cpus(name, cpus)

    def vm_set_memory(self, name: str, memory_mib: int) -> int:
        return self.devices.vm_set_memory(name, memory_mib)

    def vm_guests(self) -> tuple[GuestAnswer, ...]:
        return self.guests.vm_guests()

    def vm_backups(self) -> tuple[VmBackupState, ...]:
        return self.backups.vm_backups()

    def vm_backup_begin(self, name: str, backup: VmBackup) -> VmBackupState:
        return self.backups.vm_backup_begin(name, backup)

    def vm_backup_end(self, name: str, backup: str) -> None:
        self.backups.vm_backup_end(name, backup)

    def vm_checkpoint_drop(self, name: str, checkpoint: str, disks: tuple[str, ...]) -> None:
        self.backups.vm_checkpoint_drop(name, checkpoint, disks)

    def ha_local_maintenance(self, on: bool) -> None:
        self.broker.ha_local_maintenance(on)


@dataclass(frozen=True)
class WirePool:
    """A node's verbs of the pool, and of its mounts, over HTTPS (:class:`engine.jobs.ports.PoolNode`)."""

    gluster: GlusterApi
    files: FilesApi

    def gluster_pool(self) -> PoolStatus:
        return self.gluster.gluster_pool()

    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool:
        return self.gluster.gluster_reject(volume, addresses)

    def gluster_renew_refusals(self, volume: str) -> None:
        self.gluster.gluster_renew_refusals(volume)

    def gluster_mount(self, volume: str) -> tuple[MountBrick, ...]:
        return self.gluster.gluster_mount(volume)

    def gluster_renew_healer(self) -> None:
        self.gluster.gluster_renew_healer()

    def gluster_set_options(self, volume: str, options: Mapping[str, str]) -> tuple[str, ...]:
        return self.gluster.gluster_set_options(volume, options)

    def gluster_heal(self, volume: str) -> None:
        self.gluster.gluster_heal(volume)

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        self.files.mount_volume(volume, servers)


@dataclass(frozen=True)
class WireStorage:
    """A node's storage domains over HTTPS (:class:`engine.jobs.ports.StorageNode`)."""

    places: DomainApi
    files: FilesApi

    def domains(self) -> tuple[DomainState, ...]:
        return self.places.domains()

    def domain(self, domain: str) -> DomainState:
        return self.places.domain(domain)

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        self.files.mount_volume(volume, servers)

    def domain_mount_posix(self, domain: str, device: str, file_system: str, options: str) -> None:
        self.places.domain_mount_posix(domain, device, file_system, options)

    def domain_mount_local(self, domain: str, folder: str) -> None:
        self.places.domain_mount_local(domain, folder)

    def domain_unmount(self, domain: str) -> None:
        self.places.domain_unmount(domain)

    def domain_mark(self, domain: str, mark: DomainMark) -> None:
        self.places.domain_mark(domain, mark)

    def domain_unmark(self, domain: str, domain_id: str) -> None:
        self.places.domain_unmark(domain, domain_id)

    def list_files(self, volume: str, path: str) -> tuple[VolumeFile, ...]:
        return self.files.list_files(volume, path)

    def make_folder(self, volume: str, path: str, owner_uid: int, mode: int) -> None:
        self.files.make_folder(volume, path, owner_uid, mode)

    def read_file(self, volume: str, path: str) -> str:
        return self.files.read_file(volume, path)

    def write_file(self, volume: str, path: str, content: str, mode: int) -> None:
        self.files.write_file(volume, path, content, mode)

    def remove_file(self, volume: str, path: str) -> None:
        self.files.remove_file(volume, path)


Client = Callable[[type], Any]
"""Makes the client of one interface. (mypy lets no protocol be named as a concrete ``type[T]``.)"""


NODES_KEPT = 64
"""Clients with their kept connections: all members that a cluster has, also while some are replaced."""


def _wired(guest: Guest, cluster: Cluster, epoch: int, port: int, node: Callable[[Client], T]) -> Callable[[Member], T]:
    """Nodes reached from the engine VM, each made by ``node``, once. Each call has the deadline of its route."""
    tls = MutualTls(guest.ca, guest.certificate, guest.key, cluster.id)

    @lru_cache(maxsize=NODES_KEPT)
    def node_of(member: Member) -> T:
        return node(lambda interface: connect(interface, member.address, port, tls, epoch, member.name, keep=True))

    return node_of


def wire_disks(guest: Guest, cluster: Cluster, epoch: int, port: int) -> Callable[[Member], WireDisks]:
    """Disk verbs of nodes."""
    return _wired(guest, cluster, epoch, port, lambda client: WireDisks(client(TaskApi), client(DiskApi), client(DomainApi)))


def wire_screens(guest: Guest, cluster: Cluster, epoch: int, port: int) -> Callable[[Member], ScreenNode]:
    """The verbs of nodes that open screens."""
    return _wired(guest, cluster, epoch, port, lambda client: client(VmDeviceApi))


def wire_vms(guest: Guest, cluster: Cluster, epoch: int, port: int) -> Callable[[Member], WireVms]:
    """VM verbs of nodes."""

    def node(client: Client) -> WireVms:
        return WireVms(
            client(TaskApi),
            client(VmApi),
            client(VmDeviceApi),
            client(VmMoveApi),
            client(VmDiskApi),
            client(VmBackupApi),
            client(GuestApi),
            client(BrokerApi),
        )

    return _wired(guest, cluster, epoch, port, node)


def wire_pools(guest: Guest, cluster: Cluster, epoch: int, port: int) -> Callable[[Member], WirePool]:
    """The pool's verbs of nodes."""
    return _wired(guest, cluster, epoch, port, lambda client: WirePool(client(GlusterApi), client(FilesApi)))


def wire_images(guest: Guest, cluster: Cluster, epoch: int, port: int) -> Callable[[Member], ImageApi]:
    """Image tickets of nodes."""
    return _wired(guest, cluster, epoch, port, lambda client: cast(ImageApi, client(ImageApi)))


def wire_storage(guest: Guest, cluster: Cluster, epoch: int, port: int) -> Callable[[Member], WireStorage]:
    """Storage domains of nodes."""
    return _wired(guest, cluster, epoch, port, lambda client: WireStorage(client(DomainApi), client(FilesApi)))


def wire_networks(guest: Guest, cluster: Cluster, epoch: int, port: int) -> Callable[[Member], NetworkNode]:
    """Networks of nodes."""
    return _wired(guest, cluster, epoch, port, lambda client: cast(NetworkNode, client(HostApi)))
