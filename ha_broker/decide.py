"""What the broker does next: one pure function, rules in order, each with its sentence.

Nothing here decides who *may* run the engine VM: the lock on its data disk does. The rules only decide when to try, and when
a QEMU here has no business any more. Sentences hold no running numbers, so that a changed sentence means a changed decision.
"""

from __future__ import annotations

from ha_broker import limits
from ha_broker.state import Attempt, Decision, EngineSeen, LocalVm, Observation, OwnStorage, Peer


def decide(seen: Observation) -> Decision:
    """The decision for what was observed."""
    if seen.work is not None:
        return _working(seen)
    if seen.vm.power == "unknown":
        return _no(seen, "libvirt-silent", f"libvirt does not answer ({seen.vm.error}): nothing is started from here")
    if seen.vm.power in ("off", "crashed"):
        return _absent(seen)
    return _present(seen)


def _no(seen: Observation, rule: str, sentence: str, wait_s: float | None = None) -> Decision:
    return Decision("none", rule, sentence, None if wait_s is None else seen.now_s + wait_s)


# --- a start is under way


def _working(seen: Observation) -> Decision:
    work = seen.work
    assert work is not None
    if work.cancelled:
        return _no(seen, "start-ending", f"a start here was broken off: waiting for its step “{work.step}” to end")
    if work.kind == "destroy":
        return _no(seen, "destroying", "QEMU here is being destroyed")
    lost = lost_storage(seen.storage)
    if lost:
        return Decision("destroy", "start-storage-lost", f"the start here is broken off: {lost}")
    if work.for_s >= limits.START_DEADLINE_S:
        reason = f"step “{work.step}” was not done {limits.START_DEADLINE_S:g} s after the start began"
        return Decision("destroy", "start-deadline", f"the start here is broken off: {reason}")
    return _no(seen, "starting", "this host is starting the engine VM", limits.START_DEADLINE_S - work.for_s)


def lost_storage(storage: OwnStorage) -> str:
    """Why this host has to take its own storage for lost, or empty."""
    if storage.failing_s >= limits.FAILING_DESTROY_S:
        return f"own writes to the board are refused ({storage.error})"
    if storage.unwritten_s >= limits.UNWRITTEN_DESTROY_S:
        return f"the own slot could not be written for {limits.UNWRITTEN_DESTROY_S:g} s"
    return ""


# --- a QEMU is here


def _present(seen: Observation) -> Decision:
    power = seen.vm.power
    if power == "paused-io-error":
        return Decision(
            "destroy", "io-error", "QEMU here is paused by an I/O error of its disk: it is destroyed, never resumed"
        )
    if power == "paused":
        return Decision("destroy", "left-paused", "QEMU here was left paused by a start that broke off: it is destroyed")
    lost = lost_storage(seen.storage)
    if lost:
        return Decision("destroy", "storage-lost", f"{lost}: QEMU here is destroyed, so that it does not linger")
    newer = _newer(seen)
    if newer is not None and newer.slot is not None:
        text = f"{newer.name} started the engine VM with epoch {newer.slot.engine_epoch}, above {seen.own_epoch} here"
        return Decision("destroy", "superseded", f"{text}: the disk's lock is not ours any more, QEMU here is destroyed")
    return _keep(seen)


def _newer(seen: Observation) -> Peer | None:
    """A peer that has started the engine VM after us. Such an epoch is only made under the disk's lock, so we lost ours."""
    above = [
        p for p in seen.peers if p.slot is not None and p.slot.engine != "none" and p.slot.engine_epoch > seen.own_epoch
    ]
    return max(above, key=lambda peer: peer.slot.engine_epoch if peer.slot else 0, default=None)


def _keep(seen: Observation) -> Decision:
    what = f"the engine VM runs here with epoch {seen.own_epoch}"
    if seen.vm.power == "migrating":
        return _no(seen, "migrating", f"{what} and is being migrated")
    if seen.vm.power == "shutting-down":
        return _no(seen, "shutting-down", f"{what} and its guest is shutting down")
    rival = next((peer for peer in seen.peers if peer.claims), None)
    if rival is not None:
        return _no(seen, "two-claims", f"{what}; {rival.name} claims it too: the disk's lock decides")
    if seen.storage.good_for_s <= 0:
        longest = f"for at most {limits.UNWRITTEN_DESTROY_S:g} s"
        return _no(seen, "running-stalled", f"{what}; own storage stalls: waiting {longest}", limits.UNWRITTEN_DESTROY_S)
    if not seen.engine_up:
        return _no(seen, "running-starting", f"{what}; its API does not answer yet")
    return _no(seen, "running", f"{what} and its API answers")


# --- no QEMU is here


def _absent(seen: Observation) -> Decision:
    if seen.maintenance.value == "global":
        text = f"global maintenance is on (set on {seen.maintenance.by}): the engine VM is not started"
        return _no(seen, "maintenance", text)
    claimant = next((peer for peer in seen.peers if peer.claims), None)
    if claimant is not None and claimant.slot is not None:
        return _stand_by(seen, claimant)
    waiting = _own_hindrance(seen)
    if waiting is not None:
        return waiting
    unread = [peer.name for peer in seen.peers if not peer.read]
    if unread:
        return _no(seen, "board-unread", f"the board's slot of {', '.join(unread)} was not read yet: no start before it is")
    locked = _after_lock(seen)
    if locked is not None:
        return locked
    return _turn(seen)


