"""The cluster as every node remembers it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One node. ``id`` is a UUID for life; ``name`` is what people and Gluster call it; ``address`` is its management IP."""

    id: str
    name: str
    address: str


@dataclass(frozen=True)
class EngineVm:
    """What the engine VM looks like: fixed by the installer, the same on every node.

    ``id`` is the UUID of domain and API object; ``address`` with ``prefix`` its management IP; ``gateway`` and ``dns``
    may be empty; ``mac`` is its NIC's; ``data_disk_bytes`` the size of the data disk.
    """

    id: str
    fqdn: str
    address: str
    prefix: int
    gateway: str
    dns: tuple[str, ...]
    mac: str
    memory_mib: int
    cpus: int
    data_disk_bytes: int


@dataclass(frozen=True)
class Cluster:
    """A cluster: its name, id (also the CA's subject), members and engine VM. Written by the installer on all nodes."""

    id: str
    name: str
    members: tuple[Member, ...]
    engine: EngineVm

    def member(self, name: str) -> Member | None:
        """The member called ``name``."""
        return next((member for member in self.members if member.name == name), None)


@dataclass(frozen=True)
class Membership:
    """Which member the node that holds this file is."""

    cluster_id: str
    node_id: str
    name: str
