"""No QEMU of the engine VM is here: stand by, wait, or start it."""

from __future__ import annotations

from appliance import layout
from ha_broker import limits
from ha_broker.decide.common import able, in_a_row, names, newest, recent_starts, wait
from ha_broker.state import Decision, Observation, Outcome, Peer


def absent(seen: Observation) -> Decision:
    """The decision while no QEMU is here."""
    handed_to = seen.handing_to or seen.notes.moving
    if handed_to:
        text = f"the engine VM was handed to {handed_to}: waiting until it says so"
        return wait(seen, "handed-over", f"{text}, for at most {limits.HANDED_CLAIM_S:g} s")
    if seen.forced:
        return _forced(seen)
    if seen.maintenance.value == "global":
        text = f"global maintenance is on (set on {seen.maintenance.by}): the engine VM is not started"
        return wait(seen, "maintenance", text)
    if seen.storage.failing_s >= limits.FAILING_DESTROY_S:
        return _refused(seen)  # what the others claimed was read before: the survivor of two is not to say "standing by"
    return _elsewhere(seen) or _own_hindrance(seen) or _unsafe(seen) or _restart(seen) or _turn(seen)


# --- a start that the rules would not make


def _forced(seen: Observation) -> Decision:
    """A person typed the confirmation. It overrides maintenance, used-up starts and eligibility, never the safety of the
    data: quorum, the disk's lock, split-brain, a living holder."""
    storage = seen.storage
    if storage.failing_s > 0:
        why = f"own writes to the board are refused ({storage.error}): without a second brick no write is safe"
        return wait(seen, "forced-refused", f"the forced start is refused: {why}; bring another host back")
    if storage.good_for_s < limits.GRACE_S:
        return wait(seen, "forced-waits", "the forced start waits until own storage is good")
    refused = _elsewhere(seen) or _unsafe(seen)
    if refused is not None:
        return wait(seen, "forced-refused", f"the forced start is refused: {refused.sentence}")
    if not seen.facts.image:
        return wait(seen, "forced-refused", f"the forced start is refused: no engine image ({seen.facts.image_error})")
    return Decision("start", "forced", "somebody confirmed a forced start: this host starts the engine VM")


# --- others


def _elsewhere(seen: Observation) -> Decision | None:
    claimants: list[Peer] = []
    for peer in seen.peers:
        if peer.claims and peer.slot is not None:
            if peer.slot.engine == "running":
                return _stand_by(seen, peer)
            claimants.append(peer)
    claimant = newest(claimants)
    if claimant is not None:
        return _stand_by(seen, claimant)
    newer = [peer for peer in seen.peers if peer.newer and not peer.silent]
    if newer:
        text = f"{names(newer)} has a newer broker that this one does not understand: nothing is started while it lives"
        return wait(seen, "newer-broker", f"{text}; upgrade this host")
    return None


def _stand_by(seen: Observation, claimant: Peer) -> Decision:
    slot = claimant.slot
    assert slot is not None
    if slot.engine == "running":
        text = f"{claimant.name} runs the engine VM with epoch {slot.engine_epoch}: standing by"
        return wait(seen, "runs-elsewhere", text)
    if slot.engine in ("migrating", "incoming"):
        where = f"{claimant.name} is migrating the engine VM to {slot.handing_to}" if slot.handing_to else ""
        text = where or f"the engine VM is being migrated ({claimant.name})"
        return wait(seen, "moves-elsewhere", f"{text}: standing by")
    if slot.engine == "paused":
        return wait(seen, "paused-elsewhere", f"{claimant.name} has the engine VM, paused: standing by")
    return wait(seen, "starts-elsewhere", f"{claimant.name} is starting the engine VM: standing by")


# --- this host


