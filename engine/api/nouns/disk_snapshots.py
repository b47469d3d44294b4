"""The layers that snapshots keep of disks, below a disk or a storage domain: what backup tools download one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from engine.api.documents import Object
from engine.api.noun import Call
from engine.api.nouns import ref
from engine.api.nouns.vm_snapshots import active_id
from engine.api.observed import Rows
from engine.api.parameters import EVERY
from engine.jobs.disk_remove import attached_to
from engine.jobs.layers import Layer, by_age, images
from engine.jobs.preview import PREVIEW
from engine.store.entities import Entities
from engine.store.entity import Entity

SHOWN = (
    "alias", "content_type", "description", "disk_profile", "name", "propagate_errors", "provisioned_size", "shareable",
    "status", "storage_domains", "storage_type", "wipe_after_delete",
)  # fmt: skip
"""What a layer has of its disk."""


class DiskSnapshots(Rows):
    """What is written now is told only with ``include_active``, as in v4. A layer has its image's id; transfers use that."""

    services, kind = ("DiskSnapshots",), "DiskSnapshot"

    def rows(self, call: Call) -> Sequence[Object]:
        active = bool(call.parameters.flag("include_active"))
        return [one for one in self._all(call) if active or not one["active"]]

    def get(self, call: Call, identifier: str) -> Object | None:
        return next((one for one in self._all(call) if one["id"] == identifier), None)

    def _all(self, call: Call) -> list[Object]:
        entities = call.engine.store.entities
        kept = _kept(entities)
        return [layer for disk in _disks(call) for layer in _layers(entities, disk, kept.get(str(disk["id"]), ()))]


def _disks(call: Call) -> Sequence[Object]:
    """Those at the call's place that the caller sees."""
    disks = call.nouns["Disks"]
    if call.parent_kind == "Disk":
        found = disks.get(call.below("Disks", ""), call.parent_id)
        return [found] if found is not None else []
    return disks.list(call.below("StorageDomainDisks", "", *call.parents), EVERY)


def _kept(entities: Entities) -> Mapping[str, Sequence[tuple[Entity, Layer]]]:
    """Disk → (snapshot, the layer that it keeps), the oldest first. One query, however many disks there are."""
    found: dict[str, list[tuple[Entity, Layer]]] = defaultdict(list)
    for snapshot in sorted(entities.list("snapshot"), key=by_age):
        if snapshot.body.get("snapshot_type") != PREVIEW:
            for disk, layer in images(snapshot).items():
                found[disk].append((snapshot, layer))
    return found


def _layers(entities: Entities, disk: Object, kept: Sequence[tuple[Entity, Layer]]) -> Iterator[Object]:
    """The base first."""
    below = ""
    for snapshot, layer in kept:
        yield _layer(disk, layer, below, snapshot.id, is_active=False)
        below = layer.image
    owners = [one.parent for one in attached_to(entities, str(disk["id"]))]
    of_vm = next((active_id(one[1]) for one in owners if one is not None and one[0] == "vm"), "")
    yield _layer(disk, Layer(str(disk["image_id"]), str(disk["format"])), below, of_vm, is_active=True)


def _layer(disk: Object, layer: Layer, below: str, snapshot: str, *, is_active: bool) -> Object:
    return {
        **{name: disk[name] for name in SHOWN if name in disk},
        "id": layer.image,
        "image_id": layer.image,
        "active": is_active,
        "format": layer.format,
        "sparse": disk.get("sparse", True) if layer.format == "raw" else True,
        "disk": ref(str(disk["id"])),
        **({"snapshot": ref(snapshot)} if snapshot else {}),
        **({"parent": ref(below)} if below else {}),
    }
