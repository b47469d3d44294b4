"""The engine as the web layer sees it: store, observations, who we are. Everything is handed in, so tests build
their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from appliance import layout
from appliance.effects.clock import Clock
from appliance.errors import TrivetError, Unavailable
from appliance.model.cluster import Cluster, Member
from appliance.model.engine_start import EngineStart
from appliance.version import VERSION
from engine import addresses
from engine.accounts import Accounts
from engine.decide.view import Read, Said, View, look, runs_on
from engine.jobs.desk import Desk, Heard
from engine.jobs.follow import ENGINE, SUPERSEDED
from engine.jobs.ports import BareNode, ScreenNode
from engine.jobs.types import BY_NAME
from engine.members import Members
from engine.probed import Probed
from engine.store.durable import Store
from engine.store.jobs import Jobs
from engine.store.observed import Observations


def no_screens(member: Member) -> ScreenNode:
    """Who has no way to the hosts (the rehearsal)."""
    raise Unavailable("engine.no-hosts", subject=member.name, reason="there is no way to it yet", remedy="Ask again.")


def no_bare(address: str, token: str) -> BareNode:
    """The same of nodes that are no members."""
    raise Unavailable("engine.no-hosts", subject=address, reason="there is no way to it yet", remedy="Ask again.")


@dataclass(frozen=True)
class Engine:
    """One running engine."""

    founded: Cluster
    """The cluster as it was founded. Its members of now: :attr:`cluster`."""
    start: EngineStart
    store: Store
    observations: Observations
    accounts: Accounts
    clock: Clock
    ca_pem: str
    began_s: float
    """Monotonic time at which this process began."""
    ring: Callable[[], None] = lambda: None
    """Tells the jobs process that there is something to do."""
    heard: Heard | None = None
    """Waits until a job moves."""
    screens: Callable[[Member], ScreenNode] = no_screens
    """A host's verbs that open screens: the only ones of a member that are asked without a job."""
    bare: Callable[[str, str], BareNode] = no_bare
    """(address, token) → a node that is to join, to be looked at before anything is ordered."""
    resolve: Callable[[str], str] = addresses.resolve
    """A host name's IP address, itself for an address; empty: nobody knows it."""
    probed: Probed = field(default_factory=Probed)
    read: Read = field(default_factory=Read)

    @property
    def cluster(self) -> Cluster:
        """The cluster with its members of now. Asks the database: for its id and the engine's VM ``founded`` is enough."""
        return self._members()

    @cached_property
    def _members(self) -> Members:
        return Members(self.founded, self.store.entities)

    @property
    def jobs(self) -> Jobs:
        """The jobs in the database."""
        return Jobs(self.store.entities, self.clock)

    @property
    def desk(self) -> Desk:
        """Where jobs are ordered."""
        return Desk(self.store.entities, self.jobs, BY_NAME, self.clock, self.ring, self.heard)

    def now_ms(self) -> int:
        """Wall clock in ms."""
        return int(self.clock.wall_s() * 1000)

    def view(self) -> View:
        """The picture of the cluster now."""
        return look(self.cluster, self._said(), self.clock.monotonic_s() - self.began_s, self.read)

    def runs_on(self) -> str:
        """The member that has the engine VM now, which a migration changes; until a node has said so, that of the start."""
        return self._runs_on(self._said())

    def _runs_on(self, said: Said) -> str:
        return runs_on(self.cluster, said, layout.ENGINE_VM_NAME, self.read) or self.start.host

    def _said(self) -> Said:
        return {key: (heard.body, heard.age_s) for key, heard in self.observations.all().items()}

    def superseded(self) -> bool:
        """Whether a node has told us that a newer engine exists."""
        return (ENGINE, SUPERSEDED) in self.observations.all()

    def health(self) -> tuple[int, dict[str, object]]:
        """(HTTP status, body) of ``GET /health``: up only when the database takes a write and no newer engine is known."""
        status, database, host = "up", "ok", self.start.host
        failed = self.probed.error(lambda: self.store.probe(self.now_ms()), self.clock.monotonic_s)
        if failed is not None:
            status, database = "degraded", failed.reason
        try:
            said = self._said()
            if (ENGINE, SUPERSEDED) in said:
                status = "superseded"
            host = self._runs_on(said)
        except TrivetError as error:
            status, database = "degraded", error.reason
        body: dict[str, object] = {
            "status": status,
            "epoch": self.start.epoch,
            "host": host,
            "version": VERSION,
            "database": database,
        }
        return (200 if status == "up" else 503), body

    def close(self) -> None:
        """Close this thread's database connections."""
        self.store.close()
        self.observations.close()
