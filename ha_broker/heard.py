"""What the other hosts decided, as this broker heard it on the board: so that any node tells the whole story. Pure."""

from __future__ import annotations

from appliance.model.ha import HaDecision
from ha_broker.state import Observation


class Heard:
    """Remembers the last sentence of each other host."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def new(self, seen: Observation, wall_s: float) -> tuple[HaDecision, ...]:
        """The decisions that were not heard before. ``wall_s`` is when they were heard, about a turn after they were made.

        What a host had decided before this broker first heard of it is left out: nobody knows when that was.
        """
        found = []
        for peer in seen.peers:
            if peer.silent or peer.slot is None:
                continue
            sentence = peer.slot.decision
            if sentence and self._last.get(peer.name, sentence) != sentence:
                found.append(HaDecision(wall_s, peer.name, sentence))
            self._last[peer.name] = sentence
        return tuple(found)
