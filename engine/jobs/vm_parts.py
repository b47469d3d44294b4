"""NICs and disk attachments as rows: what a VM is made of. Shared by the jobs of VMs and by the API's changes of VMs that do
not run. Each is to be called inside the transaction that makes the change."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.errors import Conflict, NotFound, Refused
from engine.decide.mac import free, normal
from engine.store.entities import Entities
from engine.store.entity import Entity

DISKS_LIMIT = 200
"""Disks of one VM: below the 256 that a virtio-scsi controller of libvirt carries, and what the nodes refuse."""
NICS_LIMIT = 28
"""NICs of one VM: oVirt's limit for PCI devices of one machine."""


@dataclass(frozen=True)
class NewNic:
    """A NIC to be made. ``mac`` empty: the pool gives one. ``attributes`` are those of the v4 NIC that are only kept."""

    nic_id: str
    name: str
    mac: str = ""
    profile_id: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewAttachment:
    """A disk for a VM; ``attributes`` of the v4 attachment (``active``, ``bootable``, ``interface`` …)."""

    disk_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


def need_free_name(entities: Entities, vm: Entity, name: str, but: str = "") -> None:
    """Raises ``Conflict`` ``nic.exists`` when another NIC of the VM (or template) has the name."""
    others = [one for one in entities.children(vm.key, "nic") if one.id != but]
    if any(one.name == name for one in others):
        reason = "Cannot add VM Interface. The network interface name is already in use"
        owner = "VM" if vm.kind == "vm" else vm.kind
        subject = f"NIC {name} of {owner} {vm.name}"
        raise Conflict("nic.exists", subject=subject, reason=reason, remedy="Choose another name.")
    if len(others) >= NICS_LIMIT:
        reason = f"Cannot add VM Interface. The VM has {len(others)} already, more than that its machine cannot have"
        raise Conflict("nic.too-many", subject=f"VM {vm.name}", reason=reason, remedy="Remove one.")


def add_nic(entities: Entities, vm: Entity, new: NewNic) -> Entity:
    """Store a NIC with an address of the pool of the VM's cluster, or with the one that it asks for.

    Raises ``Refused`` ``nic.mac``; ``Conflict`` ``nic.exists``, ``nic.mac-used``, ``mac-pool.empty``.
    """
    if not new.name:
        raise Refused("nic.name", subject=f"a NIC of VM {vm.name}", reason="its name is empty", remedy="Give it a name.")
    entities.change(*vm.key, lambda before: before)  # two NICs of one VM at once: one after the other
    need_free_name(entities, vm, new.name)
    pool = pool_of(entities, vm)
    mac = normal(new.mac) if new.mac else free(pool.body.get("ranges") or (), entities.unique_keys("nic"))
    body = {**new.attributes, "mac": {"address": mac}}
    nic = Entity("nic", new.nic_id, new.name, body, parent=vm.key, unique_key=mac)
    nic = with_profile(entities, nic, new.profile_id)
    try:
        return entities.add(nic)
    except Conflict as error:
        if error.code != "entity.exists":
            raise
        if new.mac and pool.body.get("allow_duplicates"):
            return entities.add(replace(nic, unique_key=f"{mac}/{nic.id}"))
        raise mac_used(vm, mac) from error


def mac_used(vm: Entity, mac: str) -> Conflict:
    """Somebody else has the address."""
    reason = f"Cannot add VM Interface. MAC Address ({mac}) is already in use"
    return Conflict(
        "nic.mac-used", subject=f"VM {vm.name}", reason=reason, remedy="Leave the address out: the pool gives one."
    )


def with_profile(entities: Entities, nic: Entity, profile_id: str) -> Entity:
    """The NIC on that vNIC profile (empty: on none)."""
    if profile_id:
        entities.need("vnic_profile", profile_id)
    return replace(nic, refs={**nic.refs, "vnic_profile": (profile_id,)} if profile_id else {})


