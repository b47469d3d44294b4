"""Take what the nodes said last into the history, once a minute, and let what is old go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.effects.clock import Clock
from appliance.errors import TrivetError
from appliance.model.cluster import Cluster
from engine.store.durable import Store
from engine.store.observed import Observations

EVERY_S = 60.0
"""A commit a minute; five of them make the finest average that is kept."""
PRUNE_EVERY_S = 3600.0
FRESH_S = 30.0
"""What is older says nothing of now."""
HOST_NUMBERS = ("cpu_user_percent", "cpu_system_percent", "load_5", "memory_total_bytes", "memory_available_bytes")


@dataclass
class Sampler:
    """One round after the other. Not shared between threads."""

    members: Callable[[], Cluster]
    store: Store
    observations: Observations
    clock: Clock
    log: Callable[[str], None]
    _cpu_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    _prune_s: float = float("-inf")

    def turn(self) -> None:
        """Take one round of measurements, and prune when it is time."""
        now_s, wall_ms = self.clock.monotonic_s(), int(self.clock.wall_s() * 1000)
        try:
            measured = self._measured(now_s)
            if measured:
                self.store.history.add(wall_ms, measured)
            if now_s - self._prune_s >= PRUNE_EVERY_S:
                self.store.history.prune(wall_ms)
                self.store.audit.prune()
                self._prune_s = now_s
        except TrivetError as error:
            self.log(f"statistics could not be kept: {error} [{error.code}]")

    def run(self, stopped: threading.Event) -> None:
        """Rounds until ``stopped``."""
        while not stopped.wait(EVERY_S):
            self.turn()
        self.store.close()
        self.observations.close()

    def _measured(self, now_s: float) -> dict[tuple[str, str], Mapping[str, float]]:
        ids = {member.name: member.id for member in self.members().members}
        found: dict[tuple[str, str], Mapping[str, float]] = {}
        for (node, kind), heard in self.observations.all().items():
            if heard.age_s > FRESH_S or node not in ids:
                continue
            if kind == "statistics" and isinstance(heard.body, Mapping):
                found["host", ids[node]] = {name: float(heard.body[name]) for name in HOST_NUMBERS if name in heard.body}
            elif kind == "vms" and isinstance(heard.body, list):
                found |= {("vm", str(vm["id"])): self._vm(vm, now_s - heard.age_s) for vm in heard.body}
        return found

    def _vm(self, vm: Mapping[str, Any], at_s: float) -> Mapping[str, float]:
        """A VM's numbers: CPU in percent of one CPU since the last round."""
        used_s = float(vm["cpu_time_s"])
        before = self._cpu_s.get(vm["id"])
        self._cpu_s[vm["id"]] = (used_s, at_s)
        numbers = {"memory_bytes": float(vm["memory_mib"]) * 1024**2}
        if before is not None and at_s > before[1] and used_s >= before[0]:
            numbers["cpu_percent"] = 100 * (used_s - before[0]) / (at_s - before[1])
        return numbers
