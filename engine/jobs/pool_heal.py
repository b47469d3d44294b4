"""Let a volume heal whose writers hold the locks that its self-heal daemons need: engine/decide/starved.py says when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.jobs.job import JobType, Planned, Step, Work
from engine.jobs.places import choose_host, chosen_or_another, need_active_domain
from engine.jobs.ports import PoolNode
from engine.store.entities import Entities
from engine.store.jobs import Lock
from gluster.model import EAGER_LOCK

ACTION = "heal"
TRIES = 12
PAUSE_S = 5.0
"""After each order to heal: a minute in all. Seen: whole 3 s after the first. Longer would cost all writers of the volume
more than it brings."""


@dataclass(frozen=True)
class HealPool:
    """The storage domain (id) whose ``volume`` is to heal. It is held, so that it stays where its hosts have it."""

    domain_id: str
    volume: str


def _node(work: Work) -> PoolNode:
    return work.nodes.pools(chosen_or_another(work))


def _set(work: Work, value: str) -> None:
    _node(work).gluster_set_options(work.parameters(HealPool).volume, {EAGER_LOCK: value})


def _loosen(work: Work) -> None:
    _set(work, "off")


def _tighten(work: Work) -> None:
    _set(work, "on")


def _heal(work: Work) -> Mapping[str, Any]:
    volume = work.parameters(HealPool).volume
    for number in range(TRIES):
        node = _node(work)
        node.gluster_heal(volume)
        work.clock.sleep(PAUSE_S)  # what is being healed at this moment is counted apart for a while (seen)
        found = node.gluster_pool().volume(volume)
        if found is not None and found.is_healed:
            work.log(f"volume {volume} is whole after {number + 1} orders")
            return {"whole": True}
    work.log(f"volume {volume} is not whole after {TRIES} orders")
    return {"whole": False}


class PoolHeal(JobType[HealPool]):
    """The option is as before at the end, however it ends; whether the volume is whole is in the result."""

    name = "pool.heal"
    parameters = HealPool
    steps = (
        Step("choose-host", choose_host, weight=0.1),
        Step("loosen", _loosen, _tighten, weight=0.2),
        Step("heal", _heal),
        Step("tighten", _tighten, is_final=True, weight=0.2),
    )

    def describe(self, entities: Entities, given: HealPool) -> str:
        return f"Letting Storage Domain {entities.name_of('storage_domain', given.domain_id)} heal"

    def check(self, entities: Entities, given: HealPool) -> None:
        need_active_domain(entities, given.domain_id, ACTION)

    def locks(self, entities: Entities, given: HealPool) -> Sequence[Lock]:
        return (Lock("storage_domain", given.domain_id, "", is_shared=True),)

    def plan(self, entities: Entities, given: HealPool) -> Sequence[Planned]:
        return (
            Planned("choose-host", "Choosing a host"),
            Planned("loosen", "Letting writers give their locks up"),
            Planned("heal", "Healing"),
            Planned("tighten", "Letting writers keep their locks again"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        return {"whole": bool(work.found("heal").get("whole"))}
