"""Wait for a VM of this node to change its state, so that who asks each few seconds learns of it at once."""

from __future__ import annotations

import hashlib

from appliance.effects.clock import Clock
from appliance.vm_ports import Guests

LOOK_EVERY_S = 0.3
"""People see a change within a second; a look is one question to libvirt, some 2 ms, and only while somebody waits."""
WAIT_MAX_S = 10.0
"""A question that waits holds one of the agent's threads."""


class VmChanges:
    """Knows nothing itself: the mark that it gave tells what was before."""

    def __init__(self, guests: Guests, clock: Clock) -> None:
        self._guests = guests
        self._clock = clock

    def wait(self, mark: str, wait_ms: int) -> str:
        """The mark of the VMs' states: as soon as it is another one than ``mark``, or after ``wait_ms``."""
        end_s = self._clock.monotonic_s() + min(WAIT_MAX_S, wait_ms / 1000)
        while True:
            now = self._mark()
            left_s = end_s - self._clock.monotonic_s()
            if now != mark or left_s <= 0:
                return now
            self._clock.sleep(min(LOOK_EVERY_S, left_s))

    def _mark(self) -> str:
        return hashlib.sha256(repr(self._guests.states()).encode()).hexdigest()[:16]
