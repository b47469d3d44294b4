"""Suspend a VM to a file, and start it from there again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import NotFound
from appliance.model.disk import DiskFile
from engine.jobs.backups import refuse_backup
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import mount_of, need_reached_domain, need_room_for_memory
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_place import host_of, need_vm, state_at
from engine.jobs.vm_spec import parts_of
from engine.jobs.vm_start import chosen, locks_of
from engine.jobs.vm_start_on import choose_host, forget_host
from engine.jobs.vm_state import ASKED, FROZEN, MEMORY, RUN, started
from engine.jobs.vm_stop import drop_memory, memory_domain, memory_file
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

SUSPENDABLE = frozenset({"up", "paused", "powering_up"})


@dataclass(frozen=True)
class SuspendVm:
    """Which VM; ``path`` of the file on its domain, which the caller draws."""

    vm_id: str
    domain_id: str
    path: str


@dataclass(frozen=True)
class WakeVm:
    """Which VM; ``hosts``: ids of those that may be chosen (none: any)."""

    vm_id: str
    hosts: tuple[str, ...] = ()
    paused: bool = False


def _file(work: Work, given: SuspendVm) -> DiskFile:
    return DiskFile(mount_of(work.entities.need("storage_domain", given.domain_id)), given.path)


def _save(work: Work) -> None:
    given = work.parameters(SuspendVm)
    file, host = _file(work, given), host_of(work, work.entities.need("vm", given.vm_id))
    with work.at(host) as node:
        await_task(work, node, task_id(work, "save"), lambda task: node.vm_suspend(task, given.vm_id, file))


def _unsave(work: Work) -> None:
    """It was saved although we heard otherwise: it goes on where it was. If its QEMU lives, nothing has happened."""
    given = work.parameters(SuspendVm)
    vm = work.entities.need("vm", given.vm_id)
    file, host = _file(work, given), host_of(work, vm)
    if state_at(work, host, vm.id) is not None:
        return
    spec = parts_of(work.entities, vm).spec()
    try:
        with work.at(host) as node:
            await_task(work, node, task_id(work, "unsave"), lambda task: node.vm_wake(task, spec, file, False))
    except NotFound:
        return  # neither QEMU nor memory: the follower says that it is down
    with work.on(host) as disks:
        await_task(work, disks, task_id(work, "unsave-drop"), lambda task: disks.disk_remove(task, file, False))


class VmSuspend(JobType[SuspendVm]):
    """The VM is ``saving_state`` meanwhile; ``suspended`` at the end, or it goes on."""

    name = "vm.suspend"
    parameters = SuspendVm
    steps = (Step("save", _save, _unsave),)
    told = Told("USER_SUSPEND_VM", "USER_SUSPEND_VM_OK", "USER_SUSPEND_VM_FINISH_FAILURE")

    def about(self, entities: Entities, given: SuspendVm) -> Mapping[str, str]:
        return {"vm": given.vm_id, "host": entities.need("vm", given.vm_id).ref("host")}

    def describe(self, entities: Entities, given: SuspendVm) -> str:
        return f"Hibernating VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: SuspendVm) -> None:
        vm = need_vm(entities, given.vm_id, "suspend VM", SUSPENDABLE)
        need_room_for_memory(entities, vm, given.domain_id, "suspend VM")
        refuse_backup(entities, vm.id, "suspend VM")

    def locks(self, entities: Entities, given: SuspendVm) -> Sequence[Lock]:
        return Lock("vm", given.vm_id, "saving_state"), Lock("storage_domain", given.domain_id, "", is_shared=True)

    def plan(self, entities: Entities, given: SuspendVm) -> Sequence[Planned]:
        return (Planned("save", "Saving its memory"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(SuspendVm)
        memory = {MEMORY: {"domain": given.domain_id, "path": given.path}}
        work.entities.change(
            "vm",
            given.vm_id,
            lambda vm: replace(vm.without(RUN, ASKED).with_body(**memory).with_refs(host=()), status="suspended"),
        )
        return {}

    def given_up(self, work: Work) -> None:
        work.entities.set_status("vm", {work.parameters(SuspendVm).vm_id: "unknown"})


def place(work: Work) -> Mapping[str, Any]:
    """A step's ``do``: a host that can take it is chosen."""
    given = work.parameters(WakeVm)
    return choose_host(work, given.vm_id, given.hosts)


