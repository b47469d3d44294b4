"""The volume ``engine`` as this host's mount and its bricks see it. All of it may block: it is asked beside the loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ha_broker.state import Brick, Heal

GRAPH = ".meta/graphs/active"
"""Gluster's own view of a mount, a folder for each translator, made by the client itself: reading asks no brick."""


class MountedPool:
    """:class:`ha_broker.ports.Pool` over the mount at ``mount`` of ``volume``."""

    def __init__(self, mount: Path, volume: str) -> None:
        self._mount = mount
        self._volume = volume

    def bricks(self) -> tuple[Brick, ...]:
        graph = self._mount / GRAPH
        clients = sorted(graph.glob(f"{self._volume}-client-*"))
        if not clients:
            raise OSError(f"{graph} shows no brick: the volume is not mounted here")
        return tuple(_brick((one / "options/remote-host").read_text(), (one / "private").read_text()) for one in clients)

    def heal(self) -> Heal:
        pending = 0
        split: list[str] = []
        try:
            for path in _entries(self._mount):
                said = os.getxattr(path, HEAL_INFO).rstrip(b"\0").decode(errors="replace")
                if SPLIT_BRAIN in said:
                    split.append(str(path.relative_to(self._mount)))
                elif said != NO_HEAL:
                    pending += 1
        except OSError as error:
            return Heal(error=f"{self._volume} cannot be asked what is to be healed: {error}")
        return Heal(pending, tuple(split))

    def free_bytes(self) -> int:
        found = os.statvfs(self._mount)
        return found.f_bavail * found.f_frsize


HEAL_INFO = "glusterfs.heal-info"
"""A virtual attribute: the client compares the copies of that file on all bricks, without starting any process."""
NO_HEAL = "no-heal"
SPLIT_BRAIN = "split-brain"


def _brick(host: str, private: str) -> Brick:
    """What the client translator of one brick says of itself."""
    values = dict(line.split(" = ", 1) for line in private.splitlines() if " = " in line)
    handles = [value.strip() for name, value in values.items() if name.endswith(".remote_fd")]
    connected = values.get("connected", "0").strip() == "1"
    return Brick(host.strip(), connected, connected and "-1" not in handles)


def _entries(folder: Path) -> Iterator[Path]:
    """Every file and folder of the volume: a dozen, because only the engine VM and the board are on it."""
    yield folder
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in (".meta", ".glusterfs", ".trashcan"):
                yield from _entries(Path(entry.path))
        else:
            yield Path(entry.path)
