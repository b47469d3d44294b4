"""Backups and checkpoints of VMs as rows, and what all their jobs need.

While a backup lasts its disks are held by a *hold* (see transfers.py): those of a VM that is down for the backup alone;
those of one that runs so that nothing changes the layers, but a VM that is lost can be started again at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from appliance.effects.clock import SystemClock
from appliance.errors import Conflict, NotFound
from appliance.model.disk import DiskFile
from appliance.model.vm_backup import BackupDisk, VmBackup
from engine.decide.backup import OVER
from engine.jobs.domain_use import domain_locks
from engine.jobs.evicted import cannot_write
from engine.jobs.fold import is_plugged, runs_on
from engine.jobs.job import Work
from engine.jobs.layers import Layer, chain, layer_file, own_layer
from engine.jobs.places import file_of, host_for_cleaning, mount_of
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_parts import attachment_of
from engine.jobs.vm_place import name_of
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.job_records import JobRecord, JobStatus, Lock
from engine.store.jobs import Jobs

KIND, CHECKPOINT = "backup", "checkpoint"
HOLD = "backup.hold"
LIVE, DISKS, HELD, OWNER, QUIESCE, ENDED = (
    "trivet_live", "trivet_disks", "trivet_hold", "trivet_owner", "trivet_quiesce", "trivet_ended_ms",
)  # fmt: skip
"""In a backup's body: whether its VM's QEMU serves it; its disks (disk → ``image``, ``format``, ``mode``, ``marked``: it is
in the new checkpoint); its hold; who began it; whether the guest is quiesced; when it ended."""
CREATED, INVALID = "created", "invalid"
"""v4's states of a checkpoint, as a row's status."""
CHECKPOINT_NAME = "trivet_checkpoint"
"""In a backup's body: the id that its new checkpoint has once it is there; empty: it makes none."""


def of_vm(entities: Entities, vm_id: str) -> Entity | None:
    """The backup of the VM that has not ended; there is one at most."""
    return next((one for one in entities.children(("vm", vm_id), KIND) if one.status not in OVER), None)


def refuse_backup(entities: Entities, vm_id: str, action: str) -> None:
    """Raises ``Conflict`` ``vm.in-backup``: QEMU does one thing at a time, and what it serves ends with it."""
    found = of_vm(entities, vm_id)
    if found is not None:
        vm = entities.need("vm", vm_id)
        raise Conflict(
            "vm.in-backup",
            subject=f"VM {vm.name}",
            reason=f"Cannot {action}. The VM is during a backup ({found.id})",
            remedy="Finalize the backup first (`backups/{id}/finalize`).",
            facts={"backup": found.id},
        )


def disks_of(row: Entity) -> Mapping[str, Mapping[str, Any]]:
    """Its disks, by id."""
    return cast(Mapping[str, Mapping[str, Any]], row.body.get(DISKS) or {})


def file_in(entities: Entities, row: Entity, disk_id: str) -> DiskFile:
    """The image that a backup is of."""
    held = disks_of(row)[disk_id]
    return layer_file(entities, entities.need("disk", disk_id), Layer(str(held["image"]), str(held["format"])))


def scratch_in(entities: Entities, row: Entity, disk_id: str) -> DiskFile:
    """Where a running VM's QEMU keeps what the guest writes over meanwhile: on the disk's own domain, so that any host can
    remove it when the VM's is lost."""
    domain = entities.need("storage_domain", entities.need("disk", disk_id).ref("storage_domains"))
    return DiskFile(mount_of(domain), f"backups/{row.id}/{disk_id}", "qcow2")


def asked_of_host(entities: Entities, row: Entity) -> VmBackup:
    """What the VM's host is told: the same each time."""
    disks = tuple(
        BackupDisk(
            one,
            file_in(entities, row, one),
            scratch_in(entities, row, one),
            is_incremental=held["mode"] == "incremental",
            in_checkpoint=bool(held["marked"]),
        )
        for one, held in sorted(disks_of(row).items())
    )
    since = str(row.body.get("from_checkpoint_id") or "") if any(one.is_incremental for one in disks) else ""
    return VmBackup(row.id, disks, str(row.body.get(CHECKPOINT_NAME) or ""), since, _quiesce(row))


