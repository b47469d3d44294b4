"""Mount a storage domain on hosts and take it away again. Shared by the jobs of domains; the built-in domains' mounts are
the installer's and are left alone. Everything may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.errors import Conflict, Failed, Unavailable
from appliance.model.domain import DomainMark, DomainState
from engine.jobs.evicted import evicted_names, is_of_pool
from engine.jobs.job import Work
from engine.jobs.places import MOUNTED_ON, is_built_in, mount_of, no_host
from engine.jobs.ports import StorageNode
from engine.members import OUTSIDE
from engine.store.entities import Entities
from engine.store.entity import Entity

TYPES = ("glusterfs", "posixfs", "localfs")
"""Kinds of storage that a domain can be on."""
SERVERS_LIMIT = 3
"""Servers that a Gluster client is told of: it learns the others from the first that answers."""


@dataclass(frozen=True)
class Seen:
    """A host that has a domain mounted, and the room there."""

    host_id: str
    total_bytes: int
    free_bytes: int


def storage_of(domain: Entity) -> Mapping[str, Any]:
    """v4's description of where it is."""
    found: Mapping[str, Any] = domain.body.get("storage") or {}
    return found


def source_of(storage: Mapping[str, Any]) -> str:
    """What is mounted, in one word: ``server:path`` or a path. Two domains never have the same."""
    address, path = str(storage.get("address") or ""), str(storage.get("path") or "")
    return f"{address}:{path}" if address and storage.get("type") == "posixfs" else path


def connect(work: Work, domain: Entity, host: str) -> DomainState:
    """Mount it on a host, and look into it. Raises ``Failed`` ``domain.mount-failed``, which names the host."""
    node = work.nodes.storage(host)
    try:
        _mount(work.entities, node, domain, host)
        state = node.domain(mount_of(domain))
    except Failed as error:
        raise _cannot(domain, host, "mount", error.reason) from error
    if not state.mounted or not state.answers:
        raise _cannot(domain, host, "mount", "it does not answer there" if state.mounted else "its mount has ended at once")
    return state


def _mount(entities: Entities, node: StorageNode, domain: Entity, host: str) -> None:
    storage, mount = storage_of(domain), mount_of(domain)
    if storage.get("type") == "localfs":
        node.domain_mount_local(mount, str(storage["path"]))
    elif storage.get("type") == "posixfs":
        kind, options = str(storage.get("vfs_type") or ""), str(storage.get("mount_options") or "")
        node.domain_mount_posix(mount, source_of(storage), kind, options)
    else:
        node.mount_volume(mount, servers_of(entities, domain, host))


def servers_of(entities: Entities, domain: Entity, host: str) -> tuple[str, ...]:
    """Where a host's Gluster client asks: itself first for a volume of our pool, else the server that was named."""
    hosts = [one for one in entities.list("host") if not one.body.get(OUTSIDE)]
    names = sorted(one.name for one in hosts)
    known = {*names, *(str(one.body.get("address") or "") for one in hosts)}
    if is_of_pool(domain, known):
        return tuple(sorted(names[:SERVERS_LIMIT], key=lambda name: name != host)) or (host,)
    return (str(storage_of(domain)["address"]),)


def need_own(domain: Entity, state: DomainState, host: str) -> None:
    """Raises ``Conflict`` ``domain.foreign``: what is mounted there is not this domain."""
    if state.mark is not None and state.mark.id == domain.id:
        return
    found = f"bears the mark of domain {state.mark.name} ({state.mark.id})" if state.mark else "bears no mark"
    raise Conflict(
        "domain.foreign",
        subject=f"storage domain {domain.name}",
        reason=f"what host {host} finds at {source_of(storage_of(domain))} {found}",
        remedy="Look at the storage: another file system may be in its place.",
    )


def disconnect(work: Work, domain: Entity, host: str) -> None:
    """Unmount it on a host. Raises ``Failed`` ``domain.unmount-failed``."""
    try:
        work.nodes.storage(host).domain_unmount(mount_of(domain))
    except Failed as error:
        raise _cannot(domain, host, "unmount", error.reason) from error


def hosts_for(work: Work, domain: Entity) -> dict[str, str]:
    """Name → id of the hosts that are to have it and can be asked now: all, a local one's own host alone."""
    lost, bound = evicted_names(work.entities), domain.ref("host")
    reports = [one for one in work.nodes.reports() if one.is_up and one.name not in lost]
    return {one.name: one.id for one in reports if not bound or one.id == bound}


def connect_everywhere(work: Work, domain: Entity) -> list[Seen]:
    """Mount it on every host that answers. One that does not gets it when it is back (:mod:`engine.jobs.keep_domains`).
    Raises ``Unavailable`` ``job.no-host``, and as :func:`connect`."""
    found = []
    for host, host_id in hosts_for(work, domain).items():
        try:
            state = connect(work, domain, host)
        except Unavailable as error:
            work.log(f"{host} gets it when it is back: {error}")
            continue
        need_own(domain, state, host)
        work.log(f"{host} has it mounted")
        found.append(Seen(host_id, state.total_bytes, state.free_bytes))
    if not found:
        raise no_host()
    return found


def disconnect_everywhere(work: Work, domain: Entity) -> None:
    """Unmount it on every host that answers; one that does not is told when it is back."""
    if is_built_in(domain):
        return
    for host in hosts_for(work, domain):
        try:
            disconnect(work, domain, host)
        except Unavailable as error:
            work.log(f"{host} is told when it is back: {error}")


def with_hosts(domain: Entity, seen: list[Seen]) -> Entity:
    """The row of a domain that those hosts have mounted: with the room that they see."""
    after = domain.with_body(**{MOUNTED_ON: sorted(one.host_id for one in seen)})
    if not seen:
        return after
    return after.with_body(available=seen[0].free_bytes, used=seen[0].total_bytes - seen[0].free_bytes)


def mark_of(domain: Entity) -> DomainMark:
    """What lies in its root."""
    return DomainMark(domain.id, domain.name, str(storage_of(domain).get("type") or ""))


def _cannot(domain: Entity, host: str, what: str, why: str) -> Failed:
    return Failed(
        f"domain.{what}-failed",
        subject=f"storage domain {domain.name}",
        reason=f"host {host} cannot {what} it: {why}",
        remedy=f"`journalctl` on {host} tells more. Correct the storage, and try again.",
    )
