"""Remove a VM, with the disks that are its own or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.decide.vm_config import check_removable
from engine.jobs.backups import refuse_backup
from engine.jobs.disk_remove import remove_image
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import MEMORY, memory_domains, memory_of, refuse_kept, snapshots_of
from engine.jobs.places import choose_host, chosen_or_another, need_active_domain
from engine.jobs.preview import refuse_preview
from engine.jobs.task import await_task, task_id
from engine.store.entities import Entities, Entity
from engine.store.jobs import Lock

MEMBERS_OF = (("affinity_group", "vms"), ("affinity_label", "vms"))
"""(kind, reference): what only lists a VM lets go of it."""


def forget_vm(entities: Entities, vm_id: str) -> None:
    """Its row goes, with all that it owns; who only lists it lets go."""
    for kind, name in MEMBERS_OF:
        for one in entities.referring(("vm", vm_id), kind, name):
            others = tuple(vm for vm in one.refs.get(name, ()) if vm != vm_id)
            entities.change(kind, one.id, lambda before, n=name, o=others: before.with_refs(**{n: o}))  # type: ignore[misc]
    entities.remove("vm", vm_id)


@dataclass(frozen=True)
class RemoveVm:
    """Which VM. ``detach_only``: its disks stay."""

    vm_id: str
    detach_only: bool = False


def own_disks(entities: Entities, given: RemoveVm) -> list[Entity]:
    """The disks that go with it: those that nobody else has."""
    if given.detach_only:
        return []
    mine = entities.children(("vm", given.vm_id), "disk_attachment")
    disks = entities.many("disk", [one.ref("disk") for one in mine])
    return [
        disk
        for disk in disks.values()
        if all(one.parent == ("vm", given.vm_id) for one in entities.referring(disk.key, "disk_attachment", "disk"))
    ]


def _remove(work: Work) -> None:
    remove_image(work, str(work.arguments["disk"]))


def memories(entities: Entities, vm_id: str) -> list[Entity]:
    """Its snapshots that have memory."""
    return [one for one in snapshots_of(entities, vm_id) if one.body.get(MEMORY)]


def _drop_memory(work: Work) -> None:
    """Of all its snapshots, which go with it."""
    for snapshot in memories(work.entities, work.parameters(RemoveVm).vm_id):
        file = memory_of(work.entities, snapshot)
        if file is not None:
            with work.on(chosen_or_another(work)) as node:
                what = task_id(work, f"memory-{snapshot.id}")
                await_task(work, node, what, lambda task, f=file: node.disk_remove(task, f, False))  # type: ignore[misc]


class VmRemove(JobType[RemoveVm]):
    """The VM is locked until it has gone. Once an image is touched there is no way back: if it cannot be finished, the VM
    stays with disks that are ``illegal``, and both may be removed again."""

    name = "vm.remove"
    parameters = RemoveVm
    steps = (
        Step("choose-host", choose_host, weight=0.1),
        Step("remove-image", _remove, is_final=True),
        Step("drop-memory", _drop_memory, is_final=True, weight=0.1),
    )
    told = Told("", "USER_REMOVE_VM_FINISHED", "USER_FAILED_REMOVE_VM")

    def about(self, entities: Entities, given: RemoveVm) -> Mapping[str, str]:
        return {"vm": given.vm_id}

    def describe(self, entities: Entities, given: RemoveVm) -> str:
        return f"Removing VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: RemoveVm) -> None:
        vm = entities.need("vm", given.vm_id)
        check_removable(vm.name, vm.body, vm.status)
        refuse_preview(entities, vm.id, "remove VM")
        refuse_backup(entities, vm.id, "remove VM")
        for disk in own_disks(entities, given):
            need_active_domain(entities, disk.ref("storage_domains"), "remove VM")
        for domain in memory_domains(memories(entities, vm.id)):
            need_active_domain(entities, domain, "remove VM")
        if given.detach_only:
            for one in entities.children(vm.key, "disk_attachment"):
                refuse_kept(entities, entities.need("disk", one.ref("disk")), "remove VM and keep its disks")

    def locks(self, entities: Entities, given: RemoveVm) -> Sequence[Lock]:
        disks = own_disks(entities, given)
        mine = [one for disk in disks for one in disk.refs.get("storage_domains", ())]
        domains = dict.fromkeys([*mine, *memory_domains(memories(entities, given.vm_id))])
        return (
            Lock("vm", given.vm_id, "image_locked"),
            *(Lock("disk", disk.id) for disk in disks),
            *(Lock("storage_domain", one, "", is_shared=True) for one in domains),
        )

    def plan(self, entities: Entities, given: RemoveVm) -> Sequence[Planned]:
        disks = own_disks(entities, given)
        removes = [Planned("remove-image", f"Removing the image of {disk.name}", {"disk": disk.id}) for disk in disks]
        if memories(entities, given.vm_id):
            removes.append(Planned("drop-memory", "Removing the memory of its snapshots"))
        return [Planned("choose-host", "Choosing a host"), *removes] if removes else []

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(RemoveVm)
        disks = own_disks(work.entities, given)
        forget_vm(work.entities, given.vm_id)
        for disk in disks:
            work.entities.remove("disk", disk.id)
        return {}

    def given_up(self, work: Work) -> None:
        given = work.parameters(RemoveVm)
        work.entities.set_status("disk", {disk.id: "illegal" for disk in own_disks(work.entities, given)})
