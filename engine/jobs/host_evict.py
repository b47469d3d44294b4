"""Cut a host that does not answer off from the storage domains, so that its HA VMs can be started elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict, Unavailable
from engine.decide.schedule_words import listed
from engine.jobs.evicted import EVICTED, connected, record_of, refused
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import host_for_cleaning, usable
from engine.store.entities import Entities
from engine.store.jobs import Lock


@dataclass(frozen=True)
class OnHost:
    """Which host; ``domains``: storage domain → Gluster volume. ``why`` is a sentence."""

    host_id: str
    name: str
    address: str
    domains: Mapping[str, str]
    why: str = ""


def through(work: Work, given: OnHost) -> str:
    """Another host that is up: its glusterd does it. Raises ``Unavailable`` ``job.no-host``."""
    hosts = [one for one in usable(work) if one != given.name]
    if not hosts:
        raise Unavailable(
            "job.no-host", subject="the job", reason="no other host is up", remedy="Wait until one of them answers."
        )
    return hosts[0]


def _look(work: Work) -> Mapping[str, Any]:
    """Once more, by asking now: the host may have come back since this was ordered."""
    given = work.parameters(OnHost)
    work.log(given.why)
    host = through(work, given)
    report = next((one for one in work.nodes.reports() if one.id == given.host_id), None)
    pool = work.nodes.pools(host).gluster_pool()
    if report is None or report.is_up or connected(pool, given.name) is not False:
        raise Conflict(
            "host.not-lost",
            subject=f"host {given.name}",
            reason="it answers again, or the pool has its glusterd connected",
            remedy="Nothing is needed: its VMs are where they were.",
        )
    work.log(f"{given.name} is not connected to the pool, says {host}")
    boot_id = report.facts.boot_id if report.facts else ""
    return {"host": host, "boot_id": boot_id}


def _evict(work: Work) -> None:
    given = work.parameters(OnHost)
    host = host_for_cleaning(work, str(work.found("look")["host"]))
    refuse(work, host, given, is_out=True)


def refuse(work: Work, host: str, given: OnHost, *, is_out: bool) -> None:
    """Part of a step: the volumes refuse the host's address, or no longer; whom else they refuse stays so."""
    node = work.nodes.pools(host)
    pool = node.gluster_pool()
    for volume in sorted(set(given.domains.values())):
        others = refused(pool, volume) - {given.address}
        wanted = others | {given.address} if is_out else others
        node.gluster_reject(volume, tuple(sorted(wanted)))
        work.log(f"volume {volume} refuses {listed(wanted) or 'nobody'}")


class OnHostJob(JobType[OnHost]):
    """What eviction and admission have in common."""

    parameters = OnHost

    def about(self, entities: Entities, given: OnHost) -> Mapping[str, str]:
        return {"host": given.host_id}

    def values(self, work: Work) -> Mapping[str, object]:
        return {"storage_domain": listed(work.parameters(OnHost).domains)}

    def locks(self, entities: Entities, given: OnHost) -> Sequence[Lock]:
        return (Lock("host", given.host_id, ""),)


class HostEvict(OnHostJob):
    """The host is evicted at the end, which is written down in the same transaction; not before the bricks certainly refuse
    it. Once they have been told there is no way back: only an admission lets it in again."""

    name = "host.evict"
    steps = (Step("look", _look, weight=0.2), Step("evict", _evict, is_final=True))
    told = Told("", "TRIVET_HOST_EVICTED", "TRIVET_HOST_EVICTION_FAILED")

    def describe(self, entities: Entities, given: OnHost) -> str:
        return f"Evicting Host {given.name} from {listed(given.domains)}"

    def check(self, entities: Entities, given: OnHost) -> None:
        if record_of(entities.need("host", given.host_id)):
            raise Conflict(
                "host.evicted",
                subject=f"host {given.name}",
                reason="it is evicted already",
                remedy="Nothing is needed.",
            )

    def plan(self, entities: Entities, given: OnHost) -> Sequence[Planned]:
        return (
            Planned("look", "Asking the pool whether it is lost"),
            Planned("evict", f"Cutting it off from {listed(given.domains)}"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(OnHost)
        record = {
            "domains": sorted(given.domains),
            "volumes": sorted(set(given.domains.values())),
            "boot_id": work.found("look")["boot_id"],
            "wall_ms": int(work.clock.wall_s() * 1000),
        }
        work.entities.change("host", given.host_id, lambda host: host.with_body(**{EVICTED: record}))
        return {}