def unplace(work: Work) -> None:
    """A step's ``undo``: it is to run nowhere."""
    forget_host(work, work.parameters(WakeVm).vm_id)


class WakeJob(JobType[WakeVm]):
    """What starts from saved memory have in common, whosever the memory is. The VM is ``restoring_state`` meanwhile."""

    parameters = WakeVm
    told = Told("", "USER_RESUME_VM", "USER_FAILED_RESUME_VM")

    def about(self, entities: Entities, given: WakeVm) -> Mapping[str, str]:
        return {"vm": given.vm_id}

    def more_about(self, work: Work) -> Mapping[str, str]:
        host = str(work.found("place").get("id") or "")
        return {"host": host} if host else {}

    def describe(self, entities: Entities, given: WakeVm) -> str:
        return f"Launching VM {entities.name_of('vm', given.vm_id)}"

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(WakeVm)
        now_ms = int(work.clock.wall_s() * 1000)
        status = "paused" if given.paused else "powering_up"

        def woken(vm: Entity) -> Entity:
            """Memory that was frozen wakes so."""
            kept = {FROZEN: vm.body[FROZEN]} if FROZEN in vm.body else {}
            return started(vm, status, now_ms, **kept)

        work.entities.change("vm", given.vm_id, woken)
        return {}


def _wake(work: Work) -> None:
    given = work.parameters(WakeVm)
    vm = work.entities.need("vm", given.vm_id)
    file, spec = memory_file(work.entities, vm), parts_of(work.entities, vm).spec()
    if file is None:
        raise NotFound("vm.no-memory", subject=f"VM {vm.name}", reason="it has no saved memory", remedy="Stop and start it.")
    with work.at(chosen(work)) as node:
        await_task(work, node, task_id(work, "wake"), lambda task: node.vm_wake(task, spec, file, given.paused))


def _unwake(work: Work) -> None:
    with work.at(chosen(work)) as node:
        node.vm_destroy(work.parameters(WakeVm).vm_id)


def _drop(work: Work) -> None:
    drop_memory(work, work.entities.need("vm", work.parameters(WakeVm).vm_id))


class VmWake(WakeJob):
    """It runs at the end, or is suspended as before. Its saved memory is dropped once it runs, from where there is no way
    back: a guest that went on must never go on from the past again."""

    name = "vm.wake"
    steps = (
        Step("place", place, unplace, weight=0.2),
        Step("wake", _wake, _unwake),
        Step("drop", _drop, is_final=True, weight=0.1),
    )

    def check(self, entities: Entities, given: WakeVm) -> None:
        vm = need_vm(entities, given.vm_id, "run VM", ("suspended",))
        for domain in memory_domain(vm):
            need_reached_domain(entities, domain, "run VM")
        for host in given.hosts:
            entities.need("host", host)

    def locks(self, entities: Entities, given: WakeVm) -> Sequence[Lock]:
        vm = entities.need("vm", given.vm_id)
        return locks_of(entities, vm, "restoring_state", *memory_domain(vm))

    def plan(self, entities: Entities, given: WakeVm) -> Sequence[Planned]:
        return (
            Planned("place", "Choosing a host"),
            Planned("wake", "Starting it from its saved memory"),
            Planned("drop", "Dropping its saved memory"),
        )

    def given_up(self, work: Work) -> None:
        """It runs; only its file could not be dropped, and is named nowhere any more."""
        self.finish(work)
