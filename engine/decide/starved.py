"""Whether a volume's heal is starved: it does not go on, although every brick is there and everything is open on it. Pure.

A client that writes without a pause holds an eager lock on a file's metadata for as long as it does so, and a self-heal
daemon only tries that lock (Gluster 11.1; seen in a brick's dump). Two entries stay then, and with them the refusal of
maintenance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.decide.refresh import Mount

STARVED_S = 60.0
"""Without one entry less, before writers are made to let go: a heal that goes on heals a shard (64 MiB) within seconds,
eight at once on a network of 1 Gbit/s within ten."""
AGAIN_S = 1800.0
"""Before writers are disturbed again for a heal that did not end by it: each time all of them are slower for seconds."""


@dataclass(frozen=True)
class Behind:
    """A volume that has entries to heal. ``least``: the fewest so far; ``due_s``: when it is helped if no fewer are left."""

    least: int
    due_s: float


def starved(
    before: Mapping[str, Behind], mounts: Sequence[Mount], now_s: float
) -> tuple[dict[str, Behind], tuple[str, ...]]:
    """What is to be remembered of each volume, and the volumes whose heal is to be helped now."""
    kept: dict[str, Behind] = {}
    due: list[str] = []
    for volume in sorted({one.volume for one in mounts}):
        of_it = [one for one in mounts if one.volume == volume]
        left = max(one.pending or 0 for one in of_it)
        if not left or any(one.away or one.unopened for one in of_it):
            continue
        known = before.get(volume, Behind(left + 1, now_s))  # new: as if one had just been healed
        if left < known.least:
            kept[volume] = Behind(left, max(known.due_s, now_s + STARVED_S))
        elif now_s >= known.due_s:
            kept[volume] = Behind(left, now_s + AGAIN_S)
            due.append(volume)
        else:
            kept[volume] = known
    return kept, tuple(due)
