"""The agent's own routes: one line each onto the verbs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Literal

from flask import Flask

from appliance.agent.context import ROUTE_MODULES, AgentContext
from appliance.agent.disk_routes import DiskRoutes, TaskRoutes
from appliance.agent.gate import BareGate, MemberGate
from appliance.agent.host_routes import DomainRoutes, HostRoutes
from appliance.agent.image_routes import ImageRoutes
from appliance.agent.join import JoinDoor, JoinRoutes
from appliance.agent.vm_routes import GuestRoutes, VmBackupRoutes, VmDeviceRoutes, VmDiskRoutes, VmMoveRoutes, VmRoutes
from appliance.effects.imageio_control import ImageioControl
from appliance.layout import EPOCH_FILE, IMAGEIO_SOCKET, STALE_CALL_FILE, TASKS
from appliance.model.cluster import Cluster, Member
from appliance.model.ha import HaStatus
from appliance.model.node import FolderFacts, NodeFacts, NodeStatistics
from appliance.verbs.brick_disk import BrickDisk
from appliance.verbs.bridge import Bridge
from appliance.verbs.chains import Chains
from appliance.verbs.disk_bitmaps import DiskBitmaps
from appliance.verbs.disks import Disks
from appliance.verbs.epoch import EpochStore, StaleCalls
from appliance.verbs.facts import Facts
from appliance.verbs.folders import folder_facts
from appliance.verbs.ha_status import STATUS_FILE, read_status
from appliance.verbs.image_tickets import ImageTickets
from appliance.verbs.leaving import Leaving
from appliance.verbs.libvirt_settings import LibvirtSettings
from appliance.verbs.membership import MemberNames, MembershipFiles
from appliance.verbs.mounts import Mounts
from appliance.verbs.names import set_names
from appliance.verbs.reach import reach
from appliance.verbs.statistics import Statistics
from appliance.verbs.tasks import Tasks
from appliance.verbs.units import Units
from appliance.verbs.vm_backups import VmBackups
from appliance.verbs.vm_changes import VmChanges
from appliance.verbs.vm_devices import VmDevices
from appliance.verbs.vm_disks import VmDisks
from appliance.verbs.vm_mirrors import VmMirrors
from appliance.verbs.vm_moves import VmMoves
from appliance.verbs.volume_files import VolumeFiles
from appliance.wire.definition import FilesApi, JoinApi, NodeApi, Reached, VmApi, VolumeFile
from appliance.wire.disk_api import DiskApi, TaskApi
from appliance.wire.host_api import DomainApi, HostApi
from appliance.wire.image_api import ImageApi
from appliance.wire.server import Gate, Service, create_app
from appliance.wire.vm_api import GuestApi, VmBackupApi, VmDeviceApi, VmDiskApi, VmMoveApi


class NodeRoutes:
    """Implements :class:`appliance.wire.definition.NodeApi`."""

    def __init__(self, context: AgentContext, epochs: EpochStore, left: Callable[[], None]) -> None:
        self._left = left
        self._context = context
        self._epochs = epochs
        self._facts = Facts(context.root, context.processes, context.clock)
        self._statistics = Statistics(context.root)

    def facts(self) -> NodeFacts:
        return self._facts.read(self._context.membership)

    def statistics(self) -> NodeStatistics:
        return self._statistics.read()

    def folder(self, path: str) -> FolderFacts:
        return folder_facts(self._context.root, path)

    def reach(self, name: str, port: int) -> Reached:
        return reach(name, port)

    def epoch(self) -> int:
        return self._epochs.highest()

    def raise_epoch(self, epoch: int) -> int:
        return self._epochs.raise_to(epoch)

    def ha_status(self) -> HaStatus:
        return read_status(self._context.root.at(STATUS_FILE), self._context.clock)

    def set_cluster(self, cluster: Cluster) -> None:
        MembershipFiles(self._context.root).replace_cluster(cluster)

    def leave_cluster(self) -> None:
        Leaving(self._context.root, self._context.processes, self._context.hypervisor).leave()
        self._left()

    def set_names(self, members: tuple[Member, ...], engine_fqdn: str, engine_address: str) -> None:
        set_names(self._context.root, members, engine_fqdn, engine_address)

    def unit(self, name: str, action: Literal["enable-start", "stop-disable", "restart", "state"]) -> str:
        return Units(self._context.processes).act(name, action)

    def ensure_management_bridge(self, nic: str) -> None:
        Bridge(self._context.root, self._context.processes, self._context.clock).ensure(nic)

    def prepare_brick_disk(self, device: str, mount_point: str) -> None:
        BrickDisk(self._context.root, self._context.processes).prepare(device, mount_point)

    def configure_libvirt(self) -> None:
        LibvirtSettings(self._context.root, self._context.processes, self._context.hypervisor).configure()


class FileRoutes:
    """Implements :class:`appliance.wire.definition.FilesApi`."""

    def __init__(self, mounts: Mounts, files: VolumeFiles) -> None:
        self._mounts = mounts
        self._files = files

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        self._mounts.mount(volume, servers)

    def unmount_volume(self, volume: str) -> None:
        self._mounts.unmount(volume)

    def list_files(self, volume: str, path: str) -> tuple[VolumeFile, ...]:
        return self._files.listing(volume, path)

    def make_folder(self, volume: str, path: str, owner_uid: int, mode: int) -> None:
        self._files.make_folder(volume, path, owner_uid, mode)

    def make_disk(self, volume: str, path: str, size_bytes: int) -> None:
        self._files.make_disk(volume, path, size_bytes)

    def write_file(self, volume: str, path: str, content: str, mode: int) -> None:
        self._files.write(volume, path, content, mode)

    def read_file(self, volume: str, path: str) -> str:
        return self._files.read(volume, path)

    def remove_file(self, volume: str, path: str) -> None:
        self._files.remove(volume, path)


def member_services(context: AgentContext, epochs: EpochStore, left: Callable[[], None]) -> list[Service]:
    """The services of a member, those of :data:`ROUTE_MODULES` included. ``left``: called when it is one no longer."""
    mounts = Mounts(context.root, context.processes)
    files = VolumeFiles(context.root, mounts)
    tasks = Tasks(context.root.at(TASKS), context.clock)
    chains = Chains(files, context.processes)
    hypervisor, clock = context.hypervisor, context.clock
    daemon = ImageioControl(context.root.at(IMAGEIO_SOCKET))
    tickets = ImageTickets(context.root, context.processes, clock, chains, files, daemon)
    live_disks = VmDisks(context.root, hypervisor, context.processes, clock, tasks, chains)
    bitmaps = DiskBitmaps(chains, context.processes, tasks)
    backups = VmBackups(context.root, hypervisor, context.processes, clock, chains)
    mirrors = VmMirrors(context.root, hypervisor, context.processes, clock, tasks, chains)
    services = [
        Service(NodeApi, NodeRoutes(context, epochs, left)),
        Service(VmApi, VmRoutes(context)),
        Service(FilesApi, FileRoutes(mounts, files)),
        Service(TaskApi, TaskRoutes(tasks)),
        Service(DiskApi, DiskRoutes(chains, Disks(chains, context.processes, tasks), bitmaps)),
        Service(ImageApi, ImageRoutes(tickets)),
        Service(VmDeviceApi, VmDeviceRoutes(VmDevices(hypervisor, clock))),
        Service(VmMoveApi, VmMoveRoutes(VmMoves(hypervisor, clock, tasks, chains))),
        Service(VmDiskApi, VmDiskRoutes(live_disks, mirrors)),
        Service(VmBackupApi, VmBackupRoutes(backups)),
        Service(GuestApi, GuestRoutes(hypervisor, VmChanges(hypervisor, context.clock))),
        Service(DomainApi, DomainRoutes(context, mounts, files)),
        Service(HostApi, HostRoutes(context)),
    ]
    for name in ROUTE_MODULES:
        module = importlib.import_module(name)
        services.append(Service(module.INTERFACE, module.implementation(context)))
    return services


def agent_app(context: AgentContext, joined: Callable[[], None]) -> Flask:
    """The whole agent. All routes exist on every node; the gate decides which answer. ``joined`` is called when the node has
    become a member, or is one no longer: its agent starts anew.

    Raises ``Failed`` (``agent.interface``) when an implementation differs from its interface.
    """
    door = JoinDoor(context.root, context.clock)
    facts = Facts(context.root, context.processes, context.clock)
    epochs = EpochStore(context.root.at(EPOCH_FILE))
    stale = StaleCalls(context.root.at(STALE_CALL_FILE), context.clock)
    members = MemberNames(context.root)
    gate: Gate = MemberGate(context.cluster.id, epochs, stale, members) if context.cluster else BareGate()
    join = Service(JoinApi, JoinRoutes(context.root, context.clock, facts, door, joined))
    return create_app([join, *member_services(context, epochs, joined)], gate)
