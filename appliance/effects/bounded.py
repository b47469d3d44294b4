"""A deadline for calls that have none of their own (libvirt, files on a volume that stalls): a thread is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from appliance.errors import Unavailable

T = TypeVar("T")

LEFT_BEHIND_LIMIT = 8
"""So many calls of one kind may hang; further ones are refused at once, because each hanging one keeps a thread."""


class Bounded:
    """Runs calls of one kind, each in its own thread. ``what`` names what is asked, ``noun`` begins the errors' codes."""

    def __init__(self, what: str, noun: str) -> None:
        self._what = what
        self._noun = noun
        self._free = threading.BoundedSemaphore(LEFT_BEHIND_LIMIT)

    def __call__(self, call: Callable[[], T], timeout_s: float) -> T:
        """The result of ``call``, or what it raised. Raises ``Unavailable`` (``NOUN.deadline``, ``NOUN.busy``)."""
        if not self._free.acquire(timeout=timeout_s):
            raise self._error("busy", f"{LEFT_BEHIND_LIMIT} earlier calls hang and {timeout_s:g} s have passed")
        run = _Run(call, self._free)
        thread = threading.Thread(target=run, name=f"bounded-{self._noun}", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if thread.is_alive():
            raise self._error("deadline", f"did not answer within {timeout_s:g} s")
        return run.outcome()

    def _error(self, what: str, reason: str) -> Unavailable:
        return Unavailable(
            f"{self._noun}.{what}",
            subject=self._what,
            reason=reason,
            remedy="It is unknown whether it still acts. Look at its state before trying again.",
        )


class _Run(Generic[T]):
    def __init__(self, call: Callable[[], T], free: threading.BoundedSemaphore) -> None:
        self._call = call
        self._free = free
        self._results: list[T] = []
        self._error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread by outcome()
            self._error = error
        finally:
            self._free.release()

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._results[0]
