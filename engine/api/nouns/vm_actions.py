"""What can be done to a VM: each action is one job, chosen by the state that the VM is in."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from appliance.errors import Conflict, Unavailable
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done
from engine.api.nouns import snapshot_actions, vm_cloning, vm_making, vm_viewer
from engine.decide import vm_config
from engine.jobs.desk import WAIT_LIMIT_S
from engine.jobs.job import JobType
from engine.jobs.places import domain_for
from engine.jobs.vm_freeze import VmFreeze, VmThaw
from engine.jobs.vm_migrate import MigrateVm, VmMigrate
from engine.jobs.vm_start import StartVm, VmStart
from engine.jobs.vm_start_memory import VmStartMemory
from engine.jobs.vm_state import RESUME
from engine.jobs.vm_stop import OnVm, VmReboot, VmReset, VmResume, VmShutdown, VmStop
from engine.jobs.vm_suspend import SuspendVm, VmSuspend, VmWake, WakeVm
from engine.store.entity import Entity

NOT_ONCE = frozenset({"placement_policy", "cluster", "template", "cpu_profile", "quota", "vm_pool", "instance_type", "name"})
"""Of the VM in a start's body: where it runs is no part of its machine; the rest cannot be for one run."""
NOT_SERVED = ("use_sysprep", "use_ignition")
"""Ways of making up a guest that are not cloud-init's."""


def start(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """Run it; a suspended one goes on from its memory, a paused one just goes on. ``vm`` holds for this run alone.
    A VM that was brought back with a snapshot's memory goes on from that, unless ``vm`` says something."""
    vm = call.engine.store.entities.need("vm", identifier)
    paused = bool(given.get("pause"))
    if vm.status == "paused":
        return work.told(work.awaited(call, VmResume, OnVm(identifier)))
    wanted: Mapping[str, Any] = given.get("vm") or {}
    hosts = hosts_of(wanted, given)
    if vm.status == "suspended":
        return work.told(work.awaited(call, VmWake, WakeVm(identifier, hosts, paused)))
    once = vm_config.without(wanted, {*NOT_ONCE, *vm_config.TOLD, *vm_making.SUB_COLLECTIONS})
    paused = paused or bool(vm.body.get("start_paused"))
    init = is_asked_for_init(vm, given)
    if RESUME in vm.body and not once and not init:  # what holds for one run alone cannot change a machine that goes on
        return work.told(work.awaited(call, VmStartMemory, WakeVm(identifier, hosts, paused)))
    return work.told(work.awaited(call, VmStart, StartVm(identifier, hosts, paused, once, init)))


def is_asked_for_init(vm: Entity, given: Object) -> bool:
    """Whether cloud-init is to make up the guest anew. Raises ``Conflict`` ``vm.init-kind`` for what we cannot do."""
    for name in NOT_SERVED:
        if given.get(name):
            reason = f"Cannot run VM. {name} is not supported, only cloud-init is"
            raise Conflict("vm.init-kind", subject=f"VM {vm.name}", reason=reason, remedy="Ask for use_cloud_init.")
    said = (given.get("vm") or {}).get("initialization")
    return bool(given.get("use_cloud_init") or given.get("use_initialization") or said)


def hosts_of(wanted: Mapping[str, Any], given: Object) -> tuple[str, ...]:
    """The hosts that somebody asked for."""
    named = (wanted.get("placement_policy") or {}).get("hosts") or ([given["host"]] if given.get("host") else [])
    return tuple(str(one["id"]) for one in named if one.get("id"))


def _plain(kind: type[JobType[OnVm]]) -> Any:
    def act(noun: Any, call: Call, identifier: str, given: Object) -> Done:
        return work.told(
            work.awaited(call, kind, OnVm(identifier, str(given.get("reason") or ""), bool(given.get("force"))))
        )

    return act


def freeze(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """Who asks copies disks next: they hear how it ended, or that nobody knows."""
    job = work.awaited(call, VmFreeze, OnVm(identifier, str(given.get("reason") or "")), WAIT_LIMIT_S)
    if job.state != "ended" and call.parameters.is_asynchronous is not True:
        vm = call.engine.store.entities.need("vm", identifier)
        reason = f"Cannot freeze VM. Its guest is still at it (job {job.id})"
        raise Unavailable("vm.freezing", subject=f"VM {vm.name}", reason=reason, remedy="Look at the job, then thaw the VM.")
    return work.told(job)


def suspend(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """Its memory goes to a file beside its first disk."""
    entities = call.engine.store.entities
    domain = domain_for(entities, entities.need("vm", identifier), "suspend VM")
    return work.done(call, VmSuspend, SuspendVm(identifier, domain, f"memory/{identifier}/{uuid.uuid4()}"))


def migrate(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """To the host that is named, or to the one that the scheduler chooses."""
    hosts = hosts_of({}, given)
    return work.done(call, VmMigrate, MigrateVm(identifier, hosts, call.account.id, call.correlation_id))


def cancel_migration(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """It stays where it is."""
    job_id = call.engine.jobs.holder(("vm", identifier))
    job = call.engine.jobs.get(job_id) if job_id else None
    if job is None or job.type != VmMigrate.name:
        vm = call.engine.store.entities.need("vm", identifier)
        raise Conflict(
            "vm.not-migrating",
            subject=f"VM {vm.name}",
            reason="Cannot cancel migration. VM is not being migrated",
            remedy="Nothing is needed.",
        )
    call.engine.desk.cancel(job.id)
    return Done()


def clone(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """A copy of a VM that does not run, under the name in ``vm``, with what else that says. Its snapshots stay behind."""
    return work.told(vm_cloning.order(call, vm_cloning.of_vm(call, identifier, given)))


ACTIONS: Mapping[str, Any] = {
    "start": start,
    "stop": _plain(VmStop),
    "shutdown": _plain(VmShutdown),
    "reboot": _plain(VmReboot),
    "reset": _plain(VmReset),
    "freezefilesystems": freeze,
    "thawfilesystems": _plain(VmThaw),
    "suspend": suspend,
    "migrate": migrate,
    "cancelmigration": cancel_migration,
    "clone": clone,
    "ticket": vm_viewer.ticket_of_vm,
    "previewsnapshot": snapshot_actions.preview,
    "commitsnapshot": snapshot_actions.commit,
    "undosnapshot": snapshot_actions.undo,
}
"""By path segment."""
