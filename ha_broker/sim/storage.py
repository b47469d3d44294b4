"""What the simulated world asks of the volume model (:mod:`ha_broker.sim.volume`): the one border between the two.

Event-driven: the model does nothing by itself. The world calls ``advance`` before every event and wakes it again at
``next_change_s``. "Host" names both the node and its brick; a connection is one (client host, brick host) pair, its two
directions together, because TCP needs both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ha_broker.state import Brick, Heal


class Stalled(Exception):
    """The call does not return now; ask again at ``until_s`` (world time), when something may have changed."""

    def __init__(self, until_s: float) -> None:
        super().__init__(f"stalled until {until_s:.1f} s")
        self.until_s = until_s


class Handle(Protocol):
    """The data disk, opened by one QEMU through one host's mount. Its state on each brick is the model's."""

    @property
    def host(self) -> str: ...


@dataclass(frozen=True)
class VolumeOptions:
    """As the volume was made. The defaults are Trivet's; the others are for showing what they break."""

    strict_locks: bool = True
    sharding: bool = False
    stall_s: float = 5.6
    """From the silent loss of a connection until the client gives the brick up and the brick forgets the client's locks."""


class VolumeModel(Protocol):
    """The volume ``engine`` with one brick a host. Every call that a real client makes raises ``Stalled`` or ``OSError`` as
    Gluster does (EROFS/ENOTCONN without quorum, EBADFD bad handle, EIO, ENOSPC)."""

    # --- time

    def advance(self, now_s: float) -> None:
        """World time is ``now_s``: what was due until then (stalls that end, locks that are forgotten, heals) happened."""

    def next_change_s(self) -> float | None:
        """When something will change by itself next; None: nothing is pending."""

    def version(self) -> int:
        """Rises with every change that may change who may write or what a call answers."""

    # --- faults, at world time of the last ``advance``

    def set_path(self, client: str, brick: str, up: bool) -> None:
        """The storage network between that client and that brick. Down is silent: packets vanish."""

    def set_brick(self, host: str, running: bool) -> None:
        """The brick process. A stop closes its connections at once and forgets its locks; a start lets clients reconnect
        (their locked handles stay bad there under strict locks)."""

    def set_mount(self, host: str, running: bool) -> None:
        """The FUSE client process of the host. A stop closes its connections and handles (ENOTCONN on every call)."""

    def set_frozen(self, host: str, frozen: bool) -> None:
        """The whole node stands still (brick and client) and may go on later with everything in memory."""

    def power_off(self, host: str) -> None:
        """Brick, client and handles of the host are gone, without a word to the others (they see silence)."""

    def power_on(self, host: str) -> None:
        """Brick and client are started anew."""

    def set_full(self, full: bool) -> None:
        """ENOSPC on all bricks for writes that need space."""

    def set_broken(self, host: str, broken: bool) -> None:
        """The disk under that brick answers EIO."""

    def set_split_brain(self, split: bool) -> None:
        """The data disk's copies contradict each other (two bricks accuse each other) · or were repaired."""

    # --- small files (board slots, epoch record, seed): whole contents

    def read(self, host: str, name: str) -> bytes | None:
        """None: no such file."""

    def write(self, host: str, name: str, data: bytes) -> None: ...

    # --- the data disk

    def open(self, host: str) -> Handle:
        """Open it, without a lock (as the target of a migration does)."""

    def lock(self, handle: Handle) -> None:
        """QEMU's write lock. Raises ``BlockingIOError`` when a brick refuses it because another has it."""

    def unlock(self, handle: Handle) -> None:
        """Give it up, the handle stays open (the source of a migration at switch-over)."""

    def close(self, handle: Handle) -> None:
        """Never raises: the process ends."""

    def write_disk(self, handle: Handle, offset_mib: int = 0) -> None:
        """A guest's write (lock held or not: the bricks decide)."""

    def may_write(self, handle: Handle) -> bool:
        """Whether a write through it would now reach the disk, at a low or at a high offset. Changes nothing."""

    # --- looking

    def bricks(self, host: str) -> tuple[Brick, ...]:
        """As that host's mount sees them: ``open`` of its locked handle on each."""

    def heal(self, host: str) -> Heal: ...

    def free_bytes(self, host: str) -> int: ...
