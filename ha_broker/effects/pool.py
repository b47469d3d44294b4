"""The volume ``engine`` as this host's mount and its bricks see it. All of it may block: it is asked beside the loop."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.errors import TrivetError
from gluster.ports import Pool as GlusterPool
from ha_broker import mount_view
from ha_broker.state import Brick, Heal

GRAPH = ".meta/graphs/active"
"""Gluster's own view of a mount, a folder for each translator, made by the client itself: reading asks no brick."""


class MountedPool:
    """:class:`ha_broker.ports.Pool` over the mount at ``mount`` of ``volume``; ``gluster`` asks the bricks (two short-lived
    processes of 0.1 s each; 5 s while a brick's node has just vanished)."""

    def __init__(self, mount: Path, volume: str, gluster: GlusterPool) -> None:
        self._mount = mount
        self._volume = volume
        self._gluster = gluster

    def bricks(self) -> tuple[Brick, ...]:
        graph = self._mount / GRAPH
        clients = sorted(graph.glob(f"{self._volume}-client-*"))
        if not clients:
            raise OSError(f"{graph} shows no brick: the volume is not mounted here")
        return mount_view.bricks(
            [
                mount_view.brick_view((one / "options/remote-host").read_text().strip(), (one / "private").read_text())
                for one in clients
            ]
        )

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
        return Heal(pending, split)

    def free_bytes(self) -> int:
        found = os.statvfs(self._mount)
        return found.f_bavail * found.f_frsize
