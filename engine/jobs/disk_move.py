"""Move a disk that no VM has open to another storage domain: copied, used from there, and then removed where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.jobs.disk_layers import check_move, copy_layers, drop_layers, moved_to
from engine.jobs.disk_use import need_idle, need_no_template, need_ok, need_shared_host, owner_locks, owners_of
from engine.jobs.domain_use import domain_locks
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import chain, layer_at
from engine.jobs.places import choose_host, chosen_host
from engine.jobs.preview import refuse_preview
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

ACTION = "move Virtual Disk"


@dataclass(frozen=True)
class MoveDisk:
    """Which disk, from where, to where. ``backing_id``: the template's disk that it is a layer over; it is none after the
    move, for it takes all that is below along."""

    disk_id: str
    source_id: str
    target_id: str
    backing_id: str = ""


def _disk(work: Work) -> Entity:
    return work.entities.need("disk", work.parameters(MoveDisk).disk_id)


def _copy(work: Work) -> Mapping[str, Any]:
    given, disk, host = work.parameters(MoveDisk), _disk(work), chosen_host(work)
    layers = chain(work.entities, disk)
    copy_layers(work, host, disk, layers, given.source_id, given.target_id)
    with work.on(host) as node:
        return {"actual_bytes": node.disk_chain(layer_at(work.entities, disk, layers[-1], given.target_id))[0].actual_bytes}


def _uncopy(work: Work) -> None:
    disk, target = _disk(work), work.parameters(MoveDisk).target_id
    drop_layers(work, chosen_host(work), disk, chain(work.entities, disk), target, "undo")


def _use(work: Work) -> None:
    given = work.parameters(MoveDisk)
    size = int(work.found("copy")["actual_bytes"])
    work.entities.change("disk", given.disk_id, lambda one: moved_to(one.with_body(actual_size=size), given.target_id))


def _use_again(work: Work) -> None:
    given = work.parameters(MoveDisk)

    def how(disk: Entity) -> Entity:
        return disk.with_refs(storage_domains=given.source_id, backing_disk=given.backing_id or ())

    work.entities.change("disk", given.disk_id, how)


def _drop_source(work: Work) -> None:
    disk, source = _disk(work), work.parameters(MoveDisk).source_id
    wipe = bool(disk.body.get("wipe_after_delete"))
    drop_layers(work, chosen_host(work), disk, chain(work.entities, disk), source, "drop", wipe=wipe)


def describe_move(entities: Entities, disk_id: str, source_id: str, target_id: str) -> str:
    """A move in oVirt's words."""
    source, target = (entities.name_of("storage_domain", one) for one in (source_id, target_id))
    return f"Moving Disk {entities.name_of('disk', disk_id)} from Storage Domain {source} to {target}"


class DiskMove(JobType[MoveDisk]):
    """The disk is ``locked``; at the end it is on the target alone, or where it was. If what it was made of cannot be
    removed it is used from the target all the same, and the job says so."""

    name = "disk.move"
    parameters = MoveDisk
    steps = (
        Step("choose-host", choose_host, weight=0.1),
        Step("copy", _copy, _uncopy),
        Step("use", _use, _use_again, weight=0.1),
        Step("drop-source", _drop_source, is_final=True, weight=0.2),
    )
    told = Told("USER_MOVED_DISK", "USER_MOVED_DISK_FINISHED_SUCCESS", "USER_MOVED_DISK_FINISHED_FAILURE")

    def about(self, entities: Entities, given: MoveDisk) -> Mapping[str, str]:
        return {"disk": given.disk_id, "storage_domain": given.target_id}

    def describe(self, entities: Entities, given: MoveDisk) -> str:
        return describe_move(entities, given.disk_id, given.source_id, given.target_id)

    def check(self, entities: Entities, given: MoveDisk) -> None:
        disk = entities.need("disk", given.disk_id)
        need_ok(disk, ACTION)
        need_no_template(entities, disk, ACTION)
        need_idle(entities, disk, ACTION)
        for owner in owners_of(entities, disk):
            refuse_preview(entities, owner.id, ACTION)
        check_move(entities, disk, given.source_id, given.target_id, ACTION)
        need_shared_host(entities, disk, entities.need("storage_domain", given.target_id), ACTION)

    def locks(self, entities: Entities, given: MoveDisk) -> Sequence[Lock]:
        disk = entities.need("disk", given.disk_id)
        mine = (Lock("disk", disk.id), *domain_locks(given.target_id), *owner_locks(entities, disk))
        return tuple(dict.fromkeys(mine))

    def plan(self, entities: Entities, given: MoveDisk) -> Sequence[Planned]:
        name = entities.name_of("disk", given.disk_id)
        return (
            Planned("choose-host", "Choosing a host"),
            Planned("copy", f"Copying {name}"),
            Planned("use", "Using the copy"),
            Planned("drop-source", "Removing it where it was"),
        )
