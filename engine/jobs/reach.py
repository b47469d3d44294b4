"""The real nodes for jobs: who is up, by what they said last; their verbs, over the agent's wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance.errors import Unavailable
from appliance.model.cluster import Cluster, Member
from engine.decide.follow import SILENCE_S
from engine.jobs.follow import HEARD
from engine.jobs.ports import DiskNode
from engine.store.observed import Observations
from engine.store.records import Heard


@dataclass(frozen=True)
class WireNodes:
    """:class:`engine.jobs.ports.Nodes` over the cluster's members."""

    cluster: Cluster
    observations: Observations
    disk_node: Callable[[Member], DiskNode]

    def up(self) -> Sequence[str]:
        """Hosts heard lately, that with the most free memory first: it is the least busy."""
        heard = self.observations.all()
        alive = [
            one.name
            for one in self.cluster.members
            if (last := heard.get((one.name, HEARD))) is not None and last.age_s < SILENCE_S
        ]
        return sorted(alive, key=lambda name: -_free_bytes(heard.get((name, "statistics"))))

    def disks(self, host: str) -> DiskNode:
        """That host's disk verbs. Nothing is sent before the first call. Raises ``Unavailable`` ``job.host-unknown``."""
        member = next((one for one in self.cluster.members if one.name == host), None)
        if member is None:
            raise Unavailable(
                "job.host-unknown",
                subject=host,
                reason="it is no member of the cluster any more",
                remedy="Nothing is needed.",
            )
        return self.disk_node(member)


def _free_bytes(said: Heard | None) -> int:
    body = said.body if said is not None else None
    return int(str(body.get("memory_available_bytes", 0))) if isinstance(body, Mapping) else 0
