"""Have a guest hold back its writes for who takes a copy of its disks by other means, and let it go on."""

from __future__ import annotations

from appliance.errors import Conflict, NotFound
from engine.jobs.job import Step, Told, Work
from engine.jobs.vm_state import FROZEN
from engine.jobs.vm_stop import OnVm, OnVmJob, ask
from engine.store.entity import Entity

_thaw = ask(lambda node, vm: node.vm_thaw(vm))


def _unfreeze(work: Work) -> None:
    """What this job may have frozen goes on. Frozen before: it stays so, because somebody counts on that. A VM that is down
    by now has nothing frozen, and its restart must not wait for us. One that is paused cannot be thawed: it is let go at
    once, because only who resumes it helps, and they thaw it then."""
    vm = work.entities.need("vm", work.parameters(OnVm).vm_id)
    if FROZEN in vm.body or not vm.ref("host"):
        return
    try:
        _thaw(work)
    except (NotFound, Conflict) as error:
        if isinstance(error, Conflict) and error.code != "vm.no-agent":
            raise
        work.log(f"nothing to thaw: {error}")


class VmFreeze(OnVmJob):
    """Its guest has written out its file systems and holds back writes, until it is thawed or boots anew: what comes between
    is for who asked. A freeze that failed, or of which nobody knows whether it was done, is taken back."""

    name, action, doing, wanted = "vm.freeze", "freeze VM", "Freezing the file systems of VM", frozenset({"up"})
    steps = (Step("freeze", ask(lambda node, vm: node.vm_freeze(vm)), _unfreeze),)
    told = Told("FREEZE_VM_INITIATED", "FREEZE_VM_SUCCESS", "USER_FAILED_TO_FREEZE_VM")

    def after(self, vm: Entity, given: OnVm, now_ms: int) -> Entity:
        return vm.with_body(**{FROZEN: now_ms})

    def given_up(self, work: Work) -> None:
        """It runs as it did."""


class VmThaw(OnVmJob):
    """Its guest's file systems go on."""

    name, action, doing, wanted = "vm.thaw", "thaw VM", "Thawing the file systems of VM", frozenset({"up"})
    steps = (Step("thaw", _thaw),)
    told = Told("", "THAW_VM_SUCCESS", "USER_FAILED_TO_THAW_VM")

    def after(self, vm: Entity, given: OnVm, now_ms: int) -> Entity:
        return vm.without(FROZEN)

    def given_up(self, work: Work) -> None:
        """It runs as it did."""
