"""Attach a storage domain to a data center, and take it back from maintenance: every host mounts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from engine.jobs.domain_mounts import Seen, connect_everywhere, disconnect_everywhere, with_hosts
from engine.jobs.domain_owner import claim, release
from engine.jobs.domain_use import refused
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import is_built_in
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class ActivateDomain:
    """Which domain, in which data center it is."""

    domain_id: str
    center_id: str


@dataclass(frozen=True)
class AttachDomain:
    """Which domain, to which data center."""

    domain_id: str
    center_id: str


D = TypeVar("D", ActivateDomain, AttachDomain)


class _ConnectJob(JobType[D]):
    """What both have in common. At the end the domain is active on all hosts that answer; or it is as before, mounted
    nowhere."""

    def domain_of(self, work: Work) -> Entity:
        """The domain of a job."""
        return work.entities.need("storage_domain", work.parameters(self.parameters).domain_id)

    def about(self, entities: Entities, given: D) -> Mapping[str, str]:
        return {"storage_domain": given.domain_id, "data_center": given.center_id}

    def plan(self, entities: Entities, given: D) -> Sequence[Planned]:
        return Planned("connect", "Mounting it on the hosts"), Planned("claim", "Writing down who uses it")

    def active(self, work: Work) -> Entity:
        """The domain as it is now: with the hosts that have it."""
        domain = self.domain_of(work)
        seen = [Seen(**one) for one in work.found("connect").get("seen", ())]
        return replace(domain if is_built_in(domain) else with_hosts(domain, seen), status="")


def connect_step(domain_id: str, work: Work) -> Mapping[str, Any]:
    """A step's ``do``. The built-in ones are always mounted."""
    domain = work.entities.need("storage_domain", domain_id)
    if is_built_in(domain):
        return {}
    return {"seen": [one.__dict__ for one in connect_everywhere(work, domain)]}


def disconnect_step(domain_id: str, work: Work) -> None:
    """Its undo, and the ``do`` of what takes a domain away."""
    disconnect_everywhere(work, work.entities.need("storage_domain", domain_id))


def _claim_step(parameters: type[ActivateDomain] | type[AttachDomain]) -> Step:
    """It says that it is ours, unless it says that it is somebody else's."""

    def domain(work: Work) -> Entity:
        return work.entities.need("storage_domain", work.parameters(parameters).domain_id)

    return Step("claim", lambda work: claim(work, domain(work)), lambda work: release(work, domain(work)), weight=0.1)


class DomainActivate(_ConnectJob[ActivateDomain]):
    """``activating``, then active; or in maintenance again."""

    name = "domain.activate"
    parameters = ActivateDomain
    steps = (
        Step(
            "connect",
            lambda work: connect_step(work.parameters(ActivateDomain).domain_id, work),
            lambda work: disconnect_step(work.parameters(ActivateDomain).domain_id, work),
        ),
        _claim_step(ActivateDomain),
    )
    told = Told("", "USER_ACTIVATED_STORAGE_DOMAIN", "USER_ACTIVATE_STORAGE_DOMAIN_FAILED")

    def describe(self, entities: Entities, given: ActivateDomain) -> str:
        return f"Activating Storage Domain {entities.name_of('storage_domain', given.domain_id)}"

    def check(self, entities: Entities, given: ActivateDomain) -> None:
        domain = entities.need("storage_domain", given.domain_id)
        if domain.status != "maintenance":
            raise refused(domain, "activate Storage", "The Storage Domain is active already", "Nothing is needed.")

    def locks(self, entities: Entities, given: ActivateDomain) -> Sequence[Lock]:
        return (Lock("storage_domain", given.domain_id, "activating"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        work.entities.update(self.active(work))
        return {}


class DomainAttach(_ConnectJob[AttachDomain]):
    """``locked``, then the data center's and active; or unattached again."""

    name = "domain.attach"
    parameters = AttachDomain
    steps = (
        Step(
            "connect",
            lambda work: connect_step(work.parameters(AttachDomain).domain_id, work),
            lambda work: disconnect_step(work.parameters(AttachDomain).domain_id, work),
        ),
        _claim_step(AttachDomain),
    )
    told = Told("", "USER_ATTACH_STORAGE_DOMAIN_TO_POOL", "USER_ATTACH_STORAGE_DOMAIN_TO_POOL_FAILED")

    def describe(self, entities: Entities, given: AttachDomain) -> str:
        names = (entities.name_of(*key) for key in (("storage_domain", given.domain_id), ("data_center", given.center_id)))
        return "Attaching Storage Domain {} to Data Center {}".format(*names)

    def check(self, entities: Entities, given: AttachDomain) -> None:
        domain = entities.need("storage_domain", given.domain_id)
        entities.need("data_center", given.center_id)
        if domain.ref("data_center"):
            raise refused(domain, "attach Storage", "The Storage Domain is attached to a Data Center already")

    def locks(self, entities: Entities, given: AttachDomain) -> Sequence[Lock]:
        center = Lock("data_center", given.center_id, "", is_shared=True)
        return Lock("storage_domain", given.domain_id), center

    def finish(self, work: Work) -> Mapping[str, Any]:
        center = work.parameters(AttachDomain).center_id
        work.entities.update(self.active(work).with_refs(data_center=center))
        return {}
