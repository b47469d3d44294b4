"""What a simulated cluster is made of before anything happens in it."""

from __future__ import annotations

from appliance.model.cluster import Cluster, EngineVm, Member
from ha_broker.ports import HostFacts

FACTS = HostFacts(0.5, 2, 8192, "/images/trivet-engine-1.raw")
"""Of a good host."""


def cluster_of(names: tuple[str, ...]) -> Cluster:
    """A cluster of these hosts."""
    members = tuple(Member(f"id-{name}", name, f"198.18.0.{11 + index}") for index, name in enumerate(names))
    engine = EngineVm("id-engine", "engine.trivet.lab", "198.18.0.100", 24, "", (), "52:54:00:00:00:01", 1024, 2, 1 << 33)
    return Cluster("id-cluster", "lab", members, engine)
