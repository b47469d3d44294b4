"""Copy a disk to a storage domain: a new disk that depends on nobody."""

from __future__ import annotations

from collections.abc import Sequence

from engine.jobs.disk_create import CreateDisk, DiskCreate
from engine.jobs.disk_use import need_idle, need_no_template, need_ok, owner_locks
from engine.jobs.job import Told
from engine.store.entities import Entities
from engine.store.jobs import Lock

ACTION = "copy Virtual Disk"


class DiskCopy(DiskCreate):
    """As :class:`DiskCreate`, with a source: the copy is listed, ``locked``, from the order on. Nobody may write to the
    source meanwhile."""

    name = "disk.copy"
    told = Told("USER_COPIED_DISK", "USER_COPIED_DISK_FINISHED_SUCCESS", "USER_COPIED_DISK_FINISHED_FAILURE")

    def describe(self, entities: Entities, given: CreateDisk) -> str:
        source, domain = (
            entities.name_of("disk", given.source_disk_id), entities.name_of("storage_domain", given.domain_id),
        )  # fmt: skip
        return f"Copying Disk {source} to Storage Domain {domain}"

    def check(self, entities: Entities, given: CreateDisk) -> None:
        source = entities.need("disk", given.source_disk_id)
        need_ok(source, ACTION)
        need_no_template(entities, source, ACTION)
        need_idle(entities, source, ACTION)
        super().check(entities, given)

    def locks(self, entities: Entities, given: CreateDisk) -> Sequence[Lock]:
        source = entities.need("disk", given.source_disk_id)
        mine = [*super().locks(entities, given), Lock("disk", source.id, "", is_shared=True), *owner_locks(entities, source)]
        return tuple(dict.fromkeys(mine))  # source and copy may be on one domain
