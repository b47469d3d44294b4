"""The simulated volume ``engine``: the lock model of a replicated Gluster volume as it was measured (design.md, facts 1 to
7) and is compared with a real one (tests/contract/test_volume_model.py). A pure state machine on virtual time, no random.

:class:`EngineVolume` is the exact model. How to use it:

- ``volume = EngineVolume(hosts)``; the bricks are on the first three hosts (or ``bricks=``). All begins connected.
- Time: ``advance(now_s)`` before anything at a later instant; ``next_s`` is when the volume changes next by itself (put
  that on your heap); ``changed`` (a callable you may set) is called after every change: stalls may have ended.
- Faults: ``power_off`` ``power_on`` ``freeze`` ``thaw`` ``cut(source, target)`` ``mend(source, target)`` (one direction
  each) ``kill_brick`` ``start_brick`` ``kill_client`` ``start_client`` (FUSE mount) ``reject`` ``accept`` (auth.reject)
  ``split_brain`` ``repair``; attributes ``full`` (ENOSPC), ``failing`` (hosts whose disk writes end in EIO) and
  ``copies.heal_s`` (how long a brick heals).
  ``power_off`` ends brick and mount of that host; after ``power_on`` start both when the host has booted.
- Calls of a broker (board, record, seed): ``use(host)`` returns, or raises ``Stalled`` (try again at
  ``stalled_until_s(host)`` or after the next change) or ``OSError`` (ENOTCONN without client quorum or mount).
- The data disk: ``open(host)`` takes the lock (EAGAIN if refused); ``open(host, lock=False)`` is QEMU of an incoming
  migration; ``close``, ``unlock`` and ``lock``; ``write(handle, epoch, beyond=…)``. All raise as ``use``; EBADFD when the
  handle is not good on a majority, EIO when no fresh copy is reached. A migration is open(target, lock=False) ·
  unlock(source) · lock(target) · close(source); if the target dies, lock(source) says whether the source may go on.
- What is known: ``writers()`` (handles that could have a write accepted at this instant; S1: of one host at most),
  ``writes`` (all that were accepted), ``brick_view(host)`` and ``heal_status(host)`` (port ``Pool``), ``fresh(host)``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import cache
from typing import Final

from ha_broker.sim.connections import Connections, Stalled
from ha_broker.sim.copies import Copies
from ha_broker.sim.handle import Handle, Write
from ha_broker.state import Brick, Heal

__all__ = ["EngineVolume", "Handle", "Stalled", "Write"]

REPLICAS: Final = 3
NO_QUORUM: Final = errno.ENOTCONN
"""What the mount says without client quorum (seen; older clients: EROFS)."""
DATA_DISK: Final = "/engine-vm/data.raw"


_brick = cache(Brick)


class EngineVolume:
    """See the module. All times are virtual seconds."""

    def __init__(
        self,
        hosts: tuple[str, ...],
        bricks: tuple[str, ...] = (),
        strict_locks: bool = True,
        shard: bool = False,
        gate: bool = True,
    ) -> None:
        self.hosts = hosts
        self.bricks = bricks or hosts[:REPLICAS]
        self.strict_locks = strict_locks
        self.shard = shard
        self.gate = gate
        """Whether a start asks every brick for a holder (:mod:`ha_broker.effects.disk_gate`); QEMU alone asks only one."""
        self.full = False
        self.torn = False
        """The bricks are not full at the same instant: the first write that meets it is told that quorum is lost (seen)."""
        self.failing: set[str] = set()
        self.writes: list[Write] = []
        self.changed: Callable[[], None] | None = None
        self.handles: list[Handle] = []
        self.locks: dict[str, set[Handle]] = {brick: set() for brick in self.bricks}
        """Who holds the lock on each brick. QEMU's are shared ones, so nothing but the question before keeps it to one."""
        self.copies = Copies(self.bricks)
        self.links = Connections(hosts, self.bricks, self._lost, self._found)
        self._numbers = 0
        self._stall_s: dict[str, float] = dict.fromkeys(hosts, 0.0)
        self._errno: dict[str, int] = dict.fromkeys(hosts, 0)
        self.unhindered = set(hosts)
        """Hosts whose calls neither stall nor are refused."""

    # --- time

    @property
    def now_s(self) -> float:
        """The virtual time."""
        return self.links.now_s

    @property
    def next_s(self) -> float:
        """When something changes by itself next."""
        link_s, copy_s = self.links.next_s, self.copies.next_s
        return link_s if link_s < copy_s else copy_s

    def advance(self, now_s: float) -> None:
        """Time passes to ``now_s``, never back."""
        links, copies = self.links, self.copies
        while links.next_s <= now_s or copies.next_s <= now_s:
            next_s = self.next_s
            links.advance(next_s)
            copies.heal(next_s, [links.up(host) for host in self.hosts])
            self._settle()
        links.now_s = now_s

    # --- faults

    def power_off(self, host: str) -> None:
        """Brick, mount and QEMU of the host are gone; nobody is told."""
        self.links.off.add(host)
        self.links.frozen.discard(host)
        self._end_client(host)
        if host in self.bricks:
            self._end_brick(host)
        self._update()

    def power_on(self, host: str) -> None:
        """The network of the host answers again; its brick and its mount are started by their own calls."""
        self.links.off.discard(host)
        self._update()

    def freeze(self, host: str) -> None:
        """The host stands still, its memory intact."""
        self.links.frozen.add(host)
        self._update()

    def thaw(self, host: str) -> None:
        """It goes on."""
        self.links.frozen.discard(host)
        self._update()

    def cut(self, source: str, target: str) -> None:
        """Frames from ``source`` to ``target`` are dropped."""
        self.links.cuts.add((source, target))
        self._update()

    def mend(self, source: str, target: str) -> None:
        """They pass again."""
        self.links.cuts.discard((source, target))
        self._update()

    def kill_brick(self, host: str) -> None:
        """The brick process ends, its host lives: all its connections end at once, its locks are forgotten."""
        self._end_brick(host)
        self._update()

    def start_brick(self, host: str) -> None:
        """A new brick process."""
        self.links.dead_bricks.discard(host)
        self._update()

    def kill_client(self, host: str) -> None:
        """The FUSE client of the host crashes: every handle on it is gone."""
        self._end_client(host)
        self._update()

    def start_client(self, host: str) -> None:
        """Mounted again."""
        self.links.dead_clients.discard(host)
        self._update()

    def reject(self, host: str) -> None:
        """Evict the host's clients (``auth.reject``). Seen: "Server authentication failed. Shutting down.", so the mount is
        dead, too, and has to be made again after ``accept``."""
        self.links.rejected.add(host)
        self._end_client(host)
        self._update()

    def accept(self, host: str) -> None:
        """Take the eviction back."""
        self.links.rejected.discard(host)
        self._update()

    def split_brain(self) -> None:
        """The copies of the data disk contradict each other."""
        self.copies.split()
        self._update()

    def repair(self) -> None:
        """A person chose a copy."""
        self.copies.repair()
        self._update()

    def _end_brick(self, host: str) -> None:
        self.links.dead_bricks.add(host)
        self.links.doom(brick=host)
        for holder in tuple(self.locks[host]):
            self._forget(holder, host)

    def _end_client(self, host: str) -> None:
        self.links.dead_clients.add(host)
        self.links.doom(client=host)
        for handle in [one for one in self.handles if one.host == host]:
            handle.is_open = False  # its locks stay on the bricks until those notice
            self.handles.remove(handle)

    # --- connections

    def _lost(self, client: str, brick: str) -> None:
        for holder in tuple(self.locks[brick]):
            if holder.host == client:
                self._forget(holder, brick)
        for handle in self.handles:
            if handle.host == client:
                handle.good.discard(brick)

    def _forget(self, handle: Handle, brick: str) -> None:
        """The brick drops the lock of this handle, which is not good there any more."""
        self.locks[brick].discard(handle)
        handle.locked.discard(brick)
        handle.good.discard(brick)
        if self.strict_locks:
            handle.bad.add(brick)

    def _found(self, client: str, brick: str) -> None:
        for handle in self.handles:
            if handle.host == client and brick not in handle.bad:
                handle.good.add(brick)  # opened again there, without a lock

    def _update(self) -> None:
        self.links.update()
        self._settle()

    def _settle(self) -> None:
        """After every change: who stalls, who has quorum, who heals; and a lock given back while a connection was in limbo
        is given back now, if that carries again."""
        for brick, holders in self.locks.items():
            for holder in [one for one in holders if not one.wants and brick in self.links.up(one.host)]:
                holders.discard(holder)
                holder.locked.discard(brick)
        for host in self.hosts:
            self._stall_s[host] = self.links.stall_s(host)
            if host in self.links.dead_clients:
                self._errno[host] = errno.ENOTCONN
            else:
                self._errno[host] = 0 if self._majority(self.links.up(host)) else NO_QUORUM
            fine = not self._stall_s[host] and not self._errno[host] and host not in self.links.frozen
            (self.unhindered.add if fine else self.unhindered.discard)(host)
        self._plan_heals()
        if self.changed is not None:
            self.changed()

    def _majority(self, bricks: list[str]) -> bool:
        return 2 * len(bricks) > len(self.bricks)

    # --- calls

    def stalled_until_s(self, host: str) -> float:
        """Until when calls of this host stall if nothing else changes; 0: they do not."""
        return self._stall_s[host]

    def quorum(self, host: str) -> bool:
        """Calls of this host are not refused (they may stall)."""
        return self._errno[host] == 0

    def use(self, host: str) -> None:
        """Any call of this host to the volume."""
        if host in self.unhindered:
            return
        if self._stall_s[host] > self.links.now_s or host in self.links.frozen:
            raise Stalled
        code = self._errno[host]
        if code:
            raise OSError(code, "Transport endpoint is not connected")

    # --- the data disk

    def open(self, host: str, lock: bool = True) -> Handle:
        """Open it anew on every brick in reach."""
        self.use(host)
        self._readable(host)
        self._numbers += 1
        handle = Handle(self._numbers, host)
        handle.good.update(self.links.up(host))
        if lock:
            if self.gate and any(self.locks[brick] for brick in self.links.up(host)):
                raise OSError(errno.EAGAIN, "a brick knows of a holder")
            self.lock(handle)
        self.handles.append(handle)
        return handle

    def lock(self, handle: Handle) -> None:
        """As QEMU does it: a shared lock on every brick in reach; then the last of them is asked for another holder."""
        self.use(handle.host)
        usable = [brick for brick in self.links.up(handle.host) if brick in handle.good]
        if not self._majority(usable):
            raise OSError(errno.EBADFD, "File descriptor in bad state")
        if self.locks[usable[-1]] - {handle}:
            raise OSError(errno.EAGAIN, 'Failed to get "write" lock')
        for brick in usable:
            self.locks[brick].add(handle)
            handle.locked.add(brick)
        handle.wants = True

    def unlock(self, handle: Handle) -> None:
        """Give the lock back where the bricks are in reach."""
        self.use(handle.host)
        self._release(handle)

    def close(self, handle: Handle) -> None:
        """QEMU ended: never stalls; what cannot be told to a brick it finds out itself."""
        if not handle.is_open:
            return
        self._release(handle)
        handle.is_open = False
        self.handles.remove(handle)

    def _release(self, handle: Handle) -> None:
        for brick in self.links.up(handle.host):
            self.locks[brick].discard(handle)
            handle.locked.discard(brick)
        handle.wants = False

    def takers(self, handle: Handle, beyond: bool = False) -> list[str]:
        """The bricks that would take a write of this handle now."""
        up = self.links.up(handle.host)
        if not self.strict_locks or (self.shard and beyond):
            return up  # written through handles that hold no lock
        return [brick for brick in up if brick in handle.good]

    def write(self, handle: Handle, epoch: int, beyond: bool = False) -> None:
        """The guest writes."""
        if not handle.is_open:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        self.use(handle.host)
        if handle.host in self.failing:
            raise OSError(errno.EIO, "Input/output error")
        if self.full and self.torn:
            self.torn = False
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        takers = self.takers(handle, beyond)
        if not self._majority(takers):
            raise OSError(errno.EBADFD, "File descriptor in bad state")
        self._readable(handle.host)
        if self.copies.write(takers):
            self._plan_heals()
        version = self.copies.version
        self.writes.append(Write(self.now_s, handle.host, epoch, beyond, handle.number, version, tuple(takers)))

    def writers(self) -> list[Handle]:
        """Handles that could have a write accepted at this instant."""
        return [
            one
            for one in self.handles
            if one.wants
            and one.host not in self.links.frozen
            and self._errno[one.host] == 0
            and self._majority(self.takers(one, beyond=self.shard))
        ]

    # --- copies

    def fresh(self, host: str) -> list[str]:
        """The bricks in reach of the host that no brick in reach blames: only these are read from."""
        return self.copies.fresh(self.links.up(host))

    def _readable(self, host: str) -> None:
        if not self.fresh(host):
            raise OSError(errno.EIO, "Input/output error")

    def _plan_heals(self) -> None:
        self.copies.plan(self.now_s, [self.links.up(host) for host in self.hosts])

    # --- the port Pool

    def brick_view(self, host: str) -> tuple[Brick, ...]:
        """As the mount of this host sees them. A file that was opened while a brick was away is open there, but without
        its lock: that brick does not count (:mod:`gluster.mount_view`)."""
        mine = [handle for handle in self.handles if handle.host == host]
        up = self.links.up(host)
        firm = set(self.bricks)
        for handle in mine:
            firm &= handle.good & handle.locked if handle.wants else handle.good
        return tuple([_brick(brick, brick in up, brick in firm) for brick in self.bricks])

    def heal_status(self, host: str) -> Heal:
        """What the bricks owe each other, asked on this host."""
        if not self.quorum(host):
            return Heal(error="the volume has no quorum here")
        up = self.links.up(host)
        blamed = self.copies.blamed(up)
        return Heal(len(blamed), (DATA_DISK,) if blamed and not self.fresh(host) else ())
