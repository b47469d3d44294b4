"""A broker's notes: what it must remember over its own crash, kept in step with the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ha_broker import limits
from ha_broker.decide.common import counts, spent
from ha_broker.ports import NotesFile
from ha_broker.state import Attempt, Held, Notes, Observation

STARTS_KEPT = 2 * limits.CRASHES_MAX
"""Starts of the broker that are remembered: more than the rule needs."""


class Memory:
    """The notes, saved at each change."""

    def __init__(self, file: NotesFile, now_s: float) -> None:
        self._file = file
        self.notes = file.load()
        recent = tuple(at_s for at_s in self.notes.broker_starts if now_s - at_s < limits.CRASHES_WINDOW_S)
        self.change(broker_starts=(*recent, now_s)[-STARTS_KEPT:])

    def change(self, **fields: Any) -> Notes:
        """Replace those fields, and save if that changed anything; the notes as they are now."""
        changed = replace(self.notes, **fields)
        if changed != self.notes:
            self.notes = changed
            self._file.save(changed)
        return self.notes

    def begin(self, now_s: float) -> Notes:
        """A start begins: forget what does not count any more."""
        recent = tuple(attempt for attempt in self.notes.attempts if counts(attempt, now_s))
        return self.change(held=None, attempts=(*recent, Attempt(now_s, "begun")))

    def end(self, attempt: Attempt, held: Held | None) -> None:
        """That start ended."""
        self.change(held=held, attempts=(*self.notes.attempts[:-1], attempt))

    @property
    def spent_last(self) -> bool:
        """The last start here used one up; else it was waiting (see :func:`ha_broker.decide.common.spent`)."""
        attempts = self.notes.attempts
        return bool(attempts) and attempts[-1] in spent(attempts)[-1:]

    def unhealthy(self, now_s: float) -> None:
        """The engine of the last start here never answered."""
        attempts = self.notes.attempts
        if attempts and attempts[-1].outcome == "done":
            self.change(attempts=(*attempts[:-1], Attempt(now_s, "unhealthy")))

    def healthy(self) -> None:
        """An engine answers, here or elsewhere: those that did not are history, and count no longer than any other."""
        self.change(attempts=tuple(map(_failed, self.notes.attempts)))

    def let_go(self, seen: Observation) -> None:
        """Forget a QEMU that has gone from here once another host runs the engine VM: it was moved there while this host's
        broker did not live. The other's silence later is no reason to restart it in place."""
        held = self.notes.held
        if held is None or seen.vm.power not in ("off", "crashed"):
            return
        slots = [peer.slot for peer in seen.peers if peer.claims and peer.slot is not None]
        if any(slot.engine == "running" and slot.engine_epoch >= held.epoch for slot in slots):
            self.change(held=None)

    def adopt(self, seen: Observation, now: Callable[[], str]) -> bool:
        """Take a running engine VM for ours that this broker did not start: it arrived by migration, or the notes were
        lost. True when it was new."""
        held, vm = self.notes.held, seen.vm
        if vm.power != "running" or not vm.pid or seen.local_epoch == 0 or (held is not None and held.pid == vm.pid):
            return False
        if any(p.claims and p.slot is not None and p.slot.handing_to != seen.host for p in seen.peers):
            return False
        since = next((p.slot.engine_since for p in seen.peers if p.slot is not None and p.slot.handing_to == seen.host), "")
        self.change(held=Held(seen.local_epoch, vm.pid, since or now()))
        return True


def _failed(attempt: Attempt) -> Attempt:
    return Attempt(attempt.at_s, "failed") if attempt.outcome == "unhealthy" else attempt
