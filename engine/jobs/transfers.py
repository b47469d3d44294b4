"""Image transfers as rows, and what all their jobs need.

While a transfer lasts its disk is held by a *hold*: a job that nobody runs, shown with the transfer as one job, as oVirt
shows it. The jobs that change the phase are short and hold the transfer; the hold goes in the transaction that ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from appliance import layout
from appliance.codec import encode
from appliance.effects.clock import SystemClock
from appliance.errors import Conflict, Unavailable
from appliance.model.disk import DiskFile
from appliance.model.image_ticket import ImageTicket
from engine.decide.transfer import FINISHED, MAY, TICKET_S, Act, room_of
from engine.jobs.backups import KIND as BACKUP_KIND
from engine.jobs.backups import LIVE, disks_of, file_in
from engine.jobs.domain_use import domain_locks
from engine.jobs.job import Work
from engine.jobs.layers import images, layer_file, own_layer
from engine.store.audit import Audit
from engine.store.entities import Entities, Entity
from engine.store.job_records import JobRecord, JobStatus, Lock
from engine.store.jobs import Jobs

KIND = "image_transfer"
HOLD = "image_transfer.hold"
TICKET, WANTED, HOST, BELOW = "trivet_ticket", "trivet_wanted_host", "trivet_host", "trivet_below"
"""In a transfer's body: its ticket's id (a secret), the host (id) that was asked for, the name of that which serves it, and
what lay below the image at first."""
DISK, SNAPSHOT, OWNER, EXTENDED, ENDED = (
    "trivet_disk", "trivet_snapshot", "trivet_owner", "trivet_extended_ms", "trivet_ended_ms",
)  # fmt: skip
"""… and its disk and snapshot, which may be gone at the end; who began it; when it was extended last, when it ended."""
URLS = ("transfer_url", "proxy_url")
BACKUP = "trivet_backup"
"""… and the backup of a VM that it is of (engine/jobs/transfer_backup.py)."""


def file_of_transfer(entities: Entities, disk_id: str, snapshot_id: str) -> DiskFile:
    """The image that a transfer is of: what is written now, or what a snapshot keeps."""
    disk = entities.need("disk", disk_id)
    layer = images(entities.need("snapshot", snapshot_id))[disk_id] if snapshot_id else own_layer(disk)
    return layer_file(entities, disk, layer)


def ticket_of(entities: Entities, transfer: Entity) -> ImageTicket:
    """What a host is told to serve: the same each time, so that a host knows it again."""
    body = transfer.body
    if body.get(BACKUP):
        return ticket_of_backup(entities, transfer)
    disk = entities.need("disk", str(body[DISK]))
    file = file_of_transfer(entities, disk.id, str(body.get(SNAPSHOT) or ""))
    is_upload = body["direction"] == "upload"
    as_file = file.format == "qcow2" and body["format"] == "cow"
    return ImageTicket(
        str(body[TICKET]),
        transfer.id,
        file,
        writes=is_upload,
        as_file=as_file,
        shallow=bool(body.get("shallow")),
        room_bytes=room_of(int(disk.body["provisioned_size"])) if as_file and is_upload else 0,
        timeout_s=TICKET_S,
        inactivity_s=int(body["inactivity_timeout"]),
    )


def ticket_of_backup(entities: Entities, transfer: Entity) -> ImageTicket:
    """The same for a disk of a backup: its VM's QEMU serves it, or, while the VM is down, a qemu-nbd."""
    body, disk_id = transfer.body, str(transfer.body[DISK])
    backup = entities.need(BACKUP_KIND, str(body[BACKUP]))
    is_incremental = disks_of(backup)[disk_id]["mode"] == "incremental"
    return ImageTicket(
        str(body[TICKET]),
        transfer.id,
        file_in(entities, backup, disk_id),
        writes=False,
        timeout_s=TICKET_S,
        inactivity_s=int(body["inactivity_timeout"]),
        since=str(backup.body["from_checkpoint_id"]) if is_incremental else "",
        backup=backup.id if backup.body[LIVE] else "",
        export=disk_id if backup.body[LIVE] else "",
    )


def url_of(address: str, ticket: str) -> str:
    """Where a client transfers."""
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{layout.IMAGEIO_PORT}/images/{ticket}"


