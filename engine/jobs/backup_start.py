"""Begin a backup of a VM: of one that runs its QEMU serves the disks as they are at one moment, of one that is down any host
does when they are transferred. A checkpoint remembers what is written from that moment on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.effects.clock import SystemClock
from appliance.errors import Conflict, NotFound, Refused, TrivetError
from appliance.tools.bitmaps import layers_with
from appliance.uuids import UUID
from engine.decide.backup import DESCRIPTION_LIMIT
from engine.jobs.backups import (
    CHECKPOINT,
    CHECKPOINT_NAME,
    CREATED,
    DISKS,
    HELD,
    INVALID,
    KIND,
    LIVE,
    OWNER,
    QUIESCE,
    asked_of_host,
    can_be_marked,
    disks_of,
    drop_scratch,
    end,
    end_at_host,
    enter_checkpoint,
    file_in,
    forget_checkpoint,
    has_image,
    hold,
    locks_of,
    marked_disks,
    refuse_backup,
    set_phase,
)
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import own_layer
from engine.jobs.places import choose_host, chosen_host, need_active_domain, need_room
from engine.jobs.preview import refuse_preview
from engine.jobs.task import await_task, task_id
from engine.jobs.vm_parts import attachment_of
from engine.jobs.vm_place import DOWN, host_of, need_vm
from engine.store.audit import Audit
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

RUNNING = frozenset({"up", "powering_up"})
ACTION = "start VM backup"
LOST = ("vm.checkpoint-lost", "disk.bitmap-lost")
"""What hosts say when nobody knows what was written since a checkpoint."""


@dataclass(frozen=True)
class StartBackup:
    """A backup of these disks of a VM; the caller draws the ids. ``since``: of what was written since that checkpoint
    (disks that are not in it go whole); ``checkpoint_id``: the one that it makes, if any of its disks can be in one.
    ``must_quiesce``: not without the guest's agent."""

    backup_id: str
    vm_id: str
    disks: tuple[str, ...]
    checkpoint_id: str
    hold_id: str
    owner_id: str
    correlation_id: str
    since: str = ""
    description: str = ""
    must_quiesce: bool = False


def _row(work: Work) -> Entity:
    return work.entities.need(KIND, work.parameters(StartBackup).backup_id)


def _begin(work: Work) -> None:
    row = _row(work)
    set_phase(work.entities, row.id, "starting", int(work.clock.wall_s() * 1000))
    try:
        if row.body[LIVE]:
            _begin_live(work, row)
        else:
            _begin_cold(work, row)
    except TrivetError as error:
        if error.code in LOST:
            _invalidate(work, row, error.reason)
        raise


def _begin_live(work: Work, row: Entity) -> None:
    vm = work.entities.need("vm", work.parameters(StartBackup).vm_id)
    try:
        with work.at(host_of(work, vm)) as node:
            node.vm_backup_begin(vm.id, asked_of_host(work.entities, row))
    except NotFound as error:
        if error.code != "vm.unknown":
            raise
        reason = f"Cannot {ACTION}. The VM has ended meanwhile"
        raise Conflict("backup.vm-ended", subject=f"VM {vm.name}", reason=reason, remedy="Begin another one.") from error


def _begin_cold(work: Work, row: Entity) -> None:
    """What is remembered is looked at, so that nobody finds out in the middle of a transfer."""
    checkpoint, since = str(row.body.get(CHECKPOINT_NAME) or ""), str(row.body.get("from_checkpoint_id") or "")
    with work.on(chosen_host(work)) as node:
        for disk_id, held in sorted(disks_of(row).items()):
            chain = node.disk_chain(file_in(work.entities, row, disk_id))
            if held["mode"] == "incremental":
                layers_with(chain, since)
        for disk_id in marked_disks(row):
            file = file_in(work.entities, row, disk_id)
            what = task_id(work, f"mark-{disk_id}")
            await_task(work, node, what, lambda task, f=file: node.disk_bitmap_add(task, f, checkpoint))  # type: ignore[misc]