def pool_of(entities: Entities, vm: Entity) -> Entity:
    """The MAC pool of the VM's cluster, else of its data center, else the default one."""
    cluster = entities.get("cluster", vm.ref("cluster"))
    center = entities.get("data_center", cluster.ref("data_center")) if cluster else None
    for owner in (cluster, center):
        if owner is not None and owner.ref("mac_pool"):
            return entities.need("mac_pool", owner.ref("mac_pool"))
    found = next((one for one in entities.list("mac_pool") if one.body.get("default_pool")), None)
    if found is None:
        raise NotFound("mac-pool.unknown", subject=f"VM {vm.name}", reason="there is no MAC pool", remedy="Add one.")
    return found


def attachment_of(entities: Entities, vm_id: str, disk_id: str) -> Entity | None:
    """The VM's attachment of a disk."""
    found = entities.get("disk_attachment", disk_id)
    if found is not None and found.parent == ("vm", vm_id):
        return found
    return next((one for one in entities.children(("vm", vm_id), "disk_attachment") if one.ref("disk") == disk_id), None)


def attach(entities: Entities, vm: Entity, new: NewAttachment, *, is_new: bool = False) -> Entity:
    """Store that a VM has a disk. ``is_new``: its image is being made (its own status is seen only if that is given up).
    Raises ``Conflict`` ``disk.attached``, ``disk.bootable``, ``disk.too-many``,
    ``disk.illegal``; ``NotFound`` ``entity.unknown``."""
    entities.change(*vm.key, lambda before: before)
    disk = entities.need("disk", new.disk_id)
    mine = entities.children(vm.key, "disk_attachment")
    check_attachable(entities, vm, disk, mine)
    if disk.status == "illegal" and not is_new:
        reason = "Cannot attach Virtual Disk. It is illegal"
        raise Conflict("disk.illegal", subject=f"disk {disk.name}", reason=reason, remedy="Remove it.")
    if new.attributes.get("bootable"):
        check_only_bootable(vm, mine)
    # Its id in the API is the disk's. A shareable disk has several, of which only the first can be stored under that id.
    taken = entities.get("disk_attachment", disk.id) is not None
    identifier = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{vm.id}/{disk.id}")) if taken else disk.id
    row = Entity("disk_attachment", identifier, "", dict(new.attributes), {"disk": (disk.id,)}, parent=vm.key)
    return entities.add(row)


def check_attachable(entities: Entities, vm: Entity, disk: Entity, mine: list[Entity]) -> None:
    """Refuse what the VM cannot have."""

    def refuse(code: str, reason: str, remedy: str) -> Conflict:
        return Conflict(code, subject=f"disk {disk.name}", reason=f"Cannot attach Virtual Disk. {reason}", remedy=remedy)

    if any(one.ref("disk") == disk.id for one in mine):
        raise refuse("disk.attached", f"It is attached to VM {vm.name} already", "Nothing is needed.")
    if len(mine) >= DISKS_LIMIT:
        raise refuse("disk.too-many", f"VM {vm.name} has {len(mine)} disks, more it cannot have", "Detach one.")
    others = entities.referring(("disk", disk.id), "disk_attachment", "disk")
    if others and not disk.body.get("shareable"):
        owner = entities.get(*others[0].parent) if others[0].parent else None
        raise refuse("disk.attached", f"It is attached to {owner.kind} {owner.name} already" if owner else "It is attached",
                     "Detach it there first, or make it shareable.")  # fmt: skip


def check_only_bootable(vm: Entity, others: list[Entity]) -> None:
    """A VM boots from one disk. Raises ``Conflict`` ``disk.bootable``."""
    found = next((one for one in others if one.body.get("bootable")), None)
    if found is not None:
        reason = f"Cannot attach Virtual Disk. VM {vm.name} already has a bootable disk ({found.ref('disk')})"
        raise Conflict("disk.bootable", subject=f"VM {vm.name}", reason=reason, remedy="Only one disk can be bootable.")
