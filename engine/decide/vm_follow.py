"""What a host's word about its VMs means for the VMs that we know. Pure.

Who decides here is asked for one host at a time, as it speaks. VMs that a job holds are the job's: they are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.model.vm import VmPower

SHUTDOWN_LIMIT_S = 300.0
"""A guest that was asked to shut down and still runs after so long does not: oVirt's vdsm waits as long for a clean end."""
RUNNING = frozenset({"running", "paused", "paused-io-error", "paused-no-space", "shutting-down", "migrating"})
"""Powers of a VM that the host has. One that is only arriving is still its source's; one that is off has gone."""
STOPPED_WORDS: Mapping[VmPower, str] = {
    "paused": "VM_PAUSED", "paused-io-error": "VM_PAUSED_EIO", "paused-no-space": "VM_PAUSED_ENOSPC",
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A VM in the store. ``host``: id, empty when it runs nowhere. ``asked_ms``: when its guest was asked to shut down."""

    id: str
    status: str
    host: str
    changed_ms: int
    asked_ms: int | None = None
    detail: str = ""
    """Why it is paused, as the host said."""


@dataclass(frozen=True)
class News:
    """A VM is ``status`` from now on, at ``host`` (empty: nowhere). ``event``: of engine/decide/audit.py, empty: none."""

    id: str
    status: str
    host: str
    event: str = ""
    reason: str = ""
    detail: str = ""


def heard(
    host: str,
    told: Mapping[str, VmPower],
    known: Iterable[Known],
    asked_ms: int,
    now_ms: int,
    *,
    is_evicted: bool = False,
) -> tuple[News, ...]:
    """What changes because the host said which VMs it has.

    ``told``: id → power. ``asked_ms``: when the question was sent; the answer says nothing about a VM that changed since.
    ``known``: the VMs that are at this host, and those of which it speaks. ``is_evicted``: what it still has is left
    over, and is ended before the host is let in again; only what it has no more is news.
    """
    found = []
    for vm in known:
        if vm.changed_ms >= asked_ms:
            continue
        power = told.get(vm.id)
        if power in RUNNING and is_evicted:
            continue
        if power in RUNNING:
            found.append(_there(host, vm, power, now_ms))
        elif vm.host == host and power != "incoming":
            found.append(_gone(vm, power))
    return tuple(one for one in found if one is not None)


def _there(host: str, vm: Known, power: VmPower, now_ms: int) -> News | None:
    """The host has it."""
    if vm.host not in ("", host) and power == "migrating":
        return None  # it is leaving here already, and another host has it by our books
    status, event, reason, detail = "up", "", "", ""
    if power in STOPPED_WORDS:
        status, event, detail = "paused", STOPPED_WORDS[power], power
    elif power == "shutting-down":
        status = "powering_down"
    elif power == "migrating":
        status = "migrating"
    elif vm.status == "powering_down":
        waited_s = (now_ms - (vm.asked_ms or now_ms)) / 1000
        if waited_s < SHUTDOWN_LIMIT_S:
            status = "powering_down"
        else:
            event = "VM_POWER_DOWN_FAILED"
    elif vm.status in ("powering_up", "wait_for_launch"):
        event = "USER_RUN_VM"
    elif vm.status == "paused" and vm.detail not in ("", "paused"):
        event = "VM_RECOVERED_FROM_PAUSE_ERROR"
    if (status, host, detail) == (vm.status, vm.host, vm.detail):
        return None
    if status == "paused" and vm.status == "paused" and not vm.detail:
        event = ""  # it was started so, or paused by us
    return News(vm.id, status, host, event, reason, detail)


def _gone(vm: Known, power: VmPower | None) -> News:
    """Its host has it no more. ``VM_DOWN_ERROR``: nobody wanted that, so a highly available one is started again."""
    if power == "crashed":
        return News(vm.id, "down", "", "VM_DOWN_ERROR", "its QEMU has crashed")
    if vm.status in ("powering_down", "reboot_in_progress"):
        return News(vm.id, "down", "", "VM_DOWN", "Exit message: User shut down from within the guest")
    if vm.status in ("unknown", "powering_up", "wait_for_launch"):
        return News(vm.id, "down", "", "VM_DOWN_ERROR", "its host does not have it any more")
    return News(vm.id, "down", "", "VM_DOWN", "Its host says that it has ended")


def silent(known: Iterable[Known]) -> tuple[News, ...]:
    """A host does not answer: nobody can say of its VMs whether they run. They are started nowhere else until that is
    certain."""
    return tuple(
        News(vm.id, "unknown", vm.host, "VM_SET_TO_UNKNOWN_STATUS", detail=vm.detail)
        for vm in known
        if vm.status != "unknown"
    )
