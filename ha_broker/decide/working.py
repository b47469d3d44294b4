"""Something is under way: a start, a destroy, a migration, a button. Wait for it, or break it off."""

from __future__ import annotations

from ha_broker import limits
from ha_broker.decide import guest
from ha_broker.decide.common import lost_storage, superseding, wait
from ha_broker.state import Decision, Observation, Work


def working(seen: Observation, work: Work) -> Decision:
    """The decision while ``work`` is under way."""
    if work.cancelled:
        what = "a migration" if work.kind == "migrate" else "a start"
        return wait(seen, f"{work.kind}-ending", f"{what} here was broken off: waiting for its step “{work.step}” to end")
    if work.kind == "destroy":
        return wait(seen, "destroying", "QEMU here is being destroyed")
    if work.kind == "start":
        return _starting(seen, work)
    if seen.vm.power == "paused-io-error":
        return Decision("destroy", "io-error", "QEMU here is paused by an I/O error of its disk: it is destroyed")
    lost = lost_storage(seen.storage, seen.pool)
    if lost:
        return Decision("destroy", "storage-lost", f"{lost}: QEMU here is destroyed, so that it does not linger")
    if work.kind == "migrate":
        return _migrating(seen, work)
    if work.kind == "shutdown" and seen.guest.button_s is not None and seen.guest.button_s >= limits.SHUTDOWN_ALLOWANCE_S:
        return guest.button(seen, seen.guest.button_s)  # libvirt hangs in it: QEMU stands still
    stopped = guest.stopped_too_long(seen) if work.kind == "resume" and seen.maintenance.value != "global" else None
    if stopped is not None:  # it does not go on, whoever asks
        return stopped
    doing = "shut down" if work.kind == "shutdown" else "resumed"
    return wait(seen, f"{work.kind}-asked", f"libvirt is asked: the guest here is to be {doing}")


def _starting(seen: Observation, work: Work) -> Decision:
    lost = lost_storage(seen.storage, seen.pool)
    if lost:
        return Decision("destroy", "start-storage-lost", f"the start here is broken off: {lost}")
    if work.for_s >= limits.START_DEADLINE_S:
        reason = f"step “{work.step}” was not done {limits.START_DEADLINE_S:g} s after the start began"
        return Decision("destroy", "start-deadline", f"the start here is broken off: {reason}")
    return wait(seen, "starting", "this host is starting the engine VM", limits.START_DEADLINE_S - work.for_s)


def _migrating(seen: Observation, work: Work) -> Decision:
    newer = superseding(seen)
    if newer is not None and newer.slot is not None:
        text = f"{newer.name} started the engine VM with epoch {newer.slot.engine_epoch}, above {seen.own_epoch} here"
        return Decision("destroy", "superseded", f"{text}: QEMU here is destroyed")
    stopped = None if seen.maintenance.value == "global" else guest.stopped_too_long(seen)
    if stopped is not None:  # it would neither leave nor say that it does not
        return stopped
    left_s = limits.MOVE_DEADLINE_S - work.for_s
    if left_s <= 0:
        text = f"the migration to {work.target} takes longer than {limits.MOVE_DEADLINE_S:g} s"
        return wait(seen, "migration-late", f"{text}: waiting for libvirt to end it")
    return wait(seen, "migrating", f"the engine VM is being migrated from here to {work.target}", left_s)
