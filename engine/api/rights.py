"""Which permit a change needs, as data, and what a caller may see: oVirt's permits, asked for in one place for every
route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from appliance.errors import Denied
from engine.decide.permit import SYSTEM, Asking, Grant, Key, may
from engine.decide.permit import is_administrator as has_admin_role
from engine.store.entity import ENTITY
from engine.store.permissions import Permits
from engine.store.records import AccountRecord

ANYTHING = "configure_engine"
"""What is not in these tables needs the permit of who administers the engine."""
CHANGES: Mapping[str, tuple[str, str, str]] = {
    "AffinityGroup": ("manipulate_affinity_groups",) * 3,
    "AffinityLabel": ("manipulate_affinity_groups",) * 3,
    "Agent": ("edit_host_configuration",) * 3,
    "Backup": ("backup_disk",) * 3,
    "Bookmark": ("bookmark_management",) * 3,
    "Cdrom": ("change_vm_cd",) * 3,
    "Checkpoint": ("backup_disk",) * 3,
    "Cluster": ("create_cluster", "edit_cluster_configuration", "delete_cluster"),
    "CpuProfile": ("create_cpu_profile", "update_cpu_profile", "delete_cpu_profile"),
    "DataCenter": ("create_storage_pool", "edit_storage_pool_configuration", "delete_storage_pool"),
    "Disk": ("create_disk", "edit_disk_properties", "delete_disk"),
    "DiskAttachment": ("configure_vm_storage",) * 3,
    "DiskProfile": ("create_storage_disk_profile", "configure_storage_disk_profile", "delete_storage_disk_profile"),
    "Event": ("inject_external_events", "audit_log_management", "audit_log_management"),
    "ImageTransfer": ("edit_disk_properties",) * 3,
    "GraphicsConsole": ("edit_vm_properties",) * 3,
    "Host": ("create_host", "edit_host_configuration", "delete_host"),
    "Job": ("inject_external_tasks",) * 3,
    "MacPool": ("create_mac_pool", "edit_mac_pool", "delete_mac_pool"),
    "Network": ("create_storage_pool_network", "configure_storage_pool_network", "delete_storage_pool_network"),
    "NetworkAttachment": ("configure_host_network",) * 3,
    "NetworkLabel": ("configure_storage_pool_network",) * 3,
    "Nic": ("configure_vm_network",) * 3,
    "Permission": ("manipulate_permissions",) * 3,
    "Qos": ("edit_storage_pool_configuration",) * 3,
    "Quota": ("configure_quota",) * 3,
    "QuotaClusterLimit": ("configure_quota",) * 3,
    "QuotaStorageLimit": ("configure_quota",) * 3,
    "Role": ("manipulate_roles",) * 3,
    "Snapshot": ("manipulate_vm_snapshots",) * 3,
    "SshPublicKey": ("edit_profile",) * 3,
    "Step": ("inject_external_tasks",) * 3,
    "StorageConnection": ("create_storage_domain", "edit_storage_domain_configuration", "delete_storage_domain"),
    "StorageDomain": ("create_storage_domain", "edit_storage_domain_configuration", "delete_storage_domain"),
    "Tag": ("tag_management",) * 3,
    "Template": ("create_template", "edit_template_properties", "delete_template"),
    "User": ("manipulate_users",) * 3,
    "Group": ("manipulate_users",) * 3,
    "Vm": ("create_vm", "edit_vm_properties", "delete_vm"),
    "Watchdog": ("edit_vm_properties",) * 3,
    "VmPool": ("create_vm_pool", "edit_vm_pool_configuration", "delete_vm_pool"),
    "VnicProfile": ("create_network_vnic_profile", "configure_network_vnic_profile", "delete_network_vnic_profile"),
}
"""Struct → permits to add, update, remove."""
ASSIGNMENTS: Mapping[str, str] = {
    "AffinityGroupHostLabels": "manipulate_affinity_groups",
    "AffinityGroupHosts": "manipulate_affinity_groups",
    "AffinityGroupVmLabels": "manipulate_affinity_groups",
    "AffinityGroupVms": "manipulate_affinity_groups",
    "AffinityLabelHosts": "manipulate_affinity_groups",
    "AffinityLabelVms": "manipulate_affinity_groups",
    "AttachedStorageDomains": "manipulate_storage_domain",
    "ClusterNetworks": "assign_cluster_network",
    "StorageDomainServerConnections": "edit_storage_domain_configuration",
    "TemplateNics": "configure_template_network",
}
"""Collections with a permit of their own for what is done in them, on the object above: those that only assign, and more."""
ACTIONS: Mapping[tuple[str, str], str] = {
    ("Job", "clear"): "inject_external_tasks",
    ("Job", "end"): "inject_external_tasks",
    ("Step", "end"): "inject_external_tasks",
    ("Backup", "finalize"): "backup_disk",
    ("Disk", "copy"): "configure_disk_storage",
    ("Disk", "move"): "configure_disk_storage",
    ("Disk", "sparsify"): "sparsify_disk",
    ("GraphicsConsole", "ticket"): "connect_to_vm",
    ("GraphicsConsole", "remoteviewerconnectionfile"): "connect_to_vm",
    ("Host", "activate"): "manipulate_host",
    ("Host", "deactivate"): "manipulate_host",
    ("Host", "fence"): "manipulate_host",
    ("Host", "install"): "edit_host_configuration",
    ("Host", "refresh"): "manipulate_host",
    ("Host", "setupnetworks"): "configure_host_network",
    ("Host", "commitnetconfig"): "configure_host_network",
    ("Host", "syncallnetworks"): "configure_host_network",
    ("ImageTransfer", "pause"): "edit_disk_properties",
    ("ImageTransfer", "resume"): "edit_disk_properties",
    ("ImageTransfer", "cancel"): "edit_disk_properties",
    ("ImageTransfer", "finalize"): "edit_disk_properties",
    ("ImageTransfer", "extend"): "edit_disk_properties",
    ("StorageDomain", "activate"): "manipulate_storage_domain",
    ("StorageDomain", "deactivate"): "manipulate_storage_domain",
    ("StorageDomain", "updateovfstore"): "manipulate_storage_domain",
    ("Template", "register"): "import_export_vm",
    ("Vm", "register"): "import_export_vm",
    ("Nic", "activate"): "configure_vm_network",
    ("Nic", "deactivate"): "configure_vm_network",
    ("Vm", "clone"): "create_vm",
    ("Vm", "migrate"): "migrate_vm",
    ("Vm", "cancelmigration"): "migrate_vm",
    ("Vm", "freezefilesystems"): "manipulate_vm_snapshots",
    ("Vm", "thawfilesystems"): "manipulate_vm_snapshots",
    ("Vm", "reboot"): "reboot_vm",
    ("Vm", "reset"): "reset_vm",
    ("Vm", "shutdown"): "shut_down_vm",
    ("Vm", "start"): "run_vm",
    ("Vm", "stop"): "stop_vm",
    ("Vm", "suspend"): "hibernate_vm",
    ("Vm", "ticket"): "connect_to_vm",
    ("Vm", "previewsnapshot"): "manipulate_vm_snapshots",
    ("Vm", "commitsnapshot"): "manipulate_vm_snapshots",
    ("Vm", "undosnapshot"): "manipulate_vm_snapshots",
    ("Snapshot", "restore"): "manipulate_vm_snapshots",
}
"""(struct, action) → permit."""
PLACES = ("cluster", "storage_domain", "storage_domains", "network", "data_center", "vm", "disk")
"""Attributes of a new object at the root that say in what it will be, the nearest first."""
WORDS = ("add", "update", "remove")


@dataclass(frozen=True)
class Rights:
    """What one caller may do and see, in one request."""

    permits: Permits
    account: AccountRecord
    asking: Asking

    @cached_property
    def grants(self) -> tuple[Grant, ...]:
        """All roles that the caller has."""
        return self.permits.grants(self.account)

    @property
    def is_administrator(self) -> bool:
        """Whether the caller administers anything, and does not ask as a user."""
        return self.asking == "all" and has_admin_role(self.grants)

    def only(self, kind: str) -> Any:
        """The condition for lists of a kind; ``None``: everything."""
        found = self.permits.condition(self.grants, kind, self.asking)
        if found is not None and kind == "user":  # everybody may see themselves
            return found | ((ENTITY.kind == "user") & (ENTITY.id == self.account.id))
        if found is not None and kind == "image_transfer":  # whoever began one sees its end, when its disk may be gone
            return found | ((ENTITY.kind == kind) & ENTITY.unique_key.startswith(f"{self.account.id}/"))
        return found

    def sees(self, key: Key) -> bool:
        """Whether the caller may read an object."""
        only = self.only(key[0])
        return only is None or self.permits.entities.count(key[0], (ENTITY.id == key[1]) & only) > 0

    def need(self, permit: str, key: Key) -> None:
        """Raises ``Denied`` ``permit.missing``: v4's words and ours."""
        verdict = may(self.grants, permit, self.permits.chain(key))
        if not verdict.allowed:
            raise Denied(
                "permit.missing",
                subject=" ".join(part for part in key if key != SYSTEM) or "the system",
                reason=f"User is not authorized to perform this action: {verdict.reason}",
                remedy="Ask an administrator for a role that has it.",
                facts={"permit": permit, "kind": key[0], "id": key[1]},
            )


def permit_of(service: str, kind: str, word: str) -> str:
    """The permit for ``add``, ``update``, ``remove`` or an action."""
    if word not in WORDS:
        return ACTIONS.get((kind, word), ANYTHING)
    return ASSIGNMENTS.get(service) or CHANGES.get(kind, (ANYTHING,) * 3)[WORDS.index(word)]


def place_of(given: Mapping[str, Any]) -> Key:
    """In what a new object at the root will be, by its resolved references."""
    for name in PLACES:
        held = given.get(name)
        one = held[0] if isinstance(held, list) and held else held
        if isinstance(one, Mapping) and one.get("id"):
            return name.removesuffix("s") if name == "storage_domains" else name, str(one["id"])
    return SYSTEM
