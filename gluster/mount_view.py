"""What Gluster's client says of its bricks, as data. Pure; the text is each brick's ``private`` under the mount's hidden
``.meta/graphs/active/VOLUME-client-N`` (seen with Gluster 11.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NOT_MOUNTED = "gluster.not-mounted"
"""The code of the error of a node that has no mount of the volume."""
BAD_HANDLE = -1
"""The brick has restarted or vanished since the file was opened; with strict locks it stays so until it is opened anew."""

_HANDLE = re.compile(r"^fd\.\d+\.remote_fd = (-?\d+)$")
_OWNER = re.compile(r"^granted-posix-lock\[\d+\] = owner = ([0-9a-f]+),")


@dataclass(frozen=True)
class MountBrick:
    """A brick as one mount sees it now. ``open``: every file that this mount holds open is open (and locked, if it was) on
    that brick; a handle that went bad there makes it False until it is opened anew."""

    host: str
    connected: bool
    open: bool


@dataclass(frozen=True)
class BrickView:
    """The connection to one brick. ``owners``: who holds locks through a handle that is good there; ``lost``: through one
    that is not. The owner of a lock is the same on every brick, which is how a file is told from another. Handles without
    locks do not count: the client keeps those that went bad after their file was closed (seen with 11.1)."""

    host: str
    connected: bool
    owners: frozenset[str]
    lost: frozenset[str]


def brick_view(host: str, private: str) -> BrickView:
    """Read one brick's text."""
    connected = False
    handle: int | None = None
    owners: dict[bool, set[str]] = {True: set(), False: set()}
    for line in private.splitlines():
        if found := _HANDLE.match(line):
            handle = int(found[1])
        elif (found := _OWNER.match(line)) and handle is not None:
            owners[handle != BAD_HANDLE].add(found[1])
        elif line.startswith("connected = "):
            connected = line.removeprefix("connected = ").strip() == "1"
    return BrickView(host, connected, frozenset(owners[True]), frozenset(owners[False]))


def bricks(views: Sequence[BrickView]) -> tuple[MountBrick, ...]:
    """Each brick's verdict, of bricks that hold the same files. A file that was opened while a brick was away is unknown
    there: its lock is seen on the others alone, so a brick is only open if it knows every owner that is alive.

    An owner whose handle is good nowhere is a QEMU that has gone: the client keeps, locks and all, the handles that went bad
    before their file was closed (seen with 11.1; counting them, every refresh was followed by the next)."""
    good = frozenset[str]().union(*(view.owners for view in views))
    alive = good or frozenset[str]().union(*(view.lost for view in views))
    return tuple(
        MountBrick(view.host, view.connected, view.connected and view.owners >= alive and not view.lost & alive)
        for view in views
    )