def _invalidate(work: Work, row: Entity, reason: str) -> None:
    """The checkpoint that the backup was to go on from is worth nothing any more, and people are told, once."""
    since = str(row.body.get("from_checkpoint_id") or "")
    with work.entities.connection.transaction():
        found = work.entities.get(CHECKPOINT, since)
        if found is None or found.status == INVALID:
            return
        work.entities.change(CHECKPOINT, since, lambda one: replace(one, status=INVALID))
        Audit(work.entities.connection, work.clock).tell(
            "VM_INCREMENTAL_BACKUP_FAILED_FULL_VM_BACKUP_NEEDED",
            {"vm": work.parameters(StartBackup).vm_id},
            {"backup": row.id, "reason": reason},
            account=str(row.body[OWNER]),
        )


def _unbegin(work: Work) -> None:
    """Nobody serves it, nothing is remembered for it."""
    row, given = _row(work), work.parameters(StartBackup)
    end_at_host(work, row)
    drop_scratch(work, row)
    name = str(row.body.get(CHECKPOINT_NAME) or "")
    if name:
        forget_checkpoint(work, given.vm_id, name, marked_disks(row))


class BackupStart(JobType[StartBackup]):
    """The disks are ``locked`` from the order on, until the backup ends. It is ``ready`` at the end, or ``failed``."""

    name = "backup.start"
    parameters = StartBackup
    steps = (Step("choose-host", choose_host, weight=0.1), Step("begin", _begin, _unbegin))
    told = Told("", "VM_BACKUP_STARTED", "VM_BACKUP_FAILED")

    def about(self, entities: Entities, given: StartBackup) -> Mapping[str, str]:
        return {"vm": given.vm_id}

    def values(self, work: Work) -> Mapping[str, object]:
        return {"backup": work.parameters(StartBackup).backup_id}

    def describe(self, entities: Entities, given: StartBackup) -> str:
        return f"Starting Backup of VM {entities.name_of('vm', given.vm_id)}"

    def check(self, entities: Entities, given: StartBackup) -> None:
        vm = need_vm(entities, given.vm_id, ACTION, {*DOWN, *RUNNING})
        refuse_preview(entities, vm.id, ACTION)
        refuse_backup(entities, vm.id, ACTION)
        _check_words(entities, vm, given)
        if given.since:
            _check_since(entities, vm, given.since)
        for one in given.disks:
            _check_disk(entities, vm, one)

    def locks(self, entities: Entities, given: StartBackup) -> Sequence[Lock]:
        return locks_of(entities, given.vm_id, given.backup_id, given.disks)

    def prepare(self, entities: Entities, given: StartBackup) -> None:
        vm = entities.need("vm", given.vm_id)
        since = entities.get(CHECKPOINT, given.since) if given.since else None
        disks = entities.many("disk", given.disks)
        is_live = vm.status not in DOWN
        held = {
            one.id: {
                **own_layer(one).__dict__,
                "mode": "incremental" if since is not None and has_image(since, one) else "full",
                "marked": can_be_marked(one),
            }
            for one in disks.values()
        }
        now_ms = int(SystemClock().wall_s() * 1000)
        body = {
            "description": given.description,
            "creation_date": now_ms,
            "modification_date": now_ms,
            **({"from_checkpoint_id": given.since} if given.since else {}),
            LIVE: is_live,
            DISKS: held,
            HELD: given.hold_id,
            OWNER: given.owner_id,
            QUIESCE: "must" if given.must_quiesce else "try",
            CHECKPOINT_NAME: given.checkpoint_id if any(one["marked"] for one in held.values()) else "",
        }
        refs = {"disks": tuple(given.disks), **({"host": (vm.ref("host"),)} if is_live and vm.ref("host") else {})}
        row = entities.add(Entity(KIND, given.backup_id, "", body, refs, parent=vm.key, status="initializing"))
        hold(entities, row, f"Backup of VM {vm.name}", given.correlation_id)

    def plan(self, entities: Entities, given: StartBackup) -> Sequence[Planned]:
        begin = Planned("begin", "Serving its disks as they are now")
        if entities.need("vm", given.vm_id).status in DOWN:
            return Planned("choose-host", "Choosing a host"), begin
        return (begin,)

    def finish(self, work: Work) -> Mapping[str, Any]:
        row, now_ms = _row(work), int(work.clock.wall_s() * 1000)
        checkpoint = enter_checkpoint(work.entities, row, now_ms)
        set_phase(work.entities, row.id, "ready", now_ms, **({"to_checkpoint_id": checkpoint} if checkpoint else {}))
        return {"backup": row.id}

    def undone(self, work: Work) -> None:
        end(work, work.parameters(StartBackup).backup_id, "failed", "failed")

    given_up = undone
    """What is still served is swept by the keeper."""


