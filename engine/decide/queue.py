"""Which of the waiting jobs begin now: a bounded number, and nobody's jobs wait behind another's hundred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A job in the queue, in the order of arrival."""

    id: str
    owner_id: str


def choose(waiting: Sequence[Waiting], running_owners: Sequence[str], limit: int) -> tuple[str, ...]:
    """The ids of the jobs that begin now. ``running_owners``: one entry a running job; ``limit``: how many run at once.

    Each place goes to the owner who has the fewest running; among those to the job that came first.
    """
    running = Counter(running_owners)
    left = list(waiting)
    chosen: list[str] = []
    while left and len(running_owners) + len(chosen) < limit:
        one = min(left, key=lambda job: running[job.owner_id])  # min keeps the first of equals
        left.remove(one)
        running[one.owner_id] += 1
        chosen.append(one.id)
    return tuple(chosen)
