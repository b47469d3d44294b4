"""The agent's interface. A method here is a route; its annotations are the shapes of request and answer.

``@route`` gives verb, path and who may call it. Path placeholders are arguments by name; all other arguments make the JSON
object of the request. Server routes and client come from these signatures (:mod:`appliance.wire.server`,
:mod:`appliance.wire.client`); :mod:`gluster.wire` adds its own interface in the same way.

Who may call: ``join`` needs the one-time token (a bare node; TLS pinned by fingerprint), ``node`` a node's or the engine's
certificate of this cluster, ``command`` the same, and an engine must send its epoch (header ``Trivet-Epoch``); an epoch
lower than the highest seen is refused with 409 ``engine.stale-epoch`` on every route, whoever sends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from appliance.model.cluster import Cluster, Member, Membership
from appliance.model.ha import HaStatus
from appliance.model.node import FolderFacts, NodeFacts, NodeStatistics
from appliance.model.vm import VmSpec, VmState
from appliance.wire.disk_api import DiskApi, TaskApi
from appliance.wire.host_api import DomainApi, HostApi
from appliance.wire.route import Access as Access
from appliance.wire.route import Route as Route
from appliance.wire.route import route as route
from appliance.wire.vm_api import GuestApi, VmDeviceApi, VmDiskApi, VmMoveApi

EPOCH_HEADER = "Trivet-Epoch"
ALIVE_PATH = "/v1/alive"
"""Answers whoever asks, without admitting anybody: for the watchdog, and for who only wants to know an agent is there."""


@dataclass(frozen=True)
class JoinHello:
    """What a bare node says of itself to a caller who knows its token."""

    facts: NodeFacts
    fingerprint: str


@dataclass(frozen=True)
class Reached:
    """Whether a name resolves and a TCP port of it answers, seen from the node asked."""

    resolved: str
    """The address, or empty."""
    answered: bool


@dataclass(frozen=True)
class VolumeFile:
    """A file on a mounted volume. ``allocated_bytes`` is what it really takes there: less than its size when sparse."""

    path: str
    size_bytes: int
    allocated_bytes: int
    is_folder: bool


class JoinApi(Protocol):
    """Spoken by a bare node. Every call carries the token; a wrong one is 403 ``join.token-wrong`` and slows the next."""

    @route("POST", "/v1/join/hello", "join")
    def join_hello(self, token: str) -> JoinHello: ...

    @route("POST", "/v1/join/folder", "join")
    def join_folder(self, token: str, path: str) -> FolderFacts: ...

    @route("POST", "/v1/join/reach", "join", 15.0)
    def join_reach(self, token: str, name: str, port: int) -> Reached: ...

    @route("POST", "/v1/join/csr", "join", 20.0)
    def join_csr(self, token: str, name: str, address: str) -> str:
        """Make (or keep) the node's key; answer a certificate signing request (PEM) for CN=name, SAN name and address."""

    @route("POST", "/v1/join/accept", "join", 20.0)
    def join_accept(self, token: str, certificate_pem: str, ca_pem: str, cluster: Cluster, membership: Membership) -> None:
        """Become that member: store certificate, CA, cluster and membership.

        The token is used up; the agent goes over to mutual TLS.
        """


class NodeApi(Protocol):
    """Facts, statistics and the node's own settings."""

    @route("GET", "/v1/facts", "node")
    def facts(self) -> NodeFacts: ...

    @route("GET", "/v1/statistics", "node")
    def statistics(self) -> NodeStatistics: ...

    @route("POST", "/v1/folder", "node")
    def folder(self, path: str) -> FolderFacts: ...

    @route("POST", "/v1/reach", "node", 15.0)
    def reach(self, name: str, port: int) -> Reached: ...

    @route("GET", "/v1/epoch", "node")
    def epoch(self) -> int:
        """The highest engine epoch accepted so far."""

    @route("POST", "/v1/epoch", "node")
    def raise_epoch(self, epoch: int) -> int:
        """Accept ``epoch`` if it is higher; answer the highest."""

    @route("GET", "/v1/ha", "node")
    def ha_status(self) -> HaStatus: ...

    @route("POST", "/v1/cluster", "command")
    def set_cluster(self, cluster: Cluster) -> None:
        """Replace the cluster file; the id must be the same."""

    @route("POST", "/v1/leave", "command", 180.0)
    def leave_cluster(self) -> None:
        """Forget the cluster: certificates, members, epoch. The node is bare afterwards, with a new token. A VM runs, or a
        volume is mounted: 409 ``node.in-use``."""

    @route("POST", "/v1/names", "command")
    def set_names(self, members: tuple[Member, ...], engine_fqdn: str, engine_address: str) -> None:
        """Put the cluster's names into /etc/hosts (a marked block; other lines stay)."""

    @route("POST", "/v1/unit", "command", 60.0)
    def unit(self, name: str, action: Literal["enable-start", "stop-disable", "restart", "state"]) -> str:
        """Act on one of Trivet's or Gluster's or libvirt's units (a fixed list); answer its ActiveState."""

    @route("POST", "/v1/bridge", "command", 40.0)
    def ensure_management_bridge(self, nic: str) -> None:
        """Make bridge ``ovirtmgmt`` over ``nic``, carrying its addresses and routes; idempotent, lasting over reboots."""

    @route("POST", "/v1/brick-disk", "command", 120.0)
    def prepare_brick_disk(self, device: str, mount_point: str) -> None:
        """Format ``device`` with XFS (inode size 512) if it is blank, mount it by UUID, lastingly.

        Holds data: 409 ``disk.holds-data``.
        """

    @route("POST", "/v1/libvirt-tls", "command", 180.0)
    def configure_libvirt(self) -> None:
        """Settings and certificates for libvirt's TLS listener and QEMU's migration.

        Restarts libvirt when something changed and no VM runs.
        """


