"""Remove a disk and its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import Conflict
from engine.jobs.disk_layers import drop_layers
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import chain, forget_disk
from engine.jobs.places import choose_host, chosen_host, need_active_domain
from engine.jobs.preview import refuse_preview
from engine.store.entities import Entities, Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class RemoveDisk:
    """Which disk. It is detached from the (stopped) VMs that have it."""

    disk_id: str


def remove_image(work: Work, disk_id: str) -> None:
    """Part of a step's ``do``: nothing of the disk's images is left, the layers of snapshots included."""
    disk = work.entities.need("disk", disk_id)
    wipe = bool(disk.body.get("wipe_after_delete"))
    host, layers = chosen_host(work), chain(work.entities, disk)
    drop_layers(work, host, disk, layers, disk.ref("storage_domains"), "remove", wipe=wipe)


def _remove(work: Work) -> None:
    remove_image(work, work.parameters(RemoveDisk).disk_id)


def attached_to(entities: Entities, disk_id: str) -> list[Entity]:
    """The attachments of a disk: children of VMs and templates."""
    return entities.referring(("disk", disk_id), "disk_attachment", "disk")


class DiskRemove(JobType[RemoveDisk]):
    """The disk is ``locked`` until it has gone. Once its image is touched there is no way back: if that cannot be finished
    it is ``illegal``, and may be removed again."""

    name = "disk.remove"
    parameters = RemoveDisk
    steps = (Step("choose-host", choose_host, weight=0.1), Step("remove-image", _remove, is_final=True))

    told = Told("USER_REMOVE_DISK_INITIATED", "USER_FINISHED_REMOVE_DISK", "USER_FINISHED_FAILED_REMOVE_DISK")

    def about(self, entities: Entities, given: RemoveDisk) -> Mapping[str, str]:
        disk = entities.need("disk", given.disk_id)
        return {"disk": disk.id, "storage_domain": disk.ref("storage_domains")}

    def describe(self, entities: Entities, given: RemoveDisk) -> str:
        return f"Removing Virtual Disk {entities.name_of('disk', given.disk_id)}"

    def check(self, entities: Entities, given: RemoveDisk) -> None:
        disk = entities.need("disk", given.disk_id)
        need_active_domain(entities, disk.ref("storage_domains"), "remove Virtual Disk")
        drives = entities.referring(disk.key, "vm", "iso")
        if drives:
            raise Conflict(
                "disk.in-use",
                subject=f"disk {disk.name}",
                reason=f"Cannot remove Virtual Disk. It is in the CD drive of VM {drives[0].name}",
                remedy="Take it out of the drive first.",
            )
        for one in attached_to(entities, disk.id):
            owner = entities.need(*one.parent) if one.parent else None
            if owner is not None and owner.kind == "vm":
                refuse_preview(entities, owner.id, f"remove Virtual Disk {disk.name}")
            if owner is not None and (owner.kind == "template" or owner.status not in ("down", "")):
                raise Conflict(
                    "disk.in-use",
                    subject=f"disk {disk.name}",
                    reason=f"Cannot remove Virtual Disk. It is in use by {owner.kind} {owner.name} ({owner.shown_status})",
                    remedy="Shut the VM down, or detach the disk first.",
                    facts={"kind": owner.kind, "id": owner.id},
                )

    def locks(self, entities: Entities, given: RemoveDisk) -> Sequence[Lock]:
        disk = entities.need("disk", given.disk_id)
        # A VM that has it can be neither started nor changed meanwhile.
        owners = [one.parent for one in attached_to(entities, disk.id) if one.parent]
        domains = [Lock("storage_domain", one, "", is_shared=True) for one in disk.refs.get("storage_domains", ())]
        return Lock("disk", disk.id), *domains, *(Lock(kind, owner, "", is_shared=True) for kind, owner in owners)

    def plan(self, entities: Entities, given: RemoveDisk) -> Sequence[Planned]:
        return Planned("choose-host", "Choosing a host"), Planned("remove-image", "Removing the image")

    def finish(self, work: Work) -> Mapping[str, Any]:
        disk_id = work.parameters(RemoveDisk).disk_id
        for one in attached_to(work.entities, disk_id):
            work.entities.remove(one.kind, one.id)
        forget_disk(work.entities, disk_id)
        work.entities.remove("disk", disk_id)
        return {}

    def given_up(self, work: Work) -> None:
        work.entities.change("disk", work.parameters(RemoveDisk).disk_id, lambda disk: replace(disk, status="illegal"))
