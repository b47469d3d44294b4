"""Disks of a VM that runs: made for it, plugged in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from appliance.errors import Conflict, NotFound
from engine.decide.vm_machine import disk_of
from engine.jobs.disk_create import unmake_image
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import refuse_kept
from engine.jobs.places import choose_host, need_at_host
from engine.jobs.vm_create import (
    CREATE_DISK,
    AddedDisk,
    disk_locks,
    disk_plan,
    disks_ok,
    drop_disks,
    enter_disks,
    make_disk,
)
from engine.jobs.vm_parts import NewAttachment, attach, attachment_of
from engine.jobs.vm_place import ANSWERING, DOWN, host_of, need_vm
from engine.jobs.vm_spec import disk_part
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

HOT = ("virtio_scsi", "virtio")
"""Interfaces that can be plugged while the machine runs."""
CHANGEABLE = (*DOWN, *ANSWERING)


@dataclass(frozen=True)
class AddVmDisk:
    """A new disk for a VM that is there; plugged in when it runs and the attachment is to be active."""

    vm_id: str
    disk: AddedDisk


@dataclass(frozen=True)
class PlugDisk:
    """A disk for a VM that runs. ``attributes``: attach it first, with these; ``None``: it is attached, but not active."""

    vm_id: str
    disk_id: str
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class UnplugDisk:
    """Take a disk out of a VM that runs. ``detach``: it is the VM's no longer."""

    vm_id: str
    disk_id: str
    detach: bool


def is_hot(vm: Entity, attributes: Mapping[str, Any]) -> bool:
    """Whether the disk goes into a machine that runs now."""
    return vm.status in ANSWERING and attributes.get("active") is not False


def check_hot(vm: Entity, name: str, attributes: Mapping[str, Any]) -> None:
    """Raises ``Conflict`` ``disk.not-hot``."""
    interface = str(attributes.get("interface") or "virtio_scsi")
    if interface not in HOT:
        reason = f"Failed to hot-plug disk {name}. {interface} knows no plugging in while VM {vm.name} runs"
        raise Conflict(
            "disk.not-hot", subject=f"disk {name}", reason=reason, remedy="Use virtio_scsi, or attach it with active=false."
        )


def plug(work: Work, vm_id: str, disk_id: str) -> None:
    """Part of a step's ``do``. Not running any more: nothing, its next start has the disk."""
    vm = work.entities.need("vm", vm_id)
    if not vm.ref("host"):
        work.log("the VM does not run any more: its next start has the disk")
        return
    attachment = attachment_of(work.entities, vm_id, disk_id)
    if attachment is None:
        raise NotFound("disk.not-attached", subject=f"disk {disk_id}", reason="it is not attached", remedy="Attach it.")
    disk = disk_of(disk_part(work.entities, attachment, work.entities.need("disk", disk_id)))
    with work.at(host_of(work, vm)) as node:
        node.vm_plug_disk(vm_id, disk)


def unplug(work: Work, vm_id: str, disk_id: str) -> None:
    """Part of a step: the machine has the disk no more."""
    vm = work.entities.need("vm", vm_id)
    if vm.ref("host"):
        with work.at(host_of(work, vm)) as node:
            node.vm_unplug_disk(vm_id, disk_id)


def activate(entities: Entities, vm_id: str, disk_id: str, *, active: bool) -> None:
    """Write whether the attachment is active."""
    attachment = attachment_of(entities, vm_id, disk_id)
    if attachment is not None:
        entities.change("disk_attachment", attachment.id, lambda one: one.with_body(active=active))


def _make_new(work: Work) -> Mapping[str, Any]:
    return make_disk(work, [work.parameters(AddVmDisk).disk])


def _unmake_new(work: Work) -> None:
    unmake_image(work, work.parameters(AddVmDisk).disk.disk)


def _plug_new(work: Work) -> None:
    given = work.parameters(AddVmDisk)
    plug(work, given.vm_id, given.disk.disk.disk_id)


def _unplug_new(work: Work) -> None:
    given = work.parameters(AddVmDisk)
    unplug(work, given.vm_id, given.disk.disk.disk_id)


class VmAddDisk(JobType[AddVmDisk]):
    """The disk is listed, ``locked`` and attached, from the order on; at the end it is ``ok`` and plugged in, or gone."""

    name = "vm.add-disk"
    parameters = AddVmDisk
    steps = (
        Step("choose-host", choose_host, weight=0.1),
        Step("make-image", _make_new, _unmake_new),
        Step("plug", _plug_new, _unplug_new, weight=0.2),
    )
    told = Told("USER_ADD_DISK_TO_VM", "USER_ADD_DISK_TO_VM_FINISHED_SUCCESS", "USER_ADD_DISK_TO_VM_FINISHED_FAILURE")

    def about(self, entities: Entities, given: AddVmDisk) -> Mapping[str, str]:
        return {"vm": given.vm_id, "disk": given.disk.disk.disk_id, "storage_domain": given.disk.disk.domain_id}

    def describe(self, entities: Entities, given: AddVmDisk) -> str:
        return f"Adding Disk {given.disk.disk.name} to VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: AddVmDisk) -> None:
        vm = need_vm(entities, given.vm_id, "add Virtual Disk", CHANGEABLE)
        CREATE_DISK.check(entities, given.disk.disk)
        if is_hot(vm, given.disk.attributes):
            check_hot(vm, given.disk.disk.name, given.disk.attributes)
            need_at_host(entities, vm, given.disk.disk.domain_id, "add Virtual Disk")

    def locks(self, entities: Entities, given: AddVmDisk) -> Sequence[Lock]:
        # Shared: disks of one VM may be made side by side. To start it has to wait for them.
        return Lock("vm", given.vm_id, "", is_shared=True), *disk_locks(entities, [given.disk])

    def prepare(self, entities: Entities, given: AddVmDisk) -> None:
        enter_disks(entities, entities.need("vm", given.vm_id), [given.disk])

    def plan(self, entities: Entities, given: AddVmDisk) -> Sequence[Planned]:
        vm = entities.need("vm", given.vm_id)
        last = [Planned("plug", f"Plugging it into VM {vm.name}")] if is_hot(vm, given.disk.attributes) else []
        return [*disk_plan([given.disk]), *last]

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(AddVmDisk)
        disks_ok(work, [given.disk])
        return {"disk": given.disk.disk.disk_id}

    def undone(self, work: Work) -> None:
        drop_disks(work.entities, [work.parameters(AddVmDisk).disk])


