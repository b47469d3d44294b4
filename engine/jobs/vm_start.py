"""Start a VM: the scheduler names a host, the host starts the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import Conflict
from engine.decide import vm_config
from engine.jobs import placing
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.vm_place import DOWN, name_of, need_vm
from engine.jobs.vm_spec import Parts, parts_of
from engine.jobs.vm_state import RUN, placed, started, unplaced
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

USABLE_DISK = ("", "ok")


@dataclass(frozen=True)
class StartVm:
    """Which VM. ``hosts``: ids of those that may be chosen (none: any). ``once``: v4's attributes for this run alone."""

    vm_id: str
    hosts: tuple[str, ...] = ()
    paused: bool = False
    once: Mapping[str, Any] = field(default_factory=dict)


def choose_host(work: Work, vm_id: str, hosts: Sequence[str], once: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """Part of a step's ``do``: a host for the VM, written into its row in the same transaction, so that the next placement
    counts it, and so that a repeated step finds it."""
    with work.entities.connection.transaction():
        vm = work.entities.need("vm", vm_id)
        run = vm.body.get(RUN) or {}
        if run.get("job") == work.job_id:
            return {"id": run["host"], "host": name_of(work, str(run["host"]))}
        found = placing.place(work, parts_of(work.entities, vm, once), hosts)
        work.entities.change("vm", vm_id, lambda before: placed(before, found.host, work.job_id))
    work.log(found.reason)
    return {"id": found.host, "host": found.host_name}


def forget_host(work: Work, vm_id: str) -> None:
    """Part of a step's ``undo``."""
    work.entities.change("vm", vm_id, unplaced)


def chosen(work: Work) -> str:
    """The name of the host that step ``place`` chose."""
    return str(work.found("place")["host"])


def _place(work: Work) -> Mapping[str, Any]:
    given = work.parameters(StartVm)
    return choose_host(work, given.vm_id, given.hosts, given.once)


def _forget(work: Work) -> None:
    forget_host(work, work.parameters(StartVm).vm_id)


def _start(work: Work) -> None:
    given = work.parameters(StartVm)
    parts = parts_of(work.entities, work.entities.need("vm", given.vm_id), given.once)
    with work.at(chosen(work)) as node:
        node.vm_start(parts.spec(), given.paused)


def _unstart(work: Work) -> None:
    with work.at(chosen(work)) as node:
        node.vm_destroy(work.parameters(StartVm).vm_id)


def check_parts(entities: Entities, parts: Parts) -> None:
    """Refuse (``vm.boot``, ``disk.not-ok``) what no host could start."""
    reason = parts.why_not()
    if reason:
        raise Conflict(
            "vm.boot", subject=f"VM {parts.vm.name}", reason=reason, remedy="Give it a disk, or change its boot order."
        )
    for disk in entities.many("disk", [one.id for one in parts.disks]).values():
        if disk.status not in USABLE_DISK:
            reason = f"Cannot run VM. Its disk {disk.name} is {disk.status}"
            raise Conflict("disk.not-ok", subject=f"VM {parts.vm.name}", reason=reason, remedy="Detach or remove that disk.")


def locks_of(entities: Entities, vm: Entity, shown: str) -> Sequence[Lock]:
    """The VM is held; its disks, its CD and their domains must stay."""
    disks = [one.ref("disk") for one in entities.children(vm.key, "disk_attachment")]
    held = [*disks, *vm.refs.get("iso", ())]
    return Lock("vm", vm.id, shown), *(Lock("disk", one, "", is_shared=True) for one in dict.fromkeys(held))


class VmStart(JobType[StartVm]):
    """The VM is ``wait_for_launch`` meanwhile; ``powering_up`` (or ``paused``) at the end, or down as before. If its host is
    lost on the way and nothing is known of it, its status is ``unknown`` until the host says."""

    name = "vm.start"
    parameters = StartVm
    steps = (Step("place", _place, _forget, weight=0.2), Step("start", _start, _unstart))
    told = Told("", "USER_STARTED_VM", "USER_FAILED_RUN_VM")

    def about(self, entities: Entities, given: StartVm) -> Mapping[str, str]:
        return {"vm": given.vm_id}

    def more_about(self, work: Work) -> Mapping[str, str]:
        host = str(work.found("place").get("id") or "")
        return {"host": host} if host else {}

    def describe(self, entities: Entities, given: StartVm) -> str:
        vm = entities.get("vm", given.vm_id)
        return f"Launching VM {vm.name if vm else given.vm_id}"

    def check(self, entities: Entities, given: StartVm) -> None:
        vm = need_vm(entities, given.vm_id, "run VM", DOWN)
        parts = parts_of(entities, vm, given.once)
        vm_config.check(vm.name, parts.body, "run VM")
        check_parts(entities, parts)
        for host in given.hosts:
            entities.need("host", host)

    def locks(self, entities: Entities, given: StartVm) -> Sequence[Lock]:
        return locks_of(entities, entities.need("vm", given.vm_id), "wait_for_launch")

    def plan(self, entities: Entities, given: StartVm) -> Sequence[Planned]:
        name = entities.need("vm", given.vm_id).name
        return Planned("place", "Choosing a host"), Planned("start", f"Starting VM {name}")

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(StartVm)
        now_ms = int(work.clock.wall_s() * 1000)
        status = "paused" if given.paused else "powering_up"
        work.entities.change("vm", given.vm_id, lambda vm: started(vm, status, now_ms, run_once=bool(given.once)))
        return {"host": work.found("place").get("id", "")}

    def given_up(self, work: Work) -> None:
        work.entities.set_status("vm", {work.parameters(StartVm).vm_id: "unknown"})
