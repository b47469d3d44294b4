"""The two things a broker does to the world: start the engine VM under its disk's lock, and destroy QEMU here.

Both are procedures (see :mod:`ha_broker.ports`): one port call at a time, interruptible between any two. A start that
breaks at any step destroys what it began; a broker that dies in the middle leaves QEMU paused, which the next one destroys.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from appliance.errors import Conflict, Failed, TrivetError, Unavailable
from appliance.model.cluster import Cluster
from ha_broker import limits
from ha_broker.engine_vm import engine_start, next_epoch, vm_spec
from ha_broker.ports import Ports, Procedure, call
from ha_broker.state import Held, LocalVm, Notes, Outcome

T = TypeVar("T")
DISK_LOCKED = "vm.disk-locked"
DISK_UNREACHABLE = "vm.disk-unreachable"
UNREACHABLE = (errno.ENOTCONN, errno.EBADFD, errno.ESTALE)
"""What a mount of Gluster answers while its bricks, or some of its handles, are lost."""
FULL = (errno.ENOSPC, errno.EDQUOT)
OWN_EPOCH, NOTE, RESUME = "raise the own agent's epoch", "note the start", "resume"
LOCAL = (OWN_EPOCH, NOTE)
"""Steps that write to this host's own /var, which may be full as well."""
VM_ACTIVE = "ha.vm-active"


@dataclass
class Progress:
    """Shared between a running start and the loop: how far it is, and whether it was told to stop."""

    began_s: float
    step: str = "begin"
    cancelled: bool = False
    lost: bool = False
    """… because the own storage was lost."""


@dataclass(frozen=True)
class StartOrder:
    """What a start needs to know: all read by the loop before it began."""

    cluster: Cluster
    host: str
    image: str
    epoch_known: int
    notes: Notes
    since: str


@dataclass(frozen=True)
class StartEnd:
    """How a start ended. ``vm`` is the engine VM as it was left."""

    outcome: Outcome
    held: Held | None
    vm: LocalVm
    sentence: str


def destroy(ports: Ports) -> Procedure[LocalVm]:
    """Destroy QEMU here; the engine VM as it is then."""
    yield from call(ports.hypervisor.destroy)
    try:
        return (yield from call(ports.hypervisor.engine_vm))
    except Unavailable as silent:  # QEMU has gone all the same
        return LocalVm("unknown", error=str(silent))


def start(ports: Ports, order: StartOrder, progress: Progress) -> Procedure[StartEnd]:
    """The start protocol. Never raises for what a step may meet: every failure becomes a destroyed QEMU and a sentence."""
    try:
        held = yield from _steps(ports, order, progress)
    except (TrivetError, OSError) as error:
        if isinstance(error, Conflict) and error.code == DISK_LOCKED:
            return StartEnd("locked", None, LocalVm("off"), f"the disk's lock refused the start: {error.reason}")
        if isinstance(error, Conflict) and error.code == VM_ACTIVE:
            return StartEnd("locked", None, LocalVm("unknown", error="to be looked at again"), str(error))
        failed_at = progress.step
        vm = yield from destroy(ports)
        if _unreached(error, progress):
            text = f"the start did not reach the disk at “{failed_at}” and QEMU was destroyed: {error}"
            return StartEnd("unreachable", None, vm, text)
        if isinstance(error, OSError) and error.errno in FULL and progress.step not in LOCAL:
            text = f"the volume engine is full: the start ended at “{failed_at}” and QEMU was destroyed: {error}"
            return StartEnd("no-space", None, vm, text)
        return StartEnd("failed", None, vm, f"the start failed at “{failed_at}” and QEMU was destroyed: {error}")
    vm = LocalVm("running", held.pid)
    return StartEnd("done", held, vm, f"the engine VM was started here with epoch {held.epoch}")


def _steps(ports: Ports, order: StartOrder, progress: Progress) -> Procedure[Held]:
    step = _Stepper(progress)
    others = [member.name for member in order.cluster.members if member.name != order.host]
    first_guess = engine_start(order.cluster, 0, order.host)
    yield from step("seed is there", lambda: ports.seed.ensure(first_guess))
    spec = vm_spec(order.cluster, order.image)
    pid = yield from step("QEMU starts paused and takes the lock", lambda: ports.hypervisor.start_paused(spec))
    # From here on the lock is ours: nobody else may write the record or the seed.
    record = yield from step("read the epoch record", lambda: _record(ports))
    answers = yield from step("ask the other agents", lambda: ports.agents.epochs(others, limits.AGENT_DEADLINE_S))
    known = max(order.epoch_known, (yield from step("read the own agent's epoch", ports.epochs.local)))
    epoch = next_epoch(record, known, answers, len(order.cluster.members))
    yield from step("write the epoch record", lambda: ports.epochs.write_record(epoch))
    told = engine_start(order.cluster, epoch, order.host)
    yield from step("write the seed", lambda: ports.seed.write(told))
    yield from step(OWN_EPOCH, lambda: ports.epochs.raise_local(epoch))
    answering = tuple(answers)
    yield from step("tell the other agents", lambda: ports.agents.raise_epoch(answering, epoch, limits.AGENT_DEADLINE_S))
    # If this host stood still since it took the lock, another may have it by now and have written a higher epoch.
    yield from step("read the epoch record again", lambda: _confirm(ports, epoch))
    held = Held(epoch, pid, order.since)
    yield from step(NOTE, lambda: ports.notes.save(replace(order.notes, held=held)))
    yield from step(RESUME, ports.hypervisor.resume)
    return held


def _unreached(error: Exception, progress: Progress) -> bool:
    """Whether nothing was wrong with the start but that the volume was not there; and no guest ran."""
    if progress.step == RESUME:
        return False
    if isinstance(error, OSError):
        return error.errno in UNREACHABLE
    return progress.lost or (isinstance(error, TrivetError) and error.code == DISK_UNREACHABLE)


def _record(ports: Ports) -> int | None:
    try:
        return ports.epochs.read_record()
    except Failed as damaged:
        if damaged.code != "ha.epoch-record-damaged":
            raise
        return None


def _confirm(ports: Ports, epoch: int) -> None:
    found = ports.epochs.read_record()
    if found != epoch:
        raise Failed(
            "ha.start-overtaken",
            subject="the epoch record",
            reason=f"it says {found}, this start wrote {epoch}: another host took the lock over in between",
            remedy="Nothing needs to be done: that host runs the engine VM.",
        )


class _Stepper:
    """Runs one step: names it, and stops when the loop has broken the start off, before and after it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, name: str, work: Callable[[], T]) -> Procedure[T]:
        self._stop()
        self._progress.step = name
        value = yield from call(work)
        self._stop()
        return value

    def _stop(self) -> None:
        if self._progress.cancelled:
            raise Failed(
                "ha.start-broken-off",
                subject="the start of the engine VM",
                reason="the broker broke it off",
                remedy="The broker's decision before this line says why.",
            )
