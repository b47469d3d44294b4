"""Data centers, clusters and storage domains."""

from __future__ import annotations

from typing import Any

from appliance import layout
from engine.api.documents import BASE, Link
from engine.api.nouns import ref
from engine.core import Engine
from engine.store.records import ItemRecord
from gluster.model import STARTED, Volume

LEVEL = {"major": 4, "minor": 7}
"""The compatibility level of data center and cluster: oVirt 4.5's."""
WARNING_LOW_SPACE_PERCENT = 10
CRITICAL_SPACE_GIB = 5
"""Both oVirt's defaults."""


def data_centers(engine: Engine) -> list[dict[str, Any]]:
    """The data centers; up while a host is."""
    up = any(host.status == "up" for host in engine.view().hosts)
    rows = []
    for item in engine.store.items("data_center"):
        place = f"{BASE}/datacenters/{item.id}"
        rows.append(
            {
                "href": place,
                "id": item.id,
                "name": item.name,
                "comment": "",
                "description": "",
                "local": False,
                "quota_mode": "disabled",
                "status": "up" if up else "not_operational",
                "storage_format": "v5",
                "supported_versions": [LEVEL],
                "version": LEVEL,
                "link": (Link("clusters", f"{place}/clusters"), Link("storagedomains", f"{place}/storagedomains")),
            }
        )
    return rows


def clusters(engine: Engine) -> list[dict[str, Any]]:
    """The clusters."""
    return [_cluster(item) for item in engine.store.items("cluster")]


def _cluster(item: ItemRecord) -> dict[str, Any]:
    inherit = "inherit"
    return {
        "href": f"{BASE}/clusters/{item.id}",
        "id": item.id,
        "name": item.name,
        "comment": "",
        "description": "",
        "ballooning_enabled": False,
        "bios_type": "q35_sea_bios",
        "cpu": {"architecture": "x86_64", "type": f"Intel {layout.GUEST_CPU_MODEL} Family"},
        "data_center": ref("datacenters", str(item.body["data_center"])),
        "error_handling": {"on_error": "migrate"},
        "fencing_policy": {
            "enabled": True,
            "skip_if_connectivity_broken": {"enabled": False, "threshold": 50},
            "skip_if_gluster_bricks_up": False,
            "skip_if_gluster_quorum_not_met": False,
            "skip_if_sd_active": {"enabled": False},
        },
        "fips_mode": "undefined",
        "firewall_type": "firewalld",
        "gluster_service": True,
        "ha_reservation": False,
        "ksm": {"enabled": False, "merge_across_nodes": True},
        "log_max_memory_used_threshold": 95,
        "log_max_memory_used_threshold_type": "percentage",
        "memory_policy": {"over_commit": {"percent": 100}, "transparent_huge_pages": {"enabled": True}},
        "migration": {
            "auto_converge": inherit,
            "bandwidth": {"assignment_method": "auto"},
            "compressed": inherit,
            "encrypted": "true",
        },
        "required_rng_sources": ["urandom"],
        "switch_type": "legacy",
        "threads_as_cores": False,
        "trusted_service": False,
        "tunnel_migration": False,
        "upgrade_in_progress": False,
        "upgrade_percent_complete": 0,
        "version": LEVEL,
        "virt_service": True,
        "vnc_encryption": False,
    }


def storage_domains(engine: Engine) -> list[dict[str, Any]]:
    """The storage domains: the pool's volumes, with what the pool said last."""
    view = engine.view()
    rows = []
    for item in engine.store.items("storage_domain"):
        volume = view.volume(str(item.body["volume"]))
        data_center = ref("datacenters", str(item.body["data_center"]))
        rows.append(
            {
                "href": f"{BASE}/storagedomains/{item.id}",
                "id": item.id,
                "name": item.name,
                "comment": "",
                "description": "",
                "available": volume.available_bytes if volume else None,
                "used": volume.used_bytes if volume else None,
                "committed": 0,
                "backup": False,
                "block_size": 512,
                "critical_space_action_blocker": CRITICAL_SPACE_GIB,
                "warning_low_space_indicator": WARNING_LOW_SPACE_PERCENT,
                "discard_after_delete": False,
                "external_status": "ok",
                "master": bool(item.body["master"]),
                "status": status(volume),
                "storage": {
                    "type": "glusterfs",
                    "vfs_type": "glusterfs",
                    "address": item.body["address"],
                    "path": f"/{item.body['volume']}",
                },
                "storage_format": "v5",
                "supports_discard": False,
                "supports_discard_zeroes_data": False,
                "type": "data",
                "wipe_after_delete": False,
                "data_centers": [data_center],
            }
        )
    return rows


def status(volume: Volume | None) -> str:
    """A domain's status from its volume's: unknown while nobody could say."""
    if volume is None:
        return "unknown"
    return "active" if volume.status == STARTED else "inactive"