def _own_hindrance(seen: Observation) -> Decision | None:
    storage = seen.storage
    if storage.failing_s > 0:
        return _refused(seen)
    if storage.good_for_s <= 0:
        text = "own storage stalls: nothing is started from here, nobody is called silent"
        return wait(seen, "own-storage-stalled", text)
    if storage.good_for_s < limits.GRACE_S:
        text = f"own storage is good again: {limits.GRACE_S:g} s for the others to show themselves"
        return wait(seen, "grace", text, limits.GRACE_S - storage.good_for_s)
    if seen.losses >= limits.LOSSES_MAX and storage.good_for_s < limits.LOSSES_STEADY_S:
        often = f"{limits.LOSSES_MAX} times within {limits.STARTS_WINDOW_S / 60:g} min"
        text = f"own storage was lost {often}: holding until it was good for {limits.LOSSES_STEADY_S:g} s"
        return wait(seen, "flapping", text, limits.LOSSES_STEADY_S - storage.good_for_s)
    damaged = ", ".join(p.name for p in seen.peers if p.slot is None and p.finding and not p.silent and not p.newer)
    if damaged:
        text = f"the slot of {damaged} cannot be understood: that host counts as silent after {limits.SILENT_S:g} s"
        return wait(seen, "board-damaged", text)
    if seen.score.value <= 0:
        return wait(seen, "not-eligible", f"this host is not eligible: {'; '.join(seen.score.reasons)}")
    return None


def _refused(seen: Observation) -> Decision:
    refused = f"own writes to the board are refused ({seen.storage.error})"
    if seen.storage.no_space:
        return wait(seen, "volume-full", f"{refused}: the volume engine is full; make space on the bricks")
    if seen.pool.firm:
        return wait(seen, "board-refused", f"{refused}, although the volume can be written: nothing is started from here")
    text = f"{refused}: no quorum from here, nothing is started; bring another host, its brick or the network back"
    return wait(seen, "own-storage-refused", text)


def _unsafe(seen: Observation) -> Decision | None:
    """What speaks against any start here, also a forced one."""
    split = [path for path in (seen.pool.heal.split_brain if seen.pool.heal is not None else ()) if _of_the_vm(path)]
    if split:
        text = f"{', '.join(split)} on the volume engine is in split-brain, its copies contradict each other: no start"
        return wait(seen, "split-brain", f"{text}; {_repair(seen, split[0])}")
    unread = [peer.name for peer in seen.peers if not peer.read]
    if unread:
        text = f"the board's slot of {', '.join(unread)} was not read yet: no start before it is"
        return wait(seen, "board-unread", text)
    old = [peer for peer in seen.peers if peer.old and not peer.silent]
    if old:  # it may have started the engine VM while the board could not be read from here (seed 902883)
        text = f"the board's slot of {names(old)} is from before own storage was good: no start until it is news or silent"
        return wait(seen, "board-old", text)
    return None


def _repair(seen: Observation, file: str) -> str:
    """Nobody chooses between two copies while a third one, which may be the good one, is away (seed 2819)."""
    if seen.pool.away:
        return f"bring the brick of {', '.join(seen.pool.away)} back, its copy may be the good one"
    command = f"gluster volume heal {layout.ENGINE_VOLUME} split-brain source-brick HOST:BRICK /{file.lstrip('/')}"
    return f"decide which copy is the good one, then `{command}`"


def _of_the_vm(path: str) -> bool:
    """Whether a file of the volume, as Gluster names it, is one that a start needs. One without a name might be."""
    return path.lstrip("/").startswith((f"{layout.ENGINE_VM_FILES.name}/", "<gfid:"))


# --- whose turn it is


def _restart(seen: Observation) -> Decision | None:
    """QEMU has gone from here: only this host knows that, so nobody else need be waited for."""
    if seen.notes.held is None or recent_starts(seen.notes.attempts, seen.now_s) >= limits.STARTS_MAX:
        return None
    text = f"QEMU here has gone (epoch {seen.notes.held.epoch}): restarting it in place"
    return Decision("start", "restart-in-place", text)


def _turn(seen: Observation) -> Decision:
    refused = _after_lock(seen)
    if refused is not None:
        return refused
    others = able(seen)
    window_min = limits.STARTS_WINDOW_S / 60
    if recent_starts(seen.notes.attempts, seen.now_s) >= limits.STARTS_MAX:
        used = f"{limits.STARTS_MAX} starts within {window_min:g} min are used up here"
        if others:
            return wait(seen, "starts-used", f"{used}: left to {names(others)}")
        text = f"{used} and no other host is able to: holding, somebody has to look at the engine VM"
        return wait(seen, "hold", text)
    released_s = seen.notes.released_s
    if released_s is not None and others and seen.now_s - released_s < limits.RELEASED_PAUSE_S:
        left_s = released_s + limits.RELEASED_PAUSE_S - seen.now_s
        return wait(seen, "released", f"the engine VM was given up here: {names(others)} may start it first", left_s)
    return _after_no_space(seen) or _after_unreached(seen) or _after_failure(seen, others) or _ranked(seen, others)


