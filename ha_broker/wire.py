"""What the broker adds to the agent's interface: the agent finds ``INTERFACE`` and ``implementation`` here."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from appliance import layout
from appliance.effects.bounded import Bounded
from appliance.effects.files import PRIVATE, make_folders, write_atomically
from appliance.errors import Unavailable
from appliance.ports import NodeContext
from appliance.wire.definition import route
from gluster.adapter import GlusterPool
from ha_broker.effects.pool import MountedPool
from ha_broker.effects.requests import LOCAL_MAINTENANCE
from ha_broker.state import Brick

MOUNT_DEADLINE_S = 4.0
"""For a look at the mount: it takes milliseconds and asks no brick; a mount that hangs for 4 s is no answer."""


class HaApi(Protocol):
    """This node's part in keeping the engine VM."""

    @route("POST", "/v1/ha/local-maintenance", "command")
    def ha_local_maintenance(self, on: bool) -> None:
        """Set whether this node is in local maintenance; kept over reboots, read by its broker each turn."""

    @route("GET", "/v1/ha/local-maintenance", "node")
    def ha_in_local_maintenance(self) -> bool: ...

    @route("GET", "/v1/ha/bricks", "node", MOUNT_DEADLINE_S + 2.0)
    def ha_bricks(self) -> tuple[Brick, ...]:
        """The bricks of the volume engine as this node's mount sees them. Not mounted: 503 ``ha.mount-unreadable``."""


class HaNode:
    """:class:`HaApi`. ``setting`` is the file whose being there is the setting; ``pool`` reads the mount."""

    def __init__(self, setting: Path, pool: MountedPool) -> None:
        self._setting = setting
        self._pool = pool
        self._bounded = Bounded("the volume engine", "volume")

    def ha_local_maintenance(self, on: bool) -> None:
        if not on:
            self._setting.unlink(missing_ok=True)
        elif not self._setting.exists():
            make_folders(self._setting.parent, 0o700)
            write_atomically(self._setting, "", PRIVATE)

    def ha_in_local_maintenance(self) -> bool:
        return self._setting.exists()

    def ha_bricks(self) -> tuple[Brick, ...]:
        try:
            return self._bounded(self._pool.bricks, MOUNT_DEADLINE_S)
        except OSError as error:
            raise Unavailable(
                "ha.mount-unreadable",
                subject=str(layout.ENGINE_MOUNT),
                reason=f"the state of its bricks cannot be read ({error})",
                remedy="`systemctl status` of its mount unit on that node says why.",
            ) from error


INTERFACE = HaApi


def implementation(context: NodeContext) -> HaApi:
    """The real one, on the agent's ports."""
    pool = MountedPool(
        context.root.at(layout.ENGINE_MOUNT), layout.ENGINE_VOLUME, GlusterPool(context.processes, context.clock)
    )
    return HaNode(context.root.at(layout.HA_STATE / LOCAL_MAINTENANCE), pool)