D = TypeVar("D", PlugDisk, UnplugDisk)


class _PlugJob(JobType[D]):
    """What plugging in and out have in common."""

    def about(self, entities: Entities, given: D) -> Mapping[str, str]:
        return {"vm": given.vm_id, "disk": given.disk_id}

    def locks(self, entities: Entities, given: D) -> Sequence[Lock]:
        domains: tuple[str, ...] = entities.need("disk", given.disk_id).refs.get("storage_domains", ())
        return (
            Lock("vm", given.vm_id, "", is_shared=True),
            Lock("disk", given.disk_id, ""),
            *(Lock("storage_domain", one, "", is_shared=True) for one in domains),
        )


def _plug(work: Work) -> None:
    given = work.parameters(PlugDisk)
    plug(work, given.vm_id, given.disk_id)


def _unplug_again(work: Work) -> None:
    given = work.parameters(PlugDisk)
    unplug(work, given.vm_id, given.disk_id)


class VmPlugDisk(_PlugJob[PlugDisk]):
    """The attachment is active at the end, or as it was (gone, if the job made it)."""

    name = "vm.plug-disk"
    parameters = PlugDisk
    steps = (Step("plug", _plug, _unplug_again),)
    told = Told("", "USER_HOTPLUG_DISK", "USER_FAILED_HOTPLUG_DISK")

    def describe(self, entities: Entities, given: PlugDisk) -> str:
        return f"Hot Plugging Disk into VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: PlugDisk) -> None:
        vm = need_vm(entities, given.vm_id, "hot-plug disk", ANSWERING)
        disk = entities.need("disk", given.disk_id)
        attachment = attachment_of(entities, given.vm_id, given.disk_id)
        if given.attributes is None and attachment is None:
            reason = f"Cannot hot-plug disk. It is not attached to VM {vm.name}"
            raise Conflict("disk.not-attached", subject=f"disk {disk.name}", reason=reason, remedy="Attach it first.")
        check_hot(vm, disk.name, given.attributes or (attachment.body if attachment else {}))
        need_at_host(entities, vm, disk.ref("storage_domains"), "hot-plug disk")

    def prepare(self, entities: Entities, given: PlugDisk) -> None:
        if given.attributes is not None:
            attach(entities, entities.need("vm", given.vm_id), NewAttachment(given.disk_id, given.attributes))

    def plan(self, entities: Entities, given: PlugDisk) -> Sequence[Planned]:
        return (Planned("plug", f"Plugging it into VM {entities.name_of('vm', given.vm_id)}"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(PlugDisk)
        activate(work.entities, given.vm_id, given.disk_id, active=True)
        return {}

    def undone(self, work: Work) -> None:
        given = work.parameters(PlugDisk)
        attachment = attachment_of(work.entities, given.vm_id, given.disk_id)
        if given.attributes is not None and attachment is not None:
            work.entities.remove("disk_attachment", attachment.id)


def _unplug(work: Work) -> None:
    given = work.parameters(UnplugDisk)
    unplug(work, given.vm_id, given.disk_id)


def _plug_again(work: Work) -> None:
    given = work.parameters(UnplugDisk)
    plug(work, given.vm_id, given.disk_id)


class VmUnplugDisk(_PlugJob[UnplugDisk]):
    """The machine has the disk no more at the end; a guest that does not let go of it makes the job fail."""

    name = "vm.unplug-disk"
    parameters = UnplugDisk
    steps = (Step("unplug", _unplug, _plug_again),)
    told = Told("", "USER_HOTUNPLUG_DISK", "USER_FAILED_HOTUNPLUG_DISK")

    def describe(self, entities: Entities, given: UnplugDisk) -> str:
        return f"Hot Unplugging Disk from VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: UnplugDisk) -> None:
        vm = need_vm(entities, given.vm_id, "hot-unplug disk", ANSWERING)
        disk = entities.need("disk", given.disk_id)
        attachment = attachment_of(entities, given.vm_id, given.disk_id)
        if attachment is None:
            reason = f"Cannot hot-unplug disk. It is not attached to VM {vm.name}"
            raise Conflict("disk.not-attached", subject=f"disk {disk.name}", reason=reason, remedy="Nothing is needed.")
        if given.detach:
            refuse_kept(entities, disk, "detach Virtual Disk")
        check_hot(vm, disk.name, attachment.body)

    def plan(self, entities: Entities, given: UnplugDisk) -> Sequence[Planned]:
        return (Planned("unplug", f"Unplugging it from VM {entities.name_of('vm', given.vm_id)}"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(UnplugDisk)
        attachment = attachment_of(work.entities, given.vm_id, given.disk_id)
        if attachment is not None and given.detach:
            work.entities.remove("disk_attachment", attachment.id)
        elif attachment is not None:
            activate(work.entities, given.vm_id, given.disk_id, active=False)
        return {}
