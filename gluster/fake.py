"""A pool in memory: the same port, the same errors, under the same contract tests as the real one.

Bricks, peers and healing can be moved by hand (``brick_down``, ``disconnect`` …), and any call can be made to fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from appliance.errors import Failed, NotFound, TrivetError
from gluster.model import STARTED, Brick, BrickHeal, BrickState, Capacity, Peer, Volume, VolumeSpec

GIB = 1024**3


class FakePool:
    """A pool seen from node ``name``; ``reachable`` are the names that a probe finds."""

    def __init__(self, name: str = "node1", reachable: tuple[str, ...] = ("node1", "node2", "node3")) -> None:
        self.name = name
        self.reachable = set(reachable)
        self.brick_size_bytes = 100 * GIB
        self.brick_free_bytes = 90 * GIB
        self.mounted: dict[str, Capacity] = {}
        """Volume → what ``capacity`` answers."""
        self.fail: dict[str, TrivetError] = {}
        """Method name → error that its next calls raise."""
        self.changes: list[tuple[str, str]] = []
        """Every change that was asked for: (method, subject)."""
        self._peers: dict[str, Peer] = {}
        self._volumes: dict[str, Volume] = {}
        self._pids = 1000

    # The port

    def peers(self) -> tuple[Peer, ...]:
        self._may("peers")
        return tuple(self._peers[name] for name in sorted(self._peers))

    def volumes(self) -> tuple[Volume, ...]:
        self._may("volumes")
        return tuple(
            replace(volume, bricks=tuple(Brick(brick.host, brick.path) for brick in volume.bricks))
            for volume in self._volumes.values()
        )

    def brick_states(self) -> Mapping[str, tuple[BrickState, ...]]:
        self._may("brick_states")
        return {
            volume.name: tuple(self._state(brick) for brick in volume.bricks if self._sees(brick.host))
            for volume in self._volumes.values()
            if volume.status == STARTED
        }

    def heal_summary(self, volume: str) -> tuple[BrickHeal, ...]:
        self._may("heal_summary")
        held = self._held(volume)
        if held.status != STARTED:
            raise _said(f"volume {volume}: heal info", f"Volume {volume} is not started")
        return tuple(
            BrickHeal(brick.place, True, brick.heal_pending or 0, brick.split_brain or 0, 0)
            if brick.online and self._sees(brick.host)
            else BrickHeal(brick.place, False, None, None, None)
            for brick in held.bricks
        )

    def split_brain_files(self, volume: str) -> tuple[str, ...]:
        self._may("split_brain_files")
        entries = max((brick.split_brain or 0 for brick in self._held(volume).bricks), default=0)
        return tuple(f"/file{number}" for number in range(entries))

    def capacity(self, volume: str) -> Capacity | None:
        self._may("capacity")
        return self.mounted.get(volume)

    def probe(self, name: str) -> None:
        self._change("probe", name)
        if name not in self.reachable:
            raise _said(f"peer {name}", "Probe returned with Transport endpoint is not connected")
        if name != self.name and name not in self._peers:
            self._peers[name] = Peer(f"uuid-of-{name}", name, (name,), True, "Peer in Cluster")

    def detach(self, name: str, force: bool) -> None:
        self._change("detach", name)
        if name not in self._peers:
            raise _said(f"peer {name}", f"{name} is not part of cluster")
        if any(place.host == name for volume in self._volumes.values() for place in volume.places):
            raise _said(f"peer {name}", f"Brick(s) with the peer {name} exist in cluster")
        if not (force or self._peers[name].connected):
            raise _said(f"peer {name}", "One of the peers is probably down. Check with 'peer status'")
        del self._peers[name]

    def create(self, spec: VolumeSpec) -> None:
        self._change("create", spec.name)
        subject = f"volume {spec.name}"
        if spec.name in self._volumes:
            raise _said(subject, f"Volume {spec.name} already exists")
        for place in spec.bricks:
            if place.host != self.name and place.host not in self._peers:
                raise _said(subject, f"Host {place.host} is not in 'Peer in Cluster' state")
        self._volumes[spec.name] = Volume(
            id=f"id-of-{spec.name}",
            name=spec.name,
            kind="Replicate",
            status="Created",
            replica=spec.replica,
            bricks=tuple(Brick(place.host, place.path, online=False) for place in spec.bricks),
            options={"cluster.granular-entry-heal": "on", "transport.address-family": "inet"},
        )

    def set_options(self, volume: str, options: Mapping[str, str]) -> None:
        self._change("set_options", volume)
        held = self._held(volume)
        unknown = [name for name in options if "." not in name]
        if unknown:
            raise _said(f"volume {volume}", f"option : {unknown[0]} does not exist")
        self._volumes[volume] = replace(held, options={**held.options, **options})

    def start(self, volume: str) -> None:
        self._change("start", volume)
        held = self._held(volume)
        self._volumes[volume] = replace(
            held, status=STARTED, bricks=tuple(one if one.online else self._run(one) for one in held.bricks)
        )

    def heal(self, volume: str) -> None:
        self._change("heal", volume)
        held = self._held(volume)
        if all(brick.online for brick in held.bricks):
            healed = tuple(replace(brick, heal_pending=0) for brick in held.bricks)
            self._volumes[volume] = replace(held, bricks=healed)

    # What the world does to it

    def brick_down(self, volume: str, host: str) -> None:
        """The brick process of ``host`` ends."""
        self._alter(volume, host, lambda brick: replace(brick, online=False, pid=0))

    def written(self, volume: str, files: int) -> None:
        """``files`` files are written: while a brick is down they wait for healing on those that are up."""
        held = self._held(volume)
        if all(brick.online for brick in held.bricks):
            return
        bricks = tuple(
            replace(brick, heal_pending=(brick.heal_pending or 0) + files) if brick.online else brick
            for brick in held.bricks
        )
        self._volumes[volume] = replace(held, bricks=bricks)

    def split(self, volume: str, entries: int) -> None:
        """``entries`` files are in split-brain on every brick."""
        held = self._held(volume)
        self._volumes[volume] = replace(held, bricks=tuple(replace(brick, split_brain=entries) for brick in held.bricks))

    def disconnect(self, name: str) -> None:
        """The network to peer ``name`` is cut."""
        self._peers[name] = replace(self._peers[name], connected=False)

    def connect(self, name: str) -> None:
        """… and heals."""
        self._peers[name] = replace(self._peers[name], connected=True)

    # Inside

    def _alter(self, volume: str, host: str, change: object) -> None:
        assert callable(change)
        held = self._held(volume)
        self._volumes[volume] = replace(
            held, bricks=tuple(change(brick) if brick.host == host else brick for brick in held.bricks)
        )

    def _may(self, method: str) -> None:
        if method in self.fail:
            raise self.fail[method]

    def _change(self, method: str, subject: str) -> None:
        self._may(method)
        self.changes.append((method, subject))

    def _held(self, volume: str) -> Volume:
        if volume not in self._volumes:
            raise NotFound(
                "gluster.volume-unknown",
                subject=f"volume {volume}",
                reason=f"Volume {volume} does not exist",
                remedy="`trivet gluster status` lists the volumes.",
            )
        return self._volumes[volume]

    def _sees(self, host: str) -> bool:
        return host == self.name or (host in self._peers and self._peers[host].connected)

    def _run(self, brick: Brick) -> Brick:
        self._pids += 1
        return replace(brick, online=True, pid=self._pids, port=49152 + self._pids)

    def _state(self, brick: Brick) -> BrickState:
        return BrickState(
            brick.place, bool(brick.online), brick.pid, brick.port, self.brick_size_bytes, self.brick_free_bytes, "xfs"
        )


def _said(subject: str, words: str) -> Failed:
    return Failed(
        "gluster.failed",
        subject=subject,
        reason=words,
        remedy="Look into /var/log/glusterfs/glusterd.log of this node and of the peers.",
    )
