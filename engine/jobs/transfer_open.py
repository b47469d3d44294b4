"""Begin, pause and resume the transfer of a disk's image: its host serves it, or no longer does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from appliance.errors import Conflict, Refused, Unavailable
from engine.decide.transfer import INACTIVITY_S, LONGEST_INACTIVITY_S, Direction, TimeoutPolicy
from engine.jobs.disk_remove import attached_to
from engine.jobs.domain_use import domain_locks
from engine.jobs.job import JobType, Planned, Step, Work
from engine.jobs.layers import chain, images
from engine.jobs.places import choose_host, chosen_host, need_active_domain, usable
from engine.jobs.preview import refuse_preview
from engine.jobs.transfer_backup import check_backup, choose_for, hold_of
from engine.jobs.transfers import (
    BACKUP,
    BELOW,
    DISK,
    EXTENDED,
    HOST,
    KIND,
    OWNER,
    SNAPSHOT,
    TICKET,
    URLS,
    WANTED,
    at_rest,
    below,
    close,
    end,
    hold,
    named,
    need_phase,
    say,
    set_phase,
    ticket_of,
    transfer_locks,
    url_of,
)  # fmt: skip
from engine.jobs.vm_place import runs
from engine.jobs.vm_state import RESUME
from engine.store.entities import Entities, Entity
from engine.store.jobs import Lock


@dataclass(frozen=True)
class StartTransfer:
    """A transfer to begin; the caller draws the ids. ``ticket_id`` is the secret of its address. ``snapshot_id``: of the
    layer that this one keeps. ``host_id`` empty: any host."""

    transfer_id: str
    ticket_id: str
    disk_id: str
    direction: Direction
    format: Literal["raw", "cow"]
    owner_id: str
    correlation_id: str
    snapshot_id: str = ""
    host_id: str = ""
    inactivity_s: int = INACTIVITY_S
    policy: TimeoutPolicy = "legacy"
    shallow: bool = False
    backup_id: str = ""
    """Of the disk as that backup has it."""


@dataclass(frozen=True)
class ResumeTransfer:
    """Which one."""

    transfer_id: str


@dataclass(frozen=True)
class PauseTransfer:
    """Which one. ``reason``: the system does it, and why."""

    transfer_id: str
    reason: str = ""


def _choose(work: Work) -> Mapping[str, Any]:
    """The host that was asked for, else the least loaded one; of a backup, the one that has it."""
    if _transfer(work).body.get(BACKUP):
        return choose_for(work, _transfer(work))
    wanted = str(_transfer(work).body.get(WANTED) or "")
    if not wanted:
        return choose_host(work)
    name = next((one.name for one in work.nodes.reports() if one.id == wanted), "")
    if name not in usable(work):
        raise Unavailable(
            "transfer.host",
            subject=f"host {name or wanted}",
            reason="it is not up, is in maintenance, or has the disk's storage domain not mounted",
            remedy="Name another host, or none.",
        )
    return {"host": name}


def _transfer(work: Work) -> Entity:
    return work.entities.need(KIND, work.parameters(ResumeTransfer).transfer_id)


def _open(work: Work) -> Mapping[str, Any]:
    host = chosen_host(work)
    ticket = ticket_of(work.entities, _transfer(work))
    report = next(one for one in work.nodes.reports() if one.name == host)
    with work.on(host) as node:
        lies_over = node.disk_chain(ticket.file)[0].backing
        state = work.nodes.images(host).image_open(ticket)
    return {
        "host_id": report.id,
        "url": url_of(report.address, ticket.id),
        "below": below(lies_over),
        "size": state.size_bytes,
    }


def _shut(work: Work) -> None:
    close(work, work.parameters(ResumeTransfer).transfer_id, chosen_host(work))


def _begun(work: Work, transfer_id: str) -> Mapping[str, Any]:
    """It is served: in the transaction that ends the job."""
    found, now_ms = work.found("open"), int(work.clock.wall_s() * 1000)
    before = work.entities.need(KIND, transfer_id).body
    set_phase(
        work.entities,
        transfer_id,
        "transferring",
        **{
            HOST: chosen_host(work),
            BELOW: before[BELOW] if BELOW in before else found["below"],
            EXTENDED: now_ms,
            **dict.fromkeys(URLS, found["url"]),
        },
    )
    work.entities.change(KIND, transfer_id, lambda one: one.with_refs(host=str(found["host_id"])))
    return {"image_transfer": transfer_id}


STEPS = (Step("choose-host", _choose, weight=0.1), Step("open", _open, _shut))


class TransferStart(JobType[StartTransfer]):
    """The disk is ``locked`` from the order on, until the transfer ends. If it cannot be served it is as it was before."""

    name = "image_transfer.start"
    parameters = StartTransfer
    steps = STEPS

    def describe(self, entities: Entities, given: StartTransfer) -> str:
        return f"Preparing the {given.direction} of disk {entities.name_of('disk', given.disk_id)}"

    def check(self, entities: Entities, given: StartTransfer) -> None:
        disk = entities.need("disk", given.disk_id)
        need_active_domain(entities, disk.ref("storage_domains"), f"{given.direction} disk")
        _of_time(disk, given)
        if given.backup_id:
            check_backup(entities, disk, given.backup_id, given.direction, given.format, shallow=given.shallow)
            return
        for problem in (_of_disk, _of_users, _of_shape):
            problem(entities, disk, given)

    def locks(self, entities: Entities, given: StartTransfer) -> Sequence[Lock]:
        return transfer_locks(entities, given.transfer_id, given.disk_id)

    def prepare(self, entities: Entities, given: StartTransfer) -> None:
        body = {
            "direction": given.direction,
            "format": given.format,
            "inactivity_timeout": given.inactivity_s,
            "timeout_policy": given.policy,
            "shallow": given.shallow,
            "active": False,
            "transferred": 0,
            WANTED: given.host_id,
            TICKET: given.ticket_id,
            DISK: given.disk_id,
            SNAPSHOT: given.snapshot_id,
            OWNER: given.owner_id,
            **({BACKUP: given.backup_id} if given.backup_id else {}),
        }
        refs = {"disk": (given.disk_id,), **({"snapshot": (given.snapshot_id,)} if given.snapshot_id else {})}
        key = f"{given.owner_id}/{given.transfer_id}"
        row = entities.add(Entity(KIND, given.transfer_id, "", body, refs, status="initializing", unique_key=key))
        domains = domain_locks(*entities.need("disk", given.disk_id).refs["storage_domains"])
        held = [Lock("disk", given.disk_id)]
        if given.snapshot_id:  # its VM may go on, but no layer may be merged away
            held = [Lock("disk", given.disk_id, "", is_shared=True), Lock("snapshot", given.snapshot_id)]
        if given.backup_id:
            held = [hold_of(given.backup_id)]
        words = {"upload": "Uploading", "download": "Downloading"}
        description = f"{words[given.direction]} Image of disk {entities.name_of('disk', given.disk_id)}"
        hold(entities, row, description, [*held, *domains], given.correlation_id)

    def plan(self, entities: Entities, given: StartTransfer) -> Sequence[Planned]:
        return Planned("choose-host", "Choosing a host"), Planned("open", "Serving the image")

    def finish(self, work: Work) -> Mapping[str, Any]:
        transfer_id = work.parameters(StartTransfer).transfer_id
        say(work, "TRANSFER_IMAGE_INITIATED", work.entities.need(KIND, transfer_id))
        return _begun(work, transfer_id)

    def undone(self, work: Work) -> None:
        transfer_id = work.parameters(StartTransfer).transfer_id
        say(work, "TRANSFER_IMAGE_FAILED", work.entities.need(KIND, transfer_id), "Its host could not serve it.")
        end(work, transfer_id, "finished_failure", "failed")

    given_up = undone


class TransferResume(JobType[ResumeTransfer]):
    """Serve it again, under the same ticket, on whatever host can. If none can it stays paused."""

    name = "image_transfer.resume"
    parameters = ResumeTransfer
    steps = STEPS

    def describe(self, entities: Entities, given: ResumeTransfer) -> str:
        return f"Resuming {named(entities, entities.need(KIND, given.transfer_id))}"

    def check(self, entities: Entities, given: ResumeTransfer) -> None:
        need_phase(entities, given.transfer_id, "resume")

    def locks(self, entities: Entities, given: ResumeTransfer) -> Sequence[Lock]:
        return transfer_locks(entities, given.transfer_id)

    def prepare(self, entities: Entities, given: ResumeTransfer) -> None:
        set_phase(entities, given.transfer_id, "resuming")

    def plan(self, entities: Entities, given: ResumeTransfer) -> Sequence[Planned]:
        return Planned("choose-host", "Choosing a host"), Planned("open", "Serving the image")

    def finish(self, work: Work) -> Mapping[str, Any]:
        return _begun(work, work.parameters(ResumeTransfer).transfer_id)

    def undone(self, work: Work) -> None:
        set_phase(work.entities, work.parameters(ResumeTransfer).transfer_id, "paused_system")

    given_up = undone


def _pause(work: Work) -> None:
    close(work, work.parameters(PauseTransfer).transfer_id)


class TransferPause(JobType[PauseTransfer]):
    """Nobody can transfer until it is resumed; the disk stays locked. What was written is in the image."""

    name = "image_transfer.pause"
    parameters = PauseTransfer
    steps = (Step("close", _pause, is_final=True),)

    def describe(self, entities: Entities, given: PauseTransfer) -> str:
        return f"Pausing {named(entities, entities.need(KIND, given.transfer_id))}"

    def check(self, entities: Entities, given: PauseTransfer) -> None:
        need_phase(entities, given.transfer_id, "pause")

    def locks(self, entities: Entities, given: PauseTransfer) -> Sequence[Lock]:
        return (Lock(KIND, given.transfer_id, ""),)

    def prepare(self, entities: Entities, given: PauseTransfer) -> None:
        set_phase(entities, given.transfer_id, "paused_system" if given.reason else "paused_user")

    def plan(self, entities: Entities, given: PauseTransfer) -> Sequence[Planned]:
        return (Planned("close", "Closing its ticket"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        given = work.parameters(PauseTransfer)
        row = work.entities.change(KIND, given.transfer_id, at_rest)
        if given.reason:
            say(work, "TRIVET_TRANSFER_PAUSED", row, given.reason)
        return {}

    def given_up(self, work: Work) -> None:
        """Its ticket is swept by the keeper: nothing that is not ``transferring`` may have one."""
        transfer_id = work.parameters(PauseTransfer).transfer_id
        work.entities.change(KIND, transfer_id, at_rest)
        set_phase(work.entities, transfer_id, "paused_system")


# what is refused


def _of_disk(entities: Entities, disk: Entity, given: StartTransfer) -> None:
    if disk.status not in ("", "ok") and not given.snapshot_id:
        raise _refused(disk, given, "disk.not-ok", f"It is {disk.status}", "Remove it and make another one.")
    if given.snapshot_id and disk.id not in images(entities.need("snapshot", given.snapshot_id)):
        raise _refused(disk, given, "transfer.snapshot", "The snapshot has nothing of it", "Name one that has.")
    if given.snapshot_id and given.direction == "upload":
        raise _refused(disk, given, "transfer.snapshot", "A snapshot is only read", "Upload to the disk.")


def _of_users(entities: Entities, disk: Entity, given: StartTransfer) -> None:
    drive = next((one for one in entities.referring(disk.key, "vm", "iso") if runs(one)), None)
    if drive is not None and given.direction == "upload":
        raise _refused(disk, given, "disk.in-use", f"VM {drive.name} runs with it in its drive", "Change its CD first.")
    for one in attached_to(entities, disk.id):
        owner = entities.need(*one.parent) if one.parent else None
        if owner is None or given.snapshot_id:
            continue
        if owner.kind == "template" and given.direction == "upload":
            raise _refused(disk, given, "disk.in-use", f"Template {owner.name} is made of it", "Upload to another disk.")
        if owner.kind == "vm" and given.direction == "upload":
            refuse_preview(entities, owner.id, "upload disk")
            if owner.status == "suspended" or RESUME in owner.body:
                why = f"VM {owner.name} goes on from saved memory, which an upload would not fit"
                remedy = "Let it go on, or start it without its memory, and stop it."
                raise _refused(disk, given, "disk.in-use", why, remedy)
        if owner.kind == "vm" and runs(owner):
            remedy = "Shut the VM down, or transfer a snapshot's disk."
            raise _refused(disk, given, "disk.in-use", f"VM {owner.name} runs with it", remedy)


def _of_shape(entities: Entities, disk: Entity, given: StartTransfer) -> None:
    layers = chain(entities, disk)
    own = layers[-1].format
    if given.snapshot_id:
        own = images(entities.need("snapshot", given.snapshot_id))[disk.id].format
    if given.format == "cow" and own == "raw":
        raise _refused(disk, given, "transfer.format", "It is raw, and has no cow form", "Ask for format raw.")
    is_layer = len(layers) > 1 or bool(disk.ref("backing_disk"))
    if given.format == "cow" and given.direction == "upload" and is_layer:
        why = "It is a layer over others, which a whole file would cut off"
        raise _refused(disk, given, "transfer.layers", why, "Upload in format raw, or to a new disk.")
    if given.shallow and given.direction == "upload":
        raise _refused(disk, given, "transfer.shallow", "Only a download can be shallow", "Leave shallow out.")


def _of_time(disk: Entity, given: StartTransfer) -> None:
    if not 1 <= given.inactivity_s <= LONGEST_INACTIVITY_S:
        raise Refused(
            "transfer.inactivity-timeout",
            subject=f"disk {disk.name}",
            reason=f"inactivity_timeout is {given.inactivity_s} seconds, it may be 1 to {LONGEST_INACTIVITY_S}",
            remedy="Leave it out for 60 seconds.",
        )


def _refused(disk: Entity, given: StartTransfer, code: str, why: str, remedy: str) -> Conflict:
    return Conflict(code, subject=f"disk {disk.name}", reason=f"Cannot {given.direction} disk. {why}", remedy=remedy)
