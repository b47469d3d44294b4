"""The simulated world: hosts, brokers, networks, the volume, power and time. Nothing in it decides anything for a broker."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from heapq import heappop
from random import Random
from typing import TYPE_CHECKING

from appliance.errors import Refused
from ha_broker import board
from ha_broker.ports import Event
from ha_broker.sim import fast, guest
from ha_broker.sim.brokers import BROKER_RESTART_S, Brokers
from ha_broker.sim.check import Check
from ha_broker.sim.connections import NEVER
from ha_broker.sim.copies import HEAL_S
from ha_broker.sim.given import FACTS, cluster_of
from ha_broker.sim.guest import Qemu
from ha_broker.sim.heap import Heap, Waiting
from ha_broker.sim.host import SimHost
from ha_broker.sim.net import MANAGEMENT, STORAGE, Net
from ha_broker.sim.storage import Storage, VolumeOptions
from ha_broker.state import Notes, Register

if TYPE_CHECKING:
    from ha_broker.sim.migration import Migration

NAMES = ("node1", "node2", "node3")
BRICK_BOOT_S = 6.0
"""Power on → brick and mount are there."""
BOOT_S = 10.0
"""Power on → broker is running."""


@dataclass(frozen=True)
class Start:
    """A guest began to run."""

    at_s: float
    host: str
    epoch: int


@dataclass(frozen=True)
class WorldOptions:
    """What the world is like. The flags that break something are for showing that it is noticed."""

    volume: VolumeOptions = field(default_factory=VolumeOptions)
    warm: bool = True
    cold_boot_s: float = guest.COLD_BOOT_S
    ignore_io_error: bool = False
    agents_take_lower: bool = False
    migration_without_lock: bool = False
    jitter_s: float = 0.01
    """Calls of a healthy node take up to this."""
    keep_log: bool = True


@dataclass
class GuestTrouble:
    """What is wrong with the engine image or its programs, on every host alike."""

    never_healthy: bool = False
    extra_boot_s: float = 0.0
    warm_spoiled: set[str] = field(default_factory=set)
    """Hosts whose saved memory cannot be used."""


class World:
    """Brokers on virtual time. ``run`` lets it pass; the methods below are what may happen meanwhile."""

    def __init__(
        self,
        names: tuple[str, ...] = NAMES,
        options: WorldOptions | None = None,
        seed: int = 0,
        phases: tuple[float, ...] = (0.0, 0.3, 0.6),
    ) -> None:
        self.options = options or WorldOptions()
        self.names = names
        self.rng = Random(seed)  # noqa: S311 - a repeatable world, no secret
        self.heap = Heap()
        self.net = Net(names, self.rng)
        self.volume = Storage(names, self.options.volume)
        self.check = Check(self)
        self.trouble = GuestTrouble()
        self.cluster = cluster_of(names)
        self.starts: list[Start] = []
        self.log: list[tuple[float, str]] = []
        self.good_destroyed = 0
        self.healed = False
        """No fault is left, and those that were to end later have ended."""
        self.at_stage: dict[str, list[str]] = {}
        self._dirty = False
        self._volume_changes = 0
        self.waiting = Waiting(self.heap)
        self.brokers = Brokers(self)
        self.hosts = {name: SimHost(self, name) for name in names}
        for index, host in enumerate(self.hosts.values()):
            self.brokers.start(host, phases[index % len(phases)] + index // len(phases) * 0.1)

    @property
    def now_s(self) -> float:
        return self.heap.now_s

    # --- time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_to(self.heap.now_s + seconds)

    def run_to(self, until_s: float) -> None:
        """Let time pass until then."""
        heap, volume = self.heap, self.volume
        waiting, links, copies = heap.waiting, volume.model.links, volume.model.copies
        while True:
            due_s = waiting[0][0] if waiting else math.inf
            if due_s <= until_s and due_s < links.next_s and due_s < copies.next_s:  # as most events are
                links.now_s = heap.now_s = due_s
                heap.done += 1
                heappop(waiting)[2]()
                if self._dirty or volume.changes != self._volume_changes:
                    self._after()
            elif not self._step(until_s):
                return

    def run_until_started(self, count: int, limit_s: float) -> Start:
        """Let time pass until there were ``count`` starts; the last of them. AssertionError after ``limit_s``."""
        until_s = self.now_s + limit_s
        while len(self.starts) < count:
            assert self._step(until_s), f"no start within {limit_s} s: {self.decisions()}"
        return self.starts[-1]

    def _step(self, until_s: float) -> bool:
        """One event; False when none is left until then."""
        heap, model = self.heap, self.volume.model
        due_s = heap.waiting[0][0] if heap.waiting else math.inf
        if (change_s := model.next_s) < due_s and change_s <= until_s:
            heap.now_s = max(change_s, heap.now_s)
            model.advance(heap.now_s)
        elif due_s <= until_s:
            model.advance(due_s)
            heap.step()
        else:
            heap.now_s = until_s
            model.advance(until_s)
            return False
        if self._dirty or self.volume.changes != self._volume_changes:
            self._after()
        return True

    def _after(self) -> None:
        if self.volume.changes != self._volume_changes:
            self._volume_changes = self.volume.changes
            self._dirty = True
            self.waiting.wake()
            for host in self.hosts.values():
                if host.qemu is not None and host.qemu.executes:
                    guest.schedule_write(self, host.qemu)
        if self._dirty:
            self._dirty = False
            self.check.all()

    def changed(self, text: str) -> None:
        """Something that an invariant may be about has changed."""
        self._dirty = True
        if self.options.keep_log:
            self.log.append((self.heap.now_s, text))

    def told(self, host: SimHost, event: Event) -> None:
        """A broker wrote a line of its event log."""
        self.check.told(host, event)
        if self.options.keep_log:
            self.log.append((self.heap.now_s, f"{host.name}: {event.kind}: {event.sentence}"))

    # --- brokers

    def kill_broker(self, name: str, restart_s: float | None = BROKER_RESTART_S) -> None:
        """kill -9; systemd starts it again, unless ``restart_s`` is None."""
        self.brokers.kill(self.hosts[name], restart_s)

    # --- power and standstill

    def power_off(self, name: str) -> None:
        """A power cut."""
        host = self.hosts[name]
        if not host.power:
            return
        host.power, host.frozen = False, False
        host.deferred.clear()
        self.brokers.end(host)
        if host.qemu is not None:
            host.qemu.ended, host.qemu = True, None
        host.migration = None
        self.volume.model.power_off(name)
        self.changed(f"{name} has no power")

    def power_on(self, name: str) -> None:
        """It boots."""
        host = self.hosts[name]
        if host.power:
            return
        host.power, host.boot, host.booted_s = True, host.boot + 1, self.now_s
        host.boot_id = f"{name}-boot-{host.boot}"
        host.notes = Notes()  # valid within one boot only
        if host.facts.stale_call is not None:  # on a tmpfs
            host.facts = replace(host.facts, stale_call=None)
        host.unit_starts, host.hand_overs = [], 0
        boot = host.boot

        def brick() -> None:
            if host.power and host.boot == boot:
                self.volume.power_on(name)

        self.heap.after(BRICK_BOOT_S, brick)
        self.brokers.start(host, BOOT_S)
        self.changed(f"{name} has power")

    def freeze(self, name: str) -> None:
        """Everything on it stands still."""
        host = self.hosts[name]
        if host.power and not host.frozen:
            host.frozen = True
            self.volume.model.freeze(name)
            self.changed(f"{name} stands still")

    def thaw(self, name: str) -> None:
        """It goes on with everything it had in memory."""
        host = self.hosts[name]
        if host.power and host.frozen:
            host.frozen = False
            host.run_since_s = self.now_s
            self.volume.model.thaw(name)
            self.brokers.wake(host)
            self.changed(f"{name} goes on")

    # --- networks

    def link(self, network: str, source: str, target: str, up: bool) -> None:
        """One direction of one link of one network."""
        self.net.set_link(network, source, target, up)
        self._paths(network, source, target)

    def loss(self, network: str, source: str, target: str, share: float) -> None:
        """Share of packets that get lost in that direction."""
        self.net.set_loss(network, source, target, share)
        self._paths(network, source, target)

    def _paths(self, network: str, one: str, other: str) -> None:
        if network == STORAGE:
            self.volume.set_link(one, other, self.net.passes(STORAGE, one, other))

    def cut(self, name: str, networks: tuple[str, ...] = (MANAGEMENT, STORAGE), up: bool = False) -> None:
        """The host is cut off from all others, in both directions."""
        for network in networks:
            for other in self.names:
                if other != name:
                    self.link(network, name, other, up)
                    self.link(network, other, name, up)

    def heal(self, name: str) -> None:
        """All its links are good again."""
        self.cut(name, up=True)

    def heal_all(self) -> None:
        """No fault is left, whatever there was. Hosts without power stay as they are."""
        self.healed = True
        self.at_stage.clear()
        self.net.mend()
        for one in self.names:
            for other in self.names:
                if one != other:
                    self.volume.set_link(one, other, True)
        self.trouble = GuestTrouble()
        self.volume.unwritable.clear()
        self.volume.model.failing.clear()
        self.volume.set_full(False)
        self.volume.model.torn = False
        self.volume.model.copies.heal_s = HEAL_S
        if self.volume.model.copies.planted:  # not one that the brokers brought about
            self.volume.model.repair()
        for host in self.hosts.values():
            self._heal_host(host)

    def _heal_host(self, host: SimHost) -> None:
        host.flapping = host.libvirt_hangs = host.var_full = host.crash_loop = host.old_format = False
        host.disk_unreachable = host.wake_hangs = False
        host.start_error, host.die_after_calls, host.lag_s = "", None, 0.0
        host.facts, host.local_maintenance, host.local_since_s = FACTS, False, None
        host.request = "none"
        if host.qemu is not None:
            host.qemu.slow_s, host.qemu.stuck = 0.0, False
            guest.writes_again(self, host.qemu)
            guest.boots_as_usual(host.qemu, self.now_s, self.options.cold_boot_s)
        if not host.power:
            return
        self.thaw(host.name)
        self.volume.model.start_brick(host.name)
        self.volume.model.start_client(host.name)
        self.brokers.go_on(host)
        if host.process is None:
            host.unit_starts, host.hand_overs = [], 0
            self.brokers.start(host, BROKER_RESTART_S)

    # --- the guest

    def warm(self, name: str) -> bool:
        """Whether a start there wakes the guest from saved memory."""
        return self.options.warm and name not in self.trouble.warm_spoiled

    def boot_guest(self, host: SimHost, qemu: Qemu) -> None:
        """The guest begins to run: it reads the seed."""
        data = self.volume.read(host.name, "engine-vm/seed")
        qemu.power, qemu.epoch, qemu.resumed_s = "running", int(data or b"0"), self.now_s
        ready_s = self.now_s + guest.boot_s(qemu, self.options.cold_boot_s) + self.trouble.extra_boot_s
        qemu.ready_s = NEVER if self.trouble.never_healthy else ready_s
        self.starts.append(Start(self.now_s, host.name, qemu.epoch))
        self.check.resumed(qemu)

    def kill_qemu(self, name: str) -> None:
        """QEMU's process is gone."""
        self.hosts[name].drop_qemu()

    def engine_answers(self, asker: SimHost, deadline_s: float) -> tuple[int | None, float]:
        """/health as that host's broker gets it, and how long that takes."""
        for host in sorted(self.hosts.values(), key=lambda one: one is not asker):
            qemu = host.qemu
            if qemu is None or host.frozen or not qemu.executes:
                continue
            if host is not asker and not self.net.answers(MANAGEMENT, asker.name, host.name):
                continue
            if qemu.hung:
                return None, deadline_s
            if not guest.answers(qemu, self.now_s):
                return None, 0.0  # the guest's kernel says that nobody listens
            return (qemu.epoch, qemu.slow_s) if qemu.slow_s < deadline_s else (None, deadline_s)
        return None, deadline_s

    def stage(self, migration: Migration) -> None:
        """A migration reached a stage: what was prepared for it happens now."""
        for act in self.at_stage.pop(migration.stage, []):
            self._at_stage(act, migration)

    def _at_stage(self, act: str, migration: Migration) -> None:
        source, target = migration.source.name, migration.target.name
        if act == "source-dies":
            self.heap.after(0.0, lambda: self.power_off(source))
        elif act == "target-dies":
            self.heap.after(0.0, lambda: self.power_off(target))
        elif act == "network":
            self.link(MANAGEMENT, source, target, False)
            self.heap.after(20.0, lambda: self.link(MANAGEMENT, source, target, True))
        elif act == "storage":
            self.heap.after(0.0, lambda: self.cut(source, (STORAGE,)))
            self.heap.after(20.0, lambda: self.cut(source, (STORAGE,), up=True))

    # --- what is written about it

    def slot_bytes(self, host: SimHost, data: bytes) -> bytes:
        """A host with a newer program writes another format version: but not while it has a setting that the others, who do
        not understand it, have not read yet, because the real one writes the newest version that all read."""
        if not self._setting_known(host.name, board.from_bytes(host.name, data).maintenance):
            return data
        return fast.of_newer_version(host.name, data)

    def _setting_known(self, name: str, register: Register) -> bool:
        """Whether that setting is on every other slot."""
        for other in self.names:
            if other == name:
                continue
            try:
                known = board.from_bytes(other, self.volume.files.get(f"board/{other}.slot", b"")).maintenance
            except Refused:
                return False
            if register > known:
                return False
        return True

    def set_load(self, name: str, load: float) -> None:
        host = self.hosts[name]
        host.facts = replace(host.facts, load_1=load)
        host.lag_s = 0.0 if load < 10 else 0.5

    def decisions(self) -> dict[str, str]:
        """The last rule of each host."""
        return {name: host.decision.rule for name, host in self.hosts.items()}

    def begun(self, since_s: float) -> list[tuple[float, str]]:
        """(time after ``since_s``, host) of every start begun since then."""
        found = [
            (at_s - since_s, host.name)
            for host in self.hosts.values()
            for at_s, event in host.told_at
            if event.kind == "start-begun" and at_s >= since_s
        ]
        return sorted(found)
