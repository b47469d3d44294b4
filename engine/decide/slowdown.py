"""Wrong passwords are slowed down per account name and address, without keeping a thread waiting.

An attempt that comes too early is refused unread. The first failures are free, because people mistype.
"""

from __future__ import annotations

from dataclasses import dataclass

FREE_FAILURES = 2
"""Because a person mistypes twice, and a guesser gains nothing from two guesses."""
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
"""Because 2,880 guesses a day against argon2id are hopeless, and a locked-out administrator waits half a minute, not
an hour."""
FORGET_AFTER_S = 900.0
"""Failures older than this do not count any more."""
REMEMBERED = 4096
"""Pairs of name and address kept: bounded, so that inventing names does not fill the database. The oldest go first."""


@dataclass(frozen=True)
class Failures:
    """``count`` failures in a row, the last at ``last_s`` (wall clock: it outlives the process that saw it)."""

    count: int
    last_s: float


def delay_s(count: int) -> float:
    """How long after its last failure a caller with ``count`` failures has to wait."""
    if count <= FREE_FAILURES:
        return 0.0
    doublings = min(count - FREE_FAILURES - 1, 16)
    return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**doublings))


def wait_s(failures: Failures | None, now_s: float) -> float:
    """Seconds that who failed so still has to wait; 0: the attempt may be looked at. A clock that was set back makes nobody
    wait longer than the delay."""
    if failures is None or now_s - failures.last_s >= FORGET_AFTER_S:
        return 0.0
    delay = delay_s(failures.count)
    return min(delay, max(0.0, failures.last_s + delay - now_s))


def failed(failures: Failures | None, now_s: float) -> Failures:
    """After one more wrong password."""
    count = failures.count if failures and now_s - failures.last_s < FORGET_AFTER_S else 0
    return Failures(count + 1, now_s)
