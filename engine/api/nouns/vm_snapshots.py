"""A VM's snapshots, and what they keep: disks, NICs. Making and removing one is a job."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made, Noun
from engine.api.nouns import ref, snapshot_actions, vm_making
from engine.api.observed import Rows
from engine.api.parameters import Listing
from engine.api.stored import Child, Stored, gone
from engine.inventory import derived_id
from engine.jobs.layers import CONFIG, images
from engine.jobs.places import domain_for
from engine.jobs.snapshot_create import CreateSnapshot, SnapshotCreate, can_be_kept
from engine.jobs.snapshot_remove import RemoveSnapshot, SnapshotRemove
from engine.store.entity import Entity

WITH_MEMORY = ("up", "paused", "powering_up")
"""Statuses of a VM in which a snapshot keeps its memory, unless it is not wanted."""
SHOWN_OF_THE_VM = frozenset({
    "bios", "console", "cpu", "cpu_shares", "custom_properties", "delete_protected", "display", "high_availability", "io",
    "memory", "memory_policy", "migration", "multi_queues_enabled", "os", "placement_policy", "rng_device", "stateless",
    "time_zone", "type", "usb", "virtio_scsi",
})  # fmt: skip
"""What a snapshot shows of the VM that it would bring back."""


def active_id(vm_id: str) -> str:
    """The id of a VM's ``Active VM``: always the same."""
    return derived_id(vm_id, "active-snapshot")


class Snapshots(Stored):
    """A VM's snapshots; ``Active VM``, what is now, is one of the list, as in v4."""

    services, kind, entity, unique = ("Snapshots",), "Snapshot", "snapshot", False
    scopes, parent_attribute = {"Vm": Child()}, "vm"
    defaults = {"persist_memorystate": False, "snapshot_type": "regular"}
    remembered = False
    actions = {"restore": snapshot_actions.restore}

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        return [*super().list(call, listing), self._active(call)]

    def get(self, call: Call, identifier: str) -> Object | None:
        active = self._active(call)
        return active if identifier == active["id"] else super().get(call, identifier)

    def _active(self, call: Call) -> Object:
        vm = self.entities(call).need("vm", call.parent_id)
        return {
            "id": active_id(vm.id),
            "description": "Active VM",
            "date": vm.created_ms,
            "persist_memorystate": False,
            "snapshot_status": "ok",
            "snapshot_type": "active",
            "vm": ref(vm.id),
        }

    def show(self, call: Call, entity: Entity) -> Object:
        kept = (entity.body.get(CONFIG) or {}).get("vm") or {}
        value = {**super().show(call, entity), **{name: kept[name] for name in SHOWN_OF_THE_VM & kept.keys()}}
        value.pop("status", None)  # the VM's, in v4; what a snapshot is doing has a name of its own
        return {**value, "snapshot_status": entity.shown_status or "ok"}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """Of all disks that it can have, or of those that are named in ``disk_attachments``."""
        entities = self.entities(call)
        vm = entities.need("vm", call.parent_id)
        vm_making.refuse_engine(call, vm.id, "create Snapshot")
        given_disks = given.get("disk_attachments") or ()
        named = [str((one.get("disk") or {}).get("id") or one.get("id") or "") for one in given_disks]
        rows = entities.children(vm.key, "disk_attachment")
        attached = [(one, entities.need("disk", one.ref("disk"))) for one in rows]
        chosen = named or [disk.id for one, disk in attached if can_be_kept(disk, one)]
        with_memory = given.get("persist_memorystate") is not False and vm.status in WITH_MEMORY and bool(chosen)
        identifier = str(uuid.uuid4())
        memory = (domain_for(entities, vm, "take Snapshot"), f"memory/{vm.id}/{uuid.uuid4()}") if with_memory else ("", "")
        wanted = CreateSnapshot(
            vm.id,
            identifier,
            str(given.get("description") or ""),
            {one: str(uuid.uuid4()) for one in chosen},
            call.engine.now_ms(),
            *memory,
        )
        job = work.order(call, SnapshotCreate, wanted)
        return Made(self.show(call, entities.need("snapshot", identifier)), work.unfinished(job))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        if self.find(call, identifier) is None:
            raise gone(self.kind, identifier)
        return work.done(call, SnapshotRemove, RemoveSnapshot(call.parent_id, identifier))

    update = Noun.update


def _kept_by(call: Call) -> Entity | None:
    """The snapshot above, if it is one of the VM above that."""
    found = call.engine.store.entities.get("snapshot", call.parent_id)
    mine = [identifier for kind, identifier in call.parents if kind == "Vm"]
    return found if found is not None and found.parent is not None and found.parent[1] in mine else None


class SnapshotDisks(Rows):
    """The disks as a snapshot keeps them."""

    services, kind = ("SnapshotDisks",), "Disk"

    def rows(self, call: Call) -> Sequence[Object]:
        snapshot = _kept_by(call)
        if snapshot is None:
            return []
        disks = call.engine.store.entities.many("disk", images(snapshot))
        found = []
        for disk_id, layer in sorted(images(snapshot).items()):
            shown = call.nouns["Disks"].get(call.below("Disks", ""), disk_id)
            if shown is None or disk_id not in disks:
                continue
            layer_of = {"image_id": layer.image, "format": layer.format, "snapshot": ref(snapshot.id)}
            found.append({**shown, **layer_of})
        return found


class SnapshotNics(Rows):
    """The NICs as they were."""

    services, kind = ("SnapshotNics",), "Nic"

    def rows(self, call: Call) -> Sequence[Object]:
        snapshot = _kept_by(call)
        return [] if snapshot is None else list((snapshot.body.get(CONFIG) or {}).get("nics") or ())


SNAPSHOTS = (Snapshots, SnapshotDisks, SnapshotNics)
"""All of this file."""
