"""Collections that list and store, where that is all that is asked of them. Each is a few lines of data; what they mean to
VMs and hosts is read from the store by those who obey it (placement, MAC addresses, rights)."""

from __future__ import annotations

from typing import ClassVar

from engine.api.documents import Object
from engine.api.noun import Call, Noun
from engine.api.stored import Child, Held, Joined, Referring, Stored
from engine.builtin import (
    BLANK_TEMPLATE,
    DEFAULT_MAC_POOL,
    INSTANCE_TYPES,
    MANAGEMENT_NETWORK,
    MIB,
    ROOT_TAG,
    size_of,
)
from engine.decide.merge import merged
from engine.jobs.networks import network_of
from engine.store.entity import Entity


class AffinityLabels(Stored):
    """Labels that keep VMs and hosts with the same label together."""

    services, kind, entity, searchable = ("AffinityLabels",), "AffinityLabel", "affinity_label", False
    refs = {"vms": "vms", "hosts": "hosts"}
    defaults = {"has_implicit_affinity_group": False}


class AssignedAffinityLabels(Stored):
    """The labels of a VM or host."""

    services, kind, entity = ("AssignedAffinityLabels",), "AffinityLabel", "affinity_label"
    scopes = {"Vm": Joined("vms"), "Host": Joined("hosts")}
    update = Noun.update


class AffinityGroups(Stored):
    """Groups of VMs that are to run together or apart."""

    services, kind, entity = ("AffinityGroups",), "AffinityGroup", "affinity_group"
    scopes, parent_attribute, unique_within = {"Cluster": Child()}, "cluster", "parent"
    refs = {"vms": "vms", "hosts": "hosts", "vm_labels": "vm_labels", "host_labels": "host_labels"}
    defaults = {
        "enforcing": False,
        "broken": False,
        "priority": 1.0,
        "hosts_rule": {"enabled": False, "enforcing": False, "positive": True},
        "vms_rule": {"enabled": False, "enforcing": False, "positive": False},
    }


class Tags(Stored):
    """Tags: a tree below the root tag."""

    services, kind, entity, searchable = ("Tags",), "Tag", "tag", False
    refs, protected = {"parent": "parent_tag"}, frozenset({ROOT_TAG})


class AssignedTags(Stored):
    """The tags of a VM, host, template, user or group."""

    services, kind, entity = ("AssignedTags",), "Tag", "tag"
    refs = {"parent": "parent_tag"}
    scopes = {kind: Held("tags") for kind in ("Vm", "Host", "Template", "User", "Group")}
    update = Noun.update


class Bookmarks(Stored):
    """Searches that people keep."""

    services, kind, entity, searchable = ("Bookmarks",), "Bookmark", "bookmark", False


class MacPools(Stored):
    """Ranges of addresses for NICs."""

    services, kind, entity, searchable = ("MacPools",), "MacPool", "mac_pool", False
    defaults, protected = {"allow_duplicates": False, "default_pool": False}, frozenset({DEFAULT_MAC_POOL})


class CpuProfiles(Stored):
    """What VMs may take of the CPUs of a cluster."""

    services, kind, entity, searchable = ("CpuProfiles", "AssignedCpuProfiles"), "CpuProfile", "cpu_profile", False
    refs, scopes, unique_within = {"cluster": "cluster", "qos": "qos"}, {"Cluster": Referring("cluster")}, "cluster"


class DiskProfiles(Stored):
    """What disks may take of a storage domain."""

    services, kind, entity, searchable = ("DiskProfiles", "AssignedDiskProfiles"), "DiskProfile", "disk_profile", False
    refs = {"storage_domain": "storage_domain", "qos": "qos"}
    scopes, unique_within = {"StorageDomain": Referring("storage_domain")}, "storage_domain"


class Qoss(Stored):
    """Qualities of service of a data center."""

    services, kind, entity = ("Qoss",), "Qos", "qos"
    scopes, parent_attribute, unique_within = {"DataCenter": Child()}, "data_center", "parent"


class Quotas(Stored):
    """What somebody may use of a data center."""

    services, kind, entity = ("Quotas",), "Quota", "quota"
    scopes, parent_attribute, unique_within = {"DataCenter": Child()}, "data_center", "parent"
    defaults = {
        "cluster_hard_limit_pct": 20,
        "cluster_soft_limit_pct": 80,
        "storage_hard_limit_pct": 20,
        "storage_soft_limit_pct": 80,
    }


class QuotaClusterLimits(Stored):
    """The limits of a quota for clusters."""

    services, kind, entity, unique = ("QuotaClusterLimits",), "QuotaClusterLimit", "quota_cluster_limit", False
    scopes, parent_attribute, refs = {"Quota": Child()}, "quota", {"cluster": "cluster"}


