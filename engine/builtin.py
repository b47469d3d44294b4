"""Entities that every engine has from its first start: the inventory of the cluster file, and what oVirt brings along.
Pure but for
:func:`settle`, which stores what is missing: run at each start, so that a newer version's additions reach an older
database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from appliance import layout
from appliance.codec import encode
from appliance.model.cluster import Cluster
from engine.decide.schedule_units import POLICIES
from engine.inventory import DATA_CENTER_NAME, derived_id
from engine.store.durable import Store
from engine.store.entity import Entity
from engine.store.permissions import settle_rights

BLANK_TEMPLATE = ROOT_TAG = "00000000-0000-0000-0000-000000000000"
"""oVirt's ids of the template Blank and of the root tag: part of the API."""
DEFAULT_MAC_POOL = "58ca604b-017d-0374-0220-00000000014e"
"""oVirt's id of the default MAC pool."""
MANAGEMENT_NETWORK = "00000000-0000-0000-0000-000000000009"
"""oVirt's id of ovirtmgmt in the first data center."""
WRONG_POLICY = "8d5d7bec-68de-4a67-b53e-0ac54686d586"
"""oVirt's InClusterUpgrade. Set 1 had it as the id of vm_evenly_distributed."""
INSTANCE_TYPES = (
    ("00000003-0003-0003-0003-0000000000be", "Tiny", 512, 1),
    ("00000005-0005-0005-0005-0000000002e6", "Small", 2048, 1),
    ("00000007-0007-0007-0007-00000000010a", "Medium", 4096, 2),
    ("00000009-0009-0009-0009-0000000000f1", "Large", 8192, 2),
    ("0000000b-000b-000b-000b-00000000021f", "XLarge", 16384, 4),
)
"""(id, name, memory in MiB, sockets) of oVirt's instance types."""
MIB = 1024**2
SETTLED = "built-in"
BUILTIN_SET = 2
"""Raise it with each change of what is built in, the roles included (a test compares): a start of an engine that has stored
this set for this cluster looks for nothing, because 300 look-ups cost an emulated CPU half a second of each wake."""


def settle(store: Store, cluster: Cluster) -> int:
    """Store what is missing of the built-in entities; how many that were."""
    mark = f"{BUILTIN_SET} {hashlib.sha256(json.dumps(encode(cluster)).encode()).hexdigest()}"
    if store.setting(SETTLED) == mark:
        return 0
    count = 0
    with store.connection.transaction():
        store.put_setting(SETTLED, mark)
        aside = _set_aside(store)
        knows_hosts = bool(store.entities.list("host"))
        for entity in entities_of(cluster):
            if entity.kind == "host" and knows_hosts:
                continue  # from its founding on, hosts come and go through the API
            if store.entities.get(*entity.key) is None:
                store.entities.add(entity)
                count += 1
        _replace_policy(store, aside)
        return count + settle_rights(store.entities)


def _set_aside(store: Store) -> Entity | None:
    """The policy that set 1 stored under a wrong id gives its name free, and is told."""
    found = store.entities.get("scheduling_policy", WRONG_POLICY)
    if found is None:
        return None
    return store.entities.change(*found.key, lambda one: replace(one, name=f"{one.name} (old id)", unique_key=None))


def _replace_policy(store: Store, aside: Entity | None) -> None:
    """Clusters with the policy set aside get the one with the right id."""
    if aside is None:
        return
    right = next(policy.id for policy in POLICIES if policy.name == "vm_evenly_distributed")
    for one in store.entities.referring(aside.key, "cluster", "scheduling_policy"):
        store.entities.change(*one.key, lambda before: before.with_refs(scheduling_policy=right))
    store.entities.remove(*aside.key)


def data_center_id(cluster: Cluster) -> str:
    """The first data center's id."""
    return derived_id(cluster.id, "data-center")


def named(kind: str, identifier: str, name: str, body: dict[str, Any], within: str = "", **refs: str) -> Entity:
    """An entity whose name is unique (``within`` a reference), as :class:`engine.api.stored.Stored` keys them."""
    entity = Entity(kind, identifier, name, body, unique_key=f"{within}/{name.casefold()}")
    return entity.with_refs(**refs)


