"""What Gluster's client of a mount says of its bricks, read from the mount itself. It asks no brick."""

from __future__ import annotations

from pathlib import Path

from gluster import mount_view
from gluster.mount_view import BrickView, MountBrick

GRAPH = ".meta/graphs/active"
"""Gluster's own view of a mount, a folder for each translator, made by the client itself: reading asks no brick."""


def views(mount: Path, volume: str) -> tuple[BrickView, ...]:
    """Each brick of the volume. Raises ``OSError`` when it is not mounted there."""
    return tuple(_view(one) for one in sorted(_clients(mount, volume), key=_number))


def bricks(mount: Path, volume: str) -> tuple[MountBrick, ...]:
    """Each brick's verdict. Only bricks that hold the same files are compared: a volume of six has two sets of three.
    Raises ``OSError`` when it is not mounted there."""
    graph = mount / GRAPH
    clients = {one.name: one for one in _clients(mount, volume)}
    found: list[MountBrick] = []
    for copies in sorted(graph.glob(f"{volume}-replicate-*"), key=_number):
        names = sorted(one.readlink().name for one in (copies / "subvolumes").iterdir())
        found += mount_view.bricks([_view(clients[name]) for name in names if name in clients])
    return tuple(found)


def _clients(mount: Path, volume: str) -> list[Path]:
    found = list((mount / GRAPH).glob(f"{volume}-client-*"))
    if not found:
        raise OSError(f"{mount / GRAPH} shows no brick: the volume is not mounted here")
    return found


def _view(client: Path) -> BrickView:
    return mount_view.brick_view((client / "options/remote-host").read_text().strip(), (client / "private").read_text())


def _number(translator: Path) -> int:
    return int(translator.name.rpartition("-")[2])
