"""Move a running VM to another host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import NotFound
from appliance.model.vm_live import MigrationLimits
from engine.jobs import placing
from engine.jobs.backups import refuse_backup
from engine.jobs.evicted import cannot_write
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_place import found_at, host_of, id_of, name_of, need_vm, state_at
from engine.jobs.vm_spec import parts_of
from engine.jobs.vm_state import ARRIVED, MOVE, RUN
from engine.store.audit import Audit
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

MOVABLE = frozenset({"up", "powering_up", "paused", "reboot_in_progress"})


@dataclass(frozen=True)
class MigrateVm:
    """Which VM; ``hosts``: ids of those that may be chosen (none: any). ``is_placed``: who orders this has placed it with
    others that move, so its one host is taken as it is (VMs that must stay together move one after the other). ``why``: the
    reason, when nobody ordered it by hand."""

    vm_id: str
    hosts: tuple[str, ...] = ()
    owner_id: str = ""
    correlation_id: str = ""
    is_placed: bool = False
    why: str = ""


def limits_of(vm: Entity, cluster: Entity) -> MigrationLimits:
    """What VM and cluster say of migration; the rest is the nodes' default."""
    own, common = vm.body.get("migration") or {}, cluster.body.get("migration") or {}
    words = [str(one.get("auto_converge") or "inherit") for one in (own, common)]
    converge = next((one == "true" for one in words if one != "inherit"), True)
    downtime = int(vm.body.get("migration_downtime") or -1)
    bandwidth = (own.get("bandwidth") or common.get("bandwidth") or {}).get("custom_value")
    base = MigrationLimits()
    return MigrationLimits(
        max(1, int(bandwidth) // 8) if bandwidth else base.bandwidth_mib_s,  # v4 counts megabits
        downtime if downtime > 0 else base.downtime_ms,
        converge,
    )


def _choose(work: Work) -> Mapping[str, Any]:
    """The target, written into the VM's row with the event that names it: a repeated step finds both done."""
    given = work.parameters(MigrateVm)
    with work.entities.connection.transaction():
        vm = work.entities.need("vm", given.vm_id)
        move = vm.body.get(MOVE) or {}
        source = host_of(work, vm)
        if move.get("job") == work.job_id:
            return {"id": move["host"], "host": name_of(work, str(move["host"])), "source": source}
        host, name, reason = _target(work, vm, given)
        work.entities.change("vm", vm.id, lambda before: before.with_body(**{MOVE: {"host": host, "job": work.job_id}}))
        Audit(work.entities.connection, work.clock).tell(
            "VM_MIGRATION_START_SYSTEM_INITIATED" if given.why else "VM_MIGRATION_START",
            {"vm": vm.id, "host": vm.ref("host")},
            {"target": name, **({"reason": given.why} if given.why else {})},
            account=given.owner_id,
            correlation_id=given.correlation_id,
        )
    work.log(f"{given.why}; {reason}" if given.why else reason)
    return {"id": host, "host": name, "source": source}


def _target(work: Work, vm: Entity, given: MigrateVm) -> tuple[str, str, str]:
    """(id, name, why) of the host that gets it."""
    if given.is_placed:
        return given.hosts[0], name_of(work, given.hosts[0]), "placed with the others of its host"
    found = placing.target(work, parts_of(work.entities, vm), given.hosts)
    return found.host, found.host_name, found.reason


def _forget(work: Work) -> None:
    work.entities.change("vm", work.parameters(MigrateVm).vm_id, lambda vm: vm.without(MOVE))


def _move(work: Work) -> Mapping[str, Any]:
    given, to = work.parameters(MigrateVm), work.found("choose")
    vm = work.entities.need("vm", given.vm_id)
    source, target = str(to["source"]), str(to["host"])
    limits = limits_of(vm, work.entities.need("cluster", vm.ref("cluster")))
    began_s = work.clock.monotonic_s()
    try:
        with work.at(source) as node:
            name = task_id(work, "move")
            await_task(
                work, node, name, lambda task: node.vm_move(task, vm.id, target, limits), is_lost=lambda: _is_lost(work)
            )
    except NotFound:
        # Not at the source: an earlier try of this step got it over, or it has ended.
        if found_at(work, [target], vm.id) != target:
            raise
    return {"seconds": int(work.clock.monotonic_s() - began_s)}


def _is_lost(work: Work) -> bool:
    """Whether its host is cut off from all that it could write: what is left of it there is waited for no more."""
    vm = work.entities.need("vm", work.parameters(MigrateVm).vm_id)
    return cannot_write(work.entities, vm, work.entities.get("host", vm.ref("host")))


def _unmove(work: Work) -> None:
    """It is not brought back. Where it is, is found out."""
    given, to = work.parameters(MigrateVm), work.found("choose")
    source, target = str(to["source"]), str(to["host"])
    is_lost = _is_lost(work)
    where = found_at(work, [target] if is_lost else [source, target], given.vm_id)
    if where == target:
        work.log(f"it has arrived on {where} all the same")
        arrive(work, given.vm_id, id_of(work, where))
    elif is_lost and state_at(work, target, given.vm_id) is not None:
        work.log(f"{source} is lost: what had arrived of it on {target} will never run")
        with work.at(target) as node:
            node.vm_destroy(given.vm_id)


def arrive(work: Work, vm_id: str, host_id: str) -> None:
    """The VM is there now."""

    def how(vm: Entity) -> Entity:
        run = {**(vm.body.get(RUN) or {}), "host": host_id, ARRIVED: int(work.clock.wall_s() * 1000)}
        return vm.without(MOVE).with_body(**{RUN: run}).with_refs(host=host_id)

    work.entities.change("vm", vm_id, how)


class VmMigrate(JobType[MigrateVm]):
    """The VM is ``migrating`` meanwhile and runs all the time: on the target at the end, or where it was."""

    name = "vm.migrate"
    parameters = MigrateVm
    steps = (Step("choose", _choose, _forget, weight=0.1), Step("move", _move, _unmove))
    told = Told("", "VM_MIGRATION_DONE", "VM_MIGRATION_FAILED", "VM_CANCEL_MIGRATION")

    def about(self, entities: Entities, given: MigrateVm) -> Mapping[str, str]:
        return {"vm": given.vm_id, "host": entities.need("vm", given.vm_id).ref("host")}

    def values(self, work: Work) -> Mapping[str, object]:
        seconds = work.found("move").get("seconds")
        target = work.found("choose").get("host")
        return {**({"target": target} if target else {}), **({} if seconds is None else {"duration": f"{seconds} seconds"})}

    def describe(self, entities: Entities, given: MigrateVm) -> str:
        return f"Migrating VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: MigrateVm) -> None:
        need_vm(entities, given.vm_id, "migrate VM", MOVABLE)
        refuse_backup(entities, given.vm_id, "migrate VM")
        for host in given.hosts:
            entities.need("host", host)

    def locks(self, entities: Entities, given: MigrateVm) -> Sequence[Lock]:
        return (Lock("vm", given.vm_id, "migrating"),)

    def plan(self, entities: Entities, given: MigrateVm) -> Sequence[Planned]:
        name = entities.need("vm", given.vm_id).name
        return Planned("choose", "Choosing a host"), Planned("move", f"Moving VM {name}")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given, to = work.parameters(MigrateVm), work.found("choose")
        arrive(work, given.vm_id, str(to["id"]))
        return {"host": to["id"]}

    def given_up(self, work: Work) -> None:
        work.entities.set_status("vm", {work.parameters(MigrateVm).vm_id: "unknown"})
