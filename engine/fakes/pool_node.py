"""The pool's verbs of a node over a folder: which addresses a volume refuses is a file, so that it outlives the jobs
process.

The address of a host is its name here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import NotFound, TrivetError, Unavailable
from engine.fakes.points import nothing
from gluster.model import EAGER_LOCK, REJECT, STARTED, Brick, Peer, PoolStatus, Volume
from gluster.mount_view import NOT_MOUNTED, MountBrick

VOLUMES = ("engine", "vmstore")


def refused_by(folder: Path, volume: str = "vmstore") -> frozenset[str]:
    """The hosts whose clients the volume refuses."""
    path = folder / "pool" / volume
    return frozenset(path.read_text().split()) if path.exists() else frozenset()


@dataclass
class FakePoolNode:
    """A node's glusterd. ``away``: hosts whose glusterd is not connected to it."""

    name: str
    folder: Path
    hosts: Collection[str]
    away: Collection[str] = ()
    point: Callable[[str], None] = nothing
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    mounted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    renewed: list[str] = field(default_factory=list)

    def gluster_pool(self) -> PoolStatus:
        peers = tuple(
            Peer(one, one, (one,), one not in self.away, "Peer in Cluster") for one in self.hosts if one != self.name
        )
        return PoolStatus(peers, tuple(self._volume(one) for one in VOLUMES))

    def _volume(self, name: str) -> Volume:
        refused = ",".join(sorted(refused_by(self.folder, name)))
        pending, healing = self._count(f"{name}.pending"), self._count(f"{name}.healing")
        bricks = tuple(Brick(one, f"/data/bricks/{name}", True, heal_pending=pending, healing=healing) for one in self.hosts)
        return Volume(name, name, "Replicate", STARTED, 3, bricks, {REJECT: refused} if refused else {})

    def _file(self, name: str) -> Path:
        (self.folder / "pool").mkdir(parents=True, exist_ok=True)
        return self.folder / "pool" / name

    def _count(self, file: str) -> int:
        path = self._file(file)
        return int(path.read_text()) if path.exists() else 0

    def gluster_set_options(self, volume: str, options: Mapping[str, str]) -> tuple[str, ...]:
        self.point("before options")
        if "options" in self.fail_with:
            raise self.fail_with["options"]
        for option, value in options.items():
            self._file(f"{volume}.{option}").write_text(value)
        self.point("after options")
        return tuple(options)

    def gluster_heal(self, volume: str) -> None:
        """What waits is healed if writers let go."""
        self.point("before heal")
        if "heal" in self.fail_with:
            raise self.fail_with["heal"]
        eager = self._file(f"{volume}.{EAGER_LOCK}")
        if eager.exists() and eager.read_text() == "off":
            self._file(f"{volume}.pending").unlink(missing_ok=True)
            self._file(f"{volume}.healing").unlink(missing_ok=True)
        self.point("after heal")

    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool:
        self.point("before reject")
        if "reject" in self.fail_with:
            raise self.fail_with["reject"]
        if volume not in VOLUMES:
            raise NotFound("gluster.volume-unknown", subject=volume, reason="there is none", remedy="Name another.")
        before = refused_by(self.folder, volume)
        path = self._file(volume)
        draft = path.with_suffix(".draft")
        draft.write_text(" ".join(addresses))
        draft.rename(path)
        self.point("after reject")
        return before != frozenset(addresses)

    def gluster_renew_refusals(self, volume: str) -> None:
        self.point("before refusals")
        if "refusals" in self.fail_with:
            raise self.fail_with["refusals"]
        for kind in ("shut", "unmounted"):
            for one in self._file(volume).parent.glob(f"{volume}.{kind}.*"):
                one.unlink()
        self.point("after refusals")

    def gluster_mount(self, volume: str) -> tuple[MountBrick, ...]:
        """As the files beside the volume's say: which hosts' bricks do not have all open, or shut this host out; or that its
        mount has ended by that."""
        if self._file(f"{volume}.unmounted.{self.name}").exists():
            raise Unavailable(NOT_MOUNTED, subject=f"volume {volume}", reason="no brick let it in", remedy="Let it in.")
        unopened, shut = self._named(f"{volume}.unopened.{self.name}"), self._named(f"{volume}.shut.{self.name}")
        there = {one for one in self.hosts if one not in self.away and one not in shut}
        return tuple(MountBrick(one, one in there, one in there and one not in unopened) for one in self.hosts)

    def _named(self, file: str) -> list[str]:
        path = self._file(file)
        return path.read_text().split() if path.exists() else []

    def gluster_renew_healer(self) -> None:
        self.point("before renew healer")
        self.renewed.append(self.name)

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        self.point("before mount")
        if "mount" in self.fail_with:
            raise self.fail_with["mount"]
        self.mounted[volume] = servers
        self.point("after mount")
