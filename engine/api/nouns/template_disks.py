"""Disks and NICs that begin as those of another VM or template: copies, or layers over them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from appliance.errors import Refused
from engine.api.noun import Call
from engine.decide.vm_config import without
from engine.jobs.disk_create import CreateDisk
from engine.jobs.vm_create import AddedDisk
from engine.jobs.vm_parts import NewNic
from engine.store.entities import Entities
from engine.store.entity import Entity

OF_THE_DISK = ("wipe_after_delete", "propagate_errors", "content_type", "description")
"""What a copy of a disk takes over."""


def nics_of(entities: Entities, owner: Entity) -> tuple[NewNic, ...]:
    """The NICs of a VM or template as new ones, without addresses."""
    return tuple(
        NewNic(str(uuid.uuid4()), one.name, "", one.ref("vnic_profile"), without(one.body, {"mac"}))
        for one in entities.children(owner.key, "nic")
    )


def disks_for(call: Call, template_id: str, vm_name: str, wishes: Any, *, is_clone: bool) -> tuple[AddedDisk, ...]:
    """The disks of a VM that is made from a template: layers over the template's own (thin), or copies of them."""
    entities = call.engine.store.entities
    found = []
    for number, (attachment, disk) in enumerate(disks_of(entities, entities.need("template", template_id)), start=1):
        wish = wish_for(wishes, disk.id)
        name = str(wish.get("name") or wish.get("alias") or f"{vm_name}_Disk{number}")
        found.append(new_disk(call, attachment.body, disk, wish, name, is_thin=not is_clone))
    return tuple(found)


def disks_of(entities: Entities, owner: Entity) -> list[tuple[Entity, Entity]]:
    """(attachment, disk), the first one made first."""
    mine = sorted(entities.children(owner.key, "disk_attachment"), key=lambda one: (one.created_ms, one.id))
    disks = entities.many("disk", [one.ref("disk") for one in mine])
    return [(one, disks[one.ref("disk")]) for one in mine]


def wish_for(wishes: Any, disk_id: str) -> Mapping[str, Any]:
    """What a body says of the copy of one disk: v4 names the disk that is copied."""
    return next(((one.get("disk") or {}) for one in wishes if (one.get("disk") or {}).get("id") == disk_id), {})


def new_disk(
    call: Call,
    attributes: Mapping[str, Any],
    disk: Entity,
    wish: Mapping[str, Any],
    name: str,
    *,
    is_thin: bool = False,
    snapshot_id: str = "",
) -> AddedDisk:
    """A disk that begins as ``disk``, attached with ``attributes``, with what ``wish`` says of it. ``is_thin``: a layer over
    it. ``snapshot_id``: as that snapshot has it. Raises ``Refused`` ``disk.format``, ``Denied`` ``permit.missing``."""
    domains = wish.get("storage_domains") or ([wish["storage_domain"]] if wish.get("storage_domain") else [])
    domain = str(domains[0]["id"]) if domains and domains[0].get("id") else disk.ref("storage_domains")
    call.rights.need("create_disk", ("storage_domain", domain))
    kept = {one: disk.body[one] for one in OF_THE_DISK if one in disk.body}
    if is_thin and wish.get("format") == "raw":
        raise Refused(
            "disk.format",
            subject=f"disk {name}",
            reason="Cannot add VM. A raw disk cannot be a layer over its template's disk",
            remedy="Ask for format cow, or for a clone (`clone=true`).",
        )
    new = CreateDisk(
        str(uuid.uuid4()),
        str(uuid.uuid4()),
        name,
        domain,
        int(disk.body.get("provisioned_size") or 0),
        "cow" if is_thin else wish.get("format") or disk.body["format"],
        True if is_thin else bool(wish.get("sparse", disk.body.get("sparse", True))),
        kept,
        disk.id,
        is_thin,
        snapshot_id,
    )
    return AddedDisk(new, dict(attributes))
