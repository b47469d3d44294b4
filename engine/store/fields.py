"""What may be searched and sorted by, and over which relations one noun reaches another: data, for engine/store/search.py.

Names are oVirt's search language's, in small letters. A field is a column of the entity, or a value in its body under the v4
model's names; a *hop* goes from an entity to others, and a *way* is hops in a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MIB = 1024**2
GIB = 1024**3

Shape = Literal["text", "word", "number", "bool", "date"]
"""text: compared as asked, with or without case; word: an enum or id, always without case; date: ms since 1970."""


@dataclass(frozen=True)
class Field:
    """Where a value is: ``column`` of the entity, else ``path`` in its body. ``unit``: what one in a search means."""

    column: str = ""
    path: tuple[str, ...] = ()
    shape: Shape = "text"
    unit: int = 1


@dataclass(frozen=True)
class Ref:
    """To the targets of a reference."""

    name: str
    kind: str


@dataclass(frozen=True)
class Back:
    """To those of ``kind`` whose reference ``name`` is this one."""

    kind: str
    name: str


@dataclass(frozen=True)
class Child:
    """To those of ``kind`` that this one owns."""

    kind: str


@dataclass(frozen=True)
class Parent:
    """To the owner, which is a ``kind``."""

    kind: str


Hop = Ref | Back | Child | Parent
Way = tuple[Hop, ...]


@dataclass(frozen=True)
class Far:
    """A field of another entity, reached by a way: a VM's ``cluster`` is the name of its cluster."""

    way: Way
    field: str = "name"


def at(path: str, shape: Shape = "text", unit: int = 1) -> Field:
    """A value in the body."""
    return Field(path=tuple(path.split(".")), shape=shape, unit=unit)


STATUS = "status"
"""The column that is not read alone: while a job holds the entity, the lock's word is its status."""
COMMON: Mapping[str, Field | Far] = {
    "id": Field("id", shape="word"),
    "name": Field("name"),
    "status": Field(STATUS, shape="word"),
    "description": at("description"),
    "comment": at("comment"),
}
FREE_TEXT: Mapping[str, tuple[str, ...]] = {"disk": ("name", "description"), "event": ("message",)}
"""Fields that a value alone is looked for in; any other kind: :data:`FREE_TEXT_COMMON`."""
FREE_TEXT_COMMON = ("name", "description", "comment")

CLUSTER, DATA_CENTER, HOST, TEMPLATE = (
    Ref("cluster", "cluster"), Ref("data_center", "data_center"), Ref("host", "host"), Ref("template", "template"),
)  # fmt: skip
TAGS, DOMAINS = Ref("tags", "tag"), Ref("storage_domains", "storage_domain")
ATTACHED: Way = (Child("disk_attachment"), Ref("disk", "disk"))
ATTACHED_TO: Way = (Back("disk_attachment", "disk"), Parent("vm"))
NETWORK_OF: Way = (Child("nic"), Ref("vnic_profile", "vnic_profile"), Ref("network", "network"))

WAYS: Mapping[str, Mapping[str, Way]] = {
    "vm": {
        "cluster": (CLUSTER,), "datacenter": (CLUSTER, DATA_CENTER), "host": (HOST,), "template": (TEMPLATE,),
        "disk": ATTACHED, "storage": (*ATTACHED, DOMAINS), "tag": (TAGS,), "network": NETWORK_OF,
        "vnic": (Child("nic"),), "snapshot": (Child("snapshot"),), "pool": (Ref("vm_pool", "vm_pool"),),
    },
    "template": {
        "cluster": (CLUSTER,), "datacenter": (CLUSTER, DATA_CENTER), "disk": ATTACHED, "storage": (*ATTACHED, DOMAINS),
        "vm": (Back("vm", "template"),), "host": (Back("vm", "template"), HOST), "tag": (TAGS,), "network": NETWORK_OF,
    },
    "disk": {
        "vm": ATTACHED_TO, "template": (Back("disk_attachment", "disk"), Parent("template")), "storage": (DOMAINS,),
        "datacenter": (DOMAINS, DATA_CENTER), "quota": (Ref("quota", "quota"),),
    },
    "host": {
        "cluster": (CLUSTER,), "datacenter": (CLUSTER, DATA_CENTER), "vm": (Back("vm", "host"),), "tag": (TAGS,),
        "template": (Back("vm", "host"), TEMPLATE), "storage": (CLUSTER, DATA_CENTER, Back("storage_domain", "data_center")),
    },
    "cluster": {
        "datacenter": (DATA_CENTER,), "host": (Back("host", "cluster"),), "vm": (Back("vm", "cluster"),),
        "template": (Back("template", "cluster"),), "network": (Ref("networks", "network"),),
        "storage": (DATA_CENTER, Back("storage_domain", "data_center")),
    },
    "data_center": {
        "cluster": (Back("cluster", "data_center"),), "storage": (Back("storage_domain", "data_center"),),
        "network": (Back("network", "data_center"),), "host": (Back("cluster", "data_center"), Back("host", "cluster")),
        "vm": (Back("cluster", "data_center"), Back("vm", "cluster")),
        "template": (Back("cluster", "data_center"), Back("template", "cluster")),
    },
    "storage_domain": {
        "datacenter": (DATA_CENTER,), "disk": (Back("disk", "storage_domains"),),
        "vm": (Back("disk", "storage_domains"), *ATTACHED_TO),
        "template": (Back("disk", "storage_domains"), Back("disk_attachment", "disk"), Parent("template")),
        "cluster": (DATA_CENTER, Back("cluster", "data_center")),
        "host": (DATA_CENTER, Back("cluster", "data_center"), Back("host", "cluster")),
    },
    "network": {
        "datacenter": (DATA_CENTER,), "cluster": (Back("cluster", "networks"),),
        "host": (Back("cluster", "networks"), Back("host", "cluster")),
        "vm": (Back("vnic_profile", "network"), Back("nic", "vnic_profile"), Parent("vm")),
    },
    "vnic_profile": {"network": (Ref("network", "network"),)},
    "snapshot": {"vm": (Parent("vm"),)},
    "vm_pool": {"cluster": (CLUSTER,), "template": (TEMPLATE,), "vm": (Back("vm", "vm_pool"),)},
    "user": {"group": (Ref("groups", "group"),), "tag": (TAGS,)},
    "group": {"user": (Back("user", "groups"),)},
}  # fmt: skip
"""kind → noun → way. Nouns may be said in the plural and in any case: ``Clusters.name``, ``Storage.name``."""

