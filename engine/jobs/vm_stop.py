"""End a VM, or ask its guest to: stop, shutdown, reboot, reset; and let one that is paused go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from appliance.errors import Unavailable
from appliance.model.disk import DiskFile
from engine.jobs.backups import refuse_backup
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import host_for_cleaning, mount_of, need_reached_domain
from engine.jobs.ports import VmNode
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_place import ANSWERING, ON_A_HOST, host_of, name_of, need_vm
from engine.jobs.vm_state import ASKED, FROZEN, MEMORY, MOVE, OF_THE_RUN, RUN, went_down
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

STOPPABLE = ON_A_HOST | {"suspended"}


@dataclass(frozen=True)
class OnVm:
    """Which VM, and why (v4's ``reason``, which is kept with it). ``force``: also in the middle of a backup, which fails
    then."""

    vm_id: str
    reason: str = ""
    force: bool = False


class OnVmJob(JobType[OnVm]):
    """A job with one step on the host that has the VM. Subclasses are data and what the step does."""

    parameters = OnVm
    action: ClassVar[str]
    """In the words of a refusal: ``stop VM``."""
    doing: ClassVar[str]
    """In the words of the list of jobs: ``Stopping VM``."""
    wanted: ClassVar[frozenset[str]]
    shown: ClassVar[str] = ""
    """What clients see as its status meanwhile."""
    ends_it: ClassVar[bool] = False
    """Whether it ends the VM, and with it a backup that goes on."""

    def about(self, entities: Entities, given: OnVm) -> Mapping[str, str]:
        host = entities.need("vm", given.vm_id).ref("host")
        return {"vm": given.vm_id, **({"host": host} if host else {})}

    def describe(self, entities: Entities, given: OnVm) -> str:
        return f"{self.doing} {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: OnVm) -> None:
        need_vm(entities, given.vm_id, self.action, self.wanted)
        if self.ends_it and not given.force:
            refuse_backup(entities, given.vm_id, self.action)

    def locks(self, entities: Entities, given: OnVm) -> Sequence[Lock]:
        return (Lock("vm", given.vm_id, self.shown),)

    def plan(self, entities: Entities, given: OnVm) -> Sequence[Planned]:
        return (Planned(self.steps[0].name, self.describe(entities, given)),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(OnVm)
        now_ms = int(work.clock.wall_s() * 1000)
        work.entities.change("vm", given.vm_id, lambda vm: self.after(vm, given, now_ms))
        return {}

    def after(self, vm: Entity, given: OnVm, now_ms: int) -> Entity:
        """The VM when it is done."""
        return vm

    def given_up(self, work: Work) -> None:
        work.entities.set_status("vm", {work.parameters(OnVm).vm_id: "unknown"})


def memory_file(entities: Entities, vm: Entity) -> DiskFile | None:
    """Where a suspended VM's memory is; ``None``: it has none."""
    said = vm.body.get(MEMORY)
    return None if not said else DiskFile(mount_of(entities.need("storage_domain", str(said["domain"]))), str(said["path"]))


def memory_domain(vm: Entity) -> Sequence[str]:
    """The id of the domain that a suspended VM's memory is on, if it is."""
    said = vm.body.get(MEMORY)
    return (str(said["domain"]),) if said else ()


def drop_memory(work: Work, vm: Entity) -> None:
    """Part of a step: nothing is left of its saved memory, on whichever host sees the domain."""
    file = memory_file(work.entities, vm)
    if file is None:
        return
    host = host_for_cleaning(work)
    if not host:
        raise Unavailable("job.no-host", subject=f"VM {vm.name}", reason="no host is up", remedy="Wait until one answers.")
    with work.on(host) as node:
        await_task(work, node, task_id(work, "drop"), lambda task: node.disk_remove(task, file, False))


def _stop(work: Work) -> None:
    vm = work.entities.need("vm", work.parameters(OnVm).vm_id)
    drop_memory(work, vm)
    # Where it was moved to as well: a migration that was given up may have ended there.
    for host in dict.fromkeys((vm.ref("host"), str((vm.body.get(MOVE) or {}).get("host") or ""))):
        if host:
            with work.at(name_of(work, host)) as node:
                node.vm_destroy(vm.id)


class VmStop(OnVmJob):
    """Its QEMU has ended; a suspended VM's memory is dropped. Its host is silent for ten minutes: ``unknown``."""

    name, action, doing, wanted, shown = "vm.stop", "stop VM", "Stopping VM", STOPPABLE, "powering_down"
    ends_it: ClassVar[bool] = True
    steps = (Step("stop", _stop, is_final=True),)
    told = Told("", "USER_STOP_VM", "USER_FAILED_STOP_VM")

    def check(self, entities: Entities, given: OnVm) -> None:
        super().check(entities, given)
        for domain in memory_domain(entities.need("vm", given.vm_id)):
            need_reached_domain(entities, domain, "stop VM")

    def locks(self, entities: Entities, given: OnVm) -> Sequence[Lock]:
        """Its memory is dropped by a host that has it."""
        domains = memory_domain(entities.need("vm", given.vm_id))
        return *super().locks(entities, given), *(Lock("storage_domain", one, "", is_shared=True) for one in domains)

    def after(self, vm: Entity, given: OnVm, now_ms: int) -> Entity:
        return went_down(vm.with_body(stop_reason=given.reason), now_ms)

    def given_up(self, work: Work) -> None:
        """One that is suspended runs nowhere, whatever became of its memory: it is suspended still."""
        vm = work.entities.need("vm", work.parameters(OnVm).vm_id)
        if vm.status != "suspended":
            super().given_up(work)
            return
        detail = f"its saved memory on {work.entities.name_of('storage_domain', vm.body[MEMORY]['domain'])} is not reached"
        work.entities.change("vm", vm.id, lambda one: one.with_body(status_detail=detail))


def ask(what: Callable[[VmNode, str], None]) -> Callable[[Work], None]:
    """A step that asks the host for one thing, which may be asked twice."""

    def do(work: Work) -> None:
        vm = work.entities.need("vm", work.parameters(OnVm).vm_id)
        with work.at(host_of(work, vm)) as node:
            what(node, vm.id)

    return do


class VmShutdown(OnVmJob):
    """The guest was asked; it is ``powering_down`` until its host says that it has ended (engine/jobs/follow_vms.py)."""

    name, action, doing = "vm.shutdown", "shutdown VM", "Shutting down VM"
    wanted = ANSWERING | {"powering_down"}
    ends_it: ClassVar[bool] = True
    steps = (Step("ask", ask(lambda node, vm: node.vm_shutdown(vm))),)
    told = Told("", "USER_INITIATED_SHUTDOWN_VM", "USER_FAILED_SHUTDOWN_VM")

    def after(self, vm: Entity, given: OnVm, now_ms: int) -> Entity:
        return replace(vm.with_body(**{ASKED: now_ms, "stop_reason": given.reason}), status="powering_down")


class VmReboot(OnVmJob):
    """The guest was asked to boot anew."""

    name, action, doing, wanted = "vm.reboot", "reboot VM", "Rebooting VM", ANSWERING
    steps = (Step("ask", ask(lambda node, vm: node.vm_reboot(vm))),)
    told = Told("", "USER_REBOOT_VM", "USER_FAILED_REBOOT_VM")

    def after(self, vm: Entity, given: OnVm, now_ms: int) -> Entity:
        return replace(vm.without(FROZEN), status="reboot_in_progress")


class VmReset(OnVmJob):
    """Its reset button was pressed."""

    name, action, doing, wanted = "vm.reset", "reset VM", "Resetting VM", ANSWERING
    steps = (Step("ask", ask(lambda node, vm: node.vm_reset(vm))),)
    told = Told("", "USER_RESET_VM", "USER_FAILED_RESET_VM")

    def after(self, vm: Entity, given: OnVm, now_ms: int) -> Entity:
        return replace(vm.without(FROZEN), status="reboot_in_progress")


class VmResume(OnVmJob):
    """A paused VM goes on. One that stopped on an I/O error does not: its disk may be another's (the host refuses)."""

    name, action, doing, wanted = "vm.resume", "run VM", "Resuming VM", frozenset({"paused"})
    steps = (Step("ask", ask(lambda node, vm: node.vm_resume(vm))),)
    told = Told("", "USER_RESUME_VM", "USER_FAILED_RESUME_VM")

    def after(self, vm: Entity, given: OnVm, now_ms: int) -> Entity:
        return replace(vm.without(*(set(OF_THE_RUN) - {RUN, FROZEN, "run_once"})), status="up")
