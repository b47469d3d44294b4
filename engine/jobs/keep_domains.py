"""Keep the storage domains mounted where they are to be: a host that was away when one was activated gets it when it is
back, one that was away when it went to maintenance lets go of it; and whoever lost one gets no VM that needs it.

It remembers nothing that matters: each turn decides from the rows and from what the hosts say now. The built-in domains are
the installer's and the pool's. With no others nothing is asked. The decision is pure: engine/decide/domain_mounts.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from appliance.errors import Conflict, TrivetError
from appliance.model.domain import DomainState
from engine.decide.domain_mounts import Wanted, difference
from engine.jobs.evicted import evicted_names
from engine.jobs.follow_domains import DomainFollower
from engine.jobs.host_storage import ConnectHost, HostStorage, is_for
from engine.jobs.places import MOUNTED_ON, is_built_in, mount_of
from engine.jobs.ports import HostReport
from engine.jobs.watcher import Watcher
from engine.store.entity import Entity

KEEP_EVERY_S = 15.0
"""A look is a call to each host, which touches every domain: seldom enough for a slow file server, soon enough for a host
that is back."""
AGAIN_S = 300.0
"""Before a host that could not mount a domain is told again: each try that fails is an event."""


@dataclass
class DomainKeeper(Watcher):
    """One for the engine; its turns are taken one after the other."""

    watched: ClassVar[str] = "storage domains"
    _again_s: dict[str, float] = field(default_factory=dict)

    def turn(self) -> None:
        """Look and act once. What fails is logged, and tried with the next turn."""
        try:
            lost = evicted_names(self.entities)
            for report in self.nodes.reports() if self._domains() else ():
                if report.is_up and report.name not in lost:
                    self._host(report, self._domains())
        except TrivetError as error:
            self._tell("", f"{self.watched}: {error} [{error.code}]")

    def _domains(self) -> list[Entity]:
        return [one for one in self.entities.list("storage_domain") if not is_built_in(one) and not one.locked_as]

    def _host(self, report: HostReport, domains: Sequence[Entity]) -> None:
        try:
            states = {one.domain: one for one in self.nodes.storage(report.name).domains()}
        except TrivetError as error:
            self._tell(report.name, f"{report.name} cannot say what it has mounted: {error} [{error.code}]")
            return
        found = difference([_wanted(one, report.id) for one in domains], states)
        for domain in domains:
            self._write(domain, report.id, states, has_it=domain.id in found.there)
        if found:
            self._order(ConnectHost(report.id, report.name, found.missing, found.needless))
        else:
            self._again_s.pop(report.id, None)

    def _write(self, seen: Entity, host_id: str, states: Mapping[str, DomainState], *, has_it: bool) -> None:
        """Whether the host has it, and how much room it sees; not if a job has changed the domain since we asked, for it
        knows better."""

        def is_as_seen(now: Entity) -> bool:
            was = (seen.status, seen.body.get(MOUNTED_ON))
            return not now.locked_as and (now.status, now.body.get(MOUNTED_ON)) == was

        def how(before: Entity) -> Entity:
            if not is_as_seen(before):
                return before
            others = {one for one in before.body.get(MOUNTED_ON, ()) if one != host_id}
            return before.with_body(**{MOUNTED_ON: sorted(others | {host_id} if has_it else others)})

        if self.entities.get(*seen.key) is None:
            return  # removed meanwhile
        domain = self.entities.change(*seen.key, how)
        state = states.get(mount_of(domain))
        if has_it and state is not None:
            follower = DomainFollower(self.entities, self.desk.clock)
            follower.has_room(domain, state.free_bytes, state.total_bytes - state.free_bytes)

    def _order(self, given: ConnectHost) -> None:
        now_s = self.desk.clock.monotonic_s()
        if now_s < self._again_s.get(given.host_id, now_s):
            return
        try:
            self.desk.order(HostStorage, given, owner_id="", correlation_id=str(uuid.uuid4()))
        except Conflict as error:
            self.log(f"not ordered: {error} [{error.code}]")
            return
        self._again_s[given.host_id] = now_s + AGAIN_S


def _wanted(domain: Entity, host_id: str) -> Wanted:
    return Wanted(domain.id, mount_of(domain), is_for(domain, host_id))
