"""All layers of a disk on another domain, or none: shared by the jobs that move disks."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.errors import Conflict
from appliance.model.disk import DiskCopy, DiskFile, Preallocation
from engine.jobs.job import Work
from engine.jobs.layers import Layer, layer_at
from engine.jobs.places import host_for_cleaning, need_active_domain, need_room
from engine.jobs.task import await_task, task_id
from engine.store.entities import Entities
from engine.store.entity import Entity


def room_of(disk: Entity) -> Preallocation:
    """How a copy of it takes its room."""
    return "falloc" if disk.body.get("sparse") is False else "off"


def copy_layers(work: Work, host: str, disk: Entity, layers: Sequence[Layer], source_id: str, target_id: str) -> None:
    """Part of a step: the layers (the base first) lie on the target, each over the copy of the one below. The base takes
    along what is below it, a template's disk."""
    below: DiskFile | None = None
    with work.on(host) as node:
        for layer in layers:
            source, target = (layer_at(work.entities, disk, layer, one) for one in (source_id, target_id))
            copy = DiskCopy(source, target, "off" if below else room_of(disk), below)
            await_task(work, node, task_id(work, f"copy-{layer.image}"), lambda task, c=copy: node.disk_copy(task, c))  # type: ignore[misc]
            below = target


def drop_layers(
    work: Work, host: str, disk: Entity, layers: Sequence[Layer], domain_id: str, what: str, *, wipe: bool = False
) -> None:
    """Part of a step: none of the layers is on the domain. The uppermost goes first: what is left always reads."""
    with work.on(host_for_cleaning(work, host)) as node:
        for layer in reversed(layers):
            file = layer_at(work.entities, disk, layer, domain_id)
            name = task_id(work, f"{what}-{layer.image}")
            await_task(work, node, name, lambda task, f=file: node.disk_remove(task, f, wipe))  # type: ignore[misc]


def check_move(entities: Entities, disk: Entity, source_id: str, target_id: str, action: str) -> None:
    """Raises ``Conflict`` ``disk.there``, ``domain.not-active``, ``domain.low-space``."""
    if disk.ref("storage_domains") != source_id or source_id == target_id:
        where = entities.name_of("storage_domain", disk.ref("storage_domains"))
        reason = f"Cannot {action}. Disk {disk.name} is on Storage Domain {where} already"
        raise Conflict("disk.there", subject=f"disk {disk.name}", reason=reason, remedy="Name another domain.")
    need_active_domain(entities, source_id, action)
    need_active_domain(entities, target_id, action)
    size = int(disk.body.get("provisioned_size") or 0)
    need_room(entities, target_id, action, size if disk.body.get("sparse") is False else 0)


def moved_to(disk: Entity, target_id: str) -> Entity:
    """It is used from there, and lies over nobody's disk any more."""
    return disk.with_refs(storage_domains=target_id, backing_disk=(), disk_profile=())
