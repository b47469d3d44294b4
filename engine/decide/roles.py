"""oVirt's permits and built-in roles, with their numbers and ids: clients name them, and migrated set-ups rely on them.

A *permit* allows a group of actions; a *role* is a set of permits; a *permission* gives a user or group a role on an object,
and on all that lies below it. Facts of the API, in our own form; descriptions are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

USER_PERMITS: Mapping[str, int] = {
    "create_vm": 1, "delete_vm": 2, "edit_vm_properties": 3, "change_vm_cd": 5, "migrate_vm": 6, "connect_to_vm": 7,
    "configure_vm_network": 9, "configure_vm_storage": 10, "move_vm": 11, "manipulate_vm_snapshots": 12,
    "reconnect_to_vm": 13, "create_instance": 16, "reboot_vm": 17, "stop_vm": 18, "shut_down_vm": 19, "hibernate_vm": 21,
    "run_vm": 22, "reset_vm": 23, "create_template": 200, "edit_template_properties": 201, "delete_template": 202,
    "copy_template": 203, "configure_template_network": 204, "create_vm_pool": 300, "edit_vm_pool_configuration": 301,
    "delete_vm_pool": 302, "vm_pool_basic_operations": 303, "manipulate_permissions": 502,
    "add_users_and_groups_from_directory": 503, "edit_profile": 504, "consume_quota": 901, "create_disk": 1100,
    "attach_disk": 1101, "edit_disk_properties": 1102, "configure_disk_storage": 1103, "delete_disk": 1104,
    "access_image_storage": 1106, "disk_live_storage_migration": 1107, "sparsify_disk": 1108, "login": 1300,
    "attach_disk_profile": 1563, "connect_to_serial_console": 1664,
}  # fmt: skip
"""Permits that any role may have."""
ADMIN_PERMITS: Mapping[str, int] = {
    "import_export_vm": 8, "change_vm_custom_properties": 14, "edit_admin_vm_properties": 15, "create_host": 100,
    "edit_host_configuration": 101, "delete_host": 102, "manipulate_host": 103, "configure_host_network": 104,
    "edit_admin_template_properties": 205, "create_cluster": 400, "edit_cluster_configuration": 401, "delete_cluster": 402,
    "configure_cluster_network": 403, "assign_cluster_network": 404, "manipulate_users": 500, "manipulate_roles": 501,
    "create_storage_domain": 600, "edit_storage_domain_configuration": 601, "delete_storage_domain": 602,
    "manipulate_storage_domain": 603, "create_storage_pool": 700, "delete_storage_pool": 701,
    "edit_storage_pool_configuration": 702, "configure_storage_pool_network": 703, "create_storage_pool_network": 704,
    "delete_storage_pool_network": 705, "configure_engine": 800, "configure_quota": 900, "create_gluster_volume": 1000,
    "manipulate_gluster_volume": 1001, "delete_gluster_volume": 1002, "manipulate_gluster_hook": 1003,
    "manipulate_gluster_service": 1004, "configure_scsi_generic_io": 1105, "reduce_disk": 1109, "backup_disk": 1110,
    "configure_network_vnic_profile": 1203, "create_network_vnic_profile": 1204, "delete_network_vnic_profile": 1205,
    "tag_management": 1301, "bookmark_management": 1302, "event_notification_management": 1303,
    "audit_log_management": 1304, "inject_external_events": 1400, "inject_external_tasks": 1500,
    "manipulate_affinity_groups": 1550, "configure_storage_disk_profile": 1560, "create_storage_disk_profile": 1561,
    "delete_storage_disk_profile": 1562, "create_mac_pool": 1660, "edit_mac_pool": 1661, "delete_mac_pool": 1662,
    "configure_mac_pool": 1663, "delete_cpu_profile": 1665, "update_cpu_profile": 1666, "create_cpu_profile": 1667,
    "assign_cpu_profile": 1668,
}  # fmt: skip
"""Permits that make a role administrative… in oVirt some built-in user roles have a few of them all the same."""
PERMITS: Mapping[str, int] = dict(sorted({**USER_PERMITS, **ADMIN_PERMITS}.items(), key=lambda item: item[1]))
NAMES: Mapping[int, str] = {number: name for name, number in PERMITS.items()}

SUPER_USER = "00000000-0000-0000-0000-000000000001"
TEMPLATE_USER = "def00009-0000-0000-0000-def000000009"
PROFILE_EDITOR = "def00021-0000-0000-0000-def000000015"
USER_VM_MANAGER = "def00006-0000-0000-0000-def000000006"
DISK_OPERATOR = "def0000a-0000-0000-0000-def00000000b"
TEMPLATE_OWNER = "def0000a-0000-0000-0000-def00000000f"
EVERYONE = "eee00000-0000-0000-0000-123456789eee"
"""oVirt's id of the group that everybody is in."""


