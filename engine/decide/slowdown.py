"""Wrong passwords are slowed down per account name and address, without keeping a thread waiting.

An attempt that comes too early is refused unread. The first failures are free, because people mistype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FREE_FAILURES = 2
"""Because a person mistypes twice, and a guesser gains nothing from two guesses."""
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
"""Because 2,880 guesses a day against argon2id are hopeless, and a locked-out administrator waits half a minute, not
an hour."""
FORGET_AFTER_S = 900.0
"""Failures older than this do not count any more."""
REMEMBERED = 4096
"""Pairs of name and address kept: bounded, so that inventing names does not eat memory. The oldest go first."""


@dataclass(frozen=True)
class Failures:
    """``count`` failures in a row, the last at ``last_s`` (monotonic)."""

    count: int
    last_s: float


@dataclass(frozen=True)
class Attempts:
    """The failures remembered, oldest first."""

    known: Mapping[tuple[str, str], Failures] = field(default_factory=dict)


def delay_s(count: int) -> float:
    """How long after its last failure a caller with ``count`` failures has to wait."""
    if count <= FREE_FAILURES:
        return 0.0
    doublings = min(count - FREE_FAILURES - 1, 16)
    return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**doublings))


def wait_s(attempts: Attempts, who: tuple[str, str], now_s: float) -> float:
    """Seconds that ``who`` still has to wait; 0: the attempt may be looked at."""
    failures = attempts.known.get(who)
    if failures is None or now_s - failures.last_s >= FORGET_AFTER_S:
        return 0.0
    return max(0.0, failures.last_s + delay_s(failures.count) - now_s)


def failed(attempts: Attempts, who: tuple[str, str], now_s: float) -> Attempts:
    """After a wrong password."""
    old = attempts.known.get(who)
    count = old.count if old and now_s - old.last_s < FORGET_AFTER_S else 0
    known = {key: value for key, value in attempts.known.items() if key != who}
    known[who] = Failures(count + 1, now_s)
    while len(known) > REMEMBERED:
        del known[next(iter(known))]
    return Attempts(known)


def succeeded(attempts: Attempts, who: tuple[str, str]) -> Attempts:
    """After the right password."""
    return Attempts({key: value for key, value in attempts.known.items() if key != who})
