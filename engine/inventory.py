"""The inventory that follows from the cluster file: ids that are the same every time they are derived."""

from __future__ import annotations

import uuid

from appliance import layout
from appliance.codec import encode
from appliance.model.cluster import Cluster
from engine.store.records import ItemRecord

DATA_CENTER_NAME = "Default"
"""oVirt's name of the first data center."""


def derived_id(cluster_id: str, what: str) -> str:
    """A UUID for ``what`` of a cluster: always the same."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"trivet:{cluster_id}:{what}"))


def items_of(cluster: Cluster) -> tuple[ItemRecord, ...]:
    """Data center, cluster, hosts, storage domains and the engine VM."""
    data_center = derived_id(cluster.id, "data-center")
    domains = (
        ("hosted_storage", layout.ENGINE_VOLUME, False),
        (layout.VMSTORE_VOLUME, layout.VMSTORE_VOLUME, True),
    )
    return (
        ItemRecord("data_center", data_center, DATA_CENTER_NAME, {}),
        ItemRecord("cluster", cluster.id, cluster.name, {"data_center": data_center}),
        *(ItemRecord("host", one.id, one.name, {"address": one.address, "cluster": cluster.id}) for one in cluster.members),
        *(
            ItemRecord(
                "storage_domain",
                derived_id(cluster.id, f"storage-domain:{volume}"),
                name,
                {"volume": volume, "master": master, "data_center": data_center, "address": cluster.members[0].name},
            )
            for name, volume, master in domains
        ),
        ItemRecord(
            "vm", cluster.engine.id, layout.ENGINE_VM_NAME, {"cluster": cluster.id, "engine": encode(cluster.engine)}
        ),
    )