def _quiesce(row: Entity) -> Literal["no", "try", "must"]:
    return "must" if row.body.get(QUIESCE) == "must" else "try"


def marked_disks(row: Entity) -> list[str]:
    """The disks that are in its new checkpoint."""
    return sorted(one for one, held in disks_of(row).items() if held["marked"])


def locks_of_domains(entities: Entities, disks: Sequence[str]) -> Sequence[Lock]:
    """The domains of these disks stay."""
    found = [name for one in entities.many("disk", disks).values() for name in one.refs.get("storage_domains", ())]
    return domain_locks(*found)


def locks_of(entities: Entities, vm_id: str, backup_id: str, disks: Sequence[str]) -> Sequence[Lock]:
    """What each job of a backup holds: VM and backup, and the disks' domains."""
    return Lock("vm", vm_id, ""), Lock(KIND, backup_id, ""), *locks_of_domains(entities, disks)


def hold(entities: Entities, row: Entity, description: str, correlation_id: str) -> None:
    """Hold the disks from now until :func:`end`. To be called in the transaction that begins the backup."""
    is_live = bool(row.body[LIVE])
    disks = sorted(disks_of(row))
    locks = [Lock("disk", one, is_shared=is_live) for one in disks]
    record = JobRecord(str(row.body[HELD]), HOLD, description, str(row.body[OWNER]), correlation_id)
    Jobs(entities, SystemClock()).hold(record, [*locks, *locks_of_domains(entities, disks)])


def set_phase(entities: Entities, backup_id: str, phase: str, now_ms: int, **body: Any) -> Entity:
    """It is in that phase from now on."""
    return entities.change(
        KIND, backup_id, lambda one: replace(one.with_body(modification_date=now_ms, **body), status=phase)
    )


def end(work: Work, backup_id: str, phase: str, status: JobStatus) -> None:
    """It is over, and its disks are free. To be called in a job's last transaction."""
    if phase not in OVER:
        raise ValueError(f"{phase} is no end")
    now_ms = int(work.clock.wall_s() * 1000)
    row = set_phase(work.entities, backup_id, phase, now_ms, **{ENDED: now_ms})
    work.entities.change(KIND, backup_id, lambda one: replace(one, refs={}))
    Jobs(work.entities, work.clock).release(str(row.body[HELD]), status)


# what hosts do


def end_at_host(work: Work, row: Entity) -> None:
    """Part of a step: no QEMU serves it any more. A host that is cut off from the VM's disks need not answer: what it still
    serves is swept when it does."""
    host_id = row.ref("host")
    if not row.body[LIVE] or not host_id or row.parent is None:
        return
    vm, host = work.entities.need(*row.parent), work.entities.get("host", host_id)
    if cannot_write(work.entities, vm, host):
        work.log(f"host {host.name if host else host_id} is evicted: what it serves is ended when it is back")
        return
    with work.at(name_of(work, host_id)) as node:
        node.vm_backup_end(vm.id, row.id)


def drop_scratch(work: Work, row: Entity) -> None:
    """Part of a step: nothing is left of what QEMU kept."""
    if not row.body[LIVE]:
        return
    with work.on(host_for_cleaning(work)) as node:
        for disk_id in sorted(disks_of(row)):
            file = scratch_in(work.entities, row, disk_id)
            what = task_id(work, f"scratch-{disk_id}")
            await_task(work, node, what, lambda task, f=file: node.disk_remove(task, f, False))  # type: ignore[misc]


