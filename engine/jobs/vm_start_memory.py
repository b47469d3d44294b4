"""Start a VM from the memory of the snapshot that it previews, or was restored to. The memory stays the snapshot's."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.errors import Conflict, NotFound
from appliance.model.disk import DiskFile
from engine.jobs.job import Planned, Step, Work
from engine.jobs.places import mount_of, need_active_domain
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_config_of import other_disks
from engine.jobs.vm_place import DOWN, need_vm
from engine.jobs.vm_spec import parts_of
from engine.jobs.vm_start import check_parts, chosen, locks_of
from engine.jobs.vm_start_on import unstart
from engine.jobs.vm_state import RESUME
from engine.jobs.vm_suspend import WakeJob, WakeVm, place, unplace
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


def _file(entities: Entities, vm: Entity) -> DiskFile:
    said = vm.body[RESUME]
    return DiskFile(mount_of(entities.need("storage_domain", str(said["domain"]))), str(said["path"]))


def _wake(work: Work) -> None:
    """Paused: a guest that had run on could not begin at its memory again, because its disks would be newer."""
    vm = work.entities.need("vm", work.parameters(WakeVm).vm_id)
    file, spec = _file(work.entities, vm), parts_of(work.entities, vm).spec()
    with work.at(chosen(work)) as node:
        await_task(work, node, task_id(work, "wake"), lambda task: node.vm_wake(task, spec, file, True))


def _unwake(work: Work) -> None:
    unstart(work, work.parameters(WakeVm).vm_id)


def _resume(work: Work) -> None:
    with work.at(chosen(work)) as node:
        try:
            node.vm_resume(work.parameters(WakeVm).vm_id)
        except NotFound:
            work.log("it has ended meanwhile")  # the follower says so, too


class VmStartMemory(WakeJob):
    """It runs at the end, or is down as before and may be started from the same
    memory again. From the moment that it runs on its memory is no longer what its next start begins with."""

    name = "vm.start-memory"
    steps = (
        Step("place", place, unplace, weight=0.2, is_local=True),
        Step("wake", _wake, _unwake),
        Step("resume", _resume, is_final=True, weight=0.1),
    )

    def check(self, entities: Entities, given: WakeVm) -> None:
        vm = need_vm(entities, given.vm_id, "run VM", DOWN)
        if RESUME not in vm.body:
            raise NotFound("vm.no-memory", subject=f"VM {vm.name}", reason="it has no saved memory", remedy="Start it.")
        need_active_domain(entities, str(vm.body[RESUME]["domain"]), "run VM")
        others = other_disks(entities, vm, entities.need("snapshot", str(vm.body[RESUME]["snapshot"])))
        if others:
            reason = f"Cannot run VM. Its memory was saved with other disks, or on another interface: {', '.join(others)}"
            remedy = "Give it the disks of that time, or start it without its memory (name anything in `vm`)."
            raise Conflict("vm.memory-disks", subject=f"VM {vm.name}", reason=reason, remedy=remedy)
        check_parts(entities, parts_of(entities, vm))
        for host in given.hosts:
            entities.need("host", host)

    def locks(self, entities: Entities, given: WakeVm) -> Sequence[Lock]:
        vm = entities.need("vm", given.vm_id)
        snapshot = Lock("snapshot", str(vm.body[RESUME]["snapshot"]), "", is_shared=True)
        return *locks_of(entities, vm, "restoring_state", str(vm.body[RESUME]["domain"])), snapshot

    def plan(self, entities: Entities, given: WakeVm) -> Sequence[Planned]:
        last = () if given.paused else (Planned("resume", "Letting it run"),)
        return Planned("place", "Choosing a host"), Planned("wake", "Starting it from its snapshot's memory"), *last

    def given_up(self, work: Work) -> None:
        """It may run: then its memory is the past, so nothing may begin with it again."""
        self.finish(work)
        work.entities.set_status("vm", {work.parameters(WakeVm).vm_id: "unknown"})
