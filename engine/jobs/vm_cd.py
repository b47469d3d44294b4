"""Change the CD of a VM that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict
from engine.decide.vm_machine import DRIVE
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import file_of, need_at_host
from engine.jobs.vm_place import ANSWERING, host_of, need_vm
from engine.jobs.vm_spec import path_of
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class ChangeCd:
    """Put the disk (an ISO; empty: nothing) into its drive."""

    vm_id: str
    disk_id: str


def need_iso(entities: Entities, disk_id: str) -> Entity:
    """The disk, if it is a CD. Raises ``NotFound``, ``Conflict`` ``disk.no-iso``."""
    disk = entities.need("disk", disk_id)
    if disk.body.get("content_type") != "iso" or disk.shown_status not in ("", "ok"):
        reason = f"Cannot change CD. It is no ISO disk that is ok ({disk.body.get('content_type')}, {disk.shown_status})"
        raise Conflict("disk.no-iso", subject=f"disk {disk.name}", reason=reason, remedy="Upload one with content_type iso.")
    return disk


def _insert(work: Work, disk_id: str) -> None:
    vm = work.entities.need("vm", work.parameters(ChangeCd).vm_id)
    path = path_of(file_of(work.entities, work.entities.need("disk", disk_id))) if disk_id else ""
    if vm.ref("host"):
        with work.at(host_of(work, vm)) as node:
            node.vm_set_cd(vm.id, DRIVE, path, False)


def _change(work: Work) -> None:
    _insert(work, work.parameters(ChangeCd).disk_id)


def _change_back(work: Work) -> None:
    _insert(work, work.entities.need("vm", work.parameters(ChangeCd).vm_id).ref("iso"))


class VmChangeCd(JobType[ChangeCd]):
    """The CD is in the drive and stays the VM's, or nothing has changed."""

    name = "vm.change-cd"
    parameters = ChangeCd
    steps = (Step("change", _change, _change_back),)
    told = Told("", "USER_CHANGE_DISK_VM", "USER_FAILED_CHANGE_DISK_VM")

    def about(self, entities: Entities, given: ChangeCd) -> Mapping[str, str]:
        disk = {"disk": given.disk_id} if given.disk_id else {}
        return {"vm": given.vm_id, "host": entities.need("vm", given.vm_id).ref("host"), **disk}

    def describe(self, entities: Entities, given: ChangeCd) -> str:
        return f"Changing the CD of VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: ChangeCd) -> None:
        vm = need_vm(entities, given.vm_id, "change CD", ANSWERING)
        if given.disk_id:
            need_at_host(entities, vm, need_iso(entities, given.disk_id).ref("storage_domains"), "change CD")

    def locks(self, entities: Entities, given: ChangeCd) -> Sequence[Lock]:
        vm = Lock("vm", given.vm_id, "", is_shared=True)
        if not given.disk_id:
            return (vm,)
        domains = entities.need("disk", given.disk_id).refs.get("storage_domains", ())
        disk = Lock("disk", given.disk_id, "", is_shared=True)
        return vm, disk, *(Lock("storage_domain", one, "", is_shared=True) for one in domains)

    def plan(self, entities: Entities, given: ChangeCd) -> Sequence[Planned]:
        return (Planned("change", "Changing the CD"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(ChangeCd)
        work.entities.change("vm", given.vm_id, lambda vm: vm.with_refs(iso=given.disk_id or ()))
        return {}
