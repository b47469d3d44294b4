"""QEMU processes of the engine VM in the simulated world, and the guest in them."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ha_broker.sim.connections import NEVER
from ha_broker.sim.storage import Stalled
from ha_broker.sim.volume import Handle

if TYPE_CHECKING:
    from ha_broker.sim.world import World

Power = Literal["paused", "running", "paused-io-error", "paused-no-space", "migrating", "incoming", "shutting-down"]

COLD_BOOT_S = 15.0
"""Guest resumed → /health answers, booted cold (lab: 19 s under emulation, less on metal)."""
WARM_WAKE_S = 2.0
"""… woken from saved memory."""
SHUTDOWN_S = 3.0
"""Power button → QEMU ends."""
ENGINE_RESTART_S = 6.0
"""The engine's process crashes → systemd in the guest has it answering again."""
WRITE_WITHIN_S = 0.5
"""A guest writes at least this soon after anything about its disk changed: journal and database never rest longer."""


@dataclass(eq=False)
class Qemu:
    """A QEMU with the data disk open."""

    host: str
    pid: int
    handle: Handle
    power: Power = "paused"
    epoch: int = 0
    """What the guest read from the seed when it was resumed."""
    resumed_s: float = 0.0
    ready_s: float = 0.0
    """From then on /health answers."""
    hung: bool = False
    """The guest stands still: no writes, no answers, no shutdown."""
    still: bool = False
    """QEMU's process stands still, and the guest with it."""
    stuck: bool = False
    """… in the kernel, so that it cannot be killed before it goes on."""
    killed: bool = False
    """… and was: it ends when it would go on."""
    asked: bool = False
    """libvirt asked it something meanwhile, and now tells nothing of it."""
    idle_until_s: float = 0.0
    """It writes nothing before."""
    slow_s: float = 0.0
    """/health takes that long."""
    warm: bool = False
    ended: bool = False
    writing: bool = False
    """A write is due."""
    broken: bool = False
    """It was stopped by an I/O error once: it must never run again (S3)."""
    split: tuple[str, ...] = ()
    """What was in split-brain when it opened the disk."""
    unlocked: bool = False
    """At switch-over: neither side has the lock."""
    here_s: float = 0.0
    """Since when this QEMU runs the guest (a migration brings one that runs already)."""
    told_s: float | None = None
    """When the board said first that it runs here."""
    came_from: str = ""
    """The host that it was migrated from."""
    lost_since_s: float | None = None
    """Since when it could not write and never will again."""

    @property
    def executes(self) -> bool:
        """Guest code may run now."""
        if self.still:
            return False
        if self.power == "migrating":
            return not self.ended and not self.unlocked
        return not self.ended and self.power in ("running", "shutting-down")


def answers(qemu: Qemu, now_s: float) -> bool:
    """Whether its /health answers "up"."""
    return qemu.executes and not qemu.hung and now_s >= qemu.ready_s


def boot_s(qemu: Qemu, cold_boot_s: float) -> float:
    """Resumed → /health answers, if nothing is wrong."""
    return WARM_WAKE_S if qemu.warm else cold_boot_s


def boots_as_usual(qemu: Qemu, now_s: float, cold_boot_s: float) -> None:
    """What made its boot slow is over (seed 13270); one that would never have come up still does not."""
    if qemu.ready_s < NEVER:
        qemu.ready_s = min(qemu.ready_s, max(now_s, qemu.resumed_s + boot_s(qemu, cold_boot_s)))


def schedule_write(world: World, qemu: Qemu) -> None:
    """The guest will write soon."""
    if not qemu.writing:
        qemu.writing = True
        at_s = max(qemu.idle_until_s, world.heap.now_s + world.rng.random() * WRITE_WITHIN_S)
        world.heap.at(at_s, lambda: _write(world, qemu))


def writes_again(world: World, qemu: Qemu) -> None:
    """It happened to write nothing: that is over, too (seeds 22692, 44938)."""
    qemu.idle_until_s, qemu.writing = 0.0, False
    schedule_write(world, qemu)


def _write(world: World, qemu: Qemu) -> None:
    qemu.writing = False
    if not qemu.executes or qemu.hung:
        return
    if not world.hosts[qemu.host].awake_later(lambda: _write(world, qemu)):
        return
    try:
        for beyond in (False, True):
            world.volume.write_disk(qemu.handle, qemu.epoch, beyond)
    except Stalled as stalled:
        qemu.writing = True
        world.waiting.add(stalled.until_s, lambda: _write(world, qemu))
    except OSError as error:
        if world.options.ignore_io_error:
            return
        qemu.power = "paused-no-space" if error.errno == errno.ENOSPC else "paused-io-error"
        qemu.broken = qemu.broken or error.errno != errno.ENOSPC
        world.changed(f"QEMU on {qemu.host} stops: {error.strerror}")
    else:
        world.check.wrote(qemu)
