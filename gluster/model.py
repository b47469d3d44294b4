"""The storage pool as data: what glusterd says of peers, volumes, bricks and healing, and what Trivet wants of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STARTED = "Started"
"""Gluster's own word for a volume that serves; the others are ``Created`` and ``Stopped``."""
REJECT = "auth.reject"
"""The option that names the addresses whose clients the bricks refuse."""
EAGER_LOCK = "cluster.eager-lock"
"""The option by which a client keeps a file's lock between writes; on, unless it is set."""
NOBODY = "192.0.2.1"
"""Its value when nobody is refused any more: an address of the documentation's network (RFC 5737), which no host has. Not
no value: a brick that was started while the option was set refuses on after a reset, and follows a new value (11.1)."""
NOBODY_ELSE = "192.0.2.2"
"""Another such address: what makes a value new without refusing anybody."""


@dataclass(frozen=True)
class Peer:
    """Another node of the pool. ``names`` are all names glusterd knows it by; ``state`` is its word ("Peer in Cluster")."""

    uuid: str
    name: str
    names: tuple[str, ...]
    connected: bool
    state: str


@dataclass(frozen=True)
class BrickPlace:
    """Where a brick is: on which peer (by name), in which folder."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}:{self.path}"


@dataclass(frozen=True)
class Brick:
    """A brick and how it does. ``None`` means: nobody could say (its glusterd is unreachable, or a deadline passed).

    ``pid`` changes when the brick process restarts, and with it goes every lock it held; 0: no process.
    ``heal_pending`` counts files of which this brick holds the good copy and another brick does not yet; ``healing`` those
    under repair now, which Gluster counts apart, and on every brick that has a copy.
    """

    host: str
    path: str
    online: bool | None = None
    pid: int = 0
    port: int = 0
    size_bytes: int = 0
    free_bytes: int = 0
    file_system: str = ""
    heal_pending: int | None = None
    split_brain: int | None = None
    healing: int | None = None

    @property
    def place(self) -> BrickPlace:
        """Where it is."""
        return BrickPlace(self.host, self.path)


@dataclass(frozen=True)
class Volume:
    """A volume. ``options`` holds only those that were set; capacity is that of the smallest brick of each replica set.

    ``available_bytes`` is what can still be written (from the mount if this node has one, else from the bricks).
    """

    id: str
    name: str
    kind: str
    status: str
    replica: int
    bricks: tuple[Brick, ...]
    options: Mapping[str, str]
    size_bytes: int = 0
    used_bytes: int = 0
    available_bytes: int = 0

    @property
    def places(self) -> tuple[BrickPlace, ...]:
        """Where its bricks are, in Gluster's order (replica sets are neighbours)."""
        return tuple(brick.place for brick in self.bricks)

    @property
    def unhealed(self) -> int | None:
        """The most files of any brick that wait for healing or are under repair; ``None``: not known of all. A heal that a
        writer starves is tried again and again, and moves its files from one count to the other and back (seen)."""
        known = [one.heal_pending + (one.healing or 0) for one in self.bricks if one.heal_pending is not None]
        return max(known) if known and len(known) == len(self.bricks) else None

    @property
    def is_healed(self) -> bool:
        """Whether nothing waits for healing on any brick, which all could say so, and nothing is under repair."""
        return self.unhealed == 0


@dataclass(frozen=True)
class PoolStatus:
    """The pool as one node's glusterd sees it. ``problems`` are sentences about what could not be found out."""

    peers: tuple[Peer, ...]
    volumes: tuple[Volume, ...]
    problems: tuple[str, ...] = ()

    def volume(self, name: str) -> Volume | None:
        """The volume called ``name``."""
        return next((volume for volume in self.volumes if volume.name == name), None)


@dataclass(frozen=True)
class BrickState:
    """One brick of ``volume status detail``."""

    place: BrickPlace
    online: bool
    pid: int
    port: int
    size_bytes: int
    free_bytes: int
    file_system: str


@dataclass(frozen=True)
class BrickHeal:
    """One brick of ``heal info summary``. ``None``: the brick could not be asked."""

    place: BrickPlace
    connected: bool
    pending: int | None
    split_brain: int | None
    healing: int | None


@dataclass(frozen=True)
class Capacity:
    """Bytes of a mounted volume, as its file system says."""

    size_bytes: int
    used_bytes: int
    available_bytes: int


def rejected(value: str) -> frozenset[str]:
    """The addresses that a value of :data:`REJECT` names."""
    return frozenset(one.strip() for one in value.split(",")) - {"", "none", NOBODY, NOBODY_ELSE}


@dataclass(frozen=True)
class VolumeSpec:
    """A volume that is wanted. ``bricks`` in Gluster's order; ``options`` only those that have to be set."""

    name: str
    replica: int
    bricks: tuple[BrickPlace, ...]
    options: Mapping[str, str] = field(default_factory=dict)