# what is refused


def _check_words(entities: Entities, vm: Entity, given: StartBackup) -> None:
    wrong = ""
    if not given.disks or len(set(given.disks)) < len(given.disks):
        wrong = "Its disks have to be named, each once"
    elif not UUID.fullmatch(given.backup_id) or not UUID.fullmatch(given.checkpoint_id):
        wrong = "The ids of a backup and of its checkpoint are UUIDs"
    elif len(given.description) > DESCRIPTION_LIMIT:
        wrong = f"Its description has more than {DESCRIPTION_LIMIT} characters"
    if wrong:
        reason = f"Cannot {ACTION}. {wrong}"
        raise Refused("backup.request", subject=f"VM {vm.name}", reason=reason, remedy="Ask for another one.")
    for kind, identifier in ((KIND, given.backup_id), (CHECKPOINT, given.checkpoint_id)):
        if entities.get(kind, identifier) is not None:
            reason = f"Cannot {ACTION}. There is a {kind} with the id {identifier}"
            remedy = "Leave the id out: the engine draws one."
            raise Conflict("backup.exists", subject=f"VM {vm.name}", reason=reason, remedy=remedy)


def _check_since(entities: Entities, vm: Entity, since: str) -> None:
    found = entities.get(CHECKPOINT, since)
    if found is None or found.parent != vm.key:
        reason = f"Cannot {ACTION}. The VM has no checkpoint {since[:100]}"
        raise NotFound("backup.checkpoint", subject=f"VM {vm.name}", reason=reason, remedy="List its checkpoints.")
    if found.status != CREATED:
        reason = f"Cannot {ACTION}. Checkpoint {since} is invalid: nobody knows what was written since"
        remedy = "Make a full backup (leave from_checkpoint_id out)."
        raise Conflict("backup.checkpoint-invalid", subject=f"VM {vm.name}", reason=reason, remedy=remedy)


def _check_disk(entities: Entities, vm: Entity, disk_id: str) -> None:
    disk, attachment = entities.need("disk", disk_id), attachment_of(entities, vm.id, disk_id)
    reason = ""
    if attachment is None:
        reason = f"It is not attached to VM {vm.name}"
    elif attachment.body.get("active") is False:
        reason = f"It is not active in VM {vm.name}"
    elif disk.body.get("shareable") or not disk.body.get("image_id"):
        reason = "A disk that is shareable, or no image, has no state of its own that could be kept"
    elif disk.status not in ("", "ok"):
        reason = f"It is {disk.status}"
    if reason:
        remedy = "Leave that disk out."
        raise Conflict("backup.disk", subject=f"disk {disk.name}", reason=f"Cannot {ACTION}. {reason}", remedy=remedy)
    need_active_domain(entities, disk.ref("storage_domains"), ACTION)
    need_room(entities, disk.ref("storage_domains"), ACTION)
