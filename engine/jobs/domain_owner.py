"""Which installation uses a storage domain: written on it, so that two never do without somebody having said so."""

from __future__ import annotations

from dataclasses import replace

from appliance import layout
from appliance.errors import Conflict
from appliance.model.domain import DomainMark, DomainState
from engine.jobs.domain_mounts import connect, hosts_for, mark_of
from engine.jobs.job import Work
from engine.jobs.places import is_built_in, mount_of, no_host
from engine.store.entities import Entities
from engine.store.entity import Entity

WORDS = "take over from "
"""A comment that begins so and goes on with the owner's name says that the other installation is gone for good."""


def installation(entities: Entities) -> tuple[str, str]:
    """(id, name) of this one: its built-in domain's, which no other has, and its first cluster's."""
    own = next((one for one in entities.list("storage_domain") if mount_of(one) == layout.VMSTORE_VOLUME), None)
    names = sorted((one.created_ms, one.name) for one in entities.list("cluster"))
    return own.id if own else "", names[0][1] if names else ""


def need_free(entities: Entities, domain: Entity, mark: DomainMark | None, words: str = "") -> None:
    """Raises ``Conflict`` ``domain.in-use``: another installation says that it uses it."""
    if mark is None or mark.owner in ("", installation(entities)[0]):
        return
    name = mark.owner_name or mark.owner
    if words.strip() == f"{WORDS}{name}":
        return
    raise Conflict(
        "domain.in-use",
        subject=f"storage domain {domain.name or mark.name}",
        reason=f"Cannot use Storage. It is in use by another installation, {name}, which may write to it at this moment",
        remedy=f"Put it into maintenance there. If that one is gone for good, say so: comment '{WORDS}{name}'.",
        facts={"owner": mark.owner, "owner_name": mark.owner_name},
    )


def claimed(entities: Entities, domain: Entity) -> DomainMark:
    """Its mark while we use it."""
    owner, name = installation(entities)
    return replace(mark_of(domain), owner=owner, owner_name=name)


def claim(work: Work, domain: Entity) -> None:
    """Part of a step: it says that it is ours. The built-in ones are nobody else's."""
    if is_built_in(domain):
        return
    host, state = _look(work, domain)
    need_free(work.entities, domain, state.mark)
    work.nodes.storage(host).domain_mark(mount_of(domain), claimed(work.entities, domain))


def release(work: Work, domain: Entity) -> None:
    """Part of a step: nobody uses it any more, as far as we are concerned."""
    if is_built_in(domain):
        return
    host, state = _look(work, domain)
    if state.mark is not None and state.mark.owner == installation(work.entities)[0]:
        work.nodes.storage(host).domain_mark(mount_of(domain), mark_of(domain))


def _look(work: Work, domain: Entity) -> tuple[str, DomainState]:
    for host in hosts_for(work, domain):
        return host, connect(work, domain, host)
    raise no_host()
