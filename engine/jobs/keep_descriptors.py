"""Have storage domains say what is on them: by the hour, and within minutes of a change. A turn that finds nothing changed
asks nobody. What it forgets when the engine moves is written once more than needed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance import layout
from appliance.errors import Conflict, TrivetError
from engine.decide.descriptor import digest_of, text_of
from engine.jobs.descriptors import descriptors_on
from engine.jobs.desk import Desk
from engine.jobs.domain_describe import DescribeDomain, DomainDescribe
from engine.jobs.places import mount_of
from engine.store.entities import Entities
from engine.store.entity import Entity

KEEP_EVERY_S = 300.0
"""Looking costs a millisecond for each VM; what is missing on the domain are the last minutes before all else was lost."""
AGAIN_S = 3600.0
"""… and once an hour nothing is believed: somebody may have changed the files."""


@dataclass
class DescriptorKeeper:
    """One for the engine; its turns are taken one after the other."""

    entities: Entities
    desk: Desk
    log: Callable[[str], None]
    _said: dict[str, tuple[str, float]] = field(default_factory=dict)

    def turn(self) -> None:
        """Look and order once. What fails is logged, and tried with the next turn."""
        try:
            for domain in self.entities.list("storage_domain"):
                if domain.status in ("", "active") and mount_of(domain) != layout.ENGINE_VOLUME:
                    self._domain(domain)
        except TrivetError as error:
            self.log(f"descriptors: {error} [{error.code}]")

    def _domain(self, domain: Entity) -> None:
        now_s = self.desk.clock.monotonic_s()
        digest = digest_of("".join(sorted(text_of(one) for one in descriptors_on(self.entities, domain))))
        before, said_s = self._said.get(domain.id, ("", 0.0))
        if digest == before and now_s - said_s < AGAIN_S:
            return
        try:
            self.desk.order(DomainDescribe, DescribeDomain(domain.id), owner_id="", correlation_id=str(uuid.uuid4()))
        except Conflict as error:
            self.log(f"not ordered: {error} [{error.code}]")
            return
        self._said[domain.id] = digest, now_s
