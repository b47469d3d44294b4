"""Tell the bricks of a volume anew whom they refuse: engine/decide/shut_out.py says when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import TrivetError
from engine.decide.schedule_words import listed
from engine.jobs.job import JobType, Planned, Step, Work
from engine.jobs.places import choose_host, chosen_or_another, need_active_domain
from engine.store.entities import Entities
from engine.store.jobs import Lock

ACTION = "tell the bricks whom they refuse"
LOOKS = 12
PAUSE_S = 5.0
"""Between two looks, a minute in all: clients try every 3 s; after that it is something else, and the keeper asks again."""


@dataclass(frozen=True)
class AdmitToPool:
    """The storage domain (id) with that ``volume``, and the names of the hosts that lack a brick of it."""

    domain_id: str
    volume: str
    hosts: tuple[str, ...]


def _tell(work: Work) -> None:
    given = work.parameters(AdmitToPool)
    host = chosen_or_another(work)
    work.nodes.pools(host).gluster_renew_refusals(given.volume)
    work.log(f"the bricks of {given.volume} were told anew whom they refuse, through {host}")


def _look(work: Work) -> Mapping[str, Any]:
    left = work.parameters(AdmitToPool).hosts
    for number in range(LOOKS):
        if number:
            work.clock.sleep(PAUSE_S)
        left = tuple(host for host in left if _lacks(work, host))
        if not left:
            break
    if left:
        work.log(f"{listed(left)}: a brick is still not reached; look at the network between these hosts and the brick's")
    return {"left": list(left)}


def _lacks(work: Work, host: str) -> tuple[str, ...]:
    """The hosts of the bricks that the mount of ``host`` does not reach; itself, if it cannot be asked."""
    volume = work.parameters(AdmitToPool).volume
    try:
        bricks = work.nodes.pools(host).gluster_mount(volume)
    except TrivetError as error:
        work.log(f"{host}: {error} [{error.code}]")
        return (host,)
    return tuple(one.host for one in bricks if not one.connected)


def _renew(work: Work) -> None:
    """A self-heal daemon that a brick has refused never asks it again."""
    left = work.found("look").get("left", [])
    for host in work.parameters(AdmitToPool).hosts:
        if host not in left:
            work.nodes.pools(host).gluster_renew_healer()
            work.log(f"{host} reaches every brick; its self-heal daemon was started anew")


class PoolAdmit(JobType[AdmitToPool]):
    """Which hosts lack a brick after it is in the result."""

    name = "pool.admit"
    parameters = AdmitToPool
    steps = (
        Step("choose-host", choose_host, weight=0.1),
        Step("tell", _tell, is_final=True, weight=0.2),
        Step("look", _look, is_final=True),
        Step("renew", _renew, is_final=True, weight=0.3),
    )

    def describe(self, entities: Entities, given: AdmitToPool) -> str:
        domain = entities.name_of("storage_domain", given.domain_id)
        return f"Letting {listed(given.hosts)} reach every brick of Storage Domain {domain}"

    def check(self, entities: Entities, given: AdmitToPool) -> None:
        need_active_domain(entities, given.domain_id, ACTION)

    def locks(self, entities: Entities, given: AdmitToPool) -> Sequence[Lock]:
        return (Lock("storage_domain", given.domain_id, "", is_shared=True),)

    def plan(self, entities: Entities, given: AdmitToPool) -> Sequence[Planned]:
        return (
            Planned("choose-host", "Choosing a host"),
            Planned("tell", "Telling the bricks whom they refuse"),
            Planned("look", "Waiting until the hosts reach every brick"),
            Planned("renew", "Starting their self-heal daemons anew"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        return {"left": list(work.found("look").get("left", []))}
