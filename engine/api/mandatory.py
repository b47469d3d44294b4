"""What a body has to have, per service and method: oVirt's ``validateParameters``, as data. ``a.id|name`` and ``a / b``
mean either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.errors import Refused
from engine.api.model import model

REF = "id|name"

MANDATORY: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "AffinityGroups": {"add": ("name",)},
    "AffinityGroupHostLabels": {"add": ("id|name",)},
    "AffinityGroupHosts": {"add": ("id|name",)},
    "AffinityGroupVmLabels": {"add": ("id|name",)},
    "AffinityGroupVms": {"add": ("id|name",)},
    "AffinityLabels": {"add": ("name",)},
    "AffinityLabelHosts": {"add": ("id",)},
    "AffinityLabelVms": {"add": ("id",)},
    "AssignedAffinityLabels": {"add": ("id",)},
    "AssignedCpuProfiles": {"add": ("name",)},
    "AssignedDiskProfiles": {"add": ("name",)},
    "AssignedPermissions": {"add": (f"role.{REF}", "user.id|user_name / group.id|name")},
    "AssignedTags": {"add": (REF,)},
    "AssignedVnicProfiles": {"add": ("name",)},
    "AttachedStorageDomains": {"add": (REF,)},
    "Bookmarks": {"add": ("name", "value")},
    "ClusterNetworks": {"add": (REF,)},
    "Clusters": {"add": ("name", f"data_center.{REF}")},
    "CpuProfiles": {"add": ("name", "cluster.id")},
    "DataCenterNetworks": {"add": (REF,)},
    "DataCenters": {"add": ("name",)},
    "DiskAttachments": {"add": ("disk",)},
    "DiskProfiles": {"add": ("name", "storage_domain.id")},
    "Disks": {"add": ("provisioned_size / lun_storage", "format / lun_storage / content_type")},
    "Events": {"add": ("origin", "severity", "custom_id", "description")},
    "FenceAgents": {"add": ("address", "order", "type", "username", "password")},
    "Groups": {"add": ("name", f"domain.{REF}")},
    "Hosts": {"add": ("name", "address")},
    "ImageTransfers": {"add": ("disk.id / image.id / snapshot.id",)},
    "InstanceTypeNics": {"add": ("name",)},
    "InstanceTypeWatchdogs": {"add": ("action", "model")},
    "InstanceTypes": {"add": ("name",)},
    "Jobs": {"add": ("description",)},
    "MacPools": {"add": ("name",)},
    "NetworkAttachments": {"add": (f"network.{REF}",)},
    "NetworkLabels": {"add": ("id",)},
    "Networks": {"add": ("name", f"data_center.{REF}")},
    "NicNetworkFilterParameters": {"add": ("name", "value")},
    "Permits": {"add": (REF,)},
    "Qoss": {"add": ("name", "type")},
    "Quotas": {"add": ("name",)},
    "Roles": {"add": ("name", "permits")},
    "SchedulingPolicies": {"add": ("name",)},
    "Filters": {"add": ("id",)},
    "Balances": {"add": ("id",)},
    "Weights": {"add": ("id",)},
    "Snapshots": {"add": ("description",)},
    "SshPublicKeys": {"add": ("content",)},
    "Steps": {"add": ("description", "type")},
    "StorageDomains": {"add": (f"host.{REF}", "type", "storage")},
    "StorageDomainServerConnections": {"add": ("id",)},
    "StorageServerConnections": {"add": ("type",)},
    "SystemPermissions": {"add": (f"role.{REF}", "user.id|user_name / group.id|name")},
    "Tags": {"add": ("name",)},
    "TemplateGraphicsConsoles": {"add": ("protocol",)},
    "TemplateNics": {"add": ("name",)},
    "TemplateWatchdogs": {"add": ("action", "model")},
    "Templates": {"add": ("name", f"vm.{REF}")},
    "Users": {"add": ("user_name", f"domain.{REF}")},
    "VirtualFunctionAllowedNetworks": {"add": (REF,)},
    "VmBackups": {"add": ("disks",)},
    "VmCdroms": {"add": ("file.id",)},
    "VmGraphicsConsoles": {"add": ("protocol",)},
    "VmHostDevices": {"add": ("id|name",)},
    "VmMediatedDevices": {"add": ("spec_params",)},
    "VmNics": {"add": ("name",)},
    "VmNumaNodes": {"add": ("index", "memory")},
    "VmPools": {"add": ("name", f"template.{REF}", f"cluster.{REF}")},
    "VmWatchdogs": {"add": ("action", "model")},
    "Vms": {
        "add": (
            "name / initialization.configuration.data",
            f"cluster.{REF}",
            f"template.{REF} / snapshots / initialization.configuration.data",
        )
    },
    "VnicProfiles": {"add": ("name", "network.id")},
    # actions
    "Disk": {"copy": (f"storage_domain.{REF}",), "move": (f"storage_domain.{REF}",)},
    "Host": {"fence": ("fence_type",)},
    "StorageDomainDisk": {"copy": (f"storage_domain.{REF}",), "move": (f"storage_domain.{REF}",)},
    "AttachedStorageDomainDisk": {"copy": (f"storage_domain.{REF}",), "move": (f"storage_domain.{REF}",)},
    "Vm": {
        "clone": ("vm.name",),
        "export": (f"storage_domain.{REF} / host.{REF}",),
        "maintenance": ("maintenance_enabled",),
        "previewsnapshot": ("snapshot.id",),
    },
}


def check(service: str, method: str, kind: str, given: Mapping[str, Any]) -> None:
    """Raises ``Refused`` ``api.incomplete`` in the words that clients know: ``Vm [name] required for add``."""
    wanted = MANDATORY.get(service, {}).get(method, ())
    missing = [shown(one) for one in wanted if not any(_has(given, part) for part in _alternatives(one))]
    if missing:
        raise Refused(
            "api.incomplete",
            subject=kind,
            reason=f"{kind} [{', '.join(missing)}] required for {method}",
            remedy="Add what is missing.",
            facts={"missing": missing},
        )


def _alternatives(text: str) -> list[tuple[str, ...]]:
    """``cluster.id|name / snapshots`` → cluster.id, cluster.name, snapshots."""
    found: list[tuple[str, ...]] = []
    for one in text.split(" / "):
        *before, last = one.split(".")
        found += [(*before, word) for word in last.split("|")]
    return found


def _has(given: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    held: Any = given
    for word in path:
        held = held.get(word) if isinstance(held, Mapping) else None
    return held not in (None, "", [], {})


def shown(text: str) -> str:
    """As oVirt says it: ``storageDomain.id|name``."""
    head, *rest = text.replace(" / ", "|").split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def unknown_services() -> list[str]:
    """Rows above that name nothing in the model: for the test."""
    services = model().services
    return [
        f"{name}.{method}"
        for name, methods in MANDATORY.items()
        for method in methods or ("?",)
        if name not in services or method not in (*services[name].methods, *services[name].actions)
    ]
