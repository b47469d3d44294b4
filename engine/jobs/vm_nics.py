"""NICs of a VM that runs: plugged in and out, put on another network, their cable pulled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from engine.decide.merge import merged
from engine.decide.vm_machine import nic_of
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.vm_parts import NewNic, add_nic, with_profile
from engine.jobs.vm_place import ANSWERING, host_of, need_vm
from engine.jobs.vm_spec import nic_part
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class PlugNic:
    """A NIC for a VM that runs: ``new`` is made first; else ``nic_id`` is one that is not plugged."""

    vm_id: str
    nic_id: str
    new: NewNic | None = None


@dataclass(frozen=True)
class UnplugNic:
    """Take a NIC out of a VM that runs. ``remove``: it is no more."""

    vm_id: str
    nic_id: str
    remove: bool


@dataclass(frozen=True)
class SetNic:
    """Change a NIC that is plugged into a VM that runs. ``profile_id`` ``None``: the same; empty: none."""

    vm_id: str
    nic_id: str
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    profile_id: str | None = None


def changed_nic(entities: Entities, nic: Entity, given: SetNic) -> Entity:
    """The NIC after a change."""
    after = nic if given.profile_id is None else with_profile(entities, nic, given.profile_id)
    return replace(after, name=given.name, body=merged(nic.body, given.attributes))


def plug(work: Work, nic_id: str) -> None:
    """Part of a step: the running machine has the NIC."""
    nic = work.entities.need("nic", nic_id)
    vm = work.entities.need(*(nic.parent or ("vm", "")))
    if vm.ref("host"):
        with work.at(host_of(work, vm)) as node:
            node.vm_plug_nic(vm.id, nic_of(nic_part(work.entities, nic)))


def unplug(work: Work, nic_id: str) -> None:
    """Part of a step: the running machine has it no more."""
    nic = work.entities.need("nic", nic_id)
    vm = work.entities.need(*(nic.parent or ("vm", "")))
    if vm.ref("host"):
        with work.at(host_of(work, vm)) as node:
            node.vm_unplug_nic(vm.id, str(nic.body["mac"]["address"]))


def plugged(entities: Entities, nic_id: str, *, is_in: bool) -> None:
    """Write whether it is plugged in."""
    entities.change("nic", nic_id, lambda one: one.with_body(plugged=is_in))


N = TypeVar("N", PlugNic, UnplugNic, SetNic)


class _NicJob(JobType[N]):
    """What the jobs of one NIC have in common."""

    def about(self, entities: Entities, given: N) -> Mapping[str, str]:
        return {"vm": given.vm_id, "nic": given.nic_id}

    def locks(self, entities: Entities, given: N) -> Sequence[Lock]:
        # The NIC is held; the VM must stay where and what it is.
        return Lock("vm", given.vm_id, "", is_shared=True), Lock("nic", given.nic_id, "")


class VmPlugNic(_NicJob[PlugNic]):
    """The NIC is in the machine at the end, or as it was (gone, if the job made it)."""

    name = "vm.plug-nic"
    parameters = PlugNic
    steps = (
        Step(
            "plug",
            lambda work: plug(work, work.parameters(PlugNic).nic_id),
            lambda work: unplug(work, work.parameters(PlugNic).nic_id),
        ),
    )
    told = Told("", "NETWORK_ACTIVATE_VM_INTERFACE_SUCCESS", "NETWORK_ACTIVATE_VM_INTERFACE_FAILURE")

    def describe(self, entities: Entities, given: PlugNic) -> str:
        return f"Plugging a Network Interface into VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: PlugNic) -> None:
        need_vm(entities, given.vm_id, "plug Network Interface", ANSWERING)

    def prepare(self, entities: Entities, given: PlugNic) -> None:
        if given.new is not None:
            add_nic(entities, entities.need("vm", given.vm_id), given.new)

    def plan(self, entities: Entities, given: PlugNic) -> Sequence[Planned]:
        return (Planned("plug", f"Plugging it into VM {entities.name_of('vm', given.vm_id)}"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        plugged(work.entities, work.parameters(PlugNic).nic_id, is_in=True)
        return {}

    def undone(self, work: Work) -> None:
        given = work.parameters(PlugNic)
        if given.new is not None:
            work.entities.remove("nic", given.nic_id)


class VmUnplugNic(_NicJob[UnplugNic]):
    """The machine has the NIC no more at the end."""

    name = "vm.unplug-nic"
    parameters = UnplugNic
    steps = (
        Step(
            "unplug",
            lambda work: unplug(work, work.parameters(UnplugNic).nic_id),
            lambda work: plug(work, work.parameters(UnplugNic).nic_id),
        ),
    )
    told = Told("", "NETWORK_DEACTIVATE_VM_INTERFACE_SUCCESS", "NETWORK_DEACTIVATE_VM_INTERFACE_FAILURE")

    def describe(self, entities: Entities, given: UnplugNic) -> str:
        return f"Unplugging a Network Interface from VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: UnplugNic) -> None:
        need_vm(entities, given.vm_id, "unplug Network Interface", ANSWERING)
        entities.need("nic", given.nic_id)

    def plan(self, entities: Entities, given: UnplugNic) -> Sequence[Planned]:
        return (Planned("unplug", f"Unplugging it from VM {entities.name_of('vm', given.vm_id)}"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(UnplugNic)
        if given.remove:
            work.entities.remove("nic", given.nic_id)
        else:
            plugged(work.entities, given.nic_id, is_in=False)
        return {}


def set_link(work: Work, nic: Entity) -> None:
    """Part of a step: the plugged NIC is on its network, its cable in or out."""
    vm = work.entities.need(*(nic.parent or ("vm", "")))
    if vm.ref("host"):
        wanted = nic_of(nic_part(work.entities, nic))
        with work.at(host_of(work, vm)) as node:
            node.vm_set_nic(vm.id, wanted.mac, wanted.bridge, wanted.link_up)


def _set(work: Work) -> None:
    given = work.parameters(SetNic)
    set_link(work, changed_nic(work.entities, work.entities.need("nic", given.nic_id), given))


def _set_back(work: Work) -> None:
    set_link(work, work.entities.need("nic", work.parameters(SetNic).nic_id))


class VmSetNic(_NicJob[SetNic]):
    """The NIC is changed in the machine and in the store, or in neither."""

    name = "vm.set-nic"
    parameters = SetNic
    steps = (Step("set", _set, _set_back),)
    told = Told("", "NETWORK_UPDATE_VM_INTERFACE", "NETWORK_UPDATE_VM_INTERFACE_FAILED")

    def describe(self, entities: Entities, given: SetNic) -> str:
        return f"Updating a Network Interface of VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: SetNic) -> None:
        need_vm(entities, given.vm_id, "edit Network Interface", ANSWERING)
        changed_nic(entities, entities.need("nic", given.nic_id), given)

    def plan(self, entities: Entities, given: SetNic) -> Sequence[Planned]:
        return (Planned("set", f"Changing it in VM {entities.name_of('vm', given.vm_id)}"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(SetNic)
        work.entities.change("nic", given.nic_id, lambda before: changed_nic(work.entities, before, given))
        return {}
