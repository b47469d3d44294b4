"""What this node's broker last said of itself: a file that it writes each turn, read for the agent and the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from appliance import layout
from appliance.codec import decode, encode
from appliance.effects.clock import Clock
from appliance.effects.files import PUBLIC, make_folders, write_atomically
from appliance.errors import Failed, Refused, Unavailable
from appliance.model.ha import HaStatus

STATUS_FILE = layout.RUN / "ha-status.json"
"""``encode(HaStatus)`` plus ``written_monotonic_s``: the monotonic clock is the node's, hence the same in both processes."""


def write_status(path: Path, status: HaStatus, clock: Clock) -> None:
    """Replace the file (the broker's side)."""
    make_folders(path.parent, 0o755)
    write_atomically(path, json.dumps({**encode(status), "written_monotonic_s": clock.monotonic_s()}), PUBLIC)


def read_status(path: Path, clock: Clock) -> HaStatus:
    """The broker's status with ``broker_age_s`` as of now.

    Raises ``Unavailable`` (``ha.no-status``) when the broker never wrote one since boot, ``Failed`` (``ha.status-damaged``).
    """
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise Unavailable(
            "ha.no-status",
            subject="the broker of this node",
            reason=f"it has not written {path} since this node started",
            remedy="`systemctl status trivet-ha` says whether it runs.",
        ) from error
    try:
        data = json.loads(text)
        written_s = float(data.pop("written_monotonic_s"))
        status = decode(HaStatus, data, subject=str(path), ignore_unknown=True)
    except (ValueError, KeyError, AttributeError, TypeError, Refused) as error:
        raise Failed(
            "ha.status-damaged",
            subject=str(path),
            reason=f"it is not a status of a broker ({error})",
            remedy="The broker replaces it at its next turn; `systemctl restart trivet-ha` if it does not.",
        ) from error
    return replace(status, broker_age_s=max(0.0, clock.monotonic_s() - written_s))
