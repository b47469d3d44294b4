"""The layers of disks below the snapshots of a VM, as rows: which image is whose, and which lies over which.

A snapshot keeps, for each of its disks, the image that was written until then; the disk's own image is the one that is
written now. So the chain of a disk is its snapshots' images by age, and its own on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict
from appliance.model.disk import DiskFile
from engine.jobs.places import disk_file, mount_of
from engine.store.entities import Entities
from engine.store.entity import Entity

IMAGES = "trivet_images"
"""In a snapshot's body: disk → ``image`` and ``format`` (v4's word) of the layer that it keeps."""
MEMORY = "trivet_memory"
"""In a snapshot's body: where its memory is (``domain``: id, ``path``)."""
CONFIG = "trivet_config"
"""In a snapshot's body: the VM's attributes and NICs at that time."""
PREVIEWED = "trivet_previewed"
"""In the body of the row that keeps what there was before a preview: the snapshot that is previewed."""
OVERLAY = "cow"
"""v4's word for the format that only a layer over another one can have."""


@dataclass(frozen=True)
class Layer:
    """One image of a disk."""

    image: str
    format: str


@dataclass(frozen=True)
class Fold:
    """What removing a snapshot means for one disk: ``top``, the layer over its ``base``, goes into that. ``owner``: the
    snapshot that had ``top``, empty: the disk itself. ``over``: what lies over ``top``."""

    disk: str
    base: Layer
    top: Layer
    owner: str = ""
    over: Layer | None = None

    @property
    def is_active(self) -> bool:
        """Whether ``top`` is what a running VM writes to."""
        return not self.owner


def by_age(snapshot: Entity) -> tuple[int, float, str]:
    """Sorts snapshots, the oldest first: the order of their layers."""
    return int(snapshot.body.get("date") or 0), snapshot.created_ms, snapshot.id


def snapshots_of(entities: Entities, vm_id: str) -> list[Entity]:
    """A VM's snapshots, the oldest first."""
    found = entities.children(("vm", vm_id), "snapshot")
    return sorted(found, key=by_age)


def date_for(entities: Entities, vm_id: str, now_ms: int) -> int:
    """What a new snapshot is dated: after all others of the VM, because the order of dates is that of layers, and a clock
    may be behind after the engine has come up on another host."""
    return max([now_ms, *(int(one.body.get("date") or 0) + 1 for one in snapshots_of(entities, vm_id))])


def images(snapshot: Entity) -> Mapping[str, Layer]:
    """Disk → the layer that it keeps."""
    held = snapshot.body.get(IMAGES) or {}
    return {disk: Layer(str(one["image"]), str(one["format"])) for disk, one in held.items()}


def own_layer(disk: Entity) -> Layer:
    """What is written now."""
    return Layer(str(disk.body["image_id"]), str(disk.body["format"]))


def layer_file(entities: Entities, disk: Entity, layer: Layer) -> DiskFile:
    """Where a layer is."""
    return layer_at(entities, disk, layer, disk.ref("storage_domains"))


def layer_at(entities: Entities, disk: Entity, layer: Layer, domain_id: str) -> DiskFile:
    """Where a layer is, or would be, on a domain."""
    return disk_file(entities.need("storage_domain", domain_id), disk.id, layer.image, layer.format)


def memory_of(entities: Entities, snapshot: Entity) -> DiskFile | None:
    """Where a snapshot's memory is; ``None``: it has none."""
    said = snapshot.body.get(MEMORY)
    return None if not said else DiskFile(mount_of(entities.need("storage_domain", str(said["domain"]))), str(said["path"]))


def chain(entities: Entities, disk: Entity) -> list[Layer]:
    """All layers of a disk, the base first."""
    holders = entities.referring(disk.key, "snapshot", "disks")
    previewed = next((str(one.body[PREVIEWED]) for one in holders if PREVIEWED in one.body), "")
    kept = sorted(holders, key=by_age)
    if previewed:  # what was written after it is another branch
        kept = kept[: [one.id for one in kept].index(previewed) + 1]
    return [*(images(one)[disk.id] for one in kept if disk.id in images(one)), own_layer(disk)]


