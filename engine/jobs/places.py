"""Where a job acts: which host does it, and where a disk's file is. Shared by the job types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance import layout
from appliance.errors import Conflict, Unavailable
from appliance.model.disk import DiskFile, DiskFormat
from engine.decide.domain_space import critical_bytes
from engine.jobs.evicted import evicted_names
from engine.jobs.job import Work
from engine.store.entities import Entities, Entity

FORMATS: Mapping[str, DiskFormat] = {"cow": "qcow2", "raw": "raw"}
"""v4's words for a disk's format, and QEMU's."""
AWAY = ("maintenance", "preparing_for_maintenance", "installing", "down")
"""Statuses of a host on which nothing new is begun."""


def choose_host(work: Work) -> dict[str, Any]:
    """A step's ``do``: pick the host that does the job, and write it down, so that a crash changes nothing about it."""
    hosts = usable(work)
    if not hosts:
        raise no_host()
    work.log(f"host {hosts[0]} does it")
    return {"host": hosts[0]}


def chosen_host(work: Work) -> str:
    """Whom step ``choose-host`` picked."""
    return str(work.found("choose-host")["host"])


def chosen_or_another(work: Work) -> str:
    """That host, or another one where it is away: to undo or repeat what was begun on shared storage."""
    return host_for_cleaning(work, chosen_host(work))


def no_host() -> Unavailable:
    """Nobody can do it now."""
    reason, remedy = "no host is up that has the storage for it", "Activate a host, or wait until one answers."
    return Unavailable("job.no-host", subject="the job", reason=reason, remedy=remedy)


def usable(work: Work) -> list[str]:
    """Names of the hosts that are up and have their storage, and are not in maintenance, nor on the way there; the least
    loaded first."""
    resting = {one.id for one in work.entities.list("host") if one.shown_status in AWAY}
    away = {one.name for one in work.nodes.reports() if one.id in resting} if resting else set()
    return [one for one in _with_storage(work) if one not in away]


def host_for_cleaning(work: Work, chosen: str = "") -> str:
    """The host that undoes or repeats a step on shared storage: the one that began, else any other that is up. None has its
    storage: ``chosen``."""
    hosts = _with_storage(work)
    if chosen in hosts or not hosts:
        return chosen
    return next(iter(usable(work)), hosts[0])


def _with_storage(work: Work) -> list[str]:
    """The hosts that are up, not cut off from it, and have all domains mounted that the job holds."""
    lost = evicted_names(work.entities)
    domains = [work.entities.need("storage_domain", one) for one in work.held("storage_domain")]
    bound = [one for one in domains if not is_built_in(one)]
    ids = {one.name: one.id for one in work.nodes.reports()} if bound else {}
    return [host for host in work.nodes.up() if host not in lost and all(reaches(one, ids.get(host, "")) for one in bound)]


def mount_of(domain: Entity) -> str:
    """The name under which the hosts have mounted a storage domain: its volume's, whatever people call it now."""
    path = str((domain.body.get("storage") or {}).get("path") or "").lstrip("/")
    return str(domain.body.get("mount") or path or domain.name)


BUILT_IN = (layout.ENGINE_VOLUME, layout.VMSTORE_VOLUME)
"""The volumes that the installer makes and mounts: always mounted everywhere, whatever the status of their domain."""
MOUNTED_ON = "trivet_hosts"
"""In the body of any other domain: the ids of the hosts that have it mounted and can look into it."""


def is_built_in(domain: Entity) -> bool:
    """Whether it came with the cluster."""
    return mount_of(domain) in BUILT_IN


def reaches(domain: Entity, host_id: str) -> bool:
    """Whether a host that is up has the domain mounted."""
    return is_built_in(domain) or host_id in domain.body.get(MOUNTED_ON, ())


def disk_file(domain: Entity, disk_id: str, image_id: str, disk_format: str) -> DiskFile:
    """Where a disk's image is on a domain: ``images/<disk>/<image>``, as oVirt lays it out."""
    return DiskFile(mount_of(domain), f"images/{disk_id}/{image_id}", FORMATS[disk_format])


