"""What Trivet asks of a pool, as a protocol. Real: :class:`gluster.adapter.GlusterPool`; fake:
:class:`gluster.fake.FakePool`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gluster.model import BrickHeal, BrickState, Capacity, Peer, Volume, VolumeSpec

READ_DEADLINE_S = 6.0
"""For one reading. glusterd answers within 0.1 s, also 9 s after a cut (measured); within the first seconds of a cut it
waits for the peer until it gives it up (5 s, :mod:`gluster.daemon_settings`)."""

HEAL_DEADLINE_S = 8.0
"""For ``heal info summary``: a client of its own asks every brick. With a brick's node gone it took 5.1 s (measured),
which is the ping-timeout; half as much again for a loaded machine, and still below the 10 s that a person waits for a
status."""

CHANGE_DEADLINE_S = 60.0
"""For one change. Creating and starting take 1 to 3 s; glusterd's own rollback after a lost peer took 33 s (measured)."""


class Pool(Protocol):
    """The trusted pool as one node's glusterd knows it.

    Every call ends within its deadline. Errors: ``Unavailable`` ``gluster.deadline`` (did not answer in time),
    ``gluster.daemon-down`` (no glusterd here), ``gluster.busy`` (another node's command held the pool all the while);
    ``NotFound`` ``gluster.volume-unknown``; ``Failed`` ``gluster.failed`` (Gluster said no; its words are the reason),
    ``gluster.unreadable``.
    """

    def peers(self) -> tuple[Peer, ...]:
        """The other nodes, by name."""

    def volumes(self) -> tuple[Volume, ...]:
        """What is configured, without brick states."""

    def brick_states(self) -> Mapping[str, tuple[BrickState, ...]]:
        """Started volume → its bricks of which something is known (those of unreachable peers are missing)."""

    def heal_summary(self, volume: str) -> tuple[BrickHeal, ...]:
        """What waits for healing on each brick of a started volume."""

    def split_brain_files(self, volume: str) -> tuple[str, ...]:
        """Paths in the volume (or ``<gfid:…>`` where none is known) whose copies contradict each other, sorted."""

    def capacity(self, volume: str) -> Capacity | None:
        """Bytes of the volume as mounted on this node; ``None`` when it is not."""

    def probe(self, name: str) -> None:
        """Take ``name`` into the pool; a member already: nothing."""

    def detach(self, name: str, force: bool) -> None:
        """Let ``name`` out of the pool. With bricks of a volume, or down and not ``force``: ``Failed``."""

    def create(self, spec: VolumeSpec) -> None:
        """Make the volume (options are set separately). Exists: ``Failed``; the verbs look first."""

    def set_options(self, volume: str, options: Mapping[str, str]) -> None:
        """Set options."""

    def start(self, volume: str) -> None:
        """Start; already started: dead bricks are started again."""

    def heal(self, volume: str) -> None:
        """Ask the self-heal daemons to look now."""
