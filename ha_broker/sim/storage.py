"""The volume as the hosts of the simulated world use it: the exact lock model (:class:`ha_broker.sim.volume.EngineVolume`)
and the small files beside the data disk."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from ha_broker.sim import connections
from ha_broker.sim.volume import EngineVolume, Handle
from ha_broker.state import Brick, Heal

FREE_BYTES = 1 << 40
BOARD = "board/"
OPEN_AGAIN_S = 0.2
"""A mount that stands still without anybody knowing until when is asked again this often."""


class Stalled(Exception):
    """The call does not return now; ask again at ``until_s`` (world time), or when the volume changes."""

    def __init__(self, until_s: float) -> None:
        super().__init__(f"stalled until {until_s:.1f} s")
        self.until_s = until_s


@dataclass(frozen=True)
class VolumeOptions:
    """As the volume was made. The defaults are Trivet's; the others are for showing what they break."""

    strict_locks: bool = True
    sharding: bool = False
    gate: bool = True
    """A start asks every brick for a holder."""
    quorum: bool = True
    """Client quorum."""


class Storage:
    """Calls raise ``Stalled`` or ``OSError`` as the mount does."""

    def __init__(self, names: tuple[str, ...], options: VolumeOptions) -> None:
        self.model = EngineVolume(names, strict_locks=options.strict_locks, shard=options.sharding, gate=options.gate)
        if not options.quorum:
            self.model._majority = bool  # type: ignore[method-assign,assignment]  # any brick will do
        self.model.changed = self._changed
        self.files: dict[str, bytes] = {}
        """Whole contents by name: slots, epoch record, seed."""
        self.changes = 0
        """Rises with everything that may change who may write or what a call answers."""
        self._views: dict[str, tuple[Brick, ...]] = {}
        """What each host sees of the bricks, as long as nothing changes: the holder of the engine VM looks each turn."""
        self.unwritable: set[str] = set()
        """Hosts whose small files cannot be written although the disk can."""

    def _changed(self) -> None:
        self.changes += 1
        self._views.clear()

    # --- faults that the model has in two verbs

    def set_link(self, source: str, target: str, up: bool) -> None:
        """One direction."""
        (self.model.mend if up else self.model.cut)(source, target)

    def power_on(self, host: str) -> None:
        """Network, brick and mount of the host."""
        self.model.power_on(host)
        self.model.start_brick(host)
        self.model.start_client(host)

    def set_full(self, full: bool) -> None:
        self.model.full = full
        self.changes += 1

    def set_failing(self, host: str, failing: bool) -> None:
        """The host's writes to the data disk end in EIO."""
        (self.model.failing.add if failing else self.model.failing.discard)(host)
        self.changes += 1

    # --- calls

    def _use(self, host: str) -> None:
        try:
            self.model.use(host)
        except connections.Stalled:
            until_s = self.model.stalled_until_s(host)
            raise Stalled(until_s if until_s > self.model.now_s else self.model.now_s + OPEN_AGAIN_S) from None

    def read(self, host: str, name: str) -> bytes | None:
        """None: no such file."""
        if host not in self.model.unhindered:
            self._use(host)
        return self.files.get(name)

    def write(self, host: str, name: str, data: bytes) -> None:
        """Replace the file's contents."""
        if host not in self.model.unhindered:
            self._use(host)
        if host in self.unwritable:
            raise OSError(errno.EIO, "Input/output error")
        if self.model.full and not name.startswith(BOARD):
            raise OSError(
                errno.ENOSPC, "No space left on device"
            )  # made anew beside the old one; a slot is one block in place
        self.files[name] = data

    def open(self, host: str, lock: bool = True) -> Handle:
        """The data disk, with QEMU's write lock (``BlockingIOError`` when another has it) or without (a migration's
        target)."""
        self._use(host)
        self._views.clear()
        return self.model.open(host, lock)

    def lock(self, handle: Handle) -> None:
        """Take the lock late."""
        self._use(handle.host)
        self._views.clear()
        self.model.lock(handle)

    def unlock(self, handle: Handle) -> None:
        """Give it up, the handle stays open."""
        self._use(handle.host)
        self.model.unlock(handle)
        self._changed()

    def close(self, handle: Handle) -> None:
        """QEMU's process ends; never fails."""
        self.model.close(handle)
        self._changed()

    def write_disk(self, handle: Handle, epoch: int, beyond: bool = False) -> None:
        """A guest's write; ``beyond``: after the first 64 MiB."""
        self._use(handle.host)
        self.model.write(handle, epoch, beyond)
        del self.model.writes[:-1]

    def may_write(self, handle: Handle) -> bool:
        """Whether a write through it would reach the disk at this instant."""
        model = self.model
        if not handle.is_open or handle.host in model.links.frozen or not model.quorum(handle.host):
            return False
        return 2 * len(model.takers(handle, beyond=model.shard)) > len(model.bricks)

    def reads_well(self, host: str) -> bool:
        """Calls of that host return."""
        return self.model.quorum(host) and self.model.stalled_until_s(host) <= self.model.now_s

    # --- looking

    def bricks(self, host: str) -> tuple[Brick, ...]:
        """The port ``Pool``'s answer."""
        view = self._views.get(host)
        if view is None:
            view = self._views[host] = self.model.brick_view(host)
        return view

    def heal(self, host: str) -> Heal:
        """The port ``Pool``'s answer."""
        return self.model.heal_status(host)

    def free_bytes(self) -> int:
        """Of the volume."""
        return 0 if self.model.full else FREE_BYTES
