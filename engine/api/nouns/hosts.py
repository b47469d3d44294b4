"""Hosts: the nodes, from the cluster file and from what they said last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

from appliance import layout
from appliance.errors import Conflict
from appliance.model.ha import HostHa
from appliance.model.node import NodeFacts
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.nouns import host_actions, host_adding, host_networks
from engine.api.parameters import Listing
from engine.api.stored import Stored
from engine.api.tell import tell
from engine.core import Engine
from engine.decide.search import resolved
from engine.decide.view import HostView, View
from engine.members import member_of
from engine.store.entity import Entity

SETTABLE = frozenset({
    "name", "comment", "description", "display", "external_status", "override_iptables", "power_management", "spm", "ssh",
    "vgpu_placement", "kdump_status", "cluster",
})  # fmt: skip
"""What an administrator says of a host; all else is what it is, or says itself: a client may send back what it read."""


class Hosts(Stored):
    """All hosts: what the cluster file and administrators say of them, with what they said last."""

    services: ClassVar[tuple[str, ...]] = ("Hosts",)
    kind, entity, remembered = "Host", "host", False
    refs = {"cluster": "cluster"}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """A node that shows its token. See :mod:`engine.api.nouns.host_adding`."""
        return host_adding.add(self, call, given)

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        """In maintenance only, and only when nothing needs it."""
        return host_adding.remove(self, call, identifier, given)

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        """What is kept of it. Another cluster only in maintenance: its VMs are the old one's."""
        wanted = {name: value for name, value in given.items() if name in SETTABLE}
        if "spm" in wanted:
            wanted["spm"] = {name: value for name, value in wanted["spm"].items() if name == "priority"}
        with call.engine.store.connection.transaction():
            host = self.entities(call).get(self.entity, identifier)
            call.engine.jobs.refuse_held((self.entity, identifier))
            cluster = str((wanted.get("cluster") or {}).get("id") or "")
            if host is not None and cluster not in ("", host.ref("cluster")) and host.status != "maintenance":
                reason = "Cannot edit Host. Its cluster can be changed only while it is in Maintenance mode"
                raise Conflict("host.status", subject=f"host {host.name}", reason=reason, remedy="Deactivate it first.")
            found = super().update(call, identifier, wanted)
            tell(call, "USER_UPDATE_VDS", {"host": identifier})
        return found

    actions = {
        "activate": host_actions.activate,
        "deactivate": host_actions.deactivate,
        "fence": host_actions.fence,
        "install": host_adding.install,
        "refresh": host_actions.refresh,
        "setupnetworks": host_networks.set_up,
        "commitnetconfig": host_networks.commit,
        "syncallnetworks": host_networks.synchronize,
    }

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        if call.parents:
            return super().list(call, listing)
        view = call.engine.view()
        return [self.seen(call, one, view) for one in self._select(call, listing)]

    def _select(self, call: Call, listing: Listing) -> Sequence[Entity]:
        @cache
        def statuses() -> dict[str, str]:
            view = call.engine.view()
            return {one.id: _shown_status(one, view.host(one.id)) for one in self.entities(call).list(self.entity)}

        return super()._select(call, replace(listing, query=resolved(listing.query, ("status",), statuses)))

    def show(self, call: Call, entity: Entity) -> Object:
        return self.seen(call, entity, call.engine.view())

    def seen(self, call: Call, entity: Entity, view: View) -> Object:
        """A host in the light of one picture of the cluster."""
        host = view.host(entity.id)
        stored = super().show(call, entity)
        nobody = HostView(member_of(entity, call.engine.founded), "initializing", None, None, None, ())
        live = host_object(call.engine, view, host or nobody)
        spm = {**live["spm"], **(stored.get("spm") or {})}
        return {**live, **stored, "spm": spm, "status": _shown_status(entity, host)}


def status_of(entity: Entity, host: HostView) -> str:
    """What it is: in maintenance, or on the way there or back; else how it answers."""
    return entity.shown_status or host.status


def _shown_status(entity: Entity, host: HostView | None) -> str:
    """The same of a host that may be no node of the cluster."""
    return status_of(entity, host) if host else entity.shown_status or "unassigned"


