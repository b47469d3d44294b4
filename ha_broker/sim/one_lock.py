"""The volume as one lock, without bricks: what the first simulated world used. It goes when the world uses the other."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Literal

from ha_broker.sim.connections import Stalled

PING_TIMEOUT_S = 5.6
"""Measured: lock of a vanished node free, and others' writes going on."""


@dataclass
class Qemu:
    """A QEMU with the data disk open."""

    host: str
    pid: int
    power: Literal["paused", "running", "paused-io-error"] = "paused"
    epoch: int = 0
    """What the guest read from the seed when it was resumed."""
    handle_bad: bool = False
    resumed_s: float = 0.0


@dataclass
class Volume:
    """Shared by all simulated hosts. Times are those of the world."""

    hosts: tuple[str, ...]
    strict_locks: bool = True
    now_s: float = 0.0
    unreachable: set[str] = field(default_factory=set)
    """Hosts without power or cut off from the others."""
    slots: dict[str, bytes] = field(default_factory=dict)
    record: int | None = 0
    """None: damaged."""
    seed_epoch: int | None = None
    lock: Qemu | None = None
    writes: list[tuple[float, str, int]] = field(default_factory=list)
    """(time, host, epoch) of every write to the data disk that reached it."""
    _stalled_until_s: dict[str, float] = field(default_factory=dict)
    _lock_lost_s: float | None = None

    def lose(self, host: str) -> None:
        """Host and its brick vanish from the others."""
        if host in self.unreachable:
            return
        self.unreachable.add(host)
        for other in self.hosts:
            self._stalled_until_s[other] = self.now_s + PING_TIMEOUT_S

    def find(self, host: str) -> None:
        """They are back."""
        self.unreachable.discard(host)

    def quorum(self, host: str) -> bool:
        """``host`` reaches a majority of the bricks."""
        if host in self.unreachable:
            return len(self.hosts) == 1
        return 2 * (len(self.hosts) - len(self.unreachable)) > len(self.hosts)

    def use(self, host: str) -> None:
        """Any call of ``host``: returns, or raises ``Stalled`` or ``OSError``."""
        if self.now_s < self._stalled_until_s.get(host, 0.0):
            raise Stalled
        if not self.quorum(host):
            raise OSError(errno.EROFS, "Read-only file system")

    def tick(self, now_s: float) -> None:
        """Time passes: locks of lost holders become free."""
        self.now_s = now_s
        if self.lock is None or self.quorum(self.lock.host):
            self._lock_lost_s = None
            return
        if self._lock_lost_s is None:
            self._lock_lost_s = now_s
        if now_s - self._lock_lost_s >= PING_TIMEOUT_S - 0.05:
            if self.strict_locks:
                self.lock.handle_bad = True
            self.lock = None

    def write_disk(self, qemu: Qemu) -> None:
        """The guest writes. Raises ``Stalled`` or ``OSError`` (EBADFD after the lock was lost)."""
        self.use(qemu.host)
        if qemu.handle_bad:
            raise OSError(errno.EBADFD, "File descriptor in bad state")
        self.writes.append((self.now_s, qemu.host, qemu.epoch))
