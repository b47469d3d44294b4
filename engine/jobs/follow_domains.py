"""Write what the pool says of a storage domain's room into the domain's row, so that it can be searched, and new disks be
refused in the transaction that would make them. The decision is pure (engine/decide/domain_space.py)."""

from __future__ import annotations

from appliance.effects.clock import Clock
from engine.decide.domain_space import EVENTS, GIB, has_got_worse, is_news, level
from engine.jobs.places import mount_of
from engine.store.audit import Audit
from engine.store.entities import Entities
from engine.store.entity import Entity
from gluster.model import PoolStatus

SPACE = "trivet_space"
"""In the body of a domain: how it was off when it was looked at last."""


class DomainFollower:
    """For all domains; each thread that looks has its own."""

    def __init__(self, entities: Entities, clock: Clock) -> None:
        self._entities = entities
        self._clock = clock

    def heard(self, pool: PoolStatus) -> tuple[str, ...]:
        """The pool has been looked at; the names of the domains whose rows changed."""
        found = []
        for domain in self._entities.list("storage_domain"):
            volume = pool.volume(mount_of(domain))
            if volume is not None and self.has_room(domain, volume.available_bytes, volume.used_bytes):
                found.append(domain.name)
        return tuple(found)

    def has_room(self, domain: Entity, available: int, used: int) -> bool:
        """Somebody has looked at a domain's room; whether its row changed."""
        if not available and not used:
            return False  # nobody could say
        now = level(domain.body, available, used)
        was = str(domain.body.get(SPACE) or "")
        if not is_news(domain.body.get("available"), available, was, now):
            return False
        with self._entities.connection.transaction():
            self._entities.change(*domain.key, lambda one: one.with_body(available=available, used=used, **{SPACE: now}))
            if has_got_worse(was, now):
                Audit(self._entities.connection, self._clock).tell(
                    EVENTS[now], {"storage_domain": domain.id}, {"space": available // GIB}
                )
        return True