def _backoff(seen: Observation, outcome: Outcome, first_s: float, longest_s: float) -> tuple[float, float]:
    """The pause after the last attempts that ended so, doubled with each; and what is left of it (none: no such attempt)."""
    row = in_a_row(seen.notes.attempts, outcome)
    if not row:
        return 0.0, 0.0
    wait_s = min(first_s * 2 ** (row - 1), longest_s)
    return wait_s, seen.notes.attempts[-1].at_s + wait_s - seen.now_s


def _after_unreached(seen: Observation) -> Decision | None:
    """QEMU did not get at the disk: the volume settles, which is waited for; hosts that fare better try meanwhile."""
    wait_s, left_s = _backoff(seen, "unreachable", limits.UNREACHED_PAUSE_S, limits.UNREACHED_PAUSE_MAX_S)
    if left_s <= 0:
        return None
    text = f"the disk could not be reached from here: the volume may still settle; next try after {wait_s:g} s"
    return wait(seen, "disk-unreached", text, left_s)


def _after_no_space(seen: Observation) -> Decision | None:
    """A start found the volume full: the next one begins when there is space, however long that takes, and uses none up."""
    wait_s, left_s = _backoff(seen, "no-space", limits.NO_SPACE_PAUSE_S, limits.NO_SPACE_PAUSE_MAX_S)
    if not wait_s:
        return None
    free_bytes = seen.pool.free_bytes
    if free_bytes is not None and free_bytes < limits.RESUME_FREE_BYTES:
        text = "the volume engine is full, a start needs space for its epoch record: make space on the bricks"
        return wait(seen, "volume-full", text)
    if left_s <= 0:
        return None
    return wait(
        seen, "volume-full", f"the volume engine was full at the last start here; next try after {wait_s:g} s", left_s
    )


def _after_failure(seen: Observation, others: list[Peer]) -> Decision | None:
    last = seen.notes.attempts[-1] if seen.notes.attempts else None
    if last is None or last.outcome not in ("failed", "begun", "unhealthy"):
        return None
    if last.outcome != "failed" and not others:
        return None
    is_last = last.outcome == "failed" and recent_starts(seen.notes.attempts, seen.now_s) == limits.STARTS_MAX - 1
    pause_s = limits.LAST_START_PAUSE_S if is_last else limits.FAILED_PAUSE_S
    left_s = last.at_s + pause_s - seen.now_s
    if left_s <= 0:
        return None
    if others:
        return wait(seen, "failed-pause", "the last start here failed: another host may try first", left_s)
    text = f"the last start here failed and no other host is able to: what broke it may pass; next try after {pause_s:g} s"
    return wait(seen, "failed-pause", text, left_s)


def _after_lock(seen: Observation) -> Decision | None:
    wait_s, left_s = _backoff(seen, "locked", limits.LOCK_STANDBY_S, limits.LOCK_STANDBY_MAX_S)
    if left_s <= 0:
        return None
    text = f"the disk's lock refused the start: {_holder(seen)}; next try after {wait_s:g} s"
    return wait(seen, "lock-refused", text, left_s)


def _holder(seen: Observation) -> str:
    last = newest([peer for peer in seen.peers if peer.slot is not None and peer.slot.engine != "none"])
    return f"{last.name} probably still has it, its broker is silent" if last else "nobody on the board says that it has it"


def _ranked(seen: Observation, others: list[Peer]) -> Decision:
    order = [(-seen.score.value, seen.host), *((-p.slot.score, p.name) for p in others if p.slot is not None)]
    better = [name for key, name in sorted(order) if (key, name) < (-seen.score.value, seen.host)]
    left_s = len(better) * limits.STAGGER_S - seen.nobody_for_s
    if better and left_s > 0:
        return wait(seen, "stagger", f"nobody has the engine VM; {', '.join(better)} may try before this host", left_s)
    gone = [peer for peer in seen.peers if peer.silent]
    because = f"{names(gone)} silent" if gone else "all hosts answer"
    return Decision("start", "nobody-has-it", f"nobody has the engine VM ({because}): this host starts it")
