"""A simulated host: every port of the broker on it, and the broker itself, which can die between any two port calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import Conflict, Failed
from appliance.model.cluster import Cluster
from appliance.model.engine_start import EngineStart
from appliance.model.ha import HaStatus, MaintenanceState
from appliance.model.vm import VmSpec
from ha_broker.broker import Broker
from ha_broker.ports import Event, HostFacts, Ports, Procedure, Result
from ha_broker.sim.volume import Qemu, Stalled, Volume
from ha_broker.state import Brick, Heal, LocalVm, Notes

BOOT_TO_READY_S = 15.0
"""Guest resumed → /health answers."""


@dataclass
class _Running:
    procedure: Procedure[Any]
    work: Callable[[], Any]
    began_s: float


@dataclass
class SimHost:
    """State of one host. The broker and its pending procedures are lost when it is killed; everything else stays."""

    name: str
    cluster: Cluster
    volume: Volume
    others: dict[str, SimHost]
    boot: int = 1
    booted_s: float = 0.0
    power: bool = True
    broker: Broker | None = None
    notes: Notes = field(default_factory=Notes)
    epoch: int = 0
    qemu: Qemu | None = None
    facts: HostFacts = field(default_factory=lambda: HostFacts(0.5, 2, 8192, "/images/trivet-engine-1.raw"))
    events: list[Event] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    status: HaStatus | None = None
    request: MaintenanceState | None = None
    start_error: str = ""
    """libvirt refuses starts with this text."""
    running: dict[str, _Running] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    die_after_calls: int | None = None
    calls: int = 0
    """Port calls of the start protocol made so far, while armed."""
    pids: int = 100

    # --- Clock

    def monotonic_s(self) -> float:
        return self.volume.now_s - self.booted_s + 100.0

    def wall_s(self) -> float:
        return 1_800_000_000.0 + self.volume.now_s

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a broker never sleeps in a turn")

    # --- Beside

    def ask(self, key: str, procedure: Callable[[], Procedure[Any]]) -> bool:
        if key in self.running or key in self.results:
            return False
        generator = procedure()
        self.running[key] = _Running(generator, next(generator), self.monotonic_s())
        return True

    def take(self, key: str) -> Result | None:
        return self.results.pop(key, None)

    def pending_s(self, key: str) -> float | None:
        one = self.running.get(key)
        return None if one is None else self.monotonic_s() - one.began_s

    def settle(self, seconds: float) -> None:
        raise AssertionError("the world decides when a turn goes on")

    def pump(self) -> None:
        """Make one call of every procedure under way; what stalls is tried again at the next tick."""
        for key, one in list(self.running.items()):
            if self.running.get(key) is one:
                self._call(key, one)

    def _call(self, key: str, one: _Running) -> None:
        try:
            try:
                value = one.work()
            except Stalled:
                return
            except Exception as error:  # noqa: BLE001 - handed to the procedure, as the threads do
                one.work = one.procedure.throw(error)
            else:
                one.work = one.procedure.send(value)
        except StopIteration as ended:
            self._ended(key, one, ended.value, None)
        except Exception as error:  # noqa: BLE001 - carried to the loop, as the threads do
            self._ended(key, one, None, error)
        if self.die_after_calls is not None and key.startswith("start"):
            self.calls += 1
            if self.calls >= self.die_after_calls:
                self.die_after_calls = None
                self.kill_broker()

    def _ended(self, key: str, one: _Running, value: Any, error: Exception | None) -> None:
        self.running.pop(key, None)
        self.results[key] = Result(value, error, one.began_s, self.monotonic_s())

    # --- BoardFiles, NotesFile, EventLog, Requests, StatusFile, Host, by small adapters below

    def start_broker(self) -> None:
        self.broker = Broker(_ports(self), self.cluster, self.name)

    def kill_broker(self) -> None:
        """kill -9: nothing of its memory stays."""
        self.broker = None
        self.running.clear()
        self.results.clear()

    def turn_begin(self) -> None:
        if self.broker is not None:
            self.broker.begin()

    def turn_end(self) -> None:
        if self.broker is not None:
            decision = self.broker.end()
            if not self.rules or self.rules[-1] != decision.rule:
                self.rules.append(decision.rule)

    # --- Hypervisor

    def engine_vm(self) -> LocalVm:
        return LocalVm("off") if self.qemu is None else LocalVm(self.qemu.power, self.qemu.pid)

    def start_paused(self, spec: VmSpec) -> int:
        self.volume.use(self.name)
        if self.start_error:
            raise Failed("vm.start", subject=spec.name, reason=self.start_error, remedy="-")
        if self.volume.seed_epoch is None:
            raise Failed("vm.start", subject=spec.name, reason="the seed disk is missing", remedy="-")
        if self.qemu is None:
            if self.volume.lock is not None:
                raise Conflict("vm.disk-locked", subject=spec.name, reason='Failed to get "write" lock', remedy="-")
            self.pids += 1
            self.qemu = self.volume.lock = Qemu(self.name, self.pids)
        return self.qemu.pid

    def resume(self) -> None:
        if self.qemu is None:
            raise Failed("vm.resume", subject="HostedEngine", reason="there is none", remedy="-")
        self.qemu.power, self.qemu.epoch = "running", self.volume.seed_epoch or 0
        self.qemu.resumed_s = self.volume.now_s

    def destroy(self) -> None:
        if self.qemu is not None and self.volume.lock is self.qemu and self.volume.quorum(self.name):
            self.volume.lock = None
        self.qemu = None

    def shutdown(self) -> None:
        self.destroy()

    def migrate(self, target: str) -> None:
        raise Failed("vm.migrate", subject="HostedEngine", reason="this world has no migration", remedy="-")

    # --- Pool

    def bricks(self) -> tuple[Brick, ...]:
        return tuple(Brick(name, name not in self.volume.unreachable, True) for name in self.volume.hosts)

    def heal(self) -> Heal:
        return Heal()

    def free_bytes(self) -> int:
        return 1 << 40

    # --- EpochStore, Seed

    def read_record(self) -> int:
        self.volume.use(self.name)
        if self.volume.record is None:
            raise Failed("ha.epoch-record-damaged", subject="epoch", reason="garbage", remedy="-")
        return self.volume.record

    def write_record(self, epoch: int) -> None:
        self.volume.use(self.name)
        self.volume.record = epoch

    def local(self) -> int:
        return self.epoch

    def raise_local(self, epoch: int) -> int:
        self.epoch = max(self.epoch, epoch)
        return self.epoch

    def ensure(self, start: EngineStart) -> None:
        self.volume.use(self.name)
        if self.volume.seed_epoch is None:
            self.volume.seed_epoch = start.epoch

    def write_seed(self, start: EngineStart) -> None:
        self.volume.use(self.name)
        self.volume.seed_epoch = start.epoch

    # --- Agents, Health

    def reaches(self, other: str) -> bool:
        return self.power and not {self.name, other} & self.volume.unreachable

    def epochs(self, hosts: Sequence[str], deadline_s: float) -> Mapping[str, int]:
        return {name: self.others[name].epoch for name in hosts if self.reaches(name)}

    def raise_epoch(self, hosts: Sequence[str], epoch: int, deadline_s: float) -> None:
        for name in hosts:
            if self.reaches(name):
                self.others[name].raise_local(epoch)

    def epoch_up(self, deadline_s: float) -> int | None:
        qemu = self.qemu
        ready = qemu is not None and qemu.power == "running" and self.volume.now_s - qemu.resumed_s >= BOOT_TO_READY_S
        return qemu.epoch if qemu is not None and ready else None


class _Board:
    def __init__(self, host: SimHost) -> None:
        self._host = host

    def read(self, host: str) -> bytes | None:
        self._host.volume.use(self._host.name)
        return self._host.volume.slots.get(host)

    def write(self, data: bytes) -> None:
        self._host.volume.use(self._host.name)
        self._host.volume.slots[self._host.name] = data


class _Local:
    """Files and facts of the host itself."""

    def __init__(self, host: SimHost) -> None:
        self._host = host

    def boot_id(self) -> str:
        return f"{self._host.name}-boot-{self._host.boot}"

    def facts(self) -> HostFacts:
        return self._host.facts

    def load(self) -> Notes:
        return self._host.notes

    def save(self, notes: Notes) -> None:
        self._host.notes = notes

    def maintenance(self) -> MaintenanceState | None:
        return self._host.request

    def done(self) -> None:
        self._host.request = None

    def local_maintenance(self) -> bool:
        return False

    def forced_start(self) -> bool:
        return False

    def forced_done(self) -> None:
        return


class _Events:
    def __init__(self, host: SimHost) -> None:
        self._host = host

    def write(self, event: Event) -> None:
        self._host.events.append(event)


class _Status:
    def __init__(self, host: SimHost) -> None:
        self._host = host

    def write(self, status: HaStatus) -> None:
        self._host.status = status


class _Seed:
    def __init__(self, host: SimHost) -> None:
        self.ensure = host.ensure
        self.write = host.write_seed


def _ports(host: SimHost) -> Ports:
    local = _Local(host)
    return Ports(
        clock=host,
        beside=host,
        board=_Board(host),
        hypervisor=host,
        pool=host,
        epochs=host,
        seed=_Seed(host),
        agents=host,
        health=host,
        host=local,
        notes=local,
        events=_Events(host),
        requests=local,
        status=_Status(host),
    )
