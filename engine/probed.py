"""Whether the database takes a write, found out once for all who ask at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.errors import TrivetError

SHARED_S = 1.0
"""How old an answer may be: each costs a commit on three bricks, and brokers ask every two seconds at most, so nobody
is told what he would not have heard a question earlier."""


@dataclass
class Probed:
    """The last look's end and outcome. Whoever comes while somebody looks waits for that outcome."""

    _turn: threading.Lock = field(default_factory=threading.Lock)
    _end_s: float | None = None
    _error: TrivetError | None = None

    def error(self, look: Callable[[], None], monotonic_s: Callable[[], float]) -> TrivetError | None:
        """What ``look`` raised, now or within the last second; None: all is well."""
        with self._turn:
            if self._end_s is None or monotonic_s() - self._end_s > SHARED_S:
                try:
                    look()
                    self._error = None
                except TrivetError as error:
                    self._error = error
                self._end_s = monotonic_s()
            return self._error
