"""Who has a disk, and what is refused for that reason. Shared by the jobs that copy, move and grow disks."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.errors import Conflict
from engine.jobs.disk_remove import attached_to
from engine.jobs.vm_place import runs
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


def owners_of(entities: Entities, disk: Entity) -> list[Entity]:
    """The VMs and templates that have it."""
    return [entities.need(*one.parent) for one in attached_to(entities, disk.id) if one.parent]


def eject(entities: Entities, disk: Entity) -> None:
    """Whoever has it as their CD has none."""
    for vm in entities.referring(disk.key, "vm", "iso"):
        entities.change("vm", vm.id, lambda one: one.with_refs(iso=()))


def owner_locks(entities: Entities, disk: Entity) -> Sequence[Lock]:
    """Nobody of them starts, ends or goes meanwhile; nor does its domain."""
    owners = sorted(one.key for one in owners_of(entities, disk))
    domains = disk.refs.get("storage_domains", ())
    return (
        *(Lock(kind, identifier, "", is_shared=True) for kind, identifier in owners),
        *(Lock("storage_domain", one, "", is_shared=True) for one in domains),
    )


def need_ok(disk: Entity, action: str) -> None:
    """Raises ``Conflict`` ``disk.not-ok``."""
    if disk.status not in ("", "ok"):
        reason = f"Cannot {action}. Disk {disk.name} is {disk.status}"
        raise Conflict("disk.not-ok", subject=f"disk {disk.name}", reason=reason, remedy="Remove it.")


def need_no_template(entities: Entities, disk: Entity, action: str) -> None:
    """Raises ``Conflict`` ``disk.template``: VMs may be layers over it."""
    owner = next((one for one in owners_of(entities, disk) if one.kind == "template"), None)
    above = entities.referring(disk.key, "disk", "backing_disk")
    if owner is not None or above:
        whose = f"of template {owner.name}" if owner else f"under disk {above[0].name}"
        reason = f"Cannot {action}. Disk {disk.name} is one {whose}, which stays where it is"
        raise Conflict("disk.template", subject=f"disk {disk.name}", reason=reason, remedy="Copy the VM's disk instead.")


def need_shared_host(entities: Entities, disk: Entity, target: Entity, action: str) -> None:
    """Raises ``Conflict`` ``domain.not-shared``: a local domain is one host's, and no VM runs where two such meet."""
    home = target.ref("host")
    for vm in (one for one in owners_of(entities, disk) if home and one.kind == "vm"):
        attached = [one.ref("disk") for one in entities.children(vm.key, "disk_attachment")]
        others = [one for one in entities.many("disk", attached).values() if one.id != disk.id]
        for other in others:
            domain = entities.need("storage_domain", other.ref("storage_domains"))
            if domain.ref("host") not in ("", home):
                reason = (
                    f"Cannot {action}. Disk {other.name} of VM {vm.name} is on Storage Domain {domain.name}, which host"
                    f" {entities.name_of('host', domain.ref('host'))} alone has, and {target.name} is host"
                    f" {entities.name_of('host', home)}'s alone: it could run nowhere"
                )
                remedy = "Move that disk first, or choose a domain that all hosts have."
                raise Conflict("domain.not-shared", subject=f"disk {disk.name}", reason=reason, remedy=remedy)


def need_idle(entities: Entities, disk: Entity, action: str) -> None:
    """Raises ``Conflict`` ``disk.in-use``: a VM runs with it (or goes on with it when it wakes)."""
    drives = entities.referring(disk.key, "vm", "iso")
    for vm in [*(one for one in owners_of(entities, disk) if one.kind == "vm"), *drives]:
        if runs(vm) or vm.ref("host") or vm.status == "suspended":
            reason = f"Cannot {action}. VM {vm.name} has disk {disk.name} and is {vm.shown_status or 'starting'}"
            remedy = "Shut it down first."
            raise Conflict("disk.in-use", subject=f"disk {disk.name}", reason=reason, remedy=remedy)