def entities_of(cluster: Cluster) -> Iterator[Entity]:
    """All of them, each after what it refers to."""
    mac_range = hashlib.sha256(cluster.id.encode()).hexdigest()[:4]
    prefix = f"56:6f:{mac_range[:2]}:{mac_range[2:]}"
    ranges = [{"from_": f"{prefix}:00:00", "to": f"{prefix}:ff:ff"}]
    description = {"description": "Default MAC pool"}
    yield named(
        "mac_pool",
        DEFAULT_MAC_POOL,
        "Default",
        {"ranges": ranges, "default_pool": True, "allow_duplicates": False, **description},
    )
    for policy in POLICIES:
        pairs = [{"name": key, "value": value} for key, value in policy.properties]
        body = {"locked": True, "default_policy": policy.name == "none", "properties": pairs}
        yield named("scheduling_policy", policy.id, policy.name, body)
    for identifier, name, memory_mib, sockets in INSTANCE_TYPES:
        yield named("instance_type", identifier, name, size_of(memory_mib, sockets))
    yield named("tag", ROOT_TAG, "root", {"description": "root"})
    yield from _places(cluster)


def size_of(memory_mib: int, sockets: int) -> dict[str, Any]:
    """What a VM of that size is, as v4 says it."""
    memory = memory_mib * MIB
    return {
        "memory": memory,
        "memory_policy": {"guaranteed": memory, "max": memory * 4, "ballooning": True},
        "cpu": {"architecture": "undefined", "topology": {"cores": 1, "sockets": sockets, "threads": 1}},
        "high_availability": {"enabled": False, "priority": 1},
        "display": {"type": "vnc", "monitors": 1},
        "io": {"threads": 0},
        "usb": {"enabled": False},
        "virtio_scsi": {"enabled": True},
    }


def _places(cluster: Cluster) -> Iterator[Entity]:
    center = data_center_id(cluster)
    yield named("data_center", center, DATA_CENTER_NAME, {"local": False})
    quota = Entity("quota", derived_id(cluster.id, "quota"), "Default", {"description": "Default unlimited quota"})
    yield replace(quota, parent=("data_center", center), unique_key=f"{center}/default")
    management = {
        "usages": ["management", "display", "migration", "vm", "default_route"],
        "vdsm_name": layout.MANAGEMENT_BRIDGE,
    }
    text = {"description": "Management Network", **management}
    yield named("network", MANAGEMENT_NETWORK, layout.MANAGEMENT_BRIDGE, text, center, data_center=center)
    profile = derived_id(cluster.id, "vnic-profile")
    yield named("vnic_profile", profile, layout.MANAGEMENT_BRIDGE, {}, MANAGEMENT_NETWORK, network=MANAGEMENT_NETWORK)
    yield named(
        "cluster",
        cluster.id,
        cluster.name,
        {},
        data_center=center,
        mac_pool=DEFAULT_MAC_POOL,
        scheduling_policy=POLICIES[0].id,
        networks=MANAGEMENT_NETWORK,
    )
    yield named("cpu_profile", derived_id(cluster.id, "cpu-profile"), cluster.name, {}, cluster.id, cluster=cluster.id)
    servers = [member.name for member in cluster.members] or [""]  # a rehearsal's cluster has no members
    for volume, name, is_master in (
        (layout.ENGINE_VOLUME, "hosted_storage", False),
        (layout.VMSTORE_VOLUME, layout.VMSTORE_VOLUME, True),
    ):
        domain = derived_id(cluster.id, f"storage-domain:{volume}")
        place = {"type": "glusterfs", "vfs_type": "glusterfs", "address": servers[0], "path": f"/{volume}"}
        body = {"type": "data", "master": is_master, "storage": place}
        yield named("storage_domain", domain, name, body, data_center=center)
        yield named("disk_profile", derived_id(domain, "disk-profile"), name, {}, domain, storage_domain=domain)
    for member in cluster.members:
        yield named("host", member.id, member.name, {"address": member.address}, cluster=cluster.id)
    yield replace(named("template", BLANK_TEMPLATE, "Blank", BLANK), status="ok")
    shape = encode(cluster.engine)
    yield named(
        "vm", cluster.engine.id, layout.ENGINE_VM_NAME, {"trivet_engine": shape}, cluster=cluster.id, template=BLANK_TEMPLATE
    )


BLANK: dict[str, Any] = {
    "description": "Blank template",
    "creation_time": 1206954000000,
    **size_of(1024, 1),
    "type": "server",
    "origin": "ovirt",
    "os": {"boot": {"devices": ["hd"]}, "type": "other"},
    "bios": {"boot_menu": {"enabled": False}, "type": "q35_sea_bios"},
    "version": {"base_template": {"id": BLANK_TEMPLATE}, "version_name": "base version", "version_number": 1},
}
"""The template from which VMs begin that begin from nothing. Its time is oVirt's."""
