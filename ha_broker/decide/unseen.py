"""libvirt says nothing of the engine VM: is a QEMU of it here all the same, and has it any business here?

libvirt does not answer about a VM whose QEMU stands still (stopped, or waiting for the kernel) once anything was asked of
that QEMU. Its process is looked at instead. Ending a QEMU never makes two of one; what follows it is an ordinary start.
"""

from __future__ import annotations

from ha_broker import limits
from ha_broker.decide import guest
from ha_broker.decide.common import wait
from ha_broker.decide.present import no_business
from ha_broker.state import Decision, Observation

DOES = {
    "runs": "its process runs",
    "waits": "its process waits for the kernel",
    "stopped": "its process is stopped",
}


def unseen(seen: Observation) -> Decision:
    """The decision while libvirt does not say what is here."""
    silent = f"libvirt does not answer ({seen.vm.error})"
    if not seen.vm.pid:
        return wait(seen, "libvirt-silent", f"{silent}: nothing is started from here")
    ended = no_business(seen)
    if ended is not None:
        return ended
    if seen.guest.button_s is not None:
        return guest.button(seen, seen.guest.button_s)
    here = f"{silent}; QEMU of the engine VM is here, {DOES.get(seen.vm.process, 'its process is there')}"
    if seen.maintenance.value == "global":
        return wait(seen, "libvirt-silent", f"{here}; global maintenance is on: it is left alone")
    hung = guest.hung(seen)
    if hung is not None:
        return hung
    if guest.stopped(seen):
        longest = f"for at most {limits.STOPPED_ALLOWANCE_S:g} s"
        left_s = limits.STOPPED_ALLOWANCE_S - seen.guest.still_s
        return wait(seen, "libvirt-silent", f"{here}: waiting {longest} for it to go on", left_s)
    if seen.engine_up or seen.guest.reached_by:
        return wait(seen, "libvirt-silent", f"{here} and its API answers: it goes on")
    return wait(seen, "libvirt-silent", f"{here}; its API does not answer", guest.left_s(seen))