def file_of(entities: Entities, disk: Entity) -> DiskFile:
    """Where a disk's image is."""
    domain = entities.need("storage_domain", disk.ref("storage_domains"))
    return disk_file(domain, disk.id, str(disk.body["image_id"]), str(disk.body["format"]))


def domain_for(entities: Entities, vm: Entity, action: str) -> str:
    """Where what belongs to a VM goes: beside its first disk, else the master domain. Raises ``Conflict``
    ``vm.no-domain``."""
    mine = entities.children(vm.key, "disk_attachment")
    disks = entities.many("disk", [one.ref("disk") for one in mine]).values()
    found = [one.ref("storage_domains") for one in disks] or [
        one.id for one in entities.list("storage_domain") if one.body.get("master")
    ]
    if not found:
        reason = f"Cannot {action}. There is no storage domain for what belongs to it"
        raise Conflict("vm.no-domain", subject=f"VM {vm.name}", reason=reason, remedy="Add one.")
    return found[0]


def need_active_domain(entities: Entities, domain_id: str, action: str) -> Entity:
    """The storage domain, if it is active. Raises ``NotFound`` ``entity.unknown``, ``Conflict`` ``domain.not-active``."""
    domain = entities.need("storage_domain", domain_id)
    if domain.status not in ("", "active"):
        raise Conflict(
            "domain.not-active",
            subject=f"storage domain {domain.name}",
            reason=f"Cannot {action}. The relevant Storage Domain is not active ({domain.status})",
            remedy="Activate it first.",
        )
    return domain


def need_reached_domain(entities: Entities, domain_id: str, action: str) -> None:
    """The domain of a VM's saved memory, if it is active and any host has it. Raises as :func:`need_active_domain`;
    ``Conflict`` ``domain.lost``."""
    domain = need_active_domain(entities, domain_id, action)
    if not is_built_in(domain) and not domain.body.get(MOUNTED_ON):
        raise Conflict(
            "domain.lost",
            subject=f"storage domain {domain.name}",
            reason=f"Cannot {action}. Its saved memory is on Storage Domain {domain.name}, which no host has",
            remedy="Bring it back. If it is lost for good, destroy it: the VM is down then, and its memory forgotten.",
        )


def need_at_host(entities: Entities, vm: Entity, domain_id: str, action: str) -> None:
    """Refuse to give a VM that runs what its host cannot open. Raises as :func:`need_active_domain`; ``Conflict``
    ``domain.not-at-host``."""
    domain, host = need_active_domain(entities, domain_id, action), vm.ref("host")
    if host and not reaches(domain, host):
        raise Conflict(
            "domain.not-at-host",
            subject=f"VM {vm.name}",
            reason=f"Cannot {action}. Its host {entities.name_of('host', host)} does not reach Storage Domain {domain.name}",
            remedy="Move the VM to a host that does, or shut it down first.",
        )


def need_room_for_memory(entities: Entities, vm: Entity, domain_id: str, action: str) -> None:
    """Refuse what would write a VM's memory where it cannot be: its host writes it, and all of it may be there at once.
    Raises as :func:`need_at_host` and :func:`need_room`."""
    need_at_host(entities, vm, domain_id, action)
    need_room(entities, domain_id, action, int(vm.body.get("memory") or 0))


def need_room(entities: Entities, domain_id: str, action: str, now_bytes: int = 0) -> None:
    """Refuse what would bring a domain below its ``critical_space_action_blocker``. ``now_bytes``: what is taken at once.
    Raises ``Conflict`` ``domain.low-space``; while nobody has said how much there is, nothing is refused."""
    domain = entities.need("storage_domain", domain_id)
    available = domain.body.get("available")
    if available is not None and int(available) - now_bytes < critical_bytes(domain.body):
        raise Conflict(
            "domain.low-space",
            subject=f"storage domain {domain.name}",
            reason=f"Cannot {action}. Low disk space on Storage Domain {domain.name}",
            remedy="Free room on it, or lower its critical_space_action_blocker.",
            facts={"available_bytes": int(available), "blocked_below_bytes": critical_bytes(domain.body)},
        )
