"""Take a host back from maintenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import Conflict
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.vm_place import name_of
from engine.store.entities import Entities
from engine.store.jobs import Lock


@dataclass(frozen=True)
class ActivateHost:
    """Which host."""

    host_id: str


def _ask(work: Work) -> Mapping[str, Any]:
    """A host that does not answer is not activated: it would be non-responsive at once."""
    name = name_of(work, work.parameters(ActivateHost).host_id)
    with work.at(name) as node:
        return {"host": name, "vms": len(node.vms())}


def _join_ha(work: Work) -> None:
    with work.at(str(work.found("ask")["host"])) as node:
        node.ha_local_maintenance(on=False)


def _leave_ha(work: Work) -> None:
    with work.at(str(work.found("ask")["host"])) as node:
        node.ha_local_maintenance(on=True)


class HostActivate(JobType[ActivateHost]):
    """The host is ``unassigned`` until it has answered; then what it says of itself is its status. If it does not answer it
    stays in maintenance."""

    name = "host.activate"
    parameters = ActivateHost
    steps = (Step("ask", _ask), Step("join-ha", _join_ha, _leave_ha))
    told = Told("VDS_ACTIVATE", "VDS_DETECTED", "VDS_ACTIVATE_FAILED")

    def about(self, entities: Entities, given: ActivateHost) -> Mapping[str, str]:
        return {"host": given.host_id}

    def describe(self, entities: Entities, given: ActivateHost) -> str:
        return f"Activating Host {entities.name_of('host', given.host_id)}"

    def check(self, entities: Entities, given: ActivateHost) -> None:
        host = entities.need("host", given.host_id)
        if host.status != "maintenance":
            reason = f"Cannot activate Host. Host is not in Maintenance mode{f' but {host.status}' if host.status else ''}"
            raise Conflict("host.status", subject=f"host {host.name}", reason=reason, remedy="Nothing is needed.")

    def locks(self, entities: Entities, given: ActivateHost) -> Sequence[Lock]:
        return (Lock("host", given.host_id, "unassigned"),)

    def plan(self, entities: Entities, given: ActivateHost) -> Sequence[Planned]:
        name = entities.need("host", given.host_id).name
        return Planned("ask", f"Asking {name}"), Planned("join-ha", f"Letting {name} run the engine again")

    def finish(self, work: Work) -> Mapping[str, Any]:
        work.entities.change("host", work.parameters(ActivateHost).host_id, lambda host: replace(host, status=""))
        return {}
