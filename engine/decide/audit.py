"""Events with oVirt's numbers, severities and wordings: clients wait for the numbers and look for the words.

Facts of the API (AuditLogType and its messages, as published with oVirt 4.5), a line each in our own form: number, severity,
name, text. Names in braces are filled in; a text may be shown with a value missing, and then says ``<unknown>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

Severity = Literal["normal", "warning", "error", "alert"]
UNKNOWN = "<unknown>"

TABLE = """
1 normal VDC_START Starting engine on host {host} (epoch {epoch}).
2 normal VDC_STOP Stopping engine.
12 error VDS_FAILURE Host {host} is non-responsive. {reason}
13 normal VDS_DETECTED Status of host {host} was set to Up.
14 normal VDS_RECOVER Host {host} is rebooting.
15 normal VDS_MAINTENANCE Host {host} was switched to Maintenance Mode.
16 normal VDS_ACTIVATE Activation of host {host} initiated by {user}.
17 error VDS_MAINTENANCE_FAILED Failed to switch Host {host} to Maintenance mode. {reason}
18 error VDS_ACTIVATE_FAILED Failed to activate Host {host}. {reason} (User: {user}).
23 warning VDS_LOW_DISK_SPACE Warning, Low disk space. Host {host} has less than {space} MB of free space left on: {path}.
26 warning IRS_DISK_SPACE_LOW Warning, Low disk space. {storage_domain} domain has {space} GB of free space.
29 normal USER_ADD_VM_TEMPLATE_SUCCESS Template {template} was created by {user}.
30 normal USER_VDC_LOGIN User {user} connecting from '{address}' logged in.
31 normal USER_VDC_LOGOUT User {user} connected from '{address}' logged out.
32 normal USER_RUN_VM VM {vm} started on Host {host}
33 normal USER_STOP_VM VM {vm} powered off by {user} (Host: {host}).
34 normal USER_ADD_VM VM {vm} was created by {user}.
35 normal USER_UPDATE_VM VM {vm} configuration was updated by {user}.
37 normal USER_ADD_VM_STARTED VM {vm} creation was initiated by {user}.
38 normal USER_CHANGE_DISK_VM CD {disk} was inserted to VM {vm} by {user}.
39 normal USER_PAUSE_VM VM {vm} was suspended by {user} (Host: {host}).
40 normal USER_RESUME_VM VM {vm} was resumed by {user} (Host: {host}).
42 normal USER_ADD_VDS Host {host} was added by {user}.
43 normal USER_UPDATE_VDS Host {host} configuration was updated by {user}.
44 normal USER_REMOVE_VDS Host {host} was removed by {user}.
45 normal USER_CREATE_SNAPSHOT Snapshot '{snapshot}' creation for VM '{vm}' was initiated by {user}.
46 normal USER_TRY_BACK_TO_SNAPSHOT Snapshot-Preview {snapshot} for VM {vm} was initiated by {user}.
48 normal USER_ADD_VM_TEMPLATE Creation of Template {template} from VM {vm} was initiated by {user}.
49 normal USER_UPDATE_VM_TEMPLATE Template {template} configuration was updated by {user}.
50 normal USER_REMOVE_VM_TEMPLATE Removal of Template {template} was initiated by {user}.
51 normal USER_ADD_VM_TEMPLATE_FINISHED_SUCCESS Creation of Template {template} from VM {vm} has been completed.
52 error USER_ADD_VM_TEMPLATE_FINISHED_FAILURE Failed to complete creation of Template {template} from VM {vm}. {reason}
53 normal USER_ADD_VM_FINISHED_SUCCESS VM {vm} creation has been completed.
54 error USER_FAILED_RUN_VM Failed to run VM {vm} due to a failed validation: [{reason}] (User: {user}).
55 error USER_FAILED_PAUSE_VM Failed to suspend VM {vm} (Host: {host}, User: {user}).
56 error USER_FAILED_STOP_VM Failed to power off VM {vm} (Host: {host}, User: {user}).
57 error USER_FAILED_ADD_VM Failed to create VM {vm} (User: {user}).
58 error USER_FAILED_UPDATE_VM Failed to update VM {vm} (User: {user}).
59 error USER_FAILED_REMOVE_VM Failed to remove VM {vm} (User: {user}).
60 error USER_ADD_VM_FINISHED_FAILURE Failed to complete VM {vm} creation. {reason}
61 normal VM_DOWN VM {vm} is down. {reason}
62 normal VM_MIGRATION_START Migration started (VM: {vm}, Source: {host}, Destination: {target}, User: {user}). {reason}
63 normal VM_MIGRATION_DONE Migration completed (VM: {vm}, Source: {host}, Destination: {target}, Duration: {duration})
64 error VM_MIGRATION_ABORT Migration failed: {reason} (VM: {vm}, Source: {host}).
65 error VM_MIGRATION_FAILED Migration failed {reason} (VM: {vm}, Source: {host}).
66 error VM_FAILURE VM {vm} cannot be found on Host {host}.
67 normal VM_MIGRATION_START_SYSTEM_INITIATED Migration initiated by system (VM: {vm}, Source: {host}, Destination: \
{target}, Reason: {reason}).
68 normal USER_CREATE_SNAPSHOT_FINISHED_SUCCESS Snapshot '{snapshot}' creation for VM '{vm}' has been completed.
69 error USER_CREATE_SNAPSHOT_FINISHED_FAILURE Failed to complete snapshot '{snapshot}' creation for VM '{vm}'. {reason}
71 normal USER_TRY_BACK_TO_SNAPSHOT_FINISH_SUCCESS Snapshot-Preview {snapshot} for VM {vm} has been completed.
73 normal USER_INITIATED_SHUTDOWN_VM Shutdown of VM {vm} initiated by {user} (Host: {host}).
74 error USER_FAILED_SHUTDOWN_VM Failed to initiate shutdown on VM {vm} (Host: {host}, User: {user}).
78 normal USER_ADD_DISK_TO_VM Add-Disk operation of {disk} was initiated on VM {vm} by {user}.
79 error USER_FAILED_ADD_DISK_TO_VM Add-Disk operation failed on VM {vm} (User: {user}).
86 normal USER_UPDATE_DISK Disk {disk} configuration was updated by {user}.
88 normal USER_UPDATE_VM_DISK VM {vm} {disk} disk configuration was updated by {user}.
94 normal USER_COMMIT_RESTORE_FROM_SNAPSHOT_START Committing a Snapshot-Preview for VM {vm} was initialized by {user}.
95 normal USER_COMMIT_RESTORE_FROM_SNAPSHOT_FINISH_SUCCESS Committing a Snapshot-Preview for VM {vm} has been completed.
96 error USER_COMMIT_RESTORE_FROM_SNAPSHOT_FINISH_FAILURE Failed to commit Snapshot-Preview for VM {vm}. {reason}
97 normal USER_ADD_DISK_TO_VM_FINISHED_SUCCESS The disk {disk} was successfully added to VM {vm}.
98 error USER_ADD_DISK_TO_VM_FINISHED_FAILURE Add-Disk operation failed to complete on VM {vm}. {reason}
99 error USER_TRY_BACK_TO_SNAPSHOT_FINISH_FAILURE Failed to complete Snapshot-Preview {snapshot} for VM {vm}. {reason}
102 error USER_FAILED_CHANGE_DISK_VM Failed to change disk in VM {vm} (Host: {host}, User: {user}).
103 error USER_FAILED_RESUME_VM Failed to resume VM {vm} (Host: {host}, User: {user}).
104 error USER_FAILED_ADD_VDS Failed to add Host {host} (User: {user}). {reason}
106 error USER_FAILED_REMOVE_VDS Failed to remove Host {host} (User: {user}). {reason}
108 error USER_FAILED_ADD_VM_TEMPLATE Failed to initiate creation of Template {template} from VM {vm} (User: {user}).
110 error USER_FAILED_REMOVE_VM_TEMPLATE Failed to initiate removal of Template {template} (User: {user}).
113 normal USER_REMOVE_VM_FINISHED VM {vm} was successfully removed.
114 error USER_VDC_LOGIN_FAILED User {user} connecting from '{address}' failed to log in : '{reason}'.
117 error USER_FAILED_CREATE_SNAPSHOT Failed to create Snapshot {snapshot} for VM {vm} (User: {user}). {reason}
119 error VM_DOWN_ERROR VM {vm} is down with error. Exit message: {reason}.
120 error VM_MIGRATION_TO_SERVER_FAILED Migration failed {reason} (VM: {vm}, Source: {host}, Destination: {target}).
124 normal VM_IMPORT Started VM import of {vm} (User: {user})
125 error VM_IMPORT_FAILED Failed to import Vm {vm} to Data Center {data_center}, Cluster {cluster}
126 warning VM_NOT_RESPONDING VM {vm} is not responding.
128 warning VM_MIGRATION_TRYING_RERUN Failed to migrate VM {vm} to Host {target} {reason}. Trying to migrate to another \
Host.
138 error VM_PAUSED_ENOSPC VM {vm} has been paused due to no Storage space error.
139 error VM_PAUSED_ERROR VM {vm} has been paused due to unknown storage error.
140 error VM_MIGRATION_FAILED_DURING_MOVE_TO_MAINTENANCE Migration failed {reason} while Host is in 'preparing for \
maintenance' \
state. (VM: {vm}, Source: {host}).
142 warning VM_SET_TO_UNKNOWN_STATUS VM {vm} was set to the Unknown status.
145 error VM_PAUSED_EIO VM {vm} has been paused due to storage I/O problem.
147 warning VM_POWER_DOWN_FAILED Shutdown of VM {vm} failed.
149 normal USER_ADD User '{target}' was added successfully to the system.
150 normal USER_INITIATED_RUN_VM Starting VM {vm} was initiated by {user}.
151 warning USER_INITIATED_RUN_VM_FAILED Failed to run VM {vm} on Host {host}. {reason}
153 normal USER_STARTED_VM VM {vm} was started by {user} (Host: {host}).
157 normal USER_REBOOT_VM User {user} initiated reboot of VM {vm}.
158 error USER_FAILED_REBOOT_VM Failed to reboot VM {vm} (User: {user}). {reason}
161 normal VM_CANCEL_MIGRATION Migration cancelled (VM: {vm}, Source: {host}, User: {user}).
162 error VM_CANCEL_MIGRATION_FAILED Failed to cancel migration for VM: {vm}
164 normal VM_SET_TICKET User {user} initiated console session for VM {vm}
166 warning VM_MIGRATION_NO_VDS_TO_MIGRATE_TO No available host was found to migrate VM {vm} to. {reason}
167 normal VM_CONSOLE_CONNECTED User {user} is connected to VM {vm}.
168 normal VM_CONSOLE_DISCONNECTED User {user} got disconnected from VM {vm}.
172 warning USER_REMOVE_VM_FINISHED_WITH_ILLEGAL_DISKS VM {vm} has been removed, but the following disks could not be \
removed: \
{disk}. These disks will appear in the main disks tab in illegal state, please remove manually when possible.
188 error VDS_STORAGES_CONNECTION_FAILED Failed to connect Host {host} to the Storage Domains {storage_domain}. {reason}
196 normal VM_RECOVERED_FROM_PAUSE_ERROR VM {vm} has recovered from paused back to up.
201 error IRS_DISK_SPACE_LOW_ERROR Critical, Low disk space. {storage_domain} domain has {space} GB of free space.
221 normal USER_RESET_VM User {user} initiated reset of VM {vm}.
222 error USER_FAILED_RESET_VM Failed to reset VM {vm} (User: {user}). {reason}
251 normal USER_REMOVE_VM_TEMPLATE_FINISHED Template {template} has been removed.
325 normal USER_REMOVE_ADUSER User {target} was removed by {user}.
327 warning USER_FAILED_ADD_ADUSER Failed to add User '{target}' to the system.
342 normal USER_REMOVE_SNAPSHOT Snapshot '{snapshot}' deletion for VM '{vm}' was initiated by {user}.
343 error USER_FAILED_REMOVE_SNAPSHOT Failed to remove Snapshot {snapshot} for VM {vm} (User: {user}). {reason}
346 normal USER_PASSWORD_CHANGED Password changed successfully for {target}
347 error USER_PASSWORD_CHANGE_FAILED Failed to change password. (User: {user})
356 normal USER_REMOVE_SNAPSHOT_FINISHED_SUCCESS Snapshot '{snapshot}' deletion for VM '{vm}' has been completed.
357 error USER_REMOVE_SNAPSHOT_FINISHED_FAILURE Failed to delete snapshot '{snapshot}' for VM '{vm}'. {reason}
370 error USER_EXTEND_DISK_SIZE_FAILURE Failed to extend size of the disk '{disk}' to {size} GB, User: {user}. {reason}
371 normal USER_EXTEND_DISK_SIZE_SUCCESS Size of the disk '{disk}' was successfully updated to {size} GB by {user}.
377 normal USER_EXTENDED_DISK_SIZE Extending disk '{disk}' to {size} GB was initiated by {user}.
430 normal USER_UPDATE_TAG Tag {tag} configuration was updated by {user}.
432 normal USER_ADD_TAG New Tag {tag} was created by {user}.
434 normal USER_REMOVE_TAG Tag {tag} was removed by {user}.
440 normal USER_ATTACH_TAG_TO_VM Tag {tag} was attached to VM(s) {vm} by {user}.
446 normal USER_DETACH_VM_FROM_TAG Tag {tag} was detached from VM(s) {vm} by {user}.
494 normal VDS_MANUAL_FENCE_STATUS Manual fence for host {host} was started: {user} confirmed that it has been rebooted.
495 error VDS_MANUAL_FENCE_STATUS_FAILED Manual fence for host {host} failed. {reason}
501 normal USER_SUSPEND_VM Suspending VM {vm} was initiated by User {user} (Host: {host}).
502 error USER_FAILED_SUSPEND_VM Failed to suspend VM {vm} (Host: {host}). {reason}
503 normal USER_SUSPEND_VM_OK VM {vm} on Host {host} was suspended.
504 normal VDS_INSTALL Host {host} installed
505 error VDS_INSTALL_FAILED Host {host} installation failed. {reason}
506 normal VDS_INITIATED_RUN_VM Trying to restart VM {vm} on Host {host}
507 error VDS_INITIATED_RUN_VM_FAILED Failed to restart VM {vm} on Host {host}. {reason}
509 normal VDS_INSTALL_IN_PROGRESS Installing Host {host}.
517 normal VDS_SET_NONOPERATIONAL Host {host} moved to Non-Operational state. {reason}
519 warning VDS_SET_NONOPERATIONAL_NETWORK Host {host} does not comply with the cluster {cluster} networks, the \
following \
networks are missing on host: '{network}'
521 error USER_SUSPEND_VM_FINISH_FAILURE Failed to complete suspending of VM {vm}. {reason}
528 normal USER_EJECT_VM_DISK CD was ejected from VM {vm} by {user}.
600 normal USER_VDS_MAINTENANCE Host {host} was switched to Maintenance mode by {user} (Reason: {reason}).
602 warning USER_VDS_MAINTENANCE_MIGRATION_FAILED Host {host} cannot change into maintenance mode - not all Vms have \
been \
migrated successfully. Consider manual intervention: stopping/migrating Vms: {vm} (User: {user}).
620 normal USER_VDS_MAINTENANCE_WITHOUT_REASON Host {host} was switched to Maintenance mode by {user}.
650 normal USER_UNDO_RESTORE_FROM_SNAPSHOT_START Undoing a Snapshot-Preview for VM {vm} was initialized by {user}.
651 normal USER_UNDO_RESTORE_FROM_SNAPSHOT_FINISH_SUCCESS Undoing a Snapshot-Preview for VM {vm} has been completed.
652 error USER_UNDO_RESTORE_FROM_SNAPSHOT_FINISH_FAILURE Failed to undo Snapshot-Preview for VM {vm}. {reason}
809 normal USER_ADD_CLUSTER Cluster {cluster} was added by {user}
811 normal USER_UPDATE_CLUSTER Host cluster {cluster} was updated by {user}
813 normal USER_REMOVE_CLUSTER Host cluster {cluster} was removed by {user}
816 warning MAC_POOL_EMPTY No MAC addresses left in the MAC Address Pool.
840 normal HOST_UPGRADE_STARTED Host {host} upgrade was started (User: {user}).
841 error HOST_UPGRADE_FAILED Failed to upgrade Host {host} (User: {user}). {reason}
842 normal HOST_UPGRADE_FINISHED Host {host} upgrade was completed successfully.
843 normal HOST_UPDATES_ARE_AVAILABLE_WITH_PACKAGES There are new updates available for Host {host}: {reason}.
844 normal HOST_UPDATES_ARE_AVAILABLE There are new updates available for Host {host}.
850 normal USER_ADD_PERMISSION User/Group {target} was granted permission for Role {role} on {object} by {user}.
852 normal USER_REMOVE_PERMISSION User/Group {target} Role {role} permission was removed from {object} by {user}
854 normal USER_ADD_ROLE Role {role} was added by {user}
856 normal USER_UPDATE_ROLE Role {role} was updated by {user}
858 normal USER_REMOVE_ROLE Role {role} was removed by {user}
884 normal HOST_AVAILABLE_UPDATES_STARTED Started to check for available updates on host {host}.
885 normal HOST_AVAILABLE_UPDATES_FINISHED Check for available updates on host {host} was completed successfully with \
message \
'{reason}'.
888 normal HOST_UPGRADE_FINISHED_AND_WILL_BE_REBOOTED Upgrade of host {host} was completed, the host will be rebooted.
930 normal NETWORK_REMOVE_VM_INTERFACE Interface {nic} (VirtIO) was removed from VM {vm}. (User: {user})
931 error NETWORK_REMOVE_VM_INTERFACE_FAILED Failed to remove Interface {nic} (VirtIO) from VM {vm}. (User: {user})
932 normal NETWORK_ADD_VM_INTERFACE Interface {nic} (VirtIO) was added to VM {vm}. (User: {user})
933 error NETWORK_ADD_VM_INTERFACE_FAILED Failed to add Interface {nic} (VirtIO) to VM {vm}. (User: {user})
934 normal NETWORK_UPDATE_VM_INTERFACE Interface {nic} (VirtIO) was updated for VM {vm}. (User: {user})
935 error NETWORK_UPDATE_VM_INTERFACE_FAILED Failed to update Interface {nic} (VirtIO) for VM {vm}. (User: {user})
942 normal NETWORK_ADD_NETWORK Network {network} was added to Data Center: {data_center}
944 normal NETWORK_REMOVE_NETWORK Network {network} was removed from Data Center: {data_center}
946 normal NETWORK_ATTACH_NETWORK_TO_CLUSTER Network {network} attached to Cluster {cluster}
948 normal NETWORK_DETACH_NETWORK_TO_CLUSTER Network {network} detached from Cluster {cluster}
950 normal USER_ADD_STORAGE_POOL Data Center {data_center} was added by {user}
952 normal USER_UPDATE_STORAGE_POOL Data Center {data_center} was updated by {user}
954 normal USER_REMOVE_STORAGE_POOL Data Center {data_center} was removed by {user}
956 normal USER_ADD_STORAGE_DOMAIN Storage Domain {storage_domain} was added by {user}
957 error USER_ADD_STORAGE_DOMAIN_FAILED Failed to add Storage Domain {storage_domain}. (User: {user}) {reason}
958 normal USER_UPDATE_STORAGE_DOMAIN Storage Domain {storage_domain} was updated by {user}
960 normal USER_REMOVE_STORAGE_DOMAIN Storage Domain {storage_domain} was removed by {user}
961 error USER_REMOVE_STORAGE_DOMAIN_FAILED Failed to remove Storage Domain {storage_domain}. (User: {user}) {reason}
962 normal USER_ATTACH_STORAGE_DOMAIN_TO_POOL Storage Domain {storage_domain} was attached to Data Center {data_center} \
by {user}
963 error USER_ATTACH_STORAGE_DOMAIN_TO_POOL_FAILED Failed to attach Storage Domain {storage_domain} to Data Center \
{data_center}. (User: {user}) {reason}
964 normal USER_DETACH_STORAGE_DOMAIN_FROM_POOL Storage Domain {storage_domain} was detached from Data Center \
{data_center} by \
{user}
966 normal USER_ACTIVATED_STORAGE_DOMAIN Storage Domain {storage_domain} (Data Center {data_center}) was activated by \
{user}
967 error USER_ACTIVATE_STORAGE_DOMAIN_FAILED Failed to activate Storage Domain {storage_domain} (Data Center \
{data_center}) by \
{user}. {reason}
968 normal USER_DEACTIVATED_STORAGE_DOMAIN Storage Domain {storage_domain} (Data Center {data_center}) was deactivated \
and has \
moved to 'Preparing for maintenance' until it will no longer be accessed by any Host of the Data Center.
969 error USER_DEACTIVATE_STORAGE_DOMAIN_FAILED Failed to deactivate Storage Domain {storage_domain} (Data Center \
{data_center}). {reason}
970 warning SYSTEM_DEACTIVATED_STORAGE_DOMAIN Storage Domain {storage_domain} (Data Center {data_center}) was \
deactivated by \
system because it's not visible by any of the hosts.
1012 normal NETWORK_ACTIVATE_VM_INTERFACE_SUCCESS Network Interface {nic} (VirtIO) was plugged to VM {vm}. (User: {user})
1013 error NETWORK_ACTIVATE_VM_INTERFACE_FAILURE Failed to plug Network Interface {nic} (VirtIO) to VM {vm}. (User: \
{user}) {reason}
1014 normal NETWORK_DEACTIVATE_VM_INTERFACE_SUCCESS Network Interface {nic} (VirtIO) was unplugged from VM {vm}. (User: \
{user})
1015 error NETWORK_DEACTIVATE_VM_INTERFACE_FAILURE Failed to unplug Network Interface {nic} (VirtIO) from VM {vm}. \
(User: {user}) {reason}
1025 normal VM_PAUSED VM {vm} has been paused.
1031 normal TRANSFER_IMAGE_INITIATED Image {direction} with disk {disk} was initiated by {user}.
1032 normal TRANSFER_IMAGE_SUCCEEDED Image {direction} with disk {disk} succeeded.
1033 normal TRANSFER_IMAGE_CANCELLED Image {direction} with disk {disk} was cancelled. {reason}
1034 error TRANSFER_IMAGE_FAILED Image {direction} with disk {disk} failed. {reason}
1104 normal NETWORK_COMMINT_NETWORK_CHANGES Network changes were saved on host {host}
1105 error NETWORK_COMMINT_NETWORK_CHANGES_FAILED Failed to commit network changes on {host}. {reason}
1114 normal NETWORK_UPDATE_NETWORK Network {network} was updated on Data Center: {data_center}
1152 normal IMPORTEXPORT_IMPORT_VM Vm {vm} was imported successfully to Data Center {data_center}, Cluster {cluster}
1158 normal IMPORTEXPORT_IMPORT_TEMPLATE Template {template} was imported successfully to Data Center {data_center}, \
Cluster \
{cluster}
1159 error IMPORTEXPORT_IMPORT_TEMPLATE_FAILED Failed to import Template {template} to Data Center {data_center}, \
Cluster {cluster}
2000 normal USER_HOTPLUG_DISK VM {vm} disk {disk} was plugged by {user}.
2001 error USER_FAILED_HOTPLUG_DISK Failed to plug disk {disk} to VM {vm} (User: {user}). {reason}
2002 normal USER_HOTUNPLUG_DISK VM {vm} disk {disk} was unplugged by {user}.
2003 error USER_FAILED_HOTUNPLUG_DISK Failed to unplug disk {disk} from VM {vm} (User: {user}). {reason}
2004 normal USER_COPIED_DISK User {user} is copying disk {disk} to domain {storage_domain}.
2006 normal USER_COPIED_DISK_FINISHED_SUCCESS User {user} finished copying disk {disk} to domain {storage_domain}.
2007 error USER_COPIED_DISK_FINISHED_FAILURE User {user} finished with error copying disk {disk} to domain \
{storage_domain}. {reason}
2008 normal USER_MOVED_DISK User {user} moving disk {disk} to domain {storage_domain}.
2010 normal USER_MOVED_DISK_FINISHED_SUCCESS User {user} finished moving disk {disk} to domain {storage_domain}.
2011 error USER_MOVED_DISK_FINISHED_FAILURE User {user} has failed to move disk {disk} to domain {storage_domain}. \
{reason}
2014 normal USER_FINISHED_REMOVE_DISK Disk {disk} was successfully removed from domain {storage_domain} (User {user}).
2015 warning USER_FINISHED_FAILED_REMOVE_DISK Failed to remove disk {disk} from storage domain {storage_domain} (User: \
{user}). \
{reason}
2016 normal USER_ATTACH_DISK_TO_VM Disk {disk} was successfully attached to VM {vm} by {user}.
2017 error USER_FAILED_ATTACH_DISK_TO_VM Failed to attach Disk {disk} to VM {vm} (User: {user}). {reason}
2018 normal USER_DETACH_DISK_FROM_VM Disk {disk} was successfully detached from VM {vm} by {user}.
2019 error USER_FAILED_DETACH_DISK_FROM_VM Failed to detach Disk {disk} from VM {vm} (User: {user}). {reason}
2020 normal USER_ADD_DISK Add-Disk operation of '{disk}' was initiated by {user}.
2021 normal USER_ADD_DISK_FINISHED_SUCCESS The disk '{disk}' was successfully added.
2022 error USER_ADD_DISK_FINISHED_FAILURE Add-Disk operation failed to complete. {reason}
2023 error USER_FAILED_ADD_DISK Add-Disk operation failed (User: {user}). {reason}
2033 normal HOT_SET_NUMBER_OF_CPUS Hotplug CPU: changed the number of CPUs on VM {vm} from {before} to {after}
2034 error FAILED_HOT_SET_NUMBER_OF_CPUS Failed to hot set number of CPUS to VM {vm}. {reason}
2038 normal USER_REMOVE_DISK_INITIATED Removal of Disk {disk} from domain {storage_domain} was initiated by {user}.
2039 normal HOT_SET_MEMORY Hotset memory: changed the amount of memory on VM {vm} from {before} to {after}
2040 error FAILED_HOT_SET_MEMORY Failed to hot set memory to VM {vm}. {reason}
2042 normal USER_FINISHED_REMOVE_DISK_ATTACHED_TO_VMS Disk {disk} associated to the VMs {vm} was successfully removed \
from domain \
{storage_domain} (User {user}).
9602 error HA_VM_FAILED Highly Available VM {vm} failed. It will be restarted automatically.
9603 error HA_VM_RESTART_FAILED Restart of the Highly Available VM {vm} failed. {reason}
9801 normal EXTERNAL_EVENT_NORMAL {reason}
9802 warning EXTERNAL_EVENT_WARNING {reason}
9803 error EXTERNAL_EVENT_ERROR {reason}
9804 alert EXTERNAL_ALERT {reason}
10700 alert TRIVET_SUPERSEDED This engine (epoch {epoch}) is superseded: {reason}
10701 warning TRIVET_HOST_EVICTED Host {host} answers neither the engine nor the pool. It is cut off from {storage_domain}, \
so that its Highly Available VMs can be started elsewhere.
10702 error TRIVET_HOST_EVICTION_FAILED Host {host} could not be cut off from {storage_domain}. Its VMs are started \
nowhere. {reason}
10703 normal TRIVET_HOST_ADMITTED Host {host} has access to {storage_domain} again.
10704 warning TRIVET_HOST_ADMISSION_FAILED Host {host} stays cut off from {storage_domain}. {reason}
10705 warning TRIVET_VM_MAY_MISS_COPY VM {vm} may write its disks without the copies on {bricks} until it is migrated or \
restarted. It does not move by itself: {reason}.
10720 warning TRIVET_TRANSFER_PAUSED Image {direction} with disk {disk} was paused by the system: {reason}.
10766 normal FREEZE_VM_INITIATED Freeze of guest filesystems on VM {vm} was initiated.
10767 normal FREEZE_VM_SUCCESS Guest filesystems on VM {vm} have been frozen successfully.
10768 error USER_FAILED_TO_FREEZE_VM Failed to freeze guest filesystems on {vm}. (User: {user}) {reason}
10769 error USER_FAILED_TO_THAW_VM Failed to thaw guest filesystems on {vm}. (User: {user}) {reason}
10770 normal THAW_VM_SUCCESS Guest filesystems on VM {vm} have been thawed successfully.
10790 normal VM_BACKUP_STARTED Backup {backup} for VM {vm} started (User: {user}).
10791 error VM_INCREMENTAL_BACKUP_FAILED_FULL_VM_BACKUP_NEEDED Incremental backup {backup} for VM {vm} failed, a full VM \
backup is needed (User: {user}). {reason}
10792 error VM_BACKUP_FAILED Backup {backup} for VM {vm} failed (User: {user}). {reason}
10793 normal VM_BACKUP_SUCCEEDED Backup {backup} for VM {vm} completed (User: {user}).
10795 error VM_BACKUP_FAILED_TO_FINALIZE Backup {backup} for VM {vm} failed to finalize (User: {user}). {reason}
10797 normal VM_CHECKPOINT_DELETED Checkpoint {checkpoint} was removed from VM {vm} (User: {user}).
10798 error VM_CHECKPOINT_FAILED_TO_DELETE Failed to remove Checkpoint {checkpoint} from VM {vm} (User: {user}). {reason}
"""
"""From 10,700 to 10,789 they are ours, where oVirt has none: an agent refused this engine because a newer one exists; hosts
that are evicted from storage and let in again; VMs that stay where a copy of their disks is not open."""


@dataclass(frozen=True)
class EventType:
    """A kind of event. ``text`` with names in braces."""

    code: int
    severity: Severity
    name: str
    text: str

    def message(self, values: Mapping[str, object]) -> str:
        """The text with ``values`` filled in."""
        filled = FIELD.sub(lambda found: str(values.get(found[1], UNKNOWN if found[1] != "reason" else "")), self.text)
        return re.sub(r" {2,}", " ", filled).strip()


FIELD = re.compile(r"\{([a-z_]+)\}")


def _read(table: str) -> dict[str, EventType]:
    found = {}
    for line in table.strip().splitlines():
        code, severity, name, text = line.split(" ", 3)
        found[name] = EventType(int(code), cast(Severity, severity), name, text)
    return found


TYPES: Mapping[str, EventType] = _read(TABLE)
BY_CODE: Mapping[int, EventType] = {one.code: one for one in TYPES.values()}
