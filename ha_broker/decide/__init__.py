"""What the broker does next: one pure function, rules in order, each with its sentence.

Nothing here decides who *may* run the engine VM: the lock on its data disk does. The rules only decide when to try, and when
a QEMU here has no business any more. Sentences hold no running numbers, so that a changed sentence means a changed decision.

One file for each question: is work under way (:mod:`.working`), a QEMU here (:mod:`.present`; how its guest fares:
:mod:`.guest`; whether it is handed over: :mod:`.moving`), none here (:mod:`.absent`), does libvirt not say (:mod:`.unseen`).
"""

from __future__ import annotations

from ha_broker.decide.absent import absent
from ha_broker.decide.common import lost_storage, recent_starts
from ha_broker.decide.present import engine_seen, present
from ha_broker.decide.unseen import unseen
from ha_broker.decide.working import working
from ha_broker.state import Decision, Observation

__all__ = ["decide", "engine_seen", "lost_storage", "recent_starts"]


def decide(seen: Observation) -> Decision:
    """The decision for what was observed."""
    if seen.work is not None:
        return working(seen, seen.work)
    if seen.vm.power == "unknown":
        return unseen(seen)
    if seen.vm.power == "off" or (seen.vm.power == "crashed" and not seen.vm.pid):
        return absent(seen)
    return present(seen)
