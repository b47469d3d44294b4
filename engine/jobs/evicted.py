"""Hosts that are cut off from storage domains: the record of it in the host's row, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from appliance import layout
from appliance.errors import NotFound
from engine.store.entities import Entities
from engine.store.entity import Entity
from gluster.model import REJECT, PoolStatus, rejected

EVICTED = "trivet_evicted"
"""In a host's body, from the moment at which the bricks certainly refuse it: ``domains`` (names), ``volumes``, ``boot_id``
(of its last boot that was heard), ``wall_ms``."""
GOING_OVER = "trivet_going_over"
"""In a disk's body, while nobody can say whether its VM has gone over to another domain: that domain's id."""
NEVER = (layout.ENGINE_VOLUME,)
"""The engine's volume is the brokers': its locks fence by themselves."""


def record_of(host: Entity | None) -> Mapping[str, Any]:
    """What is written down of its eviction; empty: it is not evicted."""
    return (host.body.get(EVICTED) or {}) if host is not None else {}


def domains_of(host: Entity | None) -> frozenset[str]:
    """The storage domains from which it is certainly cut off."""
    return frozenset(str(one) for one in record_of(host).get("domains", ()))


def evicted_names(entities: Entities) -> frozenset[str]:
    """The names of the hosts that are cut off from anything."""
    return frozenset(one.name for one in entities.list("host") if record_of(one))


def evictable(entities: Entities) -> dict[str, str]:
    """Storage domain → Gluster volume, of all domains from which hosts can be cut off: volumes of our own pool that VMs may
    be on (the volume of a domain in maintenance may be stopped or gone, and must hinder no eviction)."""
    found = {}
    servers = {name for host in entities.list("host") for name in (host.name, str(host.body.get("address") or ""))}
    for domain in entities.list("storage_domain"):
        if domain.status in RESTING or not is_of_pool(domain, servers):
            continue
        storage = domain.body.get("storage") or {}
        volume = str(storage.get("path") or "").strip("/")
        if storage.get("type") == "glusterfs" and volume and volume not in NEVER:
            found[domain.name] = volume
    return found


RESTING = ("maintenance", "unattached")
"""Statuses of a domain that nothing is on."""


def is_of_pool(domain: Entity, servers: Collection[str]) -> bool:
    """Whether its volume is one of our own pool. ``servers``: names and addresses of the hosts. The built-in ones are, also
    when the server that they name has left the cluster."""
    storage = domain.body.get("storage") or {}
    address = str(storage.get("address") or "")
    if str(storage.get("path") or "").strip("/") in (layout.ENGINE_VOLUME, layout.VMSTORE_VOLUME):
        return True
    return storage.get("type") == "glusterfs" and (not address or not servers or address in servers)


def writes(entities: Entities, vm: Entity) -> frozenset[str]:
    """The storage domains that a VM can write, that too to which a disk of it may have gone over already."""
    attached = entities.children(vm.key, "disk_attachment")
    return _domains(entities, [one for one in attached if not one.body.get("read_only")])


def uses(entities: Entities, vm: Entity) -> frozenset[str]:
    """The storage domains that a VM has anything open on: what it writes, and what it only reads."""
    return _domains(entities, entities.children(vm.key, "disk_attachment"))


def _domains(entities: Entities, attached: Sequence[Entity]) -> frozenset[str]:
    disks = entities.many("disk", [one.ref("disk") for one in attached])
    domains = entities.many("storage_domain", [name for one in disks.values() for name in written_on(one)])
    return frozenset(one.name for one in domains.values())


def written_on(disk: Entity) -> tuple[str, ...]:
    """The ids of the domains on which a VM may write a disk."""
    other = str(disk.body.get(GOING_OVER) or "")
    return (*disk.refs["storage_domains"], *((other,) if other else ()))


def cannot_write(entities: Entities, vm: Entity, host: Entity | None) -> bool:
    """Whether the host is cut off from all that the VM could write, so that nothing of it there can do harm."""
    return bool(record_of(host)) and writes(entities, vm) <= domains_of(host)


def connected(pool: PoolStatus | None, host: str) -> bool | None:
    """Whether the pool's daemons have that host's one; ``None``: nobody could say."""
    found = [one for one in (pool.peers if pool else ()) if host in one.names]
    return found[0].connected if found else None


def refused(pool: PoolStatus | None, volume: str) -> frozenset[str]:
    """The addresses that a volume refuses now. Raises ``NotFound`` ``gluster.volume-unknown``."""
    found = pool.volume(volume) if pool else None
    if found is None:
        raise NotFound(
            "gluster.volume-unknown",
            subject=f"volume {volume}",
            reason="the pool has no volume of that name",
            remedy="`trivet gluster status` lists the volumes.",
        )
    return rejected(found.options.get(REJECT, ""))
