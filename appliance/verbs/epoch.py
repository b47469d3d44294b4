"""The highest engine epoch that this node has accepted: stored durably, never going back; and who was refused for a lower
one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from appliance.codec import decode, encode
from appliance.effects.clock import Clock
from appliance.effects.files import PRIVATE, locked, make_folders, write_atomically
from appliance.errors import Conflict, Failed, Refused
from appliance.model.stale_call import StaleCall

STALE_EPOCH: Final = "engine.stale-epoch"
SAID_AGAIN_S: Final = 60.0
"""A line of the journal for each refused call would fill it: an old engine asks every few seconds."""


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
                STALE_EPOCH,
                subject=f"epoch {epoch}",
                reason=f"this node follows the engine with epoch {highest}, which was started later",
                remedy="The caller is an engine that has been replaced: it must stop. Nothing was done.",
                facts={"sent": epoch, "highest": highest},
            )


class StaleCalls:
    """The last refused one. An engine with an old epoch is a matter of security: a restored disk, or a host that was cut off
    and is back. So it is said in the journal, and noted for the broker, whose alert reaches people."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._said: StaleCall | None = None

    def note(self, caller: str, epoch: int, highest: int) -> None:
        """It was refused. Never raises: what cannot be noted is said in the journal all the same."""
        call = StaleCall(caller, epoch, highest, self._clock.monotonic_s())
        said = self._said
        if said is None or (said.caller, said.epoch) != (caller, epoch) or call.at_s - said.at_s >= SAID_AGAIN_S:
            self._said = call
            self._say(
                f"security: an engine with epoch {epoch} (certificate {caller}) was refused: {highest} is followed here"
            )
        try:
            make_folders(self._path.parent, 0o755)
            write_atomically(self._path, json.dumps(encode(call)), PRIVATE)
        except OSError as error:
            self._say(f"{self._path} cannot be written ({error}): no alert will tell of the refused engine")

    def last(self) -> StaleCall | None:
        """The last one of this boot. What cannot be read counts as none: the journal has it."""
        try:
            text = self._path.read_text()
            return decode(StaleCall, json.loads(text), subject=str(self._path), ignore_unknown=True)
        except (OSError, ValueError, Refused):
            return None

    def _say(self, text: str) -> None:
        print(f"{STALE_EPOCH}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the journal
