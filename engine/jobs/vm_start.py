"""Start a VM: the scheduler names a host, the host starts the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import Conflict
from engine.decide import vm_config
from engine.jobs import owed, seeds
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import domain_for, need_active_domain
from engine.jobs.vm_place import DOWN, need_vm
from engine.jobs.vm_spec import Parts, body_of, parts_of
from engine.jobs.vm_start_on import choose_host, forget_host, start_on_best, status_after, unstart
from engine.jobs.vm_state import INITIALIZED, started
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

USABLE_DISK = ("", "ok")


@dataclass(frozen=True)
class StartVm:
    """Which VM. ``hosts``: ids of those that may be chosen (none: any). ``once``: v4's attributes for this run alone.
    ``init``: cloud-init makes up its guest, also if it did so before."""

    vm_id: str
    hosts: tuple[str, ...] = ()
    paused: bool = False
    once: Mapping[str, Any] = field(default_factory=dict)
    init: bool = False


def chosen(work: Work) -> str:
    """The name of the host that step ``place`` chose."""
    return str(work.found("place")["host"])


def _place(work: Work) -> Mapping[str, Any]:
    given = work.parameters(StartVm)
    domain = str(work.arguments.get("domain") or "")
    return choose_host(work, given.vm_id, given.hosts, given.once, [domain] if domain else [])


def _forget(work: Work) -> None:
    forget_host(work, work.parameters(StartVm).vm_id)


def _seed(work: Work) -> Mapping[str, Any]:
    given = work.parameters(StartVm)
    body = body_of(work.entities.need("vm", given.vm_id), given.once)
    return seeds.write(work, given.vm_id, str(work.arguments["domain"]), chosen(work), body)


def _unseed(work: Work) -> None:
    seeds.forget(work.entities, work.parameters(StartVm).vm_id, work.job_id)


def _start(work: Work) -> Mapping[str, Any]:
    given = work.parameters(StartVm)
    return start_on_best(work, given.vm_id, given.hosts, given.once, paused=given.paused)


def _unstart(work: Work) -> None:
    unstart(work, work.parameters(StartVm).vm_id)


def started_on(work: Work) -> str:
    """The id of the host that has it now, or that was chosen; empty: none was."""
    return str(work.found("start").get("id") or work.found("place").get("id") or "")


def status_of(work: Work) -> str:
    """The VM's status at the end of step ``start``, which a job may have done before its host's answer was kept."""
    return status_after(str(work.found("start").get("power") or ""))


def told_of(work: Work) -> Sequence[str]:
    """What people hear of the VM besides: as the follower tells it."""
    return ("USER_RUN_VM",) if status_of(work) == "up" else ()


def _of_its_cd(entities: Entities, given: StartVm) -> Sequence[str]:
    """The domain that cloud-init's CD is written to, if this start gets one."""
    vm = entities.need("vm", given.vm_id)
    if not seeds.wants(vm, body_of(vm, given.once), asked=given.init):
        return ()
    return (domain_for(entities, vm, "run VM"),)


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


def locks_of(entities: Entities, vm: Entity, shown: str, *domains: str) -> Sequence[Lock]:
    """The VM is held; its disks, its CD and their domains must stay, and ``domains``, which its start needs besides."""
    disks = [one.ref("disk") for one in entities.children(vm.key, "disk_attachment")]
    held = [*disks, *vm.refs.get("iso", ())]
    mine = [name for one in entities.many("disk", held).values() for name in one.refs.get("storage_domains", ())]
    return (
        Lock("vm", vm.id, shown),
        *(Lock("disk", one, "", is_shared=True) for one in dict.fromkeys(held)),
        *(Lock("storage_domain", one, "", is_shared=True) for one in dict.fromkeys([*mine, *domains])),
    )


class VmStart(JobType[StartVm]):
    """The VM is ``wait_for_launch`` meanwhile; ``up`` (or ``paused``) at the end, or down as before. If its host is lost on
    the way and nothing is known of it, its status is ``unknown`` until the host says."""

    name = "vm.start"
    parameters = StartVm
    steps = (
        Step("place", _place, _forget, weight=0.2, is_local=True),
        Step("seed", _seed, _unseed, weight=0.2),
        Step("start", _start, _unstart),
    )
    told = Told("", "USER_STARTED_VM", "USER_FAILED_RUN_VM")

    def about(self, entities: Entities, given: StartVm) -> Mapping[str, str]:
        return {"vm": given.vm_id}

    def more_about(self, work: Work) -> Mapping[str, str]:
        host = started_on(work)
        return {"host": host} if host else {}

    def tells_besides(self, work: Work) -> Sequence[str]:
        return told_of(work)

    def describe(self, entities: Entities, given: StartVm) -> str:
        return f"Launching VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: StartVm) -> None:
        vm = need_vm(entities, given.vm_id, "run VM", DOWN)
        parts = parts_of(entities, vm, given.once)
        vm_config.check(vm.name, parts.body, "run VM")
        check_parts(entities, parts)
        for domain in _of_its_cd(entities, given):
            need_active_domain(entities, domain, "run VM")
        for host in given.hosts:
            entities.need("host", host)

    def locks(self, entities: Entities, given: StartVm) -> Sequence[Lock]:
        return locks_of(entities, entities.need("vm", given.vm_id), "wait_for_launch", *_of_its_cd(entities, given))

    def plan(self, entities: Entities, given: StartVm) -> Sequence[Planned]:
        start = Planned("start", f"Starting VM {entities.name_of('vm', given.vm_id)}")
        for domain in _of_its_cd(entities, given):
            seed = Planned("seed", "Writing cloud-init's CD", {"domain": domain})
            return Planned("place", "Choosing a host", {"domain": domain}), seed, start
        return Planned("place", "Choosing a host"), start

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(StartVm)
        now_ms = int(work.clock.wall_s() * 1000)
        status = status_of(work)
        told = {INITIALIZED: True} if work.found("seed") else {}
        run_once = bool(given.once)
        work.entities.change("vm", given.vm_id, lambda vm: started(vm, status, now_ms, run_once=run_once, **told))
        owed.forget(work.entities, given.vm_id)
        return {"host": started_on(work)}

    def given_up(self, work: Work) -> None:
        work.entities.set_status("vm", {work.parameters(StartVm).vm_id: "unknown"})
