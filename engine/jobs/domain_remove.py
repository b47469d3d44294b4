"""Remove a storage domain: its mark is taken away (``format``), or only what we know of it is forgotten (``destroy``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import TrivetError
from engine.jobs.descriptors import erase
from engine.jobs.disk_remove import attached_to
from engine.jobs.disk_use import eject
from engine.jobs.domain_create import forget_domain
from engine.jobs.domain_mounts import connect, disconnect, hosts_for, need_own
from engine.jobs.domain_use import need_empty_of_disks, need_idle, refused, saved_on, seeds_on
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.layers import MEMORY as SNAPSHOT_MEMORY
from engine.jobs.layers import forget_disk, layers_first
from engine.jobs.places import MOUNTED_ON, chosen_host, is_built_in, mount_of, no_host
from engine.jobs.vm_state import RESUME, went_down
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

ACTION = "remove Storage"


@dataclass(frozen=True)
class RemoveDomain:
    """Which domain. ``host_id``: who does it, empty: any. ``destroy``: the storage is not touched, and the disks that were
    on it are forgotten."""

    domain_id: str
    host_id: str = ""
    format: bool = False
    destroy: bool = False


def _domain(work: Work) -> Entity:
    return work.entities.need("storage_domain", work.parameters(RemoveDomain).domain_id)


def _choose(work: Work) -> Mapping[str, Any]:
    given = work.parameters(RemoveDomain)
    hosts = hosts_for(work, _domain(work))
    found = [name for name, identifier in hosts.items() if not given.host_id or identifier == given.host_id]
    if not found:
        raise no_host()
    return {"host": found[0]}


def _unmark(work: Work) -> None:
    domain, host = _domain(work), chosen_host(work)
    state = connect(work, domain, host)
    if state.mark is not None:
        need_own(domain, state, host)
        erase(work.nodes.storage(host), mount_of(domain))
        work.nodes.storage(host).domain_unmark(mount_of(domain), domain.id)
    disconnect(work, domain, host)


def _let_go(work: Work) -> None:
    """Its storage may have gone for good: a mount that cannot be taken away is told, and hinders nothing."""
    domain = _domain(work)
    for host in hosts_for(work, domain):
        try:
            disconnect(work, domain, host)
        except TrivetError as error:
            if error.code == "engine.stale-epoch":
                raise
            work.log(f"{host} keeps a mount of it: {error}")


class DomainRemove(JobType[RemoveDomain]):
    """The domain is ``locked`` until it has gone. Once its mark is touched there is no way back; if that cannot be finished
    it is ``unattached`` still, and may be removed again."""

    name = "domain.remove"
    parameters = RemoveDomain
    steps = (
        Step("choose-host", _choose, weight=0.1),
        Step("unmark", _unmark, is_final=True),
        Step("let-go", _let_go, is_final=True),
    )
    told = Told("", "USER_REMOVE_STORAGE_DOMAIN", "USER_REMOVE_STORAGE_DOMAIN_FAILED")

    def about(self, entities: Entities, given: RemoveDomain) -> Mapping[str, str]:
        return {"storage_domain": given.domain_id}

    def describe(self, entities: Entities, given: RemoveDomain) -> str:
        verb = "Destroying" if given.destroy else "Removing"
        return f"{verb} Storage Domain {entities.name_of('storage_domain', given.domain_id)}"

    def check(self, entities: Entities, given: RemoveDomain) -> None:
        domain = entities.need("storage_domain", given.domain_id)
        if is_built_in(domain):
            why = f"Volume {mount_of(domain)} came with the cluster, which needs it"
            raise refused(domain, ACTION, why, "It cannot be done.", "domain.built-in")
        if given.destroy:
            _check_destroyable(entities, domain)
            return
        if domain.ref("data_center"):
            why = "The Storage Domain is attached to a Data Center"
            raise refused(domain, ACTION, why, "Detach it first, or destroy it.", "domain.attached")
        need_empty_of_disks(entities, domain, ACTION)

    def locks(self, entities: Entities, given: RemoveDomain) -> Sequence[Lock]:
        disks = entities.referring(("storage_domain", given.domain_id), "disk", "storage_domains") if given.destroy else []
        owners = {one.parent for disk in disks for one in attached_to(entities, disk.id) if one.parent}
        domain = entities.need("storage_domain", given.domain_id)
        saved = {one.key for one in saved_on(entities, domain)} if given.destroy else set()
        return (
            Lock("storage_domain", given.domain_id),
            *(Lock("disk", one.id) for one in disks),
            *(Lock(kind, owner, "", is_shared=True) for kind, owner in sorted(owners - saved)),
            *(Lock(kind, identifier, "") for kind, identifier in sorted(saved)),
        )

    def plan(self, entities: Entities, given: RemoveDomain) -> Sequence[Planned]:
        if given.format and not given.destroy:
            return Planned("choose-host", "Choosing a host"), Planned(
                "unmark", "Taking away its mark and what it says of VMs"
            )
        return (Planned("let-go", "Unmounting it on the hosts"),)

    def finish(self, work: Work) -> Mapping[str, Any]:
        domain = _domain(work)
        for one in saved_on(work.entities, domain):
            now_ms = int(work.clock.wall_s() * 1000)
            work.entities.change(one.kind, one.id, lambda row: _without_memory(row, now_ms))  # noqa: B023 - called at once
        for disk in work.entities.referring(domain.key, "disk", "storage_domains"):
            for one in attached_to(work.entities, disk.id):
                work.entities.remove(one.kind, one.id)
            eject(work.entities, disk)
            forget_disk(work.entities, disk.id)
        for disk in layers_first(work.entities.referring(domain.key, "disk", "storage_domains")):
            work.entities.remove("disk", disk.id)
        for seed in seeds_on(work.entities, domain):
            work.entities.remove(seed.kind, seed.id)
        forget_domain(work.entities, domain.id)
        return {}


def _without_memory(row: Entity, now_ms: int) -> Entity:
    """A VM that was suspended is down, as after a power cut; a snapshot, or a VM that was to go on with one's, has none."""
    if row.kind == "snapshot":
        return row.without(SNAPSHOT_MEMORY).with_body(persist_memorystate=False)
    return went_down(row, now_ms) if row.status == "suspended" else row.without(RESUME)


def _check_destroyable(entities: Entities, domain: Entity) -> None:
    """Refuse while it is in use, or what would be left could not be repaired."""
    is_lost = domain.status in ("", "active") and not domain.body.get(MOUNTED_ON)
    if domain.status not in ("maintenance", "unattached") and not is_lost:
        why = "The Storage Domain is active"
        raise refused(domain, "destroy Storage", why, "Deactivate it first.")
    need_idle(entities, domain, "destroy Storage")
    for disk in entities.referring(domain.key, "disk", "storage_domains"):
        for one in attached_to(entities, disk.id):
            if one.parent and one.parent[0] == "template":
                why = f"Template {entities.name_of(*one.parent)} has its disk {disk.name} on it"
                raise refused(domain, "destroy Storage", why, "Remove the template first.", "domain.in-use")
