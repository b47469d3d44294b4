"""The real nodes for jobs: who is up, by what they said last; their verbs, over the agent's wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from appliance.errors import Unavailable
from appliance.model.cluster import Cluster, Member
from appliance.model.node import NodeFacts, NodeStatistics
from appliance.model.vm import VmState
from engine.decide.follow import SILENCE_S
from engine.decide.view import Read
from engine.jobs.follow import HEARD
from engine.jobs.ports import DiskNode, Enrolment, HostReport, ImageNode, NetworkNode, PoolNode, StorageNode, VmNode
from engine.store.observed import Observations
from engine.store.records import Heard
from gluster.model import PoolStatus

T = TypeVar("T")
POOL_AGE_S = 30.0
"""The pool is asked every 6 s, and an answer may take 20: what is older says nothing of now."""


@dataclass(frozen=True)
class WireNodes:
    """:class:`engine.jobs.ports.Nodes` over the cluster's members."""

    members: Callable[[], Cluster]
    observations: Observations
    disk_node: Callable[[Member], DiskNode]
    vm_node: Callable[[Member], VmNode]
    pool_node: Callable[[Member], PoolNode]
    image_node: Callable[[Member], ImageNode]
    storage_node: Callable[[Member], StorageNode]
    network_node: Callable[[Member], NetworkNode]
    enrolment: Enrolment
    read: Read = field(default_factory=Read)

    def up(self) -> Sequence[str]:
        """Hosts heard lately, that with the most free memory first: it is the least busy."""
        heard = self.observations.all()
        alive = [one.name for one in self.members().members if _is_up(heard.get((one.name, HEARD)))]
        return sorted(alive, key=lambda name: -_free_bytes(heard.get((name, "statistics"))))

    def reports(self) -> Sequence[HostReport]:
        """All members with what they said last."""
        heard = self.observations.all()
        return [
            HostReport(
                one.id,
                one.name,
                _is_up(heard.get((one.name, HEARD))),
                self._said(NodeFacts, heard.get((one.name, "facts"))),
                self._said(NodeStatistics, heard.get((one.name, "statistics"))),
                self._said(tuple[VmState, ...], heard.get((one.name, "vms"))) or (),
                one.address,
            )
            for one in self.members().members
        ]

    def pool(self) -> PoolStatus | None:
        """As the node that was asked last says."""
        heard = self.observations.all()
        told = [said for one in self.members().members if (said := heard.get((one.name, "pool"))) is not None]
        newest = min(told, key=lambda said: said.age_s, default=None)
        return self._said(PoolStatus, newest) if newest is not None and newest.age_s < POOL_AGE_S else None

    def pools(self, host: str) -> PoolNode:
        """That host's verbs of the pool. Nothing is sent before the first call. Raises as :meth:`disks`."""
        return self.pool_node(self._member(host))

    def storage(self, host: str) -> StorageNode:
        """That host's verbs of its storage domains, likewise."""
        return self.storage_node(self._member(host))

    def disks(self, host: str) -> DiskNode:
        """That host's disk verbs. Nothing is sent before the first call. Raises ``Unavailable`` ``job.host-unknown``."""
        return self.disk_node(self._member(host))

    def networks(self, host: str) -> NetworkNode:
        """That host's networks, likewise."""
        return self.network_node(self._member(host))

    def images(self, host: str) -> ImageNode:
        """That host's image tickets, likewise."""
        return self.image_node(self._member(host))

    def vms(self, host: str) -> VmNode:
        """That host's VM verbs, likewise."""
        return self.vm_node(self._member(host))

    def _said(self, kind: type[T], said: Heard | None) -> T | None:
        return None if said is None else self.read(kind, said.node, said.kind, said.body)

    def _member(self, host: str) -> Member:
        member = next((one for one in self.members().members if one.name == host), None)
        if member is None:
            raise Unavailable(
                "job.host-unknown",
                subject=host,
                reason="it is no member of the cluster any more",
                remedy="Nothing is needed.",
            )
        return member


def _is_up(last: Heard | None) -> bool:
    return last is not None and last.age_s < SILENCE_S


def _free_bytes(said: Heard | None) -> int:
    body = said.body if said is not None else None
    return int(str(body.get("memory_available_bytes", 0))) if isinstance(body, Mapping) else 0
