"""Write on a storage domain what is there: v4's ``updateovfstore``. Also done by the hour, when something has changed, and
before a domain goes to maintenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.jobs.descriptors import write
from engine.jobs.domain_use import need_not_engines
from engine.jobs.job import JobType, Planned, Step, Work
from engine.jobs.places import choose_host, chosen_or_another, need_active_domain
from engine.store.entities import Entities
from engine.store.jobs import Lock

ACTION = "update OVF store"


@dataclass(frozen=True)
class DescribeDomain:
    """Which domain."""

    domain_id: str


def _write(work: Work) -> Mapping[str, Any]:
    domain = work.entities.need("storage_domain", work.parameters(DescribeDomain).domain_id)
    host = chosen_or_another(work)
    written = write(work.entities, work.nodes.storage(host), domain)
    for path in written.left_out:
        work.log(f"left out, because it is too long: {path}")
    return {"files": written.files}


class DomainDescribe(JobType[DescribeDomain]):
    """Nothing else changes, so there is nothing to undo: what is half written is written anew next time."""

    name = "domain.describe"
    parameters = DescribeDomain
    steps = (Step("choose-host", choose_host, weight=0.1), Step("write", _write))

    def describe(self, entities: Entities, given: DescribeDomain) -> str:
        return f"Updating OVF store of Storage Domain {entities.name_of('storage_domain', given.domain_id)}"

    def check(self, entities: Entities, given: DescribeDomain) -> None:
        need_not_engines(need_active_domain(entities, given.domain_id, ACTION), ACTION)

    def locks(self, entities: Entities, given: DescribeDomain) -> Sequence[Lock]:
        return (Lock("storage_domain", given.domain_id, "", is_shared=True),)

    def plan(self, entities: Entities, given: DescribeDomain) -> Sequence[Planned]:
        return Planned("choose-host", "Choosing a host"), Planned("write", "Writing what is there")

    def finish(self, work: Work) -> Mapping[str, Any]:
        return {"files": work.found("write").get("files", 0)}
