"""Image transfers of the disks of a VM's backup: downloads, from where it is served, of what they were at its moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.errors import Conflict, Unavailable
from engine.decide.backup import OVER
from engine.jobs.backups import KIND, LIVE, disks_of
from engine.jobs.job import Work
from engine.jobs.places import choose_host
from engine.jobs.transfers import BACKUP
from engine.jobs.vm_place import name_of
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock


def hold_of(backup_id: str) -> Lock:
    """What such a transfer holds: the backup, which holds the disks, and is not finalized while anybody transfers."""
    return Lock(KIND, backup_id, "", is_shared=True)


def check_backup(entities: Entities, disk: Entity, backup_id: str, direction: str, form: str, *, shallow: bool) -> None:
    """Refuse (``transfer.backup``) what a backup does not have."""
    backup = entities.need(KIND, backup_id)
    why = ""
    if backup.status != "ready":
        why = f"The backup is {backup.status}"
    elif disk.id not in disks_of(backup):
        why = "The backup does not have it"
    elif direction != "download" or form != "raw" or shallow:
        why = "Of a backup there are downloads in format raw only, with all that is below"
    if why:
        over = backup.status in OVER
        remedy = "Begin another backup." if over else "Look at the backup and its disks."
        reason = f"Cannot {direction} disk. {why}"
        raise Conflict("transfer.backup", subject=f"disk {disk.name}", reason=reason, remedy=remedy)


def choose_for(work: Work, transfer: Entity) -> Mapping[str, Any]:
    """The host that serves it: the running VM's, else any."""
    backup = work.entities.need(KIND, str(transfer.body[BACKUP]))
    if not backup.body[LIVE]:
        return choose_host(work)
    host = name_of(work, backup.ref("host"))
    if host not in work.nodes.up():
        reason = "it does not answer, and the VM that is backed up runs there"
        raise Unavailable("transfer.host", subject=f"host {host}", reason=reason, remedy="Wait until it does.")
    return {"host": host}
