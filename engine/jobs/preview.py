"""A VM's preview of a snapshot, as rows: what it is now, what it was before, and what becomes of both.

While a VM previews a snapshot, each previewed disk has two branches above the snapshot's layer: a new layer, which is the
disk's own, and what there was before. The latter is kept by a row of the type ``preview``, a snapshot of the time before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from appliance.errors import Conflict
from engine.decide.vm_config import NEXT, NEXT_EXISTS
from engine.jobs.layers import (
    IMAGES,
    MEMORY,
    OVERLAY,
    PREVIEWED,
    Layer,
    date_for,
    images,
    own_layer,
    snapshots_of,
    without_disk,
)
from engine.jobs.vm_config_of import bring_back, config_of
from engine.jobs.vm_state import RESUME
from engine.store.entities import Entities
from engine.store.entity import Entity

PREVIEW = "preview"
"""v4's type of the snapshot that keeps what there was before."""
IN_PREVIEW = "in_preview"
"""v4's status of the snapshot that is previewed."""
BEFORE = "Active VM before the preview"
"""oVirt's description of that row."""
SIZES = "trivet_sizes"
"""In the body of that row: disk → its size before, for disks grow between a snapshot and its preview."""
HALF_DROPPED = "illegal"
"""Status of that row when what it keeps is partly gone: then there is a way forth only."""


@dataclass(frozen=True)
class PreviewSnapshot:
    """Which snapshot of which VM. ``images``: disk → image id of its new layer, which the caller draws, as ``before_id``,
    the id of the row that keeps what there was. ``with_memory``: the next start goes on from the snapshot's memory."""

    vm_id: str
    snapshot_id: str
    images: Mapping[str, str]
    before_id: str
    now_ms: int
    with_memory: bool = False


@dataclass(frozen=True)
class Doomed:
    """What is to go: layers (disk, layer), the uppermost of each disk first, and the snapshots whose memory goes."""

    layers: tuple[tuple[str, Layer], ...] = ()
    memories: tuple[str, ...] = ()


def preview_of(entities: Entities, vm_id: str) -> Entity | None:
    """The row that keeps what there was before the VM's preview; ``None``: it previews nothing."""
    found = entities.children(("vm", vm_id), "snapshot")
    return next((one for one in found if one.body.get("snapshot_type") == PREVIEW), None)


def need_preview(entities: Entities, vm_id: str, action: str) -> Entity:
    """That row. Raises ``Conflict`` ``vm.no-preview``."""
    found = preview_of(entities, vm_id)
    if found is None:
        vm = entities.need("vm", vm_id)
        reason = f"Cannot {action}. The VM is not previewing a Snapshot"
        remedy = "Preview one first (`previewsnapshot`)."
        raise Conflict("vm.no-preview", subject=f"VM {vm.name}", reason=reason, remedy=remedy)
    return found


def refuse_preview(entities: Entities, vm_id: str, action: str) -> None:
    """Raises ``Conflict`` ``vm.in-preview``: above a snapshot's layer there are two branches, so nothing is folded, and
    nothing that both stand on goes."""
    found = preview_of(entities, vm_id)
    if found is not None:
        vm, snapshot = entities.need("vm", vm_id), entities.get("snapshot", str(found.body[PREVIEWED]))
        what = snapshot.body.get("description") if snapshot else found.body[PREVIEWED]
        reason = f"Cannot {action}. VM is previewing a Snapshot ({what})"
        remedy = "Commit the preview (`commitsnapshot`) or undo it (`undosnapshot`) first."
        raise Conflict("vm.in-preview", subject=f"VM {vm.name}", reason=reason, remedy=remedy)


def younger_than(entities: Entities, vm_id: str, snapshot_id: str) -> list[Entity]:
    """The snapshots that were taken after that one, the oldest first; the row of a preview is the last of them."""
    found = snapshots_of(entities, vm_id)
    after = found[[one.id for one in found].index(snapshot_id) + 1 :]
    return sorted(after, key=lambda one: one.body.get("snapshot_type") == PREVIEW)


