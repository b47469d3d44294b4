"""What people ask of a broker: files that the command line leaves and the broker reads each turn."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.codec import decode
from appliance.errors import Refused
from appliance.model.ha import MaintenanceState
from ha_broker.effects.node import journal

MAINTENANCE_REQUEST = "ha-maintenance.json"
"""In the run folder: global maintenance asked for, taken away by the broker once it is on the board."""
FORCED_REQUEST = "ha-forced-start"
"""In the run folder: a confirmed forced start. Gone after a reboot, because the confirmation was about that moment."""
LOCAL_MAINTENANCE = "local-maintenance"
"""In the state folder: this host is being worked on. Its being there is the setting, so that half a file means the same."""


class RequestFiles:
    """:class:`ha_broker.ports.Requests`. ``run`` is the run folder, ``state`` the one that survives a reboot."""

    def __init__(self, run: Path, state: Path) -> None:
        self._maintenance = run / MAINTENANCE_REQUEST
        self._forced = run / FORCED_REQUEST
        self._local = state / LOCAL_MAINTENANCE

    def maintenance(self) -> MaintenanceState | None:
        try:
            text = self._maintenance.read_text()
        except FileNotFoundError:
            return None
        try:
            return decode(_Request, json.loads(text), subject=str(self._maintenance), code="ha.request").maintenance
        except (ValueError, Refused) as error:
            journal(f"{self._maintenance} is no request and is removed: {error}")
            self.done()
            return None

    def done(self) -> None:
        self._maintenance.unlink(missing_ok=True)

    def local_maintenance(self) -> bool:
        return self._local.exists()

    def forced_start(self) -> bool:
        return self._forced.exists()

    def forced_done(self) -> None:
        self._forced.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Request:
    maintenance: Literal["none", "global"]
