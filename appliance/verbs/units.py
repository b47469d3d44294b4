"""Units of systemd: a fixed list may be acted on."""

from __future__ import annotations

from typing import Literal

from appliance.errors import Refused
from appliance.ports import Processes
from appliance.tools.systemd import ALLOWED_UNITS, full_name

Action = Literal["enable-start", "stop-disable", "restart", "state"]

ACTION_TIMEOUT_S = 50.0
"""glusterd's own start-up limit is 45 s; the route's deadline is 60 s."""
STATE_TIMEOUT_S = 5.0

_ARGUMENTS: dict[Action, tuple[str, ...]] = {
    "enable-start": ("enable", "--now"),
    "stop-disable": ("disable", "--now"),
    "restart": ("restart",),
}


class Units:
    """systemctl through ``processes``."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def act(self, name: str, action: Action) -> str:
        """Act on one of the allowed units; its ActiveState afterwards. Raises ``Refused`` (``unit.not-allowed``)."""
        unit = full_name(name)
        if unit not in ALLOWED_UNITS:
            raise Refused(
                "unit.not-allowed",
                subject=f"unit {name}",
                reason="it is not one that an agent may act on",
                remedy=f"These may be: {', '.join(ALLOWED_UNITS)}.",
            )
        if action != "state":
            self._processes.run(("systemctl", *_ARGUMENTS[action], unit), timeout_s=ACTION_TIMEOUT_S)
        return self.state(unit)

    def state(self, unit: str) -> str:
        """ActiveState of a unit: active, inactive, failed, activating …"""
        argv = ("systemctl", "show", "--property=ActiveState", "--value", unit)
        return self._processes.run(argv, timeout_s=STATE_TIMEOUT_S).stdout.strip()
