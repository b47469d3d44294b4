"""Wake the engine VM from saved memory where that is good; say why not where it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from appliance.effects.clock import Clock
from appliance.errors import Conflict, TrivetError
from appliance.model.vm import VmSpec, VmState
from ha_broker.act import DISK_UNREACHABLE
from ha_broker.ports import Health
from ha_broker.warm.facts import Machine
from ha_broker.warm.shelf import REMEDY, Shelf, checked

TEXT_EVERY_S = 5.0
"""How old the sentence of the status may be: it is read from two small files."""

WakeVerb = Callable[[VmSpec, str], VmState]


class MachineOf(Protocol):
    """What is needed of :class:`ha_broker.warm.machine.NodeMachine`."""

    def wanted(self, spec: VmSpec) -> Machine: ...


class Waking:
    """The wake of a start. ``log`` gets one sentence a start."""

    def __init__(self, shelf: Shelf, machine: MachineOf, clock: Clock, log: Callable[[str], None]) -> None:
        self._shelf = shelf
        self._machine = machine
        self._clock = clock
        self._log = log
        self._text = ("", float("-inf"))

    def wake(self, spec: VmSpec, verb: WakeVerb, destroy: Callable[[], None]) -> VmState | None:
        """The engine VM, paused, with its disks; None: it has to boot cold, and nothing is left here.

        The whole file is summed up beside the restore. Raises ``Conflict`` (``vm.disk-locked``): another has
        the lock; ``Unavailable`` (``vm.disk-unreachable``): the volume is not there.
        """
        began_s = self._clock.monotonic_s()
        why = self.why_not(spec)
        saved = self._shelf.saved()
        if why or saved is None:
            self._log(f"the engine VM boots cold: {why}")
            return None
        path = self._shelf.path(saved)
        check = _Beside(lambda: checked(path, saved))
        self._shelf.begin_trial()
        try:
            found = verb(spec, str(path))
        except TrivetError as error:
            if isinstance(error, Conflict) or error.code == DISK_UNREACHABLE:
                self._shelf.pass_trial()  # the memory was good
                raise
            self._reject(error, destroy)
            return None
        wrong = check.error()
        if wrong is not None:
            self._reject(wrong, destroy)
            return None
        self._log(f"the engine VM was woken from {saved.file} in {self._clock.monotonic_s() - began_s:.2f} s")
        return found

    def why_not(self, spec: VmSpec) -> str:
        """Why the next start is a cold one; empty: it is a wake."""
        try:
            return self._shelf.why_not(self._machine.wanted(spec))
        except (TrivetError, OSError) as error:
            return str(error)

    def text(self, spec: VmSpec) -> str:
        """The same for the status, in words for people; at most ``TEXT_EVERY_S`` old."""
        now_s = self._clock.monotonic_s()
        if now_s - self._text[1] >= TEXT_EVERY_S:
            self._text = (self._words(spec), now_s)
        return self._text[0]

    def _words(self, spec: VmSpec) -> str:
        why = self.why_not(spec)
        saved = self._shelf.saved()
        if not why and saved is not None:
            return f"saved memory of image {saved.machine.image[:12]} is ready (made {saved.made})"
        rejected = self._shelf.rejected()
        return f"the engine VM would boot cold: {rejected or why}"

    def _reject(self, error: Exception, destroy: Callable[[], None]) -> None:
        destroy()
        self._shelf.reject(str(error))
        self._log(f"the engine VM boots cold, because its wake failed: {error}. {REMEDY}")


class WatchedHealth:
    """:class:`ha_broker.ports.Health` that ends the trial of a wake when the engine is seen up."""

    def __init__(self, health: Health, shelf: Shelf) -> None:
        self._health = health
        self._shelf = shelf

    def epoch_up(self, deadline_s: float) -> int | None:
        epoch = self._health.epoch_up(deadline_s)
        if epoch is not None:
            self._shelf.pass_trial()
        return epoch


class _Beside:
    """A check in a thread of its own; ``error`` waits for it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="checksum", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - told by error()
            self._error = error

    def error(self) -> Exception | None:
        self._thread.join()
        return self._error
