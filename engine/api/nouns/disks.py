"""Disks, of the whole system or of a storage domain: the model for a noun whose changes are jobs."""

from __future__ import annotations

import uuid
from typing import Any

from appliance.errors import Refused
from engine.api import work
from engine.api.documents import Object
from engine.api.noun import Call, Done, Made
from engine.api.stored import NOT_BODY, Referring, Stored
from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.disk_remove import DiskRemove, RemoveDisk
from engine.store.entity import Entity

OF_THE_JOB = frozenset({"alias", "format", "image_id", "provisioned_size", "sparse", "storage_domain", "storage_domains"})
"""What the job works with; all else that a client sends is kept as it is."""
FIXED = frozenset({"actual_size", "format", "image_id", "provisioned_size", "sparse", "storage_domains", "total_size"})
"""What an update cannot change without a job: a client that sends back what it read is not refused for it."""


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

    def show(self, call: Call, entity: Entity) -> Object:
        return {"alias": entity.name, "image_id": entity.id, "status": "ok", **super().show(call, entity)}

    def add(self, call: Call, given: dict[str, Any]) -> Made:
        """Translate, order, answer with the disk as it is now: locked."""
        identifier = str(uuid.uuid4())
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
            ),
        )
        return Made(self.show(call, self.entities(call).need(self.entity, identifier)), work.unfinished(job))

    def update(self, call: Call, identifier: str, given: dict[str, Any]) -> Object:
        changed = {name: value for name, value in given.items() if name not in FIXED}
        if "alias" in changed:
            changed.setdefault("name", changed.pop("alias"))
        return super().update(call, identifier, changed)

    def remove(self, call: Call, identifier: str, given: Object) -> Done:
        return work.done(call, DiskRemove, RemoveDisk(identifier))


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
