"""A change of a VM that runs: what its machine can be given at once is ordered, the rest waits for the next start."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from appliance.errors import Conflict
from engine.api.noun import Call
from engine.api.tell import tell
from engine.api.work import AWAITED_S
from engine.decide.vm_growth import growth
from engine.jobs.job import JobType
from engine.jobs.vm_grow import GrowCpus, GrowMemory, VmGrowCpus, VmGrowMemory
from engine.jobs.vm_place import ANSWERING
from engine.store.entity import Entity


def grow(call: Call, vm: Entity, changed: Collection[str]) -> None:
    """Order what was ``changed`` now and can be had at once. As in oVirt the change itself has succeeded whatever comes of
    it: an event says why not, and it is so after the next start."""
    if vm.status not in ANSWERING:
        return
    wanted = growth(vm.body)
    if wanted.memory and "memory" in changed:
        _order(call, VmGrowMemory, GrowMemory(vm.id, wanted.memory))
    if wanted.sockets and "cpu" in changed:
        _order(call, VmGrowCpus, GrowCpus(vm.id, wanted.sockets))


def _order(call: Call, kind: type[JobType[Any]], given: GrowCpus | GrowMemory) -> None:
    desk = call.engine.desk
    try:
        job = desk.order(kind, given, owner_id=call.account.id, correlation_id=call.correlation_id)
    except Conflict as error:
        assert kind.told is not None
        with call.engine.store.connection.transaction():
            tell(call, kind.told.failed, {"vm": given.vm_id}, {"reason": error.reason})
        return
    if call.parameters.is_asynchronous is not True:
        desk.wait(job.id, AWAITED_S)
