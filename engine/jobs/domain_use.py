"""What a storage domain is needed for, and what is refused for that reason."""

from __future__ import annotations

from collections.abc import Sequence

from appliance import layout
from appliance.errors import Conflict
from engine.jobs import seeds
from engine.jobs.layers import MEMORY as SNAPSHOT_MEMORY
from engine.jobs.places import mount_of
from engine.jobs.vm_place import runs
from engine.jobs.vm_state import MEMORY, RESUME
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.job_records import Lock


def domain_locks(*domains: str) -> tuple[Lock, ...]:
    """They stay meanwhile."""
    return tuple(Lock("storage_domain", one, "", is_shared=True) for one in dict.fromkeys(domains))


def users_of(entities: Entities, domain: Entity) -> list[str]:
    """The VMs that run with a disk or a CD of the domain, or are about to."""
    disks = {one.id for one in entities.referring(domain.key, "disk", "storage_domains")}
    found = []
    for vm in entities.list("vm"):
        if not runs(vm) and not vm.ref("host"):
            continue
        has = {one.ref("disk") for one in entities.children(vm.key, "disk_attachment")} | set(vm.refs.get("iso", ()))
        if has & disks:
            found.append(vm.name)
    return found


def memories_on(entities: Entities, domain: Entity) -> list[str]:
    """VMs whose saved memory is on the domain: of those that are suspended, and of snapshots."""
    found = [vm.name for vm in entities.list("vm") if (vm.body.get(MEMORY) or {}).get("domain") == domain.id]
    for snapshot in entities.list("snapshot"):
        if (snapshot.body.get(SNAPSHOT_MEMORY) or {}).get("domain") == domain.id and snapshot.parent:
            found.append(entities.name_of(*snapshot.parent))
    return sorted(set(found))


def saved_on(entities: Entities, domain: Entity) -> list[Entity]:
    """The VMs and snapshots whose saved memory is on the domain, and the VMs that are to go on from such a snapshot's."""
    vms = [
        vm
        for vm in entities.list("vm")
        if domain.id in ((vm.body.get(name) or {}).get("domain") for name in (MEMORY, RESUME))
    ]
    snapshots = entities.list("snapshot")
    return [*vms, *(one for one in snapshots if (one.body.get(SNAPSHOT_MEMORY) or {}).get("domain") == domain.id)]


def need_empty_of_disks(entities: Entities, domain: Entity, action: str) -> None:
    """Raises ``Conflict`` ``domain.disks``, ``domain.memory``, ``domain.seeds``: something is on it."""
    disks = entities.referring(domain.key, "disk", "storage_domains")
    if disks:
        why = f"It has {len(disks)} disks, {disks[0].name} among them"
        raise refused(domain, action, why, "Remove them, or move them to another domain.", "domain.disks")
    need_no_memory(entities, domain, action)
    need_no_seeds(entities, domain, action)


def seeds_on(entities: Entities, domain: Entity) -> list[Entity]:
    """The rows of cloud-init's CDs on the domain."""
    return entities.referring(domain.key, seeds.KIND, "storage_domain")


def need_no_seeds(entities: Entities, domain: Entity, action: str) -> None:
    """Raises ``Conflict`` ``domain.seeds``: whoever gets the storage next is not to find passwords' hashes on it."""
    found = sorted({one.name for one in seeds_on(entities, domain)})
    if found:
        why = f"cloud-init CDs of VMs are on it: {', '.join(found)}"
        remedy = "Activate it: those of VMs that do not run are removed within a minute."
        raise refused(domain, action, why, remedy, "domain.seeds")


def need_no_memory(entities: Entities, domain: Entity, action: str) -> None:
    """Raises ``Conflict`` ``domain.memory``."""
    vms = memories_on(entities, domain)
    if vms:
        why = f"Saved memory of VMs is on it: {', '.join(vms)}"
        raise refused(domain, action, why, "Start or stop them, or remove their snapshots with memory.", "domain.memory")


def need_not_engines(domain: Entity, action: str) -> None:
    """Raises ``Conflict`` ``domain.engine`` for the one that we live on."""
    if mount_of(domain) == layout.ENGINE_VOLUME:
        raise refused(domain, action, "The engine's own disk is on it", "It cannot be done.", "domain.engine")


def need_idle(entities: Entities, domain: Entity, action: str) -> None:
    """Raises ``Conflict`` ``domain.in-use``: VMs run with disks on it."""
    users: Sequence[str] = users_of(entities, domain)
    if users:
        why = f"There are running VMs with disks on it: {', '.join(users)}"
        raise refused(domain, action, why, "Shut them down first.", "domain.in-use")


def refused(domain: Entity, action: str, why: str, remedy: str = "Look at it.", code: str = "domain.status") -> Conflict:
    """It cannot be done with the domain as it is."""
    return Conflict(code, subject=f"storage domain {domain.name}", reason=f"Cannot {action}. {why}", remedy=remedy)
