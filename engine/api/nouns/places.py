"""Data centers and clusters."""

from __future__ import annotations

from typing import Any

from appliance import layout
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns import ref
from engine.api.nouns.hosts import status_of
from engine.api.stored import Referring, Stored
from engine.builtin import DEFAULT_MAC_POOL, MANAGEMENT_NETWORK, named
from engine.decide.schedule_units import POLICIES
from engine.inventory import derived_id
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

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """With what every cluster has: MAC pool, scheduling policy, management network, and a CPU profile of its name."""
        usual = {"mac_pool": ref(DEFAULT_MAC_POOL), "scheduling_policy": ref(POLICIES[0].id)}
        with call.engine.store.connection.transaction():
            made = super().add(call, {**usual, **{name: value for name, value in given.items() if value is not None}})
            entities, identifier = self.entities(call), str(made.value["id"])
            entities.change("cluster", identifier, lambda one: one.with_refs(networks=(MANAGEMENT_NETWORK,)))
            profile = derived_id(identifier, "cpu-profile")
            entities.add(named("cpu_profile", profile, str(made.value["name"]), {}, identifier, cluster=identifier))
        return made

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        with call.engine.store.connection.transaction():
            if self.find(call, identifier) is not None and identifier != call.engine.founded.id:
                for profile in self.entities(call).referring(("cluster", identifier), "cpu_profile", "cluster"):
                    self.entities(call).remove("cpu_profile", profile.id)
            return super().remove(call, identifier, given)
