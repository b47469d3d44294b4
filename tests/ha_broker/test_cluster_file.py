"""A broker notices that the cluster has other members."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from appliance.effects.root import Root
from appliance.model.cluster import Membership
from appliance.verbs.membership import MembershipFiles
from ha_broker.effects.cluster_file import ClusterFile
from ha_broker.sim.given import cluster_of

CLUSTER = cluster_of(("node1", "node2", "node3"))


def test_a_cluster_file_with_other_members_is_noticed_once(tmp_path: Path) -> None:
    files = MembershipFiles(Root(tmp_path))
    files.write(CLUSTER, Membership(CLUSTER.id, CLUSTER.members[0].id, "node1"))
    file = ClusterFile(Root(tmp_path), CLUSTER)
    assert not file.differs()
    files.write_cluster(CLUSTER)
    assert not file.differs(), "written anew, and the same"
    files.write_cluster(replace(CLUSTER, members=CLUSTER.members[:2]))
    assert file.differs()
    place = tmp_path / "var/lib/trivet/cluster.json"
    place.write_text("{")
    assert not file.differs(), "what is damaged says nothing"
    place.unlink()
    assert not file.differs()
