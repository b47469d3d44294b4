"""Data centers and clusters."""

from __future__ import annotations

from appliance import layout
from engine.api.documents import Object
from engine.api.noun import Call
from engine.api.nouns.hosts import status_of
from engine.api.stored import Referring, Stored
from engine.store.entity import Entity

LEVEL = {"major": 4, "minor": 7}
"""The compatibility level of data center and cluster: oVirt 4.5's."""


class DataCenters(Stored):
    """The data centers; up while a host is."""

    services, kind, entity, remembered = ("DataCenters",), "DataCenter", "data_center", False
    refs = {"mac_pool": "mac_pool"}
    defaults = {
        "local": False,
        "quota_mode": "disabled",
        "storage_format": "v5",
        "supported_versions": [LEVEL],
        "version": LEVEL,
    }

    def show(self, call: Call, entity: Entity) -> Object:
        hosts = self.entities(call).many("host", [one.member.id for one in call.engine.view().hosts])
        is_up = any(
            status_of(hosts[one.member.id], one) == "up" for one in call.engine.view().hosts if one.member.id in hosts
        )
        return {**super().show(call, entity), "status": "up" if is_up else "not_operational"}


class Clusters(Stored):
    """The clusters: of the whole system or of a data center."""

    services, kind, entity = ("Clusters",), "Cluster", "cluster"
    refs = {"data_center": "data_center", "mac_pool": "mac_pool", "scheduling_policy": "scheduling_policy"}
    scopes = {"DataCenter": Referring("data_center")}
    defaults = {
        "ballooning_enabled": False,
        "bios_type": "q35_sea_bios",
        "cpu": {"architecture": "x86_64", "type": f"Intel {layout.GUEST_CPU_MODEL} Family"},
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
            "auto_converge": "inherit",
            "bandwidth": {"assignment_method": "auto"},
            "compressed": "inherit",
            "encrypted": "inherit",
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
