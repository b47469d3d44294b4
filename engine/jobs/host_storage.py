"""Bring the mounts of one host in line with the storage domains: what it missed while it did not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.decide.schedule_words import listed
from engine.jobs.domain_mounts import connect, disconnect, need_own
from engine.jobs.domain_use import refused
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import MOUNTED_ON
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class ConnectHost:
    """Which host; the ids of the domains that it lacks, and of those that it should not have."""

    host_id: str
    name: str
    missing: tuple[str, ...]
    needless: tuple[str, ...] = ()


def is_for(domain: Entity, host_id: str) -> bool:
    """Whether the host is to have it mounted."""
    return domain.status in ("", "active") and domain.ref("host") in ("", host_id)


def _connect(work: Work) -> None:
    given = work.parameters(ConnectHost)
    for domain in given.missing:
        found = work.entities.need("storage_domain", domain)
        need_own(found, connect(work, found, given.name), given.name)


def _disconnect(work: Work) -> None:
    given = work.parameters(ConnectHost)
    for domain in given.needless:
        disconnect(work, work.entities.need("storage_domain", domain), given.name)


class HostStorage(JobType[ConnectHost]):
    """The host counts among those that have its domains at the end. If it fails nothing is said of the host, which goes on
    without them."""

    name = "host.storage"
    parameters = ConnectHost
    steps = (Step("connect", _connect), Step("disconnect", _disconnect))
    told = Told("", "", "VDS_STORAGES_CONNECTION_FAILED")

    def about(self, entities: Entities, given: ConnectHost) -> Mapping[str, str]:
        return {"host": given.host_id}

    def values(self, work: Work) -> Mapping[str, object]:
        given = work.parameters(ConnectHost)
        names = [work.entities.name_of("storage_domain", one) for one in (*given.missing, *given.needless)]
        return {"storage_domain": listed(names)}

    def describe(self, entities: Entities, given: ConnectHost) -> str:
        return f"Connecting Host {given.name} to its Storage Domains"

    def check(self, entities: Entities, given: ConnectHost) -> None:
        """Hosts are asked one after the other, and a domain may have been put away or activated meanwhile."""
        for wanted, domains in ((True, given.missing), (False, given.needless)):
            for identifier in domains:
                domain = entities.need("storage_domain", identifier)
                if is_for(domain, given.host_id) != wanted:
                    why = "It has become active since the host was asked" if not wanted else "It is put away meanwhile"
                    raise refused(domain, "connect Host to Storage", why, "Look again.")

    def locks(self, entities: Entities, given: ConnectHost) -> Sequence[Lock]:
        domains = (*given.missing, *given.needless)
        return Lock("host", given.host_id, "", is_shared=True), *(
            Lock("storage_domain", one, "", is_shared=True) for one in domains
        )

    def plan(self, entities: Entities, given: ConnectHost) -> Sequence[Planned]:
        steps = []
        if given.missing:
            steps.append(Planned("connect", "Mounting what it lacks"))
        if given.needless:
            steps.append(Planned("disconnect", "Unmounting what is in maintenance"))
        return steps

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(ConnectHost)

        def how(domain: Entity) -> Entity:
            return domain.with_body(**{MOUNTED_ON: sorted({*domain.body.get(MOUNTED_ON, ()), given.host_id})})

        for domain in given.missing:
            work.entities.change("storage_domain", domain, how)
        return {}
