"""Disks, of the whole system or of a storage domain: the model for a noun whose changes are jobs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from appliance.errors import Refused
from engine.api import mandatory, work
from engine.api.documents import Object
from engine.api.noun import Action, Call, Done, Made
from engine.api.nouns.unregistered import disk_registration, unregistered_disks
from engine.api.parameters import Listing
from engine.api.references import identified
from engine.api.stored import NOT_BODY, Referring, Stored
from engine.jobs.backups import need_remembering
from engine.jobs.disk_copy import DiskCopy
from engine.jobs.disk_create import CreateDisk, DiskCreate, refs_of
from engine.jobs.disk_extend import DiskExtend, ExtendDisk
from engine.jobs.disk_move import DiskMove, MoveDisk
from engine.jobs.disk_move_live import DiskMoveLive, LiveMoveDisk, running_with
from engine.jobs.disk_remove import DiskRemove, RemoveDisk
from engine.jobs.register import DiskRegister
from engine.store.entity import Entity

OF_THE_JOB = frozenset({"alias", "format", "image_id", "provisioned_size", "sparse", "storage_domain", "storage_domains"})
"""What the job works with; all else that a client sends is kept as it is."""
FIXED = frozenset({"actual_size", "format", "image_id", "provisioned_size", "sparse", "storage_domains", "total_size"})
"""What an update does not change: a client that sends back what it read is not refused for it. A larger size is a job."""
NOT_COPIED = frozenset({"actual_size", "format", "image_id", "provisioned_size", "sparse", "total_size", "shareable"})
"""What a copy has of its own."""


class Disks(Stored):
    """Adding and removing are jobs; names, descriptions and flags are only kept."""

    services, kind, entity, unique = ("Disks", "StorageDomainDisks", "AttachedStorageDomainDisks"), "Disk", "disk", False
    refs = {"storage_domains": "storage_domains", "disk_profile": "disk_profile", "quota": "quota"}
    scopes = {"StorageDomain": Referring("storage_domains")}
    defaults = {
        "actual_size": 0,
        "backup": "none",
        "content_type": "data",
        "format": "raw",
        "propagate_errors": False,
        "provisioned_size": 0,
        "qcow_version": "qcow2_v3",
        "shareable": False,
        "sparse": True,
        "storage_type": "image",
        "total_size": 0,
        "wipe_after_delete": False,
    }

    def list(self, call: Call, listing: Listing) -> Sequence[Object]:
        """Below an imported domain with ``unregistered``: what it brought along, and no VM or template has."""
        return unregistered_disks(call) if call.parameters.flag("unregistered") else super().list(call, listing)

    def show(self, call: Call, entity: Entity) -> Object:
        return {"alias": entity.name, "image_id": entity.id, "status": "ok", **super().show(call, entity)}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """Translate, order, answer with the disk as it is now: locked. With ``unregistered``: register that one."""
        if call.parameters.flag("unregistered"):
            wanted = str(given.get("id") or "")
            registering = work.awaited(call, DiskRegister, disk_registration(call, wanted))
            known = self.entities(call).get(self.entity, wanted)
            shown = self.show(call, known) if known is not None else {"id": wanted}
            return Made(shown, work.unfinished(registering))
        _need_described(call, given)
        identifier = _wanted_id(given)
        kept = {name: value for name, value in given.items() if name not in OF_THE_JOB | NOT_BODY and name not in self.refs}
        job = work.order(
            call,
            DiskCreate,
            CreateDisk(
                identifier,
                str(given.get("image_id") or uuid.uuid4()),
                str(given.get("name") or given.get("alias") or f"disk-{identifier[:8]}"),
                _domain(call, given),
                int(given.get("provisioned_size", 0)),
                given.get("format", "raw"),
                bool(given.get("sparse", True)),
                kept,
                refs=refs_of(given),
            ),
        )
        return Made(self.show(call, self.entities(call).need(self.entity, identifier)), work.unfinished(job))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        """Rename, change what is only kept; a larger ``provisioned_size`` extends it, also while its VM runs."""
        changed = {name: value for name, value in given.items() if name not in FIXED}
        if "alias" in changed:
            changed.setdefault("name", changed.pop("alias"))
        if changed.get("backup") == "incremental":
            need_remembering(self.entities(call), self.mine(call, identifier))
        shown = super().update(call, identifier, changed)
        wanted = int(given.get("provisioned_size") or 0)
        if not wanted or wanted == int(shown.get("provisioned_size") or 0):
            return shown
        work.awaited(call, DiskExtend, ExtendDisk(identifier, wanted))
        return self.show(call, self.entities(call).need(self.entity, identifier))

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        return work.done(call, DiskRemove, RemoveDisk(identifier))

    def _copy(self, call: Call, identifier: str, given: Object) -> Done:
        """A new disk on the domain that is named, under the name that is given (else its own)."""
        source, target = self.mine(call, identifier), identified(call, "Action", given, "storage_domain")
        call.rights.need("create_disk", ("storage_domain", target))
        body, asked = source.body, given.get("disk") or {}
        new = CreateDisk(
            str(uuid.uuid4()),
            str(uuid.uuid4()),
            str(asked.get("name") or asked.get("alias") or source.name),
            target,
            int(body.get("provisioned_size") or 0),
            body.get("format", "raw"),
            body.get("sparse") is not False,
            {name: value for name, value in body.items() if name not in NOT_COPIED},
            source.id,
        )
        return work.done(call, DiskCopy, new)

    def _move(self, call: Call, identifier: str, given: Object) -> Done:
        """To the domain that is named; while a VM runs with it, the VM goes over."""
        disk, target = self.mine(call, identifier), identified(call, "Action", given, "storage_domain")
        call.rights.need("create_disk", ("storage_domain", target))
        vm = running_with(self.entities(call), disk)
        if vm is not None:
            live = LiveMoveDisk(disk.id, vm.id, disk.ref("storage_domains"), target, vm.status == "paused")
            return work.done(call, DiskMoveLive, live)
        move = MoveDisk(disk.id, disk.ref("storage_domains"), target, disk.ref("backing_disk"))
        return work.done(call, DiskMove, move)

    actions: ClassVar[Mapping[str, Action]] = {"copy": _copy, "move": _move}


def _wanted_id(given: Mapping[str, Any]) -> str:
    """Converters choose the id of a disk and name it in the VM's OVF. Raises ``Refused`` ``disk.id``."""
    wanted = str(given.get("id") or "")
    if not wanted:
        return str(uuid.uuid4())
    try:
        return str(uuid.UUID(wanted))
    except ValueError as error:
        remedy = "Leave it out, or send a UUID."
        raise Refused("disk.id", subject=f"disk id {wanted[:80]!r}", reason="it is no UUID", remedy=remedy) from error


def _need_described(call: Call, given: Mapping[str, Any]) -> None:
    """What a new disk has to have, wherever it is asked for."""
    if call.service != "Disks":
        mandatory.check("Disks", "add", "Disk", given)


def _domain(call: Call, given: dict[str, Any]) -> str:
    """The storage domain that is asked for: the one we are below, or the only one in the body."""
    if call.parent_kind == "StorageDomain":
        return call.parent_id
    domains = given.get("storage_domains") or ([given["storage_domain"]] if given.get("storage_domain") else [])
    if len(domains) != 1 or not domains[0].get("id"):
        raise Refused(
            "api.incomplete",
            subject="Disk",
            reason="Disk [storageDomains.storageDomain] required for add",
            remedy="Name one storage domain.",
        )
    return str(domains[0]["id"])