@dataclass(frozen=True)
class Role:
    """A role. ``shows_below``: who has it on an object sees what lies below that, too."""

    id: str
    name: str
    description: str
    is_admin: bool
    shows_below: bool
    permits: frozenset[str]
    is_built_in: bool = True


def _role(identifier: str, name: str, kind: str, description: str, permits: str) -> Role:
    numbers: set[int] = set()
    for word in permits.split():
        first, _, last = word.partition("-")
        numbers.update(number for number in NAMES if int(first) <= number <= int(last or first))
    is_admin, shows_below = kind.startswith("admin"), kind.endswith("+")
    return Role(identifier, name, description, is_admin, shows_below, frozenset(NAMES[number] for number in numbers))


_ADMIN = "1300-1304"
_VM_RUN = "17-22"
ROLES: tuple[Role, ...] = (
    _role(SUPER_USER, "SuperUser", "admin+", "May do everything, everywhere", "1-9999"),
    _role("00000000-0000-0000-0001-000000000001", "UserRole", "user+", "Uses VMs: starts, stops, opens their consoles",
          f"5 7 {_VM_RUN} 23 303 1106 1300"),
    _role("00000000-0000-0000-0001-000000000002", "PowerUserRole", "user", "Creates VMs, templates and disks",
          "1 200 1100 1106 1300 1563 1665-1668"),
    _role("def00001-0000-0000-0000-def000000001", "ClusterAdmin", "admin+", "Administers a cluster and all in it",
          f"1-3 5-12 14 15 {_VM_RUN} 23 100-104 300-303 400-403 502 503 1100-1104 1107 1110 {_ADMIN} 1550 1563 1665-1668"),
    _role("def00002-0000-0000-0000-def000000002", "DataCenterAdmin", "admin+",
          "Administers a data center and all in it but its storage",
          f"1-3 5-12 14 15 {_VM_RUN} 23 100-104 200-205 300-303 400-404 502 503 700-705 900 901 1100-1105 1107 1110"
          f" 1203-1205 {_ADMIN} 1550 1563 1663 1665-1668"),
    _role("def00003-0000-0000-0000-def000000003", "StorageAdmin", "admin+", "Administers a storage domain",
          f"600-603 1100-1104 1106 1107 1110 {_ADMIN} 1560-1563"),
    _role("def00004-0000-0000-0000-def000000004", "HostAdmin", "admin+", "Administers a host",
          f"100-104 600-603 {_ADMIN} 1560-1563"),
    _role("def00005-0000-0000-0000-def000000005", "NetworkAdmin", "admin+", "Administers a logical network",
          f"9 104 204 403 404 703-705 1203-1205 {_ADMIN}"),
    _role(USER_VM_MANAGER, "UserVmManager", "user+", "Does everything with a VM",
          f"1-3 5 7 9 10 12 {_VM_RUN} 23 502 503 1100-1102 1104 1110 1300 1664 1668"),
    _role("def00007-0000-0000-0000-def000000007", "VmPoolAdmin", "admin+", "Administers a pool of VMs",
          f"1 300-303 {_ADMIN} 1668"),
    _role("def00008-0000-0000-0000-def000000008", "TemplateAdmin", "admin+", "Administers a template",
          f"200-205 502 503 1106 {_ADMIN}"),
    _role(TEMPLATE_USER, "UserTemplateBasedVm", "user", "Creates VMs from a template", "1 1668"),
    _role("def0000a-0000-0000-0000-def00000000a", "QuotaConsumer", "user", "Uses a quota", "901"),
    _role(DISK_OPERATOR, "DiskOperator", "user+", "Does everything with a disk", "502 503 1100-1102 1104 1110 1300"),
    _role("def0000a-0000-0000-0000-def00000000c", "DiskCreator", "user", "Creates disks", "1100 1300"),
    _role("def0000a-0000-0000-0000-def00000000d", "VmCreator", "user", "Creates VMs", "1 1100 1300 1668"),
    _role("def0000a-0000-0000-0000-def00000000e", "TemplateCreator", "user", "Creates templates", "200 1300"),
    _role(TEMPLATE_OWNER, "TemplateOwner", "user+", "Does everything with a template", "201-204 502 503 1300"),
    _role("def0000a-0000-0000-0000-def000000010", "VnicProfileUser", "user", "Uses a vNIC profile", "9 204 1300"),
    _role("def0000b-0000-0000-0000-def00000000b", "GlusterAdmin", "admin+", "Administers the pool's volumes",
          f"100-104 400-404 1000-1004 {_ADMIN}"),
    _role("def0000c-0000-0000-0000-def000000000", "ExternalEventsCreator", "user", "Adds events", "1400"),
    _role("def0000c-0000-0000-0000-def00000000c", "ReadOnlyAdmin", "admin+", "Sees everything, changes nothing", "1300"),
    _role("def0000d-0000-0000-0000-def000000000", "ExternalTasksCreator", "user", "Adds jobs and steps", "1500"),
    _role("def00011-0000-0000-0000-def000000011", "InstanceCreator", "user", "Creates VMs of given sizes", "16 1100 1300"),
    _role("def00011-0000-0000-0000-def000000013", "TagManager", "admin", "Manages tags", "1300 1301 1304"),
    _role("def00011-0000-0000-0000-def000000014", "BookmarkManager", "admin", "Manages bookmarks", "1300 1302 1304"),
    _role("def00011-0000-0000-0000-def000000015", "EventNotificationManager", "admin", "Manages notifications of events",
          "1300 1303 1304"),
    _role("def00011-0000-0000-0000-def000000016", "AuditLogManager", "admin", "Manages events", "1300 1304"),
    _role("def00012-0000-0000-0000-def000000012", "UserInstanceManager", "user", "Does everything with a VM of given size",
          f"2 3 5 7 10 12 {_VM_RUN} 23 502 503 1100-1102 1104 1110 1300 1664"),
    _role("def00013-0000-0000-0000-def000000013", "MacPoolAdmin", "admin+", "Administers MAC pools", "1300 1660-1663"),
    _role("def00014-0000-0000-0000-def000000014", "MacPoolUser", "user+", "Uses MAC pools", "1300 1663"),
    _role("def00016-0000-0000-0000-def000000016", "CpuProfileCreator", "admin", "Administers CPU profiles", "1665-1668"),
    _role("def00017-0000-0000-0000-def000000017", "CpuProfileOperator", "user", "Uses a CPU profile", "1668"),
    _role("def00020-0000-0000-0000-abc000000010", "DiskProfileUser", "user", "Uses a disk profile", "1563"),
    _role(PROFILE_EDITOR, "UserProfileEditor", "user", "Edits their own profile", "504"),
    _role("def00006-0000-0000-0000-def000000011", "UserVmRunTimeManager", "user", "Does everything with a VM but snapshots",
          f"1-3 5 7 9 10 {_VM_RUN} 23 502 503 1100-1102 1104 1300 1668"),
    _role("def00030-0000-0000-0000-def000000011", "VmImporterExporter", "admin+", "Imports and exports VMs",
          "8 1300 1563 1668"),
)  # fmt: skip
BY_ID: Mapping[str, Role] = {role.id: role for role in ROLES}
BY_NAME: Mapping[str, Role] = {role.name: role for role in ROLES}