def forget_checkpoint(work: Work, vm_id: str, checkpoint: str, disks: Sequence[str]) -> None:
    """Part of a step: nothing is remembered for it any more, whoever has the disks open. It looks anew each time. Disks that
    have left the VM keep a bitmap that nobody asks for."""
    vm = work.entities.need("vm", vm_id)
    mine = [one for one in disks if attachment_of(work.entities, vm_id, one) is not None]
    host = runs_on(work, vm) if mine else ""
    live = [one for one in mine if host and is_plugged(work.entities, vm, one)]
    if live:
        try:
            with work.at(host) as node:
                node.vm_checkpoint_drop(vm_id, checkpoint, tuple(live))
        except NotFound:
            work.log(f"VM {vm.name} has ended meanwhile")
            live = []
    rest = [one for one in mine if one not in live]
    if rest:
        with work.on(host_for_cleaning(work)) as node:
            for one in rest:
                file = file_of(work.entities, work.entities.need("disk", one))
                if file.format == "qcow2":
                    what = task_id(work, f"forget-{one}")
                    await_task(work, node, what, lambda task, f=file: node.disk_bitmap_remove(task, f, checkpoint))  # type: ignore[misc]


# checkpoints


def checkpoints_of(entities: Entities, vm_id: str) -> list[Entity]:
    """A VM's checkpoints, the oldest first."""
    found = entities.children(("vm", vm_id), CHECKPOINT)
    return sorted(found, key=lambda one: (int(one.body.get("creation_date") or 0), one.created_ms, one.id))


def enter_checkpoint(entities: Entities, row: Entity, now_ms: int) -> str:
    """The new checkpoint of a backup that is ready; its id, empty: it makes none."""
    name = str(row.body.get(CHECKPOINT_NAME) or "")
    if not name or row.parent is None:
        return ""
    before = checkpoints_of(entities, row.parent[1])
    date = max([now_ms, *(int(one.body["creation_date"]) + 1 for one in before)])
    body: dict[str, Any] = {
        "description": str(row.body.get("description") or ""),
        "creation_date": date,
        DISKS: {one: {"image": disks_of(row)[one]["image"]} for one in marked_disks(row)},
        **({"parent_id": before[-1].id} if before else {}),
    }
    entities.add(Entity(CHECKPOINT, name, "", body, parent=row.parent, status=CREATED))
    return name


def remove_checkpoint(entities: Entities, checkpoint: Entity) -> None:
    """It is gone; the one after it follows the one before it."""
    parent_id = checkpoint.body.get("parent_id")
    follows = {"parent_id": parent_id} if parent_id else {}
    for one in entities.children(checkpoint.parent, CHECKPOINT) if checkpoint.parent else ():
        if one.body.get("parent_id") == checkpoint.id:
            entities.change(CHECKPOINT, one.id, lambda before: before.without("parent_id").with_body(**follows))
    entities.remove(CHECKPOINT, checkpoint.id)


def has_image(checkpoint: Entity, disk: Entity) -> bool:
    """Whether the disk is in a checkpoint, so that what was written to it since is remembered."""
    return bool(disk.body.get("image_id")) and disk.id in (checkpoint.body.get(DISKS) or {})


def can_be_marked(disk: Entity) -> bool:
    """Whether a disk is in new checkpoints: it is enabled for incremental backups, and a qcow2 file has room for that."""
    return disk.body.get("backup") == "incremental" and own_layer(disk).format == "cow"


def need_remembering(entities: Entities, disk: Entity) -> None:
    """Raises ``Conflict`` ``disk.backup-format``: what a checkpoint remembers is in the files of the disk's layers, and goes
    along when they are folded, so all of them have to be qcow2."""
    if any(one.format != "cow" for one in chain(entities, disk)):
        raise Conflict(
            "disk.backup-format",
            subject=f"disk {disk.name}",
            reason="Cannot edit Virtual Disk. Incremental backup needs the format cow, and it is raw",
            remedy="Copy it to a new disk of the format cow, or back it up in full.",
        )
