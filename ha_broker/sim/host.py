"""A simulated host: the node under a broker, and every port of the broker on it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from appliance.errors import Conflict, Failed, Unavailable
from appliance.model.engine_start import EngineStart
from appliance.model.ha import HaStatus, MaintenanceState
from appliance.model.vm import VmSpec
from ha_broker import act, limits
from ha_broker.broker import Broker
from ha_broker.ports import Event
from ha_broker.sim import guest
from ha_broker.sim.given import FACTS
from ha_broker.sim.guest import Qemu
from ha_broker.sim.migration import Migration
from ha_broker.sim.net import MANAGEMENT
from ha_broker.sim.process import Process
from ha_broker.sim.storage import Stalled
from ha_broker.state import Brick, Decision, Heal, LocalVm, Notes, QemuProcess

if TYPE_CHECKING:
    from ha_broker.sim.world import World

WALL_S = 1_800_000_000.0
"""Wall clock when the world begins."""
UP_BEFORE_S = 100.0
"""Monotonic clock of a host when the world begins."""
LIBVIRT_RETRY_S = 0.5
RESTORE_S = 12.0
"""A restore that hangs is given up after this (``RESTORE_TIMEOUT_S`` of the appliance), and a cold boot follows."""
OFF = LocalVm("off")
GONE = QemuProcess("none")
RECORD, SEED = "engine-vm/epoch", "engine-vm/seed"


class SimHost:
    """State of one host. What is under way in its broker is lost when that is killed; everything else stays."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.boot = 1
        self.boot_id = f"{name}-boot-1"
        self.booted_s = -UP_BEFORE_S
        self.wall_off_s = 0.0
        self.power = True
        self.frozen = False
        self.process: Process | None = None
        self.restart_s = 0.0
        """When systemd starts the broker again."""
        self.notes = Notes()
        self.epoch = 0
        """What the node's agent accepted last."""
        self.qemu: Qemu | None = None
        self.facts = FACTS
        self.events: list[Event] = []
        self.rules: list[str] = []
        self.decision = Decision("none", "", "")
        self.status: HaStatus | None = None
        self.request: MaintenanceState | None = None
        self.local_maintenance = False
        self.forced = False
        self.start_error = ""
        """libvirt refuses starts with this text."""
        self.disk_unreachable = False
        """QEMU gets ENOTCONN for the disk, although the board can be written."""
        self.wake_hangs = False
        """A restore of saved memory does not come to an end."""
        self._waking_since_s: float | None = None
        self._ending_since_s: float | None = None
        self.libvirt_hangs = False
        self.var_full = False
        self.crash_loop = False
        self.lag_s = 0.0
        """Load: turns and calls are late by up to this."""
        self.old_format = False
        """Its slots have another format version."""
        self.migration: Migration | None = None
        self.die_after_calls: int | None = None
        self.calls = 0
        """Port calls of the start protocol made so far, while armed."""
        self.deferred: list[Callable[[], None]] = []
        self.run_since_s = 0.0
        """Since when its broker makes turns."""
        self.local_since_s: float | None = None
        """Since when it is in local maintenance."""
        self.forgets = False
        """A full /var lost its notes in this boot."""
        self.told_at: list[tuple[float, Event]] = []
        self.flapping = False
        self.said_s, self.wrote_s = 0.0, 0.0
        """When its broker made the slot that is on the board, and when that got there."""
        self.heard_again_s = 0.0  # … after a silence that was no blip
        self.slot_spoiled_s = 0.0
        """Until then its slot may be something else than it wrote."""
        self.asked_until_s: dict[float, float] = {}  # questions to /health under way, by their deadline: when they end
        self.kept_slot = b""
        self.unit_starts: list[float] = []  # of the broker, by systemd, lately
        self.hand_overs = 0
        self.lost_paused_s = -1e9
        """When a QEMU ended here in the middle of a start."""
        self._pids = 100

    # --- life

    @property
    def broker(self) -> Broker | None:
        return self.process.broker if self.process is not None else None

    @property
    def broker_runs(self) -> bool:
        """Its broker makes turns now."""
        return self.power and not self.frozen and self.process is not None and not self.process.stopped

    def awake_later(self, act: Callable[[], None]) -> bool:
        """Whether the host executes; if it is frozen, ``act`` is done when it goes on (unless it loses power first)."""
        if self.frozen:
            self.deferred.append(act)
        return self.power and not self.frozen

    def runs_for_s(self) -> float:
        """For how long its broker has been making turns, and libvirt answered it."""
        mute = self.libvirt_hangs or (self.qemu is not None and self.qemu.stuck)
        return self.world.heap.now_s - self.run_since_s if self.broker_runs and not mute else 0.0

    def monotonic_s(self) -> float:
        return self.world.heap.now_s - self.booted_s

    def wall_s(self) -> float:
        return WALL_S + self.world.heap.now_s + self.wall_off_s

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a broker never sleeps in a turn")

    def new_pid(self) -> int:
        self._pids += 1
        return self._pids

    def drop_qemu(self) -> None:
        """QEMU's process ends."""
        qemu, self.qemu = self.qemu, None
        if qemu is not None:
            if qemu.power == "paused":
                self.lost_paused_s = self.world.heap.now_s
            qemu.ended = True
            self.world.volume.close(qemu.handle)
            self.world.changed(f"QEMU on {self.name} ends")

    def qemu_stands(self, still: bool) -> None:
        """Its QEMU stands still, or goes on: one that was killed meanwhile ends before it does anything (seed 16796)."""
        self.world.changed("QEMU stands still" if still else "QEMU goes on")
        if still or self.qemu is None:
            return
        if self.qemu.killed:
            self.drop_qemu()
        elif self.qemu.lost_since_s is not None:  # until now nobody could know (seed 40929)
            self.qemu.lost_since_s = self.world.heap.now_s

    # --- Hypervisor

    def _libvirt(self) -> None:
        if self.libvirt_hangs:
            raise Stalled(self.world.heap.now_s + LIBVIRT_RETRY_S)

    def engine_vm(self) -> LocalVm:
        qemu = self.qemu
        if self.libvirt_hangs or (qemu is not None and qemu.asked):
            raise Stalled(self.world.heap.now_s + LIBVIRT_RETRY_S)
        return OFF if qemu is None else LocalVm(qemu.power, qemu.pid)

    def qemu_process(self) -> QemuProcess:
        qemu = self.qemu
        if qemu is None:
            return GONE
        return QemuProcess(("waits" if qemu.stuck else "stopped") if qemu.still else "runs", qemu.pid)

    def _ask(self, qemu: Qemu) -> None:
        """libvirt asks that QEMU something."""
        self._libvirt()
        if qemu.still:
            qemu.asked = True
            raise Stalled(self.world.heap.now_s + LIBVIRT_RETRY_S)

    def start_paused(self, spec: VmSpec) -> int:
        self._libvirt()
        if self.disk_unreachable:
            reason = "Could not open the disk: Transport endpoint is not connected"
            raise Unavailable(act.DISK_UNREACHABLE, subject=spec.name, reason=reason, remedy="-")
        if self.start_error:
            raise Failed("vm.start", subject=spec.name, reason=self.start_error, remedy="-")
        if self.qemu is not None:
            if self.qemu.power != "paused":
                raise Conflict("ha.vm-active", subject=spec.name, reason=f"it is {self.qemu.power} here", remedy="-")
            return self.qemu.pid
        if self.wake_hangs and self.world.warm(self.name) and not self._passed("_waking_since_s", RESTORE_S):
            raise Stalled(self.world.heap.now_s + LIBVIRT_RETRY_S)
        volume = self.world.volume
        if volume.read(self.name, SEED) is None:
            raise Failed("vm.start", subject=spec.name, reason="the seed disk is missing", remedy="-")
        try:
            handle = volume.open(self.name)
        except BlockingIOError as error:
            raise Conflict("vm.disk-locked", subject=spec.name, reason='Failed to get "write" lock', remedy="-") from error
        except OSError as error:
            reason = f"Could not open the disk: {error}"
            if error.errno in act.UNREACHABLE:
                raise Unavailable(act.DISK_UNREACHABLE, subject=spec.name, reason=reason, remedy="-") from error
            raise Failed("vm.start", subject=spec.name, reason=reason, remedy="-") from error
        warm = self.world.warm(self.name) and not self.wake_hangs
        split = self.world.volume.heal(self.name).split_brain
        self.qemu = Qemu(self.name, self.new_pid(), handle, warm=warm, split=split)
        self.world.changed(f"QEMU on {self.name} is there, paused")
        return self.qemu.pid

    def resume(self) -> None:
        self._libvirt()
        qemu = self.qemu
        if qemu is None:
            raise Failed("vm.resume", subject="HostedEngine", reason="there is none", remedy="-")
        self._ask(qemu)
        if qemu.power in ("paused-io-error", "paused-no-space"):
            self.world.check.resumed_stopped(qemu)
            qemu.power = "running"
        elif qemu.power == "paused":
            self.world.boot_guest(self, qemu)
        guest.schedule_write(self.world, qemu)
        self.world.changed(f"the guest on {self.name} runs with epoch {qemu.epoch}")

    def destroy(self) -> None:
        if self.qemu is not None and self.qemu.stuck:
            self.qemu.killed = True
            raise Stalled(self.world.heap.now_s + LIBVIRT_RETRY_S)
        if self.libvirt_hangs and not self._passed("_ending_since_s", limits.ENDING_S):
            raise Stalled(self.world.heap.now_s + LIBVIRT_RETRY_S)
        if self.qemu is not None:
            self.world.check.destroying(self)
        self.drop_qemu()

    def _passed(self, since: str, seconds: float) -> bool:
        """Whether a call that began when this was asked first has taken that long."""
        began_s = getattr(self, since)
        if began_s is None or self.world.heap.now_s - began_s > 2 * seconds:  # one that was never asked again
            setattr(self, since, began_s := self.world.heap.now_s)
        done = bool(self.world.heap.now_s - began_s >= seconds - 1e-6)
        if done:
            setattr(self, since, None)
        return done

    def shutdown(self) -> None:
        self._libvirt()
        qemu = self.qemu
        if qemu is None:
            return
        self._ask(qemu)
        if qemu.hung or qemu.power != "running":
            return
        qemu.power = "shutting-down"
        self.world.changed(f"the guest on {self.name} shuts down")
        self.world.heap.after(guest.SHUTDOWN_S, lambda: self.drop_qemu() if self.qemu is qemu else None)

    def migrate(self, target: str) -> None:
        self._libvirt()
        under_way = self.migration
        if under_way is None:
            if self.qemu is None or self.qemu.power != "running":
                raise Failed("vm.migrate", subject="HostedEngine", reason="it does not run here", remedy="-")
            self._ask(self.qemu)
            self.migration = under_way = Migration(self.world, self, self.world.hosts[target])
        if not under_way.done:
            raise Stalled(self.world.heap.now_s + 0.1)
        self.migration = None
        if under_way.error:
            raise Failed("vm.migrate", subject="HostedEngine", reason=under_way.error, remedy="-")

    # --- Pool

    def bricks(self) -> tuple[Brick, ...]:
        return self.world.volume.bricks(self.name)

    def heal(self) -> Heal:
        return self.world.volume.heal(self.name)

    def free_bytes(self) -> int:
        return self.world.volume.free_bytes()

    # --- EpochStore, Seed

    def read_record(self) -> int:
        data = self.world.volume.read(self.name, RECORD)
        if data is None:
            return 0
        if not data.isdigit():
            raise Failed("ha.epoch-record-damaged", subject="epoch", reason="garbage", remedy="-")
        return int(data)

    def write_record(self, epoch: int) -> None:
        self.world.check.under_lock(self, "the epoch record")
        self.world.volume.write(self.name, RECORD, b"%d" % epoch)

    def local(self) -> int:
        return self.epoch

    def raise_local(self, epoch: int) -> int:
        if epoch > self.epoch and self.var_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        if epoch > self.epoch or self.world.options.agents_take_lower:
            self.epoch = epoch
            self.world.changed(f"the agent of {self.name} takes epoch {epoch}")
        return self.epoch

    def accepts(self, epoch: int) -> bool:
        """Whether its agent obeys an engine of that epoch (and remembers it)."""
        if epoch < self.epoch and not self.world.options.agents_take_lower:
            return False
        if not self.var_full:
            self.raise_local(epoch)
        return epoch <= self.epoch

    def ensure(self, start: EngineStart) -> None:
        if self.world.volume.read(self.name, SEED) is None:
            self.world.volume.write(self.name, SEED, b"%d" % start.epoch)

    def write_seed(self, start: EngineStart) -> None:
        self.world.check.under_lock(self, "the seed")
        self.world.volume.write(self.name, SEED, b"%d" % start.epoch)

    # --- Agents, Health

    def asks(self, other: str) -> bool:
        """Whether that node's agent answers a question from here."""
        there = self.world.hosts[other]
        return there.power and not there.frozen and self.world.net.answers(MANAGEMENT, self.name, other)

    def epochs(self, hosts: Sequence[str], deadline_s: float) -> Mapping[str, int]:
        return {name: self.world.hosts[name].epoch for name in hosts if self.asks(name)}

    def raise_epoch(self, hosts: Sequence[str], epoch: int, deadline_s: float) -> None:
        for name in hosts:
            if self.asks(name) and not self.world.hosts[name].var_full:
                self.world.hosts[name].raise_local(epoch)

    def epoch_up(self, deadline_s: float) -> int | None:
        now_s = self.world.heap.now_s
        until_s = self.asked_until_s.get(deadline_s)
        if until_s is None:
            epoch, takes_s = self.world.engine_answers(self, deadline_s)
            if takes_s <= 0:
                return epoch
            until_s = self.asked_until_s[deadline_s] = now_s + takes_s
        if now_s < until_s - 1e-6:
            raise Stalled(until_s)
        del self.asked_until_s[deadline_s]
        return self.world.engine_answers(self, deadline_s)[0]
