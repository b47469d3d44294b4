"""Hosts that come and go, really: bare nodes by their token's fingerprint, members by mutual TLS, certificates by the
signer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from appliance.model.cluster import Cluster, Member
from appliance.model.domain import DomainState
from appliance.model.network import HostCapabilities
from appliance.model.node import NodeFacts
from appliance.wire.client import connect
from appliance.wire.definition import FilesApi, JoinApi, NodeApi
from appliance.wire.host_api import DomainApi, HostApi
from appliance.wire.tls import MutualTls, pin_of
from engine.jobs.ports import BareNode
from engine.layout import Guest
from engine.nodes import BrokerApi
from engine.signer import signed
from gluster.model import PoolStatus
from gluster.wire import GlusterApi


@dataclass(frozen=True)
class WireMember:
    """A member over HTTPS (:class:`engine.jobs.ports.MemberNode`)."""

    node: NodeApi
    host: HostApi
    pool: GlusterApi
    files: FilesApi
    places: DomainApi
    broker: BrokerApi

    def facts(self) -> NodeFacts:
        return self.node.facts()

    def capabilities(self) -> HostCapabilities:
        return self.host.capabilities()

    def set_cluster(self, cluster: Cluster) -> None:
        self.node.set_cluster(cluster)

    def set_names(self, members: tuple[Member, ...], engine_fqdn: str, engine_address: str) -> None:
        self.node.set_names(members, engine_fqdn, engine_address)

    def leave_cluster(self) -> None:
        self.node.leave_cluster()

    def unit(self, name: str, action: Literal["enable-start", "stop-disable", "restart", "state"]) -> str:
        return self.node.unit(name, action)

    def ensure_management_bridge(self, nic: str) -> None:
        self.node.ensure_management_bridge(nic)

    def configure_libvirt(self) -> None:
        self.node.configure_libvirt()

    def gluster_configure(self) -> bool:
        return self.pool.gluster_configure()

    def gluster_pool(self) -> PoolStatus:
        return self.pool.gluster_pool()

    def gluster_probe(self, name: str) -> None:
        self.pool.gluster_probe(name)

    def gluster_detach(self, name: str, force: bool) -> None:
        self.pool.gluster_detach(name, force)

    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool:
        return self.pool.gluster_reject(volume, addresses)

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        self.files.mount_volume(volume, servers)

    def domains(self) -> tuple[DomainState, ...]:
        return self.places.domains()

    def domain_unmount(self, domain: str) -> None:
        self.places.domain_unmount(domain)

    def remove_file(self, volume: str, path: str) -> None:
        self.files.remove_file(volume, path)

    def ha_local_maintenance(self, on: bool) -> None:
        self.broker.ha_local_maintenance(on)


@dataclass(frozen=True)
class WireEnrolment:
    """:class:`engine.jobs.ports.Enrolment` from the engine VM."""

    founded: Cluster
    guest: Guest
    epoch: int
    port: int

    @property
    def ca_pem(self) -> str:
        return self.guest.ca.read_text()

    def bare(self, address: str, token: str) -> BareNode:
        return bare_node(address, self.port, token)

    def member(self, member: Member) -> WireMember:
        tls = MutualTls(self.guest.ca, self.guest.certificate, self.guest.key, self.founded.id)

        def client(interface: type) -> Any:
            return connect(interface, member.address, self.port, tls, self.epoch, member.name)

        return WireMember(
            client(NodeApi), client(HostApi), client(GlusterApi), client(FilesApi), client(DomainApi), client(BrokerApi)
        )

    def sign(self, member: Member, csr_pem: str) -> str:
        return signed(self.guest.signer_socket, member.name, member.address, csr_pem)


def bare_node(address: str, port: int, token: str) -> BareNode:
    """A bare node, known by the fingerprint in its token."""
    found: Any = connect(JoinApi, address, port, pin_of(token), name=address)  # type: ignore[type-abstract]
    bare: BareNode = found
    return bare
