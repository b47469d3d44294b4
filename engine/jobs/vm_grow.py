"""Give a VM that runs more CPUs or memory, which its definition for the next start has already.

If that fails, it waits for the next start, as all else does that cannot be changed while a VM runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from appliance.errors import Conflict, NotFound
from engine.decide.vm_config import MIB, cpu_count
from engine.decide.vm_growth import Growth, grown, why_not
from engine.jobs import placing
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.vm_place import ANSWERING, DOWN, host_of, need_vm
from engine.jobs.vm_state import GROW
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class GrowCpus:
    """How many sockets it is to have; each with as many cores and threads as those that it has."""

    vm_id: str
    sockets: int

    @property
    def growth(self) -> Growth:
        """The same for decisions."""
        return Growth(sockets=self.sockets)


@dataclass(frozen=True)
class GrowMemory:
    """How many bytes of memory it is to have."""

    vm_id: str
    memory: int

    @property
    def growth(self) -> Growth:
        """The same for decisions."""
        return Growth(memory=self.memory)


G = TypeVar("G", GrowCpus, GrowMemory)


def promise(work: Work, given: GrowCpus | GrowMemory) -> Mapping[str, Any]:
    """A step's ``do``: its host has room for the growth, and that is written down before the next placement is made. Raises
    ``Conflict`` ``vm.growth``."""
    wanted = given.growth
    with work.entities.connection.transaction():
        vm = work.entities.need("vm", given.vm_id)
        promised = vm.body.get(GROW) or {}
        if work.job_id not in promised:
            placing.need_room(work, vm, wanted)
            mine = {"sockets": wanted.sockets, "memory": wanted.memory}
            work.entities.update(vm.with_body(**{GROW: {**promised, work.job_id: mine}}))
    return {"before": amount(vm.body, given), "after": amount(grown(vm.body, wanted), given)}


def amount(body: Mapping[str, Any], given: GrowCpus | GrowMemory) -> str:
    """How much a VM has of it, for people."""
    return str(cpu_count(body)) if isinstance(given, GrowCpus) else f"{int(body['memory']) // MIB} MiB"


def kept(vm: Entity, job_id: str) -> Entity:
    """The VM without what was promised to that job."""
    left = {job: wanted for job, wanted in (vm.body.get(GROW) or {}).items() if job != job_id}
    return vm.with_body(**{GROW: left}) if left else vm.without(GROW)


def _forget(work: Work, vm_id: str) -> None:
    if work.entities.get("vm", vm_id) is not None:
        work.entities.change("vm", vm_id, lambda vm: kept(vm, work.job_id))


def give(work: Work, given: GrowCpus | GrowMemory) -> None:
    """A step's ``do``: the running machine has it."""
    vm = work.entities.need("vm", given.vm_id)
    _set(work, vm, given, grown(vm.body, given.growth))


def take_back(work: Work, given: GrowCpus | GrowMemory) -> None:
    """A step's ``undo``: it has what it had. CPUs are plugged out, the balloon takes the memory."""
    vm = work.entities.need("vm", given.vm_id)
    with contextlib.suppress(NotFound):  # it has ended: there is nothing to take
        _set(work, vm, given, vm.body)


def _set(work: Work, vm: Entity, given: GrowCpus | GrowMemory, body: Mapping[str, Any]) -> None:
    if not vm.ref("host"):
        return
    with work.at(host_of(work, vm)) as node:
        if isinstance(given, GrowCpus):
            node.vm_set_cpus(vm.id, cpu_count(body))
        else:
            node.vm_set_memory(vm.id, int(body["memory"]) // MIB)


def _steps(kind: type[G]) -> tuple[Step, ...]:
    """Promise, then give; for orders of that kind."""
    return (
        Step(
            "promise",
            lambda work: promise(work, work.parameters(kind)),
            lambda work: _forget(work, work.parameters(kind).vm_id),
            weight=0.1,
        ),
        Step("give", lambda work: give(work, work.parameters(kind)), lambda work: take_back(work, work.parameters(kind))),
    )


class _GrowJob(JobType[G]):
    """What both have in common."""

    def about(self, entities: Entities, given: G) -> Mapping[str, str]:
        return {"vm": given.vm_id}

    def check(self, entities: Entities, given: G) -> None:
        vm = need_vm(entities, given.vm_id, "hot plug", ANSWERING)
        reason = why_not(vm.body, given.growth)
        if reason:
            remedy = "It has it after its next start."
            raise Conflict("vm.growth", subject=f"VM {vm.name}", reason=f"Cannot hot plug. {reason}", remedy=remedy)

    def locks(self, entities: Entities, given: G) -> Sequence[Lock]:
        # The VM must stay where and what it is.
        return (Lock("vm", given.vm_id, "", is_shared=True),)

    def plan(self, entities: Entities, given: G) -> Sequence[Planned]:
        return Planned("promise", "Looking for room on its host"), Planned("give", self.describe(entities, given))

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(self.parameters)

        def how(vm: Entity) -> Entity:
            after = kept(vm, work.job_id)
            return after if vm.status in DOWN else replace(after, body=grown(after.body, given.growth))

        work.entities.change("vm", given.vm_id, how)
        return {}

    def values(self, work: Work) -> Mapping[str, object]:
        return work.found("promise")

    def given_up(self, work: Work) -> None:
        _forget(work, work.parameters(self.parameters).vm_id)


class VmGrowCpus(_GrowJob[GrowCpus]):
    """The machine has the CPUs at the end, or as many as before."""

    name = "vm.grow-cpus"
    parameters = GrowCpus
    steps = _steps(GrowCpus)
    told = Told("", "HOT_SET_NUMBER_OF_CPUS", "FAILED_HOT_SET_NUMBER_OF_CPUS")

    def describe(self, entities: Entities, given: GrowCpus) -> str:
        return f"Hot set CPU of VM {entities.name_of('vm', given.vm_id)}"


class VmGrowMemory(_GrowJob[GrowMemory]):
    """The machine has the memory at the end, or the balloon has taken what it got."""

    name = "vm.grow-memory"
    parameters = GrowMemory
    steps = _steps(GrowMemory)
    told = Told("", "HOT_SET_MEMORY", "FAILED_HOT_SET_MEMORY")

    def describe(self, entities: Entities, given: GrowMemory) -> str:
        return f"Hot set memory of VM {entities.name_of('vm', given.vm_id)}"
