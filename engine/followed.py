"""A node as the followers ask it, over the agent's wire, with the engine's certificate and epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.model.cluster import Cluster, Member
from appliance.model.ha import HaStatus
from appliance.model.node import NodeFacts, NodeStatistics
from appliance.model.vm import VmState
from appliance.model.vm_live import VmStatistics
from appliance.wire.client import connect
from appliance.wire.definition import NodeApi, VmApi
from appliance.wire.tls import MutualTls
from appliance.wire.vm_api import GuestApi
from engine.layout import Guest
from gluster.model import PoolStatus
from gluster.wire import GlusterApi

ASK_TIMEOUT_S = 5.0
"""For one question. Shorter than the silence after which a node counts as gone, so that one stalled answer is not two."""
WAIT_TIMEOUT_S = 10.0
"""For a question that waits for a change: the longest rest of a follower, and one question's time."""
POOL_TIMEOUT_S = 20.0
"""glusterd may wait for a lost peer itself; the answer is asked for beside the others."""


class Node(Protocol):
    """What the engine asks a node."""

    def facts(self) -> NodeFacts: ...

    def statistics(self) -> NodeStatistics: ...

    def vms(self) -> tuple[VmState, ...]: ...

    def vm_statistics(self) -> tuple[VmStatistics, ...]: ...

    def vm_changes(self, mark: str, wait_ms: int) -> str: ...

    def ha_status(self) -> HaStatus: ...

    def pool(self) -> PoolStatus: ...


NodeOf = Callable[[Member], Node]


@dataclass(frozen=True)
class WireNode:
    """A node over HTTPS."""

    node: NodeApi
    vm: VmApi
    guests: GuestApi
    changes: GuestApi
    """With the patience for questions that wait."""
    gluster: GlusterApi

    def facts(self) -> NodeFacts:
        return self.node.facts()

    def statistics(self) -> NodeStatistics:
        return self.node.statistics()

    def vms(self) -> tuple[VmState, ...]:
        return self.vm.vms()

    def vm_statistics(self) -> tuple[VmStatistics, ...]:
        return self.guests.vm_statistics()

    def vm_changes(self, mark: str, wait_ms: int) -> str:
        return self.changes.vm_changes(mark, wait_ms)

    def ha_status(self) -> HaStatus:
        return self.node.ha_status()

    def pool(self) -> PoolStatus:
        return self.gluster.gluster_pool()


def wire_nodes(guest: Guest, cluster: Cluster, epoch: int, port: int) -> NodeOf:
    """Nodes reached from the engine VM. ``port`` is the agent's; tests have their own."""
    tls = MutualTls(guest.ca, guest.certificate, guest.key, cluster.id)

    def node_of(member: Member) -> Node:
        def client(interface: type, timeout_s: float) -> object:
            return connect(interface, member.address, port, tls, epoch, member.name, timeout_s, keep=True)

        return WireNode(
            client(NodeApi, ASK_TIMEOUT_S),  # type: ignore[arg-type]
            client(VmApi, ASK_TIMEOUT_S),  # type: ignore[arg-type]
            client(GuestApi, ASK_TIMEOUT_S),  # type: ignore[arg-type]
            client(GuestApi, WAIT_TIMEOUT_S),  # type: ignore[arg-type]
            client(GlusterApi, POOL_TIMEOUT_S),  # type: ignore[arg-type]
        )

    return node_of