def memory_domains(snapshots: Iterable[Entity]) -> list[str]:
    """The ids of the domains that their memory is on."""
    return list(dict.fromkeys(str(one.body[MEMORY]["domain"]) for one in snapshots if one.body.get(MEMORY)))


def folds(entities: Entities, snapshot: Entity) -> Sequence[Fold]:
    """What is to be done to remove a snapshot: one fold a disk."""
    if snapshot.parent is None:
        return ()
    mine, younger = images(snapshot), snapshots_of(entities, snapshot.parent[1])
    younger = younger[[one.id for one in younger].index(snapshot.id) + 1 :]
    found = []
    for disk_id, base in sorted(mine.items()):
        disk = entities.need("disk", disk_id)
        above = [(one.id, images(one)[disk_id]) for one in younger if disk_id in images(one)] + [("", own_layer(disk))]
        owner, top = above[0]
        found.append(Fold(disk_id, base, top, owner, above[1][1] if len(above) > 1 else None))
    return tuple(found)


def record_fold(entities: Entities, snapshot_id: str, fold: Fold) -> None:
    """What ``top`` was is ``base`` now, and the snapshot has nothing of this disk any more. In one transaction; again:
    nothing."""
    with entities.connection.transaction():
        if fold.disk not in images(entities.need("snapshot", snapshot_id)):
            return
        kept = {"image": fold.base.image, "format": fold.base.format}
        if fold.owner:
            entities.change("snapshot", fold.owner, lambda one: _with_image(one, fold.disk, kept))
        else:
            entities.change("disk", fold.disk, lambda one: one.with_body(image_id=fold.base.image, format=fold.base.format))
        entities.change("snapshot", snapshot_id, lambda one: without_disk(one, fold.disk))


def _with_image(snapshot: Entity, disk: str, kept: Mapping[str, Any]) -> Entity:
    return snapshot.with_body(**{IMAGES: {**(snapshot.body.get(IMAGES) or {}), disk: dict(kept)}})


def without_disk(snapshot: Entity, disk: str) -> Entity:
    """The snapshot without one of its disks."""
    left = {name: value for name, value in (snapshot.body.get(IMAGES) or {}).items() if name != disk}
    others = tuple(one for one in snapshot.refs.get("disks", ()) if one != disk)
    return snapshot.with_body(**{IMAGES: left}).with_refs(disks=others)


def forget_disk(entities: Entities, disk_id: str) -> None:
    """No snapshot has the disk any more: all its layers are gone."""
    for one in entities.referring(("disk", disk_id), "snapshot", "disks"):
        entities.change("snapshot", one.id, lambda before: without_disk(before, disk_id))


def layers_first(disks: Sequence[Entity]) -> Iterator[Entity]:
    """Those that lie over another one before that one."""
    left = {one.id: one for one in disks}
    while left:
        below = {one.ref("backing_disk") for one in left.values()}
        free = [one for one in left.values() if one.id not in below]
        yield from free
        for one in free:
            del left[one.id]


def refuse_kept(entities: Entities, disk: Entity, action: str) -> None:
    """Raises ``Conflict`` ``disk.in-snapshot``: a disk that leaves its VM cannot take the snapshots' layers along."""
    holders = entities.referring(disk.key, "snapshot", "disks")
    if holders:
        names = ", ".join(sorted(str(one.body.get("description") or one.id) for one in holders))
        raise Conflict(
            "disk.in-snapshot",
            subject=f"disk {disk.name}",
            reason=f"Cannot {action}. The disk is in the snapshots {names} of its VM",
            remedy="Remove those snapshots first, or remove the disk with all its layers.",
        )
