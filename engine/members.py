"""Who the members are now: the hosts in the database, which come and go through the API. The cluster file of the data disk
says only with whom the cluster was founded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from appliance.model.cluster import Cluster, Member
from engine.store.entities import Entities
from engine.store.entity import Entity

OUTSIDE = "trivet_outside"
"""In a host's body: it is not a member yet, or is one no longer. Nobody follows it, nothing is placed there."""
NODE = "trivet_node"
"""In the body of a host that was added: what the nodes call it. People may give the host another name."""


def member_of(host: Entity, founded: Cluster) -> Member:
    """A host as the nodes know it."""
    known = next((one for one in founded.members if one.id == host.id), None)
    return known or Member(host.id, str(host.body.get(NODE) or host.name), str(host.body.get("address") or ""))


@dataclass(eq=False)
class Members:
    """The cluster with its members of now: what was read last, as long as no row of a host has changed."""

    founded: Cluster
    entities: Entities
    _kept: tuple[tuple[tuple[str, int, int], ...], Cluster] | None = None

    def __call__(self) -> Cluster:
        """The founders first, as the cluster file has them; then the others by age: who has bricks comes before who has
        none."""
        state = self.entities.state("host")
        kept = self._kept
        if kept is not None and kept[0] == state:
            return kept[1]
        hosts = {one.id: one for one in self.entities.list("host")}
        found = replace(self.founded, members=tuple(self._in_order(hosts))) if hosts else self.founded
        if self.entities.state("host") == state:  # else somebody wrote between the two readings
            self._kept = (state, found)
        return found

    def _in_order(self, hosts: dict[str, Entity]) -> Iterator[Member]:
        founders = [one.id for one in self.founded.members]
        others = sorted((one for one in hosts.values() if one.id not in founders), key=lambda one: (one.created_ms, one.id))
        for host in (*(hosts[one] for one in founders if one in hosts), *others):
            if not host.body.get(OUTSIDE):
                yield member_of(host, self.founded)
