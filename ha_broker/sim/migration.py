"""Live migration of the engine VM in the simulated world, stage by stage, as libvirt and QEMU do it.

The target opens the disk without a lock; at switch-over the source stops and gives the lock up, the target takes it and
goes on (QEMU's late block activation). Whoever cannot get the lock does not run. The memory comes over the management
network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ha_broker.sim import guest
from ha_broker.sim.guest import Qemu
from ha_broker.sim.heap import Act
from ha_broker.sim.net import MANAGEMENT
from ha_broker.sim.storage import Stalled

if TYPE_CHECKING:
    from ha_broker.sim.host import SimHost
    from ha_broker.sim.world import World

PREPARE_S = 0.4
TRANSFER_S = 1.2
SWITCH_S = 0.05
"""Together the 1.3 to 2.0 s that were measured."""
GIVE_UP_S = 30.0
"""A transfer that stands still is given up by libvirt's keepalive."""

Stage = Literal["prepare", "transfer", "switch-over", "finish", "over"]


class Migration:
    """One migration under way; goes on without the broker that asked for it (libvirt drives it)."""

    def __init__(self, world: World, source: SimHost, target: SimHost) -> None:
        assert source.qemu is not None
        self.world = world
        self.source, self.target = source, target
        self.qemu = source.qemu
        self.arriving: Qemu | None = None
        self.stage: Stage = "prepare"
        self.done = False
        self.error = ""
        self._began_s = world.heap.now_s
        self.qemu.power = "migrating"
        world.changed(f"migration from {source.name} to {target.name} begins")
        world.stage(self)
        world.heap.after(PREPARE_S, self._prepared)

    # --- stages

    def _prepared(self) -> None:
        if not self._awake(self._prepared):
            return
        if not self._both_there() or self.target.qemu is not None or self.target.libvirt_hangs:
            self._fail("the target cannot take it")
            return
        try:
            handle = self.world.volume.open(self.target.name, lock=False)
        except Stalled as stalled:
            self._retry(stalled, self._prepared)
            return
        except OSError as error:
            self._fail(f"the target could not open the data disk: {error}")
            return
        self.arriving = Qemu(self.target.name, self.target.new_pid(), handle, "incoming")
        self.target.qemu = self.arriving
        self._to("transfer")
        self.world.heap.after(TRANSFER_S + self.world.net.delay_s(MANAGEMENT, self.source.name), self._transferred)

    def _transferred(self) -> None:
        if not self._awake(self._transferred):
            return
        if not self._both_there() or self.qemu.power != "migrating":
            self._fail("the connection to the target broke")
            return
        self._to("switch-over")
        try:
            self.world.volume.write_disk(self.qemu.handle, self.qemu.epoch)  # QEMU flushes first
        except Stalled as stalled:
            self._retry(stalled, self._transferred)
            return
        except OSError as error:
            self._fail(f"the source could not flush the disk: {error}")
            return
        if not self.world.options.migration_without_lock:
            self.world.volume.unlock(self.qemu.handle)
        self.qemu.unlocked = True
        self.world.changed("the source of the migration gave the lock up")
        self.world.heap.after(SWITCH_S, self._switched)

    def _switched(self) -> None:
        if not self._awake(self._switched):
            return
        arriving = self.arriving
        if not self._both_there() or arriving is None:
            self._fail("the connection broke at switch-over")
            return
        if not self.world.options.migration_without_lock:
            try:
                self.world.volume.lock(arriving.handle)
            except Stalled as stalled:
                self._retry(stalled, self._switched)
                return
            except OSError as error:
                self._fail(f"the target did not get the lock: {error}")
                return
        self._to("finish")
        for name in ("epoch", "resumed_s", "ready_s", "hung", "idle_until_s", "slow_s", "warm"):
            setattr(arriving, name, getattr(self.qemu, name))
        arriving.power, arriving.here_s, arriving.came_from = "running", self.world.now_s, self.source.name
        if self.source.qemu is self.qemu:
            self.source.drop_qemu()
        self.done, self.stage = True, "over"
        self.world.changed(f"the engine VM goes on on {self.target.name}")
        guest.schedule_write(self.world, arriving)

    # --- failures

    def _fail(self, why: str) -> None:
        """The target's QEMU ends; the source goes on if it still has, or gets back, the lock."""
        if self.arriving is not None and self.target.qemu is self.arriving:
            self.target.drop_qemu()
        self.error, self.done, self.stage = why, True, "over"
        if self.qemu.ended:
            return
        if self.qemu.unlocked and not self.world.options.migration_without_lock:
            try:
                self.world.volume.lock(self.qemu.handle)
            except Stalled as stalled:
                self.done = False
                self.world.waiting.add(stalled.until_s, lambda: self._fail(why))
                return
            except OSError:
                self.qemu.power, self.qemu.broken = "paused-io-error", True
                self.world.changed(f"migration failed ({why}) and the source has lost the lock")
                return
        self.qemu.unlocked = False
        if self.qemu.power == "migrating":
            self.qemu.power = "running"
        self.world.changed(f"migration failed: {why}")
        guest.schedule_write(self.world, self.qemu)

    def _to(self, stage: Stage) -> None:
        self.stage = stage
        self.world.changed(f"migration: {stage}")
        self.world.stage(self)

    def _retry(self, stalled: Stalled, act: Act) -> None:
        if self.world.heap.now_s - self._began_s > GIVE_UP_S:
            self._fail("it took too long")
            return
        self.world.waiting.add(stalled.until_s, act)

    def _awake(self, act: Act) -> bool:
        """Whether the source drives on: a dead one never does (then libvirt on the target ends what arrives)."""
        if self.done:
            return False
        if not self.source.power or self.qemu.ended:
            self._fail("the source is gone")
            return False
        return self.source.awake_later(act)

    def _both_there(self) -> bool:
        target = self.target
        alive = target.power and not target.frozen and (self.arriving is None or target.qemu is self.arriving)
        return alive and self.world.net.up(MANAGEMENT, self.source.name, target.name)
