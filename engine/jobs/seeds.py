"""cloud-init's CDs: a row for each file on a domain, so that none is forgotten, and the step of a start that writes one.

A row bears the id of the job that made it. A VM names the one that is in its drive (``trivet_seed``); a file whose row no VM
uses any more goes (engine/jobs/seed_remove.py), however its VM's run has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.model.disk import DiskFile
from engine.decide import guest_init
from engine.decide.guest_network import GuestNic
from engine.decide.mac import address_of
from engine.jobs.job import Work
from engine.jobs.places import mount_of
from engine.jobs.vm_state import INITIALIZED, SEED
from engine.store.entities import Entities
from engine.store.entity import Entity

KIND = "seed"


def wants(vm: Entity, body: Mapping[str, Any], *, asked: bool) -> bool:
    """Whether a start gets a CD: because somebody asked, or because its guest was never told what ``body`` says."""
    if asked:
        return True
    return guest_init.says_something(body) and not vm.body.get(INITIALIZED) and not guest_init.is_windows(body)


def of(entities: Entities, vm: Entity) -> Entity | None:
    """The CD that is in its drive, or is to be."""
    return entities.get(KIND, str(vm.body[SEED])) if vm.body.get(SEED) else None


def file_of(entities: Entities, row: Entity) -> DiskFile:
    """Where the file is."""
    domain = entities.need("storage_domain", row.ref("storage_domain"))
    return DiskFile(mount_of(domain), f"seeds/{row.body['vm']}/{row.id}.iso", "raw")


def write(work: Work, vm_id: str, domain_id: str, host: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Part of a step's ``do``: the CD is on the domain, and in the VM's drive when it starts. Its row is there before the
    file. The instance id is the job's, so that a repeated step writes the same, and another start's is a new one."""
    with work.entities.connection.transaction():
        vm = work.entities.need("vm", vm_id)
        if work.entities.get(KIND, work.job_id) is None:
            refs = {"storage_domain": (domain_id,)}
            work.entities.add(Entity(KIND, work.job_id, vm.name, {"vm": vm_id}, refs))
        if vm.body.get(SEED) != work.job_id:
            vm = work.entities.update(vm.with_body(**{SEED: work.job_id}))
        row = work.entities.need(KIND, work.job_id)
    texts = guest_init.seed(work.job_id, vm.name, body, nics_of(work.entities, vm))
    with work.on(host) as node:
        node.disk_seed(file_of(work.entities, row), texts)
    return {"seed": row.id}


def forget(entities: Entities, vm_id: str, row_id: str) -> None:
    """The VM has no such CD. What is on the domain is removed as soon as somebody looks."""
    entities.change("vm", vm_id, lambda vm: vm.without(SEED) if vm.body.get(SEED) == row_id else vm)


def nics_of(entities: Entities, vm: Entity) -> list[GuestNic]:
    """Its NICs by name, as the guest's network is configured by them."""
    nics = sorted(entities.children(vm.key, "nic"), key=lambda one: one.name)
    return [GuestNic(one.name, address_of(one.body)) for one in nics]
