"""Put a storage domain into maintenance: no host has it mounted then, unless it is a built-in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import TrivetError
from engine.jobs.descriptors import write
from engine.jobs.domain_activate import connect_step, disconnect_step
from engine.jobs.domain_mounts import hosts_for, with_hosts
from engine.jobs.domain_owner import claim, release
from engine.jobs.domain_use import need_idle, need_not_engines, refused
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import is_built_in
from engine.jobs.run import STALE
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

ACTION = "deactivate Storage"


@dataclass(frozen=True)
class DeactivateDomain:
    """Which domain, in which data center it is."""

    domain_id: str
    center_id: str


def _domain(work: Work) -> Entity:
    return work.entities.need("storage_domain", work.parameters(DeactivateDomain).domain_id)


def _describe(work: Work) -> None:
    """What is there, and that nobody uses it. A storage that is failing does not keep it from being put away."""
    domain = _domain(work)
    for host in hosts_for(work, domain):
        try:
            write(work.entities, work.nodes.storage(host), domain)
            release(work, domain)
        except TrivetError as error:
            if error.code == STALE:
                raise
            work.log(f"it could not be written down what is on it: {error}")
        return


def _claim_again(work: Work) -> None:
    claim(work, _domain(work))


def _disconnect(work: Work) -> None:
    disconnect_step(work.parameters(DeactivateDomain).domain_id, work)


def _connect_again(work: Work) -> None:
    connect_step(work.parameters(DeactivateDomain).domain_id, work)


class DomainDeactivate(JobType[DeactivateDomain]):
    """``preparing_for_maintenance`` keeps the scheduler and other jobs away from the first moment on. A host that cannot
    unmount it makes the job fail: the domain is active as before."""

    name = "domain.deactivate"
    parameters = DeactivateDomain
    steps = (Step("describe", _describe, _claim_again, weight=0.2), Step("disconnect", _disconnect, _connect_again))
    told = Told("", "USER_DEACTIVATED_STORAGE_DOMAIN", "USER_DEACTIVATE_STORAGE_DOMAIN_FAILED")

    def about(self, entities: Entities, given: DeactivateDomain) -> Mapping[str, str]:
        return {"storage_domain": given.domain_id, "data_center": given.center_id}

    def describe(self, entities: Entities, given: DeactivateDomain) -> str:
        return f"Deactivating Storage Domain {entities.name_of('storage_domain', given.domain_id)}"

    def check(self, entities: Entities, given: DeactivateDomain) -> None:
        domain = entities.need("storage_domain", given.domain_id)
        need_not_engines(domain, ACTION)
        if domain.status == "maintenance":
            raise refused(domain, ACTION, "The Storage Domain is in Maintenance mode", "Nothing is needed.")
        need_idle(entities, domain, ACTION)

    def locks(self, entities: Entities, given: DeactivateDomain) -> Sequence[Lock]:
        return (Lock("storage_domain", given.domain_id, "preparing_for_maintenance"),)

    def plan(self, entities: Entities, given: DeactivateDomain) -> Sequence[Planned]:
        return Planned("describe", "Writing down what is on it"), Planned("disconnect", "Unmounting it on the hosts")

    def finish(self, work: Work) -> Mapping[str, Any]:
        domain = work.entities.need("storage_domain", work.parameters(DeactivateDomain).domain_id)
        work.entities.update(replace(domain if is_built_in(domain) else with_hosts(domain, []), status="maintenance"))
        return {}
