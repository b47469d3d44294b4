"""The highest engine epoch that this node has accepted: stored durably, never going back."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.effects.files import PRIVATE, locked, make_folders, write_atomically
from appliance.errors import Conflict, Failed


class EpochStore:
    """The epoch file, shared by the agent's threads and whoever else of this node looks at it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def highest(self) -> int:
        """The highest epoch accepted so far, 0 before the first. Raises ``Failed`` (``engine.epoch-damaged``)."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return 0
        try:
            found = json.loads(text)["epoch"]
        except (ValueError, KeyError, TypeError):
            found = None
        if type(found) is not int or found < 0:
            raise Failed(
                "engine.epoch-damaged",
                subject=str(self._path),
                reason=f"it does not hold an epoch, but {text[:80]!r}",
                remedy='Write {"epoch": N} into it, N the epoch of `trivet ha status` on another node.',
            )
        return found

    def raise_to(self, epoch: int) -> int:
        """Accept ``epoch`` if it is higher (synced before returning); answer the highest."""
        if epoch <= (highest := self.highest()):
            return highest
        make_folders(self._path.parent, 0o711)
        with locked(self._path.with_suffix(".lock")):
            highest = max(self.highest(), epoch)
            if highest == epoch:
                write_atomically(self._path, json.dumps({"epoch": epoch}) + "\n", PRIVATE)
        return highest

    def admit(self, epoch: int) -> None:
        """Accept a call with ``epoch``. Raises ``Conflict`` (``engine.stale-epoch``) when a higher one was seen."""
        highest = self.raise_to(epoch)
        if epoch < highest:
            raise Conflict(
                "engine.stale-epoch",
                subject=f"epoch {epoch}",
                reason=f"this node follows the engine with epoch {highest}, which was started later",
                remedy="The caller is an engine that has been replaced: it must stop. Nothing was done.",
                facts={"sent": epoch, "highest": highest},
            )