def host_object(engine: Engine, view: View, host: HostView) -> dict[str, Any]:
    """One host with every attribute that clients find always present."""
    member, facts, statistics = host.member, host.facts, host.statistics
    cpu = facts.cpu if facts else None
    active = sum(vm.power not in ("off", "crashed") for vm in host.vms)
    return {
        "auto_numa_status": "unknown",
        "certificate": {"organization": engine.founded.id, "subject": f"O={engine.founded.id},CN={member.name}"},
        "cpu": {
            "name": cpu.model if cpu else None,
            "type": layout.GUEST_CPU_MODEL,
            "speed": 0.0,
            "topology": {"cores": cpu.cores, "sockets": cpu.sockets, "threads": cpu.threads} if cpu else None,
        },
        "device_passthrough": {"enabled": False},
        "external_status": "ok",
        "hardware_information": hardware(facts) if facts else {},
        "hosted_engine": hosted_engine(view, member.name),
        "iscsi": {"initiator": ""},
        "kdump_status": "disabled",
        "ksm": {"enabled": False, "merge_across_nodes": True},
        "libvirt_version": version_of(facts.libvirt_version) if facts else None,
        "max_scheduling_memory": statistics.memory_available_bytes if statistics else 0,
        "memory": facts.memory_bytes if facts else 0,
        "network_operation_in_progress": False,
        "numa_supported": False,
        "os": {
            "type": "Debian",
            "version": {"full_version": "13"},
            "reported_kernel_cmdline": "",
            "custom_kernel_cmdline": "",
            "kernel": facts.kernel if facts else None,
        },
        "override_iptables": False,
        "ovn_configured": False,
        "port": layout.AGENT_PORT,
        "power_management": {"automatic_pm_enabled": True, "enabled": False, "kdump_detection": True, "pm_proxies": []},
        "protocol": "stomp",
        "reinstallation_required": False,
        "se_linux": {"mode": "disabled"},
        "spm": {"priority": 5, "status": "spm" if spm_of(engine, view) == member.id else "none"},
        "ssh": {"port": 22, "fingerprint": ""},
        "status": host.status,
        "status_detail": detail(host),
        "summary": {
            "active": active,
            "migrating": sum(vm.power == "migrating" for vm in host.vms),
            "total": len(host.vms),
        },
        "transparent_huge_pages": {"enabled": True},
        "type": "ovirt_node",
        "update_available": False,
        "version": version_of(facts.version) if facts else {"full_version": ""},
        "vgpu_placement": "consolidated",
    }


def spm_of(engine: Engine, view: View) -> str:
    """The id of the host that is shown as storage pool manager. There is none here: any host does what oVirt's does. Clients
    look for one, and find the engine's host while it is up."""
    name = engine.runs_on()
    return next((host.member.id for host in view.hosts if host.member.name == name and host.status == "up"), "")


def hardware(facts: NodeFacts) -> dict[str, Any]:
    """What the node's firmware says of the machine."""
    return {
        "manufacturer": facts.manufacturer,
        "product_name": facts.product,
        "serial_number": facts.serial,
        "uuid": facts.node_id,
        "supported_rng_sources": ["urandom"],
    }


def detail(host: HostView) -> str:
    """How old the picture of this host is, in words."""
    if host.age_s is None:
        return "not heard yet"
    return f"last heard {host.age_s:.0f} s ago" if host.status != "up" else ""


def hosted_engine(view: View, name: str) -> dict[str, Any] | None:
    """The broker's word on a host."""
    ha = view.ha
    found: HostHa | None = next((one for one in ha.hosts if one.name == name), None) if ha else None
    if ha is None or found is None:
        return None
    return {
        "active": found.alive,
        "configured": True,
        "global_maintenance": ha.maintenance == "global",
        "local_maintenance": found.maintenance,
        "score": found.score,
    }


def version_of(text: str) -> dict[str, Any]:
    """A dotted version as v4's Version."""
    numbers = [int(part) for part in re.findall(r"\d+", text)[:4]]
    names = ("major", "minor", "build", "revision")
    return {"full_version": text, **dict(zip(names, [*numbers, 0, 0, 0, 0][:4], strict=True))}
