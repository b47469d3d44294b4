"""The engine as the web layer sees it: store, observations, who we are. Everything is handed in, so tests build
their own."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.effects.clock import Clock
from appliance.errors import TrivetError
from appliance.model.cluster import Cluster
from appliance.model.engine_start import EngineStart
from appliance.version import VERSION
from engine.accounts import Accounts
from engine.decide.view import View, look
from engine.jobs.follow import ENGINE, SUPERSEDED
from engine.store.durable import Store
from engine.store.observed import Observations


@dataclass(frozen=True)
class Engine:
    """One running engine."""

    cluster: Cluster
    start: EngineStart
    store: Store
    observations: Observations
    accounts: Accounts
    clock: Clock
    ca_pem: str
    began_s: float
    """Monotonic time at which this process began."""

    def now_ms(self) -> int:
        """Wall clock in ms."""
        return int(self.clock.wall_s() * 1000)

    def view(self) -> View:
        """The picture of the cluster now."""
        said = {key: (heard.body, heard.age_s) for key, heard in self.observations.all().items()}
        return look(self.cluster, said, self.clock.monotonic_s() - self.began_s)

    def superseded(self) -> bool:
        """Whether a node has told us that a newer engine exists."""
        return (ENGINE, SUPERSEDED) in self.observations.all()

    def health(self) -> tuple[int, dict[str, object]]:
        """(HTTP status, body) of ``GET /health``: up only when the database takes a write and no newer engine is known."""
        status, database = "up", "ok"
        try:
            self.store.probe(self.now_ms())
        except TrivetError as error:
            status, database = "degraded", error.reason
        try:
            if self.superseded():
                status = "superseded"
        except TrivetError as error:
            status, database = "degraded", error.reason
        body: dict[str, object] = {
            "status": status,
            "epoch": self.start.epoch,
            "host": self.start.host,
            "version": VERSION,
            "database": database,
        }
        return (200 if status == "up" else 503), body

    def close(self) -> None:
        """Close this thread's database connections."""
        self.store.close()
        self.observations.close()
