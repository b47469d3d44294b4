"""Back to a snapshot: preview, commit, undo, restore. Each is one job; v4 answers when it is ordered."""

from __future__ import annotations

import uuid
from typing import Any

from appliance.errors import Conflict, Refused
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done
from engine.api.stored import gone
from engine.jobs.layers import images, own_layer
from engine.jobs.preview import PreviewSnapshot
from engine.jobs.snapshot_commit import EndPreview, SnapshotCommit, SnapshotUndo
from engine.jobs.snapshot_preview import SnapshotPreview
from engine.jobs.snapshot_restore import SnapshotRestore
from engine.store.entity import Entity


def preview(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """Of all the snapshot's disks, or of those in ``disks``; with its memory if ``restore_memory`` is true."""
    snapshot = _snapshot_of(call, identifier, str((given.get("snapshot") or {}).get("id") or ""))
    return work.done(call, SnapshotPreview, _wanted(call, identifier, snapshot, given))


def restore(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """The same without a way back."""
    snapshot = _snapshot_of(call, call.parent_id, identifier)
    return work.done(call, SnapshotRestore, _wanted(call, call.parent_id, snapshot, given))


def commit(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """What is previewed is the VM from now on."""
    return work.done(call, SnapshotCommit, EndPreview(identifier))


def undo(noun: Any, call: Call, identifier: str, given: Object) -> Done:
    """The VM is what it was before the preview."""
    return work.done(call, SnapshotUndo, EndPreview(identifier))


def _snapshot_of(call: Call, vm_id: str, identifier: str) -> Entity:
    """Another VM's snapshot does not exist here. Raises ``NotFound``."""
    found = call.engine.store.entities.get("snapshot", identifier)
    if found is None or found.parent != ("vm", vm_id):
        raise gone("Snapshot", identifier)
    return found


def _wanted(call: Call, vm_id: str, snapshot: Entity, given: Object) -> PreviewSnapshot:
    disks = _chosen(call, snapshot, given)
    new = {one: str(uuid.uuid4()) for one in disks}
    with_memory = bool(given.get("restore_memory"))
    return PreviewSnapshot(vm_id, snapshot.id, new, str(uuid.uuid4()), call.engine.now_ms(), with_memory)


def _chosen(call: Call, snapshot: Entity, given: Object) -> list[str]:
    """The disks that go back; one that is named with the image that it has now stays as it is."""
    kept, entities = images(snapshot), call.engine.store.entities
    if given.get("disks") is None:
        return sorted(kept)
    found = []
    for one in given["disks"]:
        disk = entities.need("disk", str(one.get("id") or ""))
        image = str(one.get("image_id") or "")
        if disk.id not in kept:
            reason = f"The snapshot {snapshot.body.get('description')} does not have that disk"
            raise Conflict("snapshot.disk", subject=f"disk {disk.name}", reason=reason, remedy="Leave that disk out.")
        if image == own_layer(disk).image:
            continue
        if image not in ("", kept[disk.id].image):
            reason = f"Its image {image[:200]} is neither the snapshot's nor the one that is written now"
            remedy = f"Use {kept[disk.id].image}, or leave image_id out."
            raise Refused("snapshot.image", subject=f"disk {disk.name}", reason=reason, remedy=remedy)
        found.append(disk.id)
    if not found:
        reason = "Cannot preview Snapshot. None of the disks would go back"
        remedy = "Name a disk of the snapshot, or leave `disks` out for all."
        subject = f"snapshot {snapshot.body.get('description')}"
        raise Refused("snapshot.no-disk", subject=subject, reason=reason, remedy=remedy)
    return list(dict.fromkeys(found))