class VmApi(Protocol):
    """VMs of this node. All verbs are idempotent: asked twice, the second call finds it so."""

    @route("GET", "/v1/vms", "node")
    def vms(self) -> tuple[VmState, ...]: ...

    @route("POST", "/v1/vms/start", "command", 60.0)
    def vm_start(self, spec: VmSpec, paused: bool) -> VmState:
        """Start. A disk locked elsewhere: 409 ``vm.disk-locked``."""

    @route("POST", "/v1/vms/{name}/resume", "command")
    def vm_resume(self, name: str) -> None: ...

    @route("POST", "/v1/vms/{name}/pause", "command", 30.0)
    def vm_pause(self, name: str) -> None:
        """Stop its CPUs. Not running: 409 ``vm.not-running``."""

    @route("POST", "/v1/vms/{name}/reboot", "command", 30.0)
    def vm_reboot(self, name: str) -> None:
        """Ask the guest (its agent, else ACPI); answers at once."""

    @route("POST", "/v1/vms/{name}/freeze", "command", 45.0)
    def vm_freeze(self, name: str) -> None:
        """Have the guest's agent write out its file systems and hold back further writes, until :meth:`vm_thaw`."""

    @route("POST", "/v1/vms/{name}/thaw", "command", 45.0)
    def vm_thaw(self, name: str) -> None:
        """Let the guest's file systems go on. One that is not frozen: nothing."""

    @route("POST", "/v1/vms/{name}/reset", "command", 30.0)
    def vm_reset(self, name: str) -> None: ...

    @route("POST", "/v1/vms/{name}/shutdown", "command")
    def vm_shutdown(self, name: str) -> None:
        """Ask the guest (its agent, else ACPI); answers at once."""

    @route("POST", "/v1/vms/{name}/destroy", "command", 30.0)
    def vm_destroy(self, name: str) -> None: ...

    @route("POST", "/v1/vms/{name}/migrate", "command", 1800.0)
    def vm_migrate(self, name: str, target: str) -> None:
        """Live-migrate to member ``target`` over TLS; ends when the target runs it."""


class FilesApi(Protocol):
    """Files on the mounted volumes. ``path`` is relative to the volume's root and may not leave it (400 ``file.path``)."""

    @route("POST", "/v1/volumes/mount", "command", 60.0)
    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        """A systemd mount unit for ``volume`` at VOLUMES/volume, enabled and started.

        ``servers[0]`` first, the others as backups.
        """

    @route("POST", "/v1/volumes/unmount", "command", 60.0)
    def unmount_volume(self, volume: str) -> None: ...

    @route("POST", "/v1/volumes/{volume}/list", "node", 30.0)
    def list_files(self, volume: str, path: str) -> tuple[VolumeFile, ...]: ...

    @route("POST", "/v1/volumes/{volume}/folder", "command", 30.0)
    def make_folder(self, volume: str, path: str, owner_uid: int, mode: int) -> None: ...

    @route("POST", "/v1/volumes/{volume}/disk", "command", 60.0)
    def make_disk(self, volume: str, path: str, size_bytes: int) -> None:
        """A sparse raw file owned by QEMU; already there with that size: nothing; another size: 409 ``file.exists``."""

    @route("POST", "/v1/volumes/{volume}/write", "command", 30.0)
    def write_file(self, volume: str, path: str, content: str, mode: int) -> None:
        """Write a small text file (≤ 256 KiB) atomically."""

    @route("POST", "/v1/volumes/{volume}/read", "node", 30.0)
    def read_file(self, volume: str, path: str) -> str:
        """A small text file (≤ 256 KiB). 404 ``file.unknown``; 400 ``file.too-large``, ``file.content``."""

    @route("POST", "/v1/volumes/{volume}/remove", "command", 30.0)
    def remove_file(self, volume: str, path: str) -> None: ...


AGENT_INTERFACES: tuple[type, ...] = (
    JoinApi, NodeApi, VmApi, FilesApi, TaskApi, DiskApi, VmDeviceApi, VmMoveApi, VmDiskApi, GuestApi, DomainApi, HostApi,
)  # fmt: skip