MACHINE: Mapping[str, Field | Far] = {
    **COMMON,
    "cluster": Far((CLUSTER,)),
    "datacenter": Far((CLUSTER, DATA_CENTER)),
    "os": at("os.type", "word"),
    "memory": at("memory", "number", MIB),
    "cpus": at("cpu.topology.sockets", "number"),
    "architecture": at("cpu.architecture", "word"),
    "type": at("type", "word"),
    "tag": Far((TAGS,)),
    "creationdate": Field("created_ms", shape="date"),
    "quota": Far((Ref("quota", "quota"),)),
    "comment": at("comment"),
}
FIELDS: Mapping[str, Mapping[str, Field | Far]] = {
    "vm": {
        **MACHINE,
        "host": Far((HOST,)),
        "template": Far((TEMPLATE,)),
        "pool": Far((Ref("vm_pool", "vm_pool"),)),
        "fqdn": at("fqdn"),
        "ip": at("guest_addresses"),
        "domain": at("domain.name"),
        "storage": Far((*ATTACHED, DOMAINS)),
        "disk": Far(ATTACHED),
        "network": Far(NETWORK_OF),
        "ha": at("high_availability.enabled", "bool"),
        "priority": at("high_availability.priority", "number"),
        "origin": at("origin", "word"),
        "delete_protected": at("delete_protected", "bool"),
        "next_run_config_exists": at("next_run_configuration_exists", "bool"),
        "time_zone": at("time_zone.name"),
        "starttime": at("start_time", "date"),
        "stoptime": at("stop_time", "date"),
    },
    "template": {
        **MACHINE,
        "storage": Far((*ATTACHED, DOMAINS)),
        "version_name": at("version.version_name"),
        "version_number": at("version.version_number", "number"),
        "base_template": Far((Ref("base_template", "template"),)),
        "childcount": at("child_count", "number"),
    },
    "disk": {
        **COMMON,
        "alias": Field("name"),
        "disk_alias": Field("name"),
        "size": at("provisioned_size", "number", GIB),
        "provisioned_size": at("provisioned_size", "number", GIB),
        "actual_size": at("actual_size", "number", GIB),
        "format": at("format", "word"),
        "sparse": at("sparse", "bool"),
        "shareable": at("shareable", "bool"),
        "wipe_after_delete": at("wipe_after_delete", "bool"),
        "content_type": at("content_type", "word"),
        "disk_content_type": at("content_type", "word"),
        "disk_type": at("storage_type", "word"),
        "vm_names": Far(ATTACHED_TO),
        "vm": Far(ATTACHED_TO),
        "template": Far((Back("disk_attachment", "disk"), Parent("template"))),
        "storage": Far((DOMAINS,)),
        "storage_domain": Far((DOMAINS,)),
        "creationdate": Field("created_ms", shape="date"),
        "creation_date": Field("created_ms", shape="date"),
        "quota": Far((Ref("quota", "quota"),)),
    },
    "host": {
        **COMMON,
        "cluster": Far((CLUSTER,)),
        "datacenter": Far((CLUSTER, DATA_CENTER)),
        "address": at("address"),
        "type": at("type", "word"),
        "tag": Far((TAGS,)),
        "memory": at("memory", "number", MIB),
        "hw_id": at("hardware_information.uuid", "word"),
    },
    "cluster": {**COMMON, "datacenter": Far((DATA_CENTER,)), "architecture": at("cpu.architecture", "word")},
    "data_center": {**COMMON, "local": at("local", "bool"), "clusters": Far((Back("cluster", "data_center"),))},
    "storage_domain": {
        **COMMON,
        "datacenter": Far((DATA_CENTER,)),
        "type": at("storage.type", "word"),
        "size": at("available", "number", GIB),
        "wipe_after_delete": at("wipe_after_delete", "bool"),
    },
    "network": {
        **COMMON,
        "datacenter": Far((DATA_CENTER,)),
        "cluster": Far((Back("cluster", "networks"),)),
        "vlanid": at("vlan.id", "number"),
        "mtu": at("mtu", "number"),
        "vmnetwork": at("usages"),
        "label": at("label"),
    },
    "vnic_profile": {**COMMON, "network": Far((Ref("network", "network"),))},
    "vm_pool": {**COMMON, "cluster": Far((CLUSTER,)), "type": at("type", "word")},
    "user": {
        **COMMON,
        "usrname": at("user_name"),
        "user_name": at("user_name"),
        "lastname": at("last_name"),
        "last_name": at("last_name"),
        "department": at("department"),
        "email": at("email"),
        "principal": at("principal"),
        "domain": at("domain.name"),
        "group": Far((Ref("groups", "group"),)),
        "tag": Far((TAGS,)),
    },
}
"""kind → field → where it is. A kind that is not here has :data:`COMMON`."""
