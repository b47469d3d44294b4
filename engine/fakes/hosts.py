"""The fake hosts of a cluster over one folder: :class:`engine.jobs.ports.Nodes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from appliance.errors import TrivetError, Unavailable
from appliance.model.cluster import Member
from appliance.model.node import CpuFacts, Nic, NodeFacts, NodeStatistics
from engine.fakes.disk_node import FakeDiskNode
from engine.fakes.enrolment import FOUNDED, FakeEnrolment
from engine.fakes.image_node import FakeImageNode
from engine.fakes.network_node import FakeNetworkNode
from engine.fakes.pool_node import FakePoolNode
from engine.fakes.storage_node import FakeStorageNode
from engine.fakes.vm_node import GIB, FakeVmNode
from engine.jobs.ports import HostReport
from gluster.model import PoolStatus


@dataclass
class FakeNodes:
    """Some hosts over one folder: they share the domains, as the pool's nodes do. ``ids``: host → id (else itself)."""

    nodes: dict[str, FakeDiskNode]
    down: set[str] = field(default_factory=set)
    deaf: set[str] = field(default_factory=set)
    """Their agents do not answer, but their glusterd is connected to the pool."""
    ids: dict[str, str] = field(default_factory=dict)
    memory_bytes: int = 8 * GIB
    cluster_id: str = FOUNDED.id
    hosts: dict[str, FakeVmNode] = field(default_factory=dict)
    mounted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Volume → servers, of the last mount that was asked for."""
    renewed: list[str] = field(default_factory=list)
    """Hosts whose self-heal daemon was started anew."""
    more_nics: dict[str, tuple[Nic, ...]] = field(default_factory=dict)
    """Host → interfaces that it tells of besides the management network."""
    founders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.founders = self.founders or tuple(self.nodes)

    def keep_up(self, members: Sequence[Member]) -> None:
        """Have exactly those hosts: who has joined is reached from now on, who has left is not."""
        folder = next(iter(self.nodes.values())).folder
        for one in members:
            self.ids[one.name] = one.id
            self.nodes.setdefault(one.name, FakeDiskNode(one.name, folder))
        for name in set(self.nodes) - {one.name for one in members}:
            del self.nodes[name], self.ids[name]

    @property
    def enrolment(self) -> FakeEnrolment:
        """How hosts come and go, over the same folder. The members that there are from the start have bricks."""
        first = next(iter(self.nodes.values()))
        members = tuple(Member(self.ids.get(name, name), name, name) for name in self.founders)
        founded = replace(FOUNDED, id=self.cluster_id, members=members)
        return FakeEnrolment(first.folder / "enrolment", founded, first.point, first.fail_with)

    def up(self) -> Sequence[str]:
        return [name for name in self.nodes if self.is_up(name)]

    def is_up(self, name: str) -> bool:
        """Whether its agent answers."""
        return name not in self.down | self.deaf

    def reports(self) -> Sequence[HostReport]:
        """Everything as it is now: nothing here is old."""
        return [
            HostReport(
                self.ids.get(name, name),
                name,
                self.is_up(name),
                self.facts(name),
                NodeStatistics(self.memory_bytes, self.memory_bytes, 0, 0, 0.4, 0.4, 0.3, 12.0, 3.0, 85.0, 86_400.0, ()),
                self.host(name).vms() if self.is_up(name) else (),
                address=name,
            )
            for name in self.nodes
        ]

    def facts(self, name: str) -> NodeFacts:
        """A machine with 8 CPUs and the management network."""
        cpu = CpuFacts("Intel Xeon", 1, 8, 1, False)
        nics = (Nic("ovirtmgmt", "52:54:00:00:00:11", True, 1500, (), "", False), *self.more_nics.get(name, ()))
        size = self.memory_bytes
        return NodeFacts(name, self.ids.get(name, name), "c", "1", 0.0, "b", "6", cpu, size, (), nics, "11", "11", "10", ())

    def host(self, name: str) -> FakeVmNode:
        """A host's VMs, for tests: also while it does not answer."""
        disks = self.nodes[name]
        return self.hosts.setdefault(name, FakeVmNode(name, disks.folder, disks.point, disks.fail_with))

    def _answering(self, host: str) -> None:
        if not self.is_up(host):
            raise self.silent(host)

    @staticmethod
    def silent(host: str) -> TrivetError:
        """What a caller of a host that is down gets."""
        return Unavailable("agent.unreachable", subject=host, reason="it did not answer", remedy="Look at that node.")

    def pool(self) -> PoolStatus | None:
        """As the first host that is up says."""
        return self.pools(self.up()[0]).gluster_pool() if self.up() else None

    def pools(self, host: str) -> FakePoolNode:
        self._answering(host)
        disks = self.nodes[host]
        return FakePoolNode(
            host, disks.folder, tuple(self.nodes), self.down, disks.point, disks.fail_with, self.mounted, self.renewed
        )

    def images(self, host: str) -> FakeImageNode:
        self._answering(host)
        return FakeImageNode(self.nodes[host])

    def storage(self, host: str) -> FakeStorageNode:
        self._answering(host)
        disks = self.nodes[host]
        return FakeStorageNode(host, disks.folder, disks.point, disks.fail_with)

    def networks(self, host: str) -> FakeNetworkNode:
        self._answering(host)
        disks = self.nodes[host]
        return FakeNetworkNode(host, disks.folder, disks.point, disks.fail_with)

    def disks(self, host: str) -> FakeDiskNode:
        self._answering(host)
        return self.nodes[host]

    def vms(self, host: str) -> FakeVmNode:
        self._answering(host)
        return self.host(host)