def _stand_by(seen: Observation, claimant: Peer) -> Decision:
    assert claimant.slot is not None
    if claimant.slot.engine == "running":
        text = f"{claimant.name} runs the engine VM with epoch {claimant.slot.engine_epoch}: standing by"
        return _no(seen, "runs-elsewhere", text)
    return _no(seen, "starts-elsewhere", f"{claimant.name} is starting the engine VM: standing by")


def _own_hindrance(seen: Observation) -> Decision | None:
    storage = seen.storage
    if storage.failing_s > 0:
        refused = f"own writes to the board are refused ({storage.error})"
        text = f"{refused}: without the volume's quorum nothing is started from here"
        return _no(seen, "own-storage-refused", text)
    if storage.good_for_s <= 0:
        return _no(seen, "own-storage-stalled", "own storage stalls: nothing is started from here, nobody is called silent")
    if storage.good_for_s < limits.GRACE_S:
        text = f"own storage is good again: {limits.GRACE_S:g} s for the others to show themselves"
        return _no(seen, "grace", text, limits.GRACE_S - storage.good_for_s)
    damaged = ", ".join(peer.name for peer in seen.peers if peer.slot is None and peer.finding and not peer.silent)
    if damaged:
        text = f"the slot of {damaged} cannot be understood: that host counts as silent after {limits.SILENT_S:g} s"
        return _no(seen, "board-damaged", text)
    if seen.score.value <= 0:
        return _no(seen, "not-eligible", f"this host is not eligible: {'; '.join(seen.score.reasons)}")
    return None


def recent_starts(attempts: tuple[Attempt, ...], now_s: float) -> int:
    """Starts that count for L2. One that the lock refused never ran anything and does not."""
    return sum(1 for a in attempts if a.outcome != "locked" and now_s - a.at_s < limits.STARTS_WINDOW_S)


def _after_lock(seen: Observation) -> Decision | None:
    refused_in_row = 0
    for attempt in reversed(seen.notes.attempts):
        if attempt.outcome != "locked":
            break
        refused_in_row += 1
    if not refused_in_row:
        return None
    wait_s = min(limits.LOCK_STANDBY_S * 2 ** (refused_in_row - 1), limits.LOCK_STANDBY_MAX_S)
    left_s = seen.notes.attempts[-1].at_s + wait_s - seen.now_s
    if left_s <= 0:
        return None
    return _no(
        seen, "lock-refused", f"the disk's lock refused the start: {_holder(seen)}; next try after {wait_s:g} s", left_s
    )


def _holder(seen: Observation) -> str:
    claimed = [peer for peer in seen.peers if peer.slot is not None and peer.slot.engine != "none"]
    if not claimed:
        return "nobody on the board says that it has it"
    last = max(claimed, key=lambda peer: peer.slot.engine_epoch if peer.slot else 0)
    return f"{last.name} probably still has it, its broker is silent"


def _turn(seen: Observation) -> Decision:
    starts = recent_starts(seen.notes.attempts, seen.now_s)
    others = [p for p in seen.peers if not p.silent and p.slot is not None and p.slot.score > 0]
    able = [p for p in others if p.slot is not None and p.slot.starts < limits.STARTS_MAX]
    window_min = limits.STARTS_WINDOW_S / 60
    if starts >= limits.STARTS_MAX:
        used = f"{limits.STARTS_MAX} starts within {window_min:g} min are used up here"
        if able:
            return _no(seen, "starts-used", f"{used}: left to {', '.join(p.name for p in able)}")
        return _no(seen, "hold", f"{used} and no other host is able to: holding, somebody has to look at the engine VM")
    last = seen.notes.attempts[-1] if seen.notes.attempts else None
    if seen.notes.held is not None and (last is None or last.outcome == "done"):
        text = f"QEMU here has gone (epoch {seen.notes.held.epoch}): restarting it in place"
        return Decision("start", "restart-in-place", text)
    if last is not None and last.outcome in ("failed", "begun") and able:
        left_s = last.at_s + limits.FAILED_PAUSE_S - seen.now_s
        if left_s > 0:
            return _no(seen, "failed-pause", "the last start here failed: another host may try first", left_s)
    return _ranked(seen, able)


def _ranked(seen: Observation, able: list[Peer]) -> Decision:
    order = [(-seen.score.value, seen.host), *((-p.slot.score, p.name) for p in able if p.slot is not None)]
    better = [name for key, name in sorted(order) if (key, name) < (-seen.score.value, seen.host)]
    left_s = len(better) * limits.STAGGER_S - seen.nobody_for_s
    if better and left_s > 0:
        return _no(seen, "stagger", f"nobody has the engine VM; {', '.join(better)} may try before this host", left_s)
    gone = [p.name for p in seen.peers if p.silent]
    because = f"{', '.join(gone)} silent" if gone else "all hosts answer"
    return Decision("start", "nobody-has-it", f"nobody has the engine VM ({because}): this host starts it")


def engine_seen(vm: LocalVm, working: bool, before: EngineSeen) -> EngineSeen:
    """What this host's slot says of the engine VM; while libvirt is silent, what it said before."""
    if vm.power == "unknown":
        return before
    if working:
        return "starting"
    if vm.power in ("off", "crashed"):
        return "none"
    return "paused" if vm.power in ("paused", "paused-io-error") else "running"
