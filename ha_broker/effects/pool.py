"""The volume ``engine`` as this host's mount and its bricks see it. All of it may block: it is asked beside the loop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from appliance import layout
from appliance.errors import TrivetError
from gluster import mount_view, mounted
from gluster.mount_view import BrickView
from gluster.ports import Pool as GlusterPool
from ha_broker.effects.node import journal
from ha_broker.state import Brick, Heal


class MountedPool:
    """:class:`ha_broker.ports.Pool` over the mount at ``mount`` of ``volume``; ``gluster`` asks the bricks (two short-lived
    processes of 0.1 s each; 5 s while a brick's node has just vanished)."""

    def __init__(self, mount: Path, volume: str, gluster: GlusterPool) -> None:
        self._mount = mount
        self._volume = volume
        self._gluster = gluster
        self._blamed: frozenset[str] = frozenset()

    def bricks(self) -> tuple[Brick, ...]:
        views = mounted.views(self._mount, self._volume)
        self._blame(views)
        return mount_view.bricks(views)

    def _blame(self, views: Sequence[BrickView]) -> None:
        """When a brick has gone: let the others note at once that it misses something of the disk that is held here.

        A brick that dies between two writes of the guest and comes back before the next one is blamed by nobody; its own
        half-done note then makes the self-heal daemon of its node copy *from* it, while the guest writes on through a
        handle that is bad there: what was written meanwhile is overwritten with what was there before (that direction
        was seen on 11.1). Allocating a byte that is allocated changes nothing, and is a write of data to Gluster.
        """
        away = frozenset(view.host for view in views if not view.connected)
        if not away - self._blamed or not any(view.owners for view in views):
            self._blamed &= away
            return
        try:
            disk = os.open(self._mount / layout.ENGINE_DATA_DISK.relative_to(layout.ENGINE_MOUNT), os.O_RDWR | os.O_CLOEXEC)
            try:
                os.posix_fallocate(disk, 0, 1)
            finally:
                os.close(disk)
            self._blamed = away
        except OSError as error:
            journal(f"the absence of {', '.join(sorted(away))} could not be noted on the other bricks: {error}")

    def heal(self) -> Heal:
        try:
            found = self._gluster.heal_summary(self._volume)
            split = self._gluster.split_brain_files(self._volume) if any(one.split_brain for one in found) else ()
        except TrivetError as error:
            return Heal(error=f"what is to be healed is not known: {error.reason}")
        unasked = [one.place.host for one in found if not one.connected]
        if unasked:
            return Heal(error=f"the brick of {', '.join(unasked)} cannot be asked what is to be healed")
        # Each brick counts what it has and another lacks, those under repair apart: the same files on every good copy.
        pending = max(((one.pending or 0) + (one.healing or 0) for one in found), default=0)
        return Heal(pending, tuple(path.lstrip("/") for path in split))

    def free_bytes(self) -> int:
        found = os.statvfs(self._mount)
        return found.f_bavail * found.f_frsize