def doomed(entities: Entities, vm_id: str, snapshot_id: str, before: Mapping[str, Layer]) -> Doomed:
    """What goes when the snapshot is the past from now on: for its disks, all that was written after it. ``before``: disk
    → what was written last."""
    younger = [one for one in younger_than(entities, vm_id, snapshot_id) if one.body.get("snapshot_type") != PREVIEW]
    layers = []
    for disk in sorted(before):
        kept = [images(one)[disk] for one in younger if disk in images(one)]
        layers += [(disk, layer) for layer in (before[disk], *reversed(kept))]
    memories = tuple(one.id for one in younger if one.body.get(MEMORY))
    return Doomed(tuple(layers), memories)


def begin(entities: Entities, given: PreviewSnapshot, sizes: Mapping[str, int]) -> None:
    """The VM is what it was at the snapshot; what it is now is kept by a row. ``sizes``: of the disks then."""
    vm, snapshot = entities.need("vm", given.vm_id), entities.need("snapshot", given.snapshot_id)
    disks = entities.many("disk", given.images)
    body = {
        "description": BEFORE,
        "date": date_for(entities, vm.id, given.now_ms),
        "persist_memorystate": False,
        "snapshot_type": PREVIEW,
        PREVIEWED: snapshot.id,
        **config_of(entities, vm),
        IMAGES: {one.id: own_layer(one).__dict__ for one in disks.values()},
        SIZES: {one.id: one.body.get("provisioned_size") for one in disks.values()},
    }
    if RESUME in vm.body:
        body[RESUME] = vm.body[RESUME]
    row = Entity("snapshot", given.before_id, BEFORE, body, parent=vm.key, status="ok")
    entities.add(row.with_refs(disks=tuple(given.images)))
    for disk, image in given.images.items():
        _write_to(entities, disk, Layer(image, OVERLAY), sizes.get(disk))
    entities.change("snapshot", snapshot.id, lambda one: replace(one, status=IN_PREVIEW))
    bring_back(entities, vm.id, snapshot)
    entities.change("vm", vm.id, lambda one: one.without(RESUME))
    if given.with_memory:
        resume = {RESUME: {**snapshot.body[MEMORY], "snapshot": snapshot.id}}
        # what waited for a start then was not in force, and is not in the memory
        entities.change("vm", vm.id, lambda one: one.without(NEXT, NEXT_EXISTS).with_body(**resume))


def commit(entities: Entities, vm_id: str) -> None:
    """What there was before, and the snapshots after the previewed one, are no more: as far as they have other disks, which
    were not previewed, they stay with those."""
    row = need_preview(entities, vm_id, "commit Snapshot")
    snapshot_id, gone = str(row.body[PREVIEWED]), images(row)
    for one in younger_than(entities, vm_id, snapshot_id):
        if one.id == row.id or images(one).keys() <= gone.keys():
            entities.remove("snapshot", one.id)
        else:
            entities.change("snapshot", one.id, lambda before: _left_of(before, gone))
    entities.change("snapshot", snapshot_id, lambda one: replace(one, status="ok"))
    entities.set_status("disk", dict.fromkeys(gone, "ok"))


def _left_of(snapshot: Entity, gone: Mapping[str, Layer]) -> Entity:
    """Without those disks, and without memory, which belongs to all of them."""
    left = snapshot.without(MEMORY)
    for disk in gone:
        left = without_disk(left, disk)
    return left.with_body(persist_memorystate=False)


def undo(entities: Entities, vm_id: str) -> None:
    """The VM is again what it was before."""
    row = need_preview(entities, vm_id, "undo Snapshot")
    for disk, layer in images(row).items():
        _write_to(entities, disk, layer, (row.body.get(SIZES) or {}).get(disk))
    resume = {RESUME: row.body[RESUME]} if RESUME in row.body else {}
    entities.change("vm", vm_id, lambda one: one.without(RESUME).with_body(**resume))
    bring_back(entities, vm_id, row)
    entities.change("snapshot", str(row.body[PREVIEWED]), lambda one: replace(one, status="ok"))
    entities.set_status("disk", dict.fromkeys(images(row), "ok"))
    entities.remove("snapshot", row.id)


def _write_to(entities: Entities, disk_id: str, layer: Layer, size_bytes: int | None) -> None:
    size = {} if size_bytes is None else {"provisioned_size": size_bytes}
    entities.change("disk", disk_id, lambda disk: disk.with_body(image_id=layer.image, format=layer.format, **size))
