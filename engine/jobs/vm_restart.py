"""Start a highly available VM again whose host is certainly lost. Ordered by engine/jobs/keep_ha.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict
from engine.jobs import owed
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.vm_place import DOWN, name_of, need_vm
from engine.jobs.vm_spec import parts_of
from engine.jobs.vm_start import check_parts, locks_of, started_on, status_of, told_of
from engine.jobs.vm_start_on import choose_host, forget_host, start_on_best, unstart
from engine.jobs.vm_state import RUN, placed, started
from engine.store.entities import Entities
from engine.store.jobs import Lock

ORDERED = "ordered"
"""The job in a row's ``trivet_run`` while the host was chosen with the order, and no step has taken it over yet."""


@dataclass(frozen=True)
class RestartVm:
    """Which VM; ``host_id``: the host that was chosen when the restarts of all lost VMs were put in order. ``why`` its
    old run is certainly over. ``now_ms``: of the order."""

    vm_id: str
    host_id: str
    why: str
    now_ms: int


def _place(work: Work) -> Mapping[str, Any]:
    """The host of the order, if it is up still; else the best one now."""
    given = work.parameters(RestartVm)
    work.log(given.why)
    with work.entities.connection.transaction():
        run = work.entities.need("vm", given.vm_id).body.get(RUN) or {}
        host = str(run.get("host"))
        if run.get("job") == ORDERED and any(one.id == host and one.is_up for one in work.nodes.reports()):
            work.entities.change("vm", given.vm_id, lambda vm: placed(vm, host, work.job_id))
            return {"id": host, "host": name_of(work, host)}
    return choose_host(work, given.vm_id, ())


def _forget(work: Work) -> None:
    forget_host(work, work.parameters(RestartVm).vm_id)


def _start(work: Work) -> Mapping[str, Any]:
    return start_on_best(work, work.parameters(RestartVm).vm_id, ())


def _unstart(work: Work) -> None:
    unstart(work, work.parameters(RestartVm).vm_id)


class VmRestart(JobType[RestartVm]):
    """As :class:`engine.jobs.vm_start.VmStart`. It counts as a try from the order on; what is owed is paid when it has
    started, in the same transaction."""

    name = "vm.restart"
    parameters = RestartVm
    steps = (Step("place", _place, _forget, weight=0.2), Step("start", _start, _unstart))
    told = Told("VDS_INITIATED_RUN_VM", "", "HA_VM_RESTART_FAILED")

    def about(self, entities: Entities, given: RestartVm) -> Mapping[str, str]:
        return {"vm": given.vm_id, "host": given.host_id}

    def more_about(self, work: Work) -> Mapping[str, str]:
        host = started_on(work)
        return {"host": host} if host else {}

    def tells_besides(self, work: Work) -> Sequence[str]:
        return told_of(work)

    def describe(self, entities: Entities, given: RestartVm) -> str:
        return f"Restarting VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: RestartVm) -> None:
        vm = need_vm(entities, given.vm_id, "restart VM", DOWN)
        if entities.get(owed.KIND, vm.id) is None or not owed.is_ha(vm):
            reason = "no restart of it is owed any more"
            raise Conflict("vm.not-owed", subject=f"VM {vm.name}", reason=reason, remedy="Nothing is needed.")
        check_parts(entities, parts_of(entities, vm))

    def locks(self, entities: Entities, given: RestartVm) -> Sequence[Lock]:
        return locks_of(entities, entities.need("vm", given.vm_id), "wait_for_launch")

    def prepare(self, entities: Entities, given: RestartVm) -> None:
        entities.change("vm", given.vm_id, lambda vm: placed(vm, given.host_id, ORDERED))
        owed.trying(entities, given.vm_id, given.now_ms)

    def plan(self, entities: Entities, given: RestartVm) -> Sequence[Planned]:
        name = entities.need("vm", given.vm_id).name
        return Planned("place", "Choosing a host"), Planned("start", f"Starting VM {name}")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(RestartVm)
        now_ms = int(work.clock.wall_s() * 1000)
        work.entities.change("vm", given.vm_id, lambda vm: started(vm, status_of(work), now_ms))
        owed.forget(work.entities, given.vm_id)
        return {"host": started_on(work)}

    def undone(self, work: Work) -> None:
        forget_host(work, work.parameters(RestartVm).vm_id)  # also when no step was begun

    def given_up(self, work: Work) -> None:
        work.entities.set_status("vm", {work.parameters(RestartVm).vm_id: "unknown"})
