"""Procedures in threads beside the loop: at most one for each key, none of them ever waited for without a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from appliance.effects.clock import Clock
from ha_broker.ports import Procedure, Result


class ThreadsBeside:
    """:class:`ha_broker.ports.Beside` with a daemon thread for each procedure under way.

    A thread that hangs in the kernel (a dead FUSE mount) cannot be ended: its key stays busy, so there are never more
    threads than keys, and the process can still end.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._running: dict[str, float] = {}
        self._results: dict[str, Result] = {}

    def ask(self, key: str, procedure: Callable[[], Procedure[Any]]) -> bool:
        with self._changed:
            if key in self._running or key in self._results:
                return False
            began_s = self._clock.monotonic_s()
            self._running[key] = began_s
        threading.Thread(target=self._run, args=(key, procedure, began_s), name=key, daemon=True).start()
        return True

    def take(self, key: str) -> Result | None:
        with self._changed:
            return self._results.pop(key, None)

    def pending_s(self, key: str) -> float | None:
        with self._changed:
            began_s = self._running.get(key)
        return None if began_s is None else self._clock.monotonic_s() - began_s

    def settle(self, seconds: float) -> None:
        began_s = self._clock.monotonic_s() - seconds
        with self._changed:
            self._changed.wait_for(lambda: all(at_s < began_s for at_s in self._running.values()), timeout=seconds)

    def _run(self, key: str, procedure: Callable[[], Procedure[Any]], began_s: float) -> None:
        value: Any = None
        failed: Exception | None = None
        try:
            value = drive(procedure())
        except Exception as error:  # noqa: BLE001 - carried to the loop, which tells it; a thread has nobody to raise to
            failed = error
        with self._changed:
            del self._running[key]
            self._results[key] = Result(value, failed, began_s, self._clock.monotonic_s())
            self._changed.notify_all()


def drive(procedure: Procedure[Any]) -> Any:
    """Make the calls of a procedure one after another, handing it each result or error; its value."""
    try:
        work = next(procedure)
        while True:
            try:
                value = work()
            except Exception as error:  # noqa: BLE001 - handed to the procedure, which decides
                work = procedure.throw(error)
            else:
                work = procedure.send(value)
    except StopIteration as ended:
        return ended.value
