"""The simulated world: hosts, the volume, power, links and time; and the invariants, checked after every tick."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.model.cluster import Cluster, EngineVm, Member
from ha_broker.sim.host import SimHost
from ha_broker.sim.volume import Stalled, Volume
from ha_broker.state import Notes

TICK_S = 0.1
SETTLE_TICKS = 2
BROKER_RESTART_S = 1.0
"""systemd's RestartSec of the unit."""
BOOT_S = 10.0
"""Power on → volume mounted and broker running."""


@dataclass(frozen=True)
class Start:
    """A guest was resumed."""

    at_s: float
    host: str
    epoch: int


def cluster_of(names: tuple[str, ...]) -> Cluster:
    """A cluster of these hosts."""
    members = tuple(Member(f"id-{name}", name, f"198.18.0.{11 + index}") for index, name in enumerate(names))
    engine = EngineVm("id-engine", "engine.trivet.lab", "198.18.0.100", 24, "", (), "52:54:00:00:00:01", 1024, 2, 1 << 33)
    return Cluster("id-cluster", "lab", members, engine)


class World:
    """Brokers on virtual time. ``run`` lets it pass; power and links are changed between runs."""

    def __init__(
        self, names: tuple[str, ...] = ("node1", "node2", "node3"), strict_locks: bool = True, phase_ticks: int = 3
    ) -> None:
        self.cluster = cluster_of(names)
        self.volume = Volume(names, strict_locks)
        self.hosts: dict[str, SimHost] = {}
        self.starts: list[Start] = []
        self._ticks = 0
        self._broker_at: dict[str, float] = {}
        self._highest: dict[str, int] = dict.fromkeys(names, 0)
        self._begin_tick = {name: index * phase_ticks for index, name in enumerate(names)}
        self._end_tick = dict.fromkeys(names, 0)
        self._checked_writes = 0
        self._written_epoch = 0
        for name in names:
            self.hosts[name] = SimHost(name, self.cluster, self.volume, self.hosts)
            self.hosts[name].start_broker()

    @property
    def now_s(self) -> float:
        return self.volume.now_s

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / TICK_S)):
            self._tick()

    def run_until_started(self, count: int, limit_s: float) -> Start:
        """Let time pass until there were ``count`` starts; the last of them. AssertionError after ``limit_s``."""
        until_s = self.now_s + limit_s
        while len(self.starts) < count:
            assert self.now_s < until_s, f"no start within {limit_s} s: {self.decisions()}"
            self._tick()
        return self.starts[-1]

    def decisions(self) -> dict[str, str]:
        """The last rule of each host."""
        return {name: host.rules[-1] if host.rules else "" for name, host in self.hosts.items()}

    def begun(self, since_s: float) -> list[tuple[float, str]]:
        """(time after ``since_s``, host) of every start begun since then."""
        wall_s = 1_800_000_000.0
        found = [
            (event.wall_s - wall_s - since_s, host.name)
            for host in self.hosts.values()
            for event in host.events
            if event.kind == "start-begun" and event.wall_s - wall_s >= since_s
        ]
        return sorted(found)

    # --- faults

    def power_off(self, name: str) -> None:
        host = self.hosts[name]
        host.power = False
        host.kill_broker()
        self._broker_at.pop(name, None)
        host.qemu = None
        self.volume.lose(name)

    def power_on(self, name: str) -> None:
        host = self.hosts[name]
        host.power, host.boot, host.booted_s = True, host.boot + 1, self.now_s
        host.notes = Notes()  # valid within one boot only
        self.volume.find(name)
        self._broker_at[name] = self.now_s + BOOT_S

    def cut(self, name: str) -> None:
        self.volume.lose(name)

    def heal(self, name: str) -> None:
        self.volume.find(name)

    def kill_qemu(self, name: str) -> None:
        self.hosts[name].destroy()

    def set_load(self, name: str, load: float) -> None:
        self.hosts[name].facts = replace(self.hosts[name].facts, load_1=load)

    # --- time

    def _tick(self) -> None:
        self._ticks += 1
        self.volume.tick(round(self._ticks * TICK_S, 3))
        for name, host in self.hosts.items():
            if not host.power:
                continue
            self._broker(name, host)
            host.pump()
        self._guests()
        self._check()

    def _broker(self, name: str, host: SimHost) -> None:
        if host.broker is None:
            at_s = self._broker_at.setdefault(name, self.now_s + BROKER_RESTART_S)
            if self.now_s < at_s:
                return
            del self._broker_at[name]
            host.start_broker()
            self._begin_tick[name] = self._ticks
        if self._ticks >= self._begin_tick[name]:
            host.turn_begin()
            self._end_tick[name], self._begin_tick[name] = self._ticks + SETTLE_TICKS + 1, 1 << 62
        elif self._ticks == self._end_tick[name]:
            host.turn_end()
            assert host.broker is not None
            turn_ticks = round(host.broker.turn_s / TICK_S)
            self._begin_tick[name] = self._ticks - SETTLE_TICKS - 1 + turn_ticks

    def _guests(self) -> None:
        for host in self.hosts.values():
            qemu = host.qemu
            if qemu is None or qemu.power != "running":
                continue
            if not any(start.at_s == qemu.resumed_s and start.host == host.name for start in self.starts):
                self.starts.append(Start(qemu.resumed_s, host.name, qemu.epoch))
            if self._ticks % 5 == 0:
                try:
                    self.volume.write_disk(qemu)
                except Stalled:
                    continue
                except OSError:
                    qemu.power = "paused-io-error"

    def _check(self) -> None:
        """S1: what reaches the disk comes from the newest start only. S2: epochs rise with each start, agents never go
        back."""
        for at_s, writer, epoch in self.volume.writes[self._checked_writes :]:
            before = self._written_epoch
            assert epoch >= before, f"S1: {writer} with epoch {epoch} wrote at {at_s} after epoch {before} had"
            self._written_epoch = epoch
        self._checked_writes = len(self.volume.writes)
        epochs = [start.epoch for start in self.starts]
        assert epochs == sorted(set(epochs)), f"S2: epochs of the starts do not rise: {epochs}"
        for name, host in self.hosts.items():
            assert host.epoch >= self._highest[name], f"S2: the agent of {name} went back to {host.epoch}"
            self._highest[name] = host.epoch
        holders = [h.name for h in self.hosts.values() if h.qemu is not None and h.qemu is self.volume.lock]
        assert len(holders) <= 1, f"S1: {holders} hold the lock"