def named(entities: Entities, transfer: Entity) -> str:
    """The transfer for people: by its disk."""
    return f"the {transfer.body['direction']} of disk {entities.name_of('disk', str(transfer.body[DISK]))}"


def need_phase(entities: Entities, transfer_id: str, act: Act) -> Entity:
    """The transfer, if ``act`` may be asked of it now. Raises ``Conflict`` ``transfer.phase``."""
    found = entities.need(KIND, transfer_id)
    if found.status not in MAY[act]:
        raise Conflict(
            "transfer.phase",
            subject=f"image transfer {found.id}",
            reason=f"Cannot {act} image transfer. The transfer is {found.status.replace('_', ' ')}",
            remedy=f"It may be asked while it is {' or '.join(one.replace('_', ' ') for one in MAY[act])}.",
            facts={"phase": found.status},
        )
    return found


def transfer_locks(entities: Entities, transfer_id: str, disk_id: str = "") -> Sequence[Lock]:
    """What each job of a transfer holds: the transfer, and (shared, as the hold does) the domains of its disk, so that it is
    done by a host that has them mounted. ``disk_id``: while there is no row that says it."""
    disk = entities.need("disk", disk_id or str(entities.need(KIND, transfer_id).body[DISK]))
    return Lock(KIND, transfer_id, ""), *domain_locks(*disk.refs["storage_domains"])


def set_phase(entities: Entities, transfer_id: str, phase: str, **body: Any) -> None:
    """It is in that phase from now on."""
    entities.change(KIND, transfer_id, lambda one: replace(one.with_body(**body), status=phase))


def hold(entities: Entities, transfer: Entity, description: str, locks: Sequence[Lock], correlation_id: str) -> None:
    """Hold the disk from now until :func:`end`. To be called in the transaction that begins the transfer."""
    record = JobRecord(transfer.id, HOLD, description, str(transfer.body[OWNER]), correlation_id)
    Jobs(entities, SystemClock()).hold(record, locks)


def say(work: Work, name: str, transfer: Entity, reason: str = "") -> None:
    """An event of a transfer, in the transaction of its change."""
    disk = str(transfer.body[DISK])
    about = {"disk": disk} if work.entities.get("disk", disk) else {}
    values = {"disk": work.entities.name_of("disk", disk), "direction": str(transfer.body["direction"]), "reason": reason}
    Audit(work.entities.connection, work.clock).tell(name, about, values, account=str(transfer.body[OWNER]))


def at_rest(transfer: Entity) -> Entity:
    """The transfer without a host."""
    return transfer.without(HOST, *URLS).with_body(active=False).with_refs(host=())


def end(work: Work, transfer_id: str, phase: str, status: JobStatus) -> None:
    """It is over: the phase that says how, and the disk is free. To be called in a job's last transaction."""
    if phase not in FINISHED:
        raise ValueError(f"{phase} is no end")
    now_ms = int(work.clock.wall_s() * 1000)

    def how(one: Entity) -> Entity:
        return replace(at_rest(one).without(TICKET).with_body(**{ENDED: now_ms}), status=phase, refs={})

    work.entities.change(KIND, transfer_id, how)
    Jobs(work.entities, work.clock).release(transfer_id, status)


def close(work: Work, transfer_id: str, host: str = "") -> None:
    """Part of a step's ``do``: nobody serves it any more. A host that does not answer is swept when it does: until then
    QEMU's lock, which every host sees, keeps others from writing what it serves."""
    host = host or str(work.entities.need(KIND, transfer_id).body.get(HOST) or "")
    if not host:
        return
    if host not in work.nodes.up():
        work.log(f"host {host} does not answer: its ticket is closed when it does")
        return
    try:
        work.nodes.images(host).image_close(transfer_id)
    except Conflict as error:
        # a client is in the middle of a request: the daemon has told it to stop, it has so much more time
        raise Unavailable("transfer.busy", subject=error.subject, reason=error.reason, remedy=error.remedy) from error


def below(file: DiskFile | None) -> Mapping[str, Any] | None:
    """What lies below an image, as a row keeps it."""
    return None if file is None else dict(encode(file))
