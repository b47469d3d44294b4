"""Fold one layer of a disk into the one below, whoever has the disk open: the host where the VM runs does it, else any."""

from __future__ import annotations

from appliance.errors import NotFound
from appliance.model.disk import DiskFile
from appliance.model.vm_live import DiskMerge
from engine.jobs.evicted import cannot_write
from engine.jobs.job import Work
from engine.jobs.layers import Fold, layer_file
from engine.jobs.places import host_for_cleaning
from engine.jobs.ports import DiskNode
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_parts import attachment_of
from engine.jobs.vm_place import host_of, state_at
from engine.store.entities import Entities
from engine.store.entity import Entity


def runs_on(work: Work, vm: Entity) -> str:
    """The host that has the VM's QEMU, asked now; empty: none has, or the one that had it can do no harm any more. Raises
    ``Unavailable`` when it cannot be said."""
    if not vm.ref("host") or cannot_write(work.entities, vm, work.entities.get("host", vm.ref("host"))):
        return ""
    host = host_of(work, vm)
    return host if state_at(work, host, vm.id) is not None else ""


def is_plugged(entities: Entities, vm: Entity, disk_id: str) -> bool:
    """Whether a running VM has the disk in its machine."""
    attachment = attachment_of(entities, vm.id, disk_id)
    return attachment is not None and attachment.body.get("active") is not False


def fold_into_base(work: Work, vm_id: str, fold: Fold) -> None:
    """Part of a step: all that is in ``top`` is in ``base``, which is used instead from then on. May be repeated whatever
    happened to VM and host since: it looks anew each time."""
    vm, disk = work.entities.need("vm", vm_id), work.entities.need("disk", fold.disk)
    base, top = (layer_file(work.entities, disk, one) for one in (fold.base, fold.top))
    over = layer_file(work.entities, disk, fold.over) if fold.over else None
    host = runs_on(work, vm) if is_plugged(work.entities, vm, disk.id) else ""
    if host:
        merge = DiskMerge(disk.id, base, None if fold.is_active else top)
        try:
            with work.at(host) as node:
                await_task(work, node, task_id(work, f"merge-{disk.id}"), lambda task: node.vm_merge(task, vm_id, merge))
            return
        except NotFound:
            work.log(f"VM {vm.name} has ended meanwhile")
    with work.on(host_for_cleaning(work, str(work.found("look").get("host") or ""))) as node:
        _fold_offline(work, node, disk, base, top, over)


def _fold_offline(work: Work, node: DiskNode, disk: Entity, base: DiskFile, top: DiskFile, over: DiskFile | None) -> None:
    if not exists(node, top):
        return  # an earlier try got to its end
    if not node.disk_chain(top)[0].merged:  # what its VM has left must not be written over what it wrote since
        await_task(work, node, task_id(work, f"commit-{disk.id}"), lambda task: node.disk_commit(task, top, base))
    if over is not None and node.disk_chain(over)[0].backing == top:
        await_task(work, node, task_id(work, f"rebase-{disk.id}"), lambda task: node.disk_rebase(task, over, base, True))


def exists(node: DiskNode, file: DiskFile) -> bool:
    """Whether the file is there."""
    try:
        node.disk_chain(file)
    except NotFound:
        return False
    return True


def drop(work: Work, what: str, file: DiskFile, *, wipe: bool = False) -> None:
    """Part of a step: the file is gone."""
    with work.on(host_for_cleaning(work, str(work.found("look").get("host") or ""))) as node:
        await_task(work, node, task_id(work, f"drop-{what}"), lambda task: node.disk_remove(task, file, wipe))
