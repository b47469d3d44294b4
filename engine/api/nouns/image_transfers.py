"""Image transfers: disks that go up and down through a host's ovirt-imageio. What changes a phase is a job."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from appliance.errors import NotFound
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Action, Call, Done, Made, Noun
from engine.api.nouns import ref
from engine.api.stored import Stored
from engine.decide.permit import SYSTEM, Key
from engine.decide.transfer import INACTIVITY_S
from engine.jobs.backups import KIND as BACKUP_KIND
from engine.jobs.job import JobType
from engine.jobs.layers import images, own_layer
from engine.jobs.transfer_end import CancelTransfer, FinalizeTransfer, TransferCancel, TransferFinalize
from engine.jobs.transfer_open import (
    PauseTransfer,
    ResumeTransfer,
    StartTransfer,
    TransferPause,
    TransferResume,
    TransferStart,
)  # fmt: skip
from engine.jobs.transfers import BACKUP, DISK, EXTENDED, OWNER, SNAPSHOT, URLS, need_phase
from engine.store.entities import Entities, Entity

Ordered = Callable[[str], Any]


def _job(kind: type[JobType[Any]], given: Ordered) -> Action:
    """An action that is one job; callers take it for done when they are answered."""

    def run(noun: ImageTransfers, call: Call, identifier: str, parameters: Object) -> Done:
        noun.mine(call, identifier)
        return work.told(work.awaited(call, kind, given(identifier)))

    return run


def _extend(noun: ImageTransfers, call: Call, identifier: str, parameters: Object) -> Done:
    """The client is there, although it transfers nothing: it counts as active from now. Its ticket is kept alive."""
    with call.engine.store.connection.transaction():
        need_phase(noun.entities(call), identifier, "extend")
        now_ms = call.engine.now_ms()
        noun.entities(call).change(noun.entity, identifier, lambda one: one.with_body(**{EXTENDED: now_ms}))
    return Done()


class ImageTransfers(Stored):
    """A transfer lives from its order until some minutes after its end. ``disk``, ``image`` (its old name) or ``snapshot``
    (the image of a layer that a snapshot keeps) say of what it is."""

    services, kind, entity, unique = ("ImageTransfers",), "ImageTransfer", "image_transfer", False
    remembered = False
    """What is shown depends on who asks: the address is the ticket."""
    update = Noun.update
    remove = Noun.remove

    def show(self, call: Call, entity: Entity) -> Object:
        hidden = {"status", *(() if self._may_transfer(call, entity) else URLS)}
        value = {name: held for name, held in super().show(call, entity).items() if name not in hidden}
        found = {"phase": entity.status, "disk": ref(str(entity.body[DISK])), "image": ref(str(entity.body[DISK]))}
        snapshot = self.entities(call).get("snapshot", str(entity.body.get(SNAPSHOT) or ""))
        if snapshot is not None and entity.body[DISK] in images(snapshot):
            found["snapshot"] = ref(images(snapshot)[str(entity.body[DISK])].image)
        if entity.body.get(BACKUP):
            found["backup"] = ref(str(entity.body[BACKUP]))
        if entity.ref("host"):
            found["host"] = ref(entity.ref("host"))
        return {**value, **found}

    @staticmethod
    def _may_transfer(call: Call, entity: Entity) -> bool:
        return call.rights.is_administrator or entity.body.get(OWNER) == call.account.id

    def place(self, call: Call, given: Mapping[str, Any]) -> Key:
        """Of a disk: that disk, however it is named. What a snapshot keeps is its VM's."""
        if given.get("backup"):
            return super().place(call, given)
        disk_id, snapshot_id = _of_what(self.entities(call), given)
        return self.entities(call).need("snapshot", snapshot_id).parent or SYSTEM if snapshot_id else ("disk", disk_id)

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        entities = self.entities(call)
        backup_id = _backup_of(call, given)
        disk_id, snapshot_id = _of_what(entities, given)
        wanted = StartTransfer(
            str(uuid.uuid4()),
            str(uuid.uuid4()),
            disk_id,
            given.get("direction", "upload"),
            "cow" if (given.get("format") or _format_of(entities, disk_id, snapshot_id, backup_id)) == "cow" else "raw",
            call.account.id,
            call.correlation_id,
            snapshot_id,
            str((given.get("host") or {}).get("id") or ""),
            int(given.get("inactivity_timeout") or INACTIVITY_S),
            given.get("timeout_policy", "legacy"),
            bool(given.get("shallow")),
            backup_id,
        )
        job = work.awaited(call, TransferStart, wanted)
        return Made(self.show(call, entities.need(self.entity, wanted.transfer_id)), work.unfinished(job))

    actions: ClassVar[Mapping[str, Action]] = {
        "cancel": _job(TransferCancel, CancelTransfer),
        "extend": _extend,
        "finalize": _job(TransferFinalize, FinalizeTransfer),
        "pause": _job(TransferPause, PauseTransfer),
        "resume": _job(TransferResume, ResumeTransfer),
    }


def _of_what(entities: Entities, given: Mapping[str, Any]) -> tuple[str, str]:
    """(disk, snapshot or empty). Raises ``NotFound`` ``api.reference``."""
    layer = str((given.get("snapshot") or {}).get("id") or "")
    if layer:
        for snapshot in entities.list("snapshot"):
            for disk, kept in images(snapshot).items():
                if kept.image == layer:
                    return disk, snapshot.id
        raise _unknown("DiskSnapshot", layer)
    disk_id = str((given.get("disk") or {}).get("id") or (given.get("image") or {}).get("id") or "")
    if entities.get("disk", disk_id) is None:
        raise _unknown("Disk", disk_id)
    return disk_id, ""


def _backup_of(call: Call, given: Mapping[str, Any]) -> str:
    """The id of the backup whose disk it is; empty: of none. Raises ``NotFound`` ``api.reference``."""
    backup_id = str((given.get("backup") or {}).get("id") or "")
    if backup_id:
        row = call.engine.store.entities.get(BACKUP_KIND, backup_id)
        if row is None or not call.rights.sees(row.key):
            raise _unknown("Backup", backup_id)
    return backup_id


def _format_of(entities: Entities, disk_id: str, snapshot_id: str, backup_id: str) -> str:
    """v4's default: as the disk lies there; of a backup, what a guest sees."""
    if backup_id:
        return "raw"
    if snapshot_id:
        return images(entities.need("snapshot", snapshot_id))[disk_id].format
    return own_layer(entities.need("disk", disk_id)).format


def _unknown(kind: str, wanted: str) -> NotFound:
    return NotFound("api.reference", subject=f"{kind} '{wanted[:200]}'", reason="there is none", remedy="List the disks.")
