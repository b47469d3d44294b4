"""The broker's own unit: how often it was given up in this boot (a record in /run), its next chance (a timer of systemd)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from appliance import layout
from appliance.effects.files import PRIVATE, write_atomically
from appliance.ports import Processes

RECORD: Final = layout.RUN / "ha-hand-overs.json"
UNIT: Final = "trivet-ha.service"
RETRY_UNIT: Final = "trivet-ha-retry"
SYSTEMCTL_TIMEOUT_S: Final = 20.0
"""systemd answers at once; a machine at its limits takes seconds."""


class HandOvers:
    """The hand-overs of this boot, until the broker is well again."""

    def __init__(self, record: Path = RECORD) -> None:
        self._record = record

    def count(self) -> int:
        """How many; 0 as well when the record cannot be read."""
        try:
            found = json.loads(self._record.read_text())["count"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return found if type(found) is int else 0

    def add(self) -> int:
        """One more; answers how many there are now. Raises ``OSError``."""
        count = self.count() + 1
        write_atomically(self._record, json.dumps({"count": count}), PRIVATE)
        return count

    def clear(self) -> None:
        """The broker is well."""
        self._record.unlink(missing_ok=True)


def come_back(processes: Processes, delay_s: float) -> None:
    """Let systemd start the broker again after ``delay_s``, its start limit forgotten by then.

    A timer that runs already stays as it is. Raises ``Failed``, ``Unavailable`` (``process.…``).
    """
    again = f"systemctl reset-failed {UNIT}; exec systemctl --no-block start {UNIT}"
    argv = ["systemd-run", "--quiet", "--collect", f"--unit={RETRY_UNIT}", f"--on-active={delay_s:g}"]
    argv += ["--timer-property=AccuracySec=1", "sh", "-c", again]
    active = processes.run(
        ["systemctl", "is-active", "--quiet", f"{RETRY_UNIT}.timer"], timeout_s=SYSTEMCTL_TIMEOUT_S, ok=None
    )
    if active.status != 0:
        processes.run(argv, timeout_s=SYSTEMCTL_TIMEOUT_S)
