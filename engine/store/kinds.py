"""Which entities there are, and what each may refer to: data, so that a new noun is a row here and no new table.

A *reference* is strong: its target cannot be removed while it stands (a VM's cluster). What only remembers
(``original_template``) is an attribute of the body. A *parent* owns: its children go with it (a VM's NICs).
"""

from __future__ import annotations

from collections.abc import Mapping

REFERENCES: Mapping[str, str] = {
    "affinity_group": "affinity_group",
    "backing_disk": "disk",
    "base_template": "template",
    "cluster": "cluster",
    "cpu_profile": "cpu_profile",
    "data_center": "data_center",
    "disk": "disk",
    "disk_profile": "disk_profile",
    "disks": "disk",
    "group": "group",
    "groups": "group",
    "host": "host",
    "host_labels": "affinity_label",
    "hosts": "host",
    "instance_type": "instance_type",
    "iso": "disk",
    "mac_pool": "mac_pool",
    "network": "network",
    "networks": "network",
    "parent_tag": "tag",
    "qos": "qos",
    "quota": "quota",
    "role": "role",
    "scheduling_policy": "scheduling_policy",
    "snapshot": "snapshot",
    "storage_connection": "storage_connection",
    "storage_domain": "storage_domain",
    "storage_domains": "storage_domain",
    "tag": "tag",
    "tags": "tag",
    "template": "template",
    "user": "user",
    "vm": "vm",
    "vm_labels": "affinity_label",
    "vm_pool": "vm_pool",
    "vms": "vm",
    "vnic_profile": "vnic_profile",
}
"""Name of a reference → kind of its target. One name means the same everywhere; plural: there may be several."""