class QuotaStorageLimits(Stored):
    """The limits of a quota for storage domains."""

    services, kind, entity, unique = ("QuotaStorageLimits",), "QuotaStorageLimit", "quota_storage_limit", False
    scopes, parent_attribute, refs = {"Quota": Child()}, "quota", {"storage_domain": "storage_domain"}


class InstanceTypes(Stored):
    """Sizes of VMs with a name."""

    services, kind, entity, searchable = ("InstanceTypes",), "InstanceType", "instance_type", True
    defaults = size_of(1024, 1)
    protected = frozenset(one[0] for one in INSTANCE_TYPES)

    def show(self, call: Call, entity: Entity) -> Object:
        value = super().show(call, entity)
        policy = size_of(int(value["memory"]) // MIB, 1)["memory_policy"]
        return {**value, "memory_policy": merged(policy, entity.body.get("memory_policy") or {})}


class InstanceTypeNics(Stored):
    """NICs that are written down with a size. A VM of that size is given its own, as by its body or its template."""

    services, kind, entity, refs = ("InstanceTypeNics",), "Nic", "size_nic", {"vnic_profile": "vnic_profile"}
    scopes, parent_attribute, unique_within = {"InstanceType": Child()}, "instance_type", "parent"
    defaults = {"interface": "virtio", "linked": True, "plugged": True}


class InstanceTypeWatchdogs(Stored):
    """The same for watchdogs."""

    services, kind, entity, unique = ("InstanceTypeWatchdogs",), "Watchdog", "size_watchdog", False
    scopes, parent_attribute = {"InstanceType": Child()}, "instance_type"


class Networks(Stored):
    """Logical networks, of the whole system or of a data center."""

    services: ClassVar[tuple[str, ...]] = ("Networks", "DataCenterNetworks")
    kind, entity = "Network", "network"
    refs, scopes, unique_within = {"data_center": "data_center"}, {"DataCenter": Referring("data_center")}, "data_center"
    defaults = {"mtu": 0, "stp": False, "usages": ["vm"], "vdsm_name": "", "port_isolation": False}
    protected = frozenset({MANAGEMENT_NETWORK})

    def show(self, call: Call, entity: Entity) -> Object:
        value = super().show(call, entity)
        return {**value, "vdsm_name": value["vdsm_name"] or network_of(entity).bridge}


class NetworkLabels(Stored):
    """Labels of a network: its id is the label."""

    services, kind, entity, unique = ("NetworkLabels",), "NetworkLabel", "network_label", False
    scopes, parent_attribute = {"Network": Child()}, "network"


class VnicProfiles(Stored):
    """How a NIC is connected to a network."""

    services, kind, entity, searchable = ("VnicProfiles", "AssignedVnicProfiles"), "VnicProfile", "vnic_profile", False
    refs, scopes, unique_within = {"network": "network", "qos": "qos"}, {"Network": Referring("network")}, "network"
    defaults = {"pass_through": {"mode": "disabled"}, "port_mirroring": False}


class StorageConnections(Stored):
    """Addresses of storage."""

    services, kind, entity = ("StorageServerConnections",), "StorageConnection", "storage_connection"
    unique, searchable = False, False


class StorageDomainConnections(Stored):
    """The addresses of a storage domain."""

    services, kind, entity = ("StorageDomainServerConnections",), "StorageConnection", "storage_connection"
    unique, scopes = False, {"StorageDomain": Held("storage_connection")}
    update = Noun.update


class VmPools(Stored):
    """Pools of VMs."""

    services, kind, entity = ("VmPools",), "VmPool", "vm_pool"
    refs = {"cluster": "cluster", "template": "template"}
    defaults = {
        "auto_storage_select": False,
        "max_user_vms": 1,
        "prestarted_vms": 0,
        "size": 0,
        "stateful": False,
        "type": "automatic",
        "use_latest_template_version": False,
    }


KEPT = (
    AffinityLabels, AssignedAffinityLabels, AffinityGroups, Tags, AssignedTags, Bookmarks, MacPools, CpuProfiles,
    DiskProfiles,
    Qoss, Quotas, QuotaClusterLimits, QuotaStorageLimits, InstanceTypes,
    InstanceTypeNics, InstanceTypeWatchdogs,
    Networks, NetworkLabels, VnicProfiles, StorageConnections, StorageDomainConnections, VmPools,
)  # fmt: skip
"""All of this file."""

__all__ = ["BLANK_TEMPLATE", "KEPT"]
