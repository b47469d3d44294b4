"""Let go of what lies on a storage domain that is detached: its VMs, templates and disks are this installation's no longer.
What was known of them stays below the domain, from where it is registered again (engine/jobs/register.py); elsewhere it is
found by what the domain says of itself. Changes of rows alone; no image is touched.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from appliance.codec import encode
from engine.decide.descriptor import Descriptor
from engine.decide.vm_config import check_removable
from engine.jobs.backups import refuse_backup
from engine.jobs.descriptors import DESCRIPTOR, UNREGISTERED, described_on
from engine.jobs.disk_use import eject, owners_of
from engine.jobs.domain_use import need_no_memory, need_no_seeds, refused
from engine.jobs.layers import layers_first
from engine.jobs.preview import refuse_preview
from engine.jobs.template_remove import made_of
from engine.jobs.vm_remove import forget_vm
from engine.store.entities import Entities
from engine.store.entity import Entity, Key

USABLE = ("", "ok")


def keep_unregistered(entities: Entities, domain: Entity, said: Iterable[Descriptor]) -> None:
    """Write below a domain what it brought along, or what it had when it was detached."""
    for one in said:
        identifier = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{domain.id}/{one.kind}/{one.id}"))
        body = {DESCRIPTOR: encode(one), "kind": one.kind, "of": one.id}
        entities.add(Entity(UNREGISTERED, identifier, one.name, body, parent=domain.key))


def held_by(entities: Entities, domain: Entity) -> list[Key]:
    """The disks on a domain and whoever has them: nobody else may be changing these."""
    disks = entities.referring(domain.key, "disk", "storage_domains")
    return [*(one.key for one in disks), *_owners(entities, disks)]


def unregister(entities: Entities, domain: Entity, action: str) -> None:
    """Forget what lies there, and keep what is known of it. To be called in a transaction: what is refused half way must
    leave all as it was.

    Raises ``Conflict``: ``domain.memory``, ``domain.seeds``, ``domain.disk`` (one that is not whole), ``domain.spread``
    (something has disks elsewhere, too), ``domain.template`` (one of its templates is needed elsewhere), and whatever
    keeps a VM from being removed.
    """
    need_no_memory(entities, domain, action)
    need_no_seeds(entities, domain, action)
    disks = entities.referring(domain.key, "disk", "storage_domains")
    owners = list(_owners(entities, disks).values())
    for disk in disks:
        if disk.status not in USABLE:
            raise refused(domain, action, f"Its disk {disk.name} is {disk.status}", "Remove that disk first.", "domain.disk")
    for owner in owners:
        _need_separable(entities, domain, owner, action)
    said = list(described_on(entities, domain))
    for vm in (one for one in owners if one.kind == "vm"):
        forget_vm(entities, vm.id)
    _forget_templates(entities, domain, [one for one in owners if one.kind == "template"], action)
    for disk in disks:
        eject(entities, disk)
    for disk in layers_first(disks):
        entities.remove("disk", disk.id)
    keep_unregistered(entities, domain, said)


def _owners(entities: Entities, disks: Iterable[Entity]) -> dict[Key, Entity]:
    return {one.key: one for disk in disks for one in owners_of(entities, disk)}


def _need_separable(entities: Entities, domain: Entity, owner: Entity, action: str) -> None:
    """Raises ``Conflict`` unless the VM or template can leave with the domain."""
    word = "Template" if owner.kind == "template" else "VM"
    mine = entities.many("disk", [one.ref("disk") for one in entities.children(owner.key, "disk_attachment")]).values()
    elsewhere = [one for one in mine if one.ref("storage_domains") != domain.id]
    if elsewhere:
        why = f"{word} {owner.name} has a disk there, and others elsewhere ({elsewhere[0].name} among them)"
        raise refused(domain, action, why, "Move its disks to one Storage Domain.", "domain.spread")
    if owner.kind == "vm":
        check_removable(owner.name, owner.body, owner.status)
        refuse_preview(entities, owner.id, action)
        refuse_backup(entities, owner.id, action)
    elif owner.body.get("delete_protected"):
        why = f"Template {owner.name} is on it, and its Delete protection is enabled"
        raise refused(domain, action, why, "Set its delete_protected to false.", "domain.template")


def _forget_templates(entities: Entities, domain: Entity, templates: list[Entity], action: str) -> None:
    """Versions before what they are versions of."""
    left = templates
    while left:
        free = [one for one in left if not made_of(entities, one)]
        if not free:
            why = f"Template {left[0].name} is on it, and is used by the following {made_of(entities, left[0])}"
            raise refused(domain, action, why, "Move or remove these first.", "domain.template")
        for one in free:
            entities.remove("template", one.id)
        left = [one for one in left if one not in free]
