"""How the guest in a running QEMU fares: does the engine in it answer, does it wait for space on the volume."""

from __future__ import annotations

from ha_broker import limits
from ha_broker.decide.common import able, names, recent_starts, wait
from ha_broker.state import Decision, Observation


def boot_allowance_s(seen: Observation) -> float:
    """How long a started engine may take until it answers first."""
    return limits.BOOT_ALLOWANCE_S * (limits.EMULATION_FACTOR if seen.facts.emulated else 1.0) * _patience(seen)


def health_allowance_s(seen: Observation) -> float:
    """How long an engine that was up may answer to nobody."""
    return limits.HEALTH_ALLOWANCE_S * _patience(seen)


def _patience(seen: Observation) -> float:
    """More on a host at its limits, where slow looks like hung."""
    return limits.OVERLOAD_FACTOR if seen.facts.load_1 >= limits.OVERLOAD * max(1, seen.facts.cpus) else 1.0


def left_s(seen: Observation) -> float:
    """For how much longer an engine that answers to nobody is waited for."""
    if seen.guest.answered:
        return max(0.0, health_allowance_s(seen) - seen.guest.unanswered_s)
    return max(0.0, boot_allowance_s(seen) - seen.guest.running_s)


def hung(seen: Observation) -> Decision | None:
    """Shut down a guest whose engine answers to nobody (faults 5 and 35), or end a QEMU that stands still; None while it
    may still be all right."""
    still = stopped_too_long(seen)
    guest = seen.guest
    if still is not None or seen.engine_up or guest.reached_by:
        return still
    what = f"the engine VM runs here with epoch {seen.own_epoch}"
    if guest.answered:
        allowance_s = health_allowance_s(seen)
        if guest.unanswered_s < allowance_s:
            return None
        why = f"{what}, but its API has answered to no host for {allowance_s:g} s"
        return _stop(seen, "guest-hung", why, True)
    if guest.running_s < boot_allowance_s(seen):
        return None
    why = f"{what}, but its API answered to nobody within {boot_allowance_s(seen):g} s of its start"
    return _stop(seen, "guest-never-up", why, not able(seen))


def stopped_too_long(seen: Observation) -> Decision | None:
    """End a QEMU whose process was stopped and does not go on."""
    if seen.guest.still_s < limits.STOPPED_ALLOWANCE_S:
        return None
    what = f"the engine VM runs here with epoch {seen.own_epoch}"
    why = f"{what}, but its QEMU process has been stopped for {limits.STOPPED_ALLOWANCE_S:g} s"
    return _stop(seen, "qemu-stopped", why, True)


def _stop(seen: Observation, rule: str, why: str, again: bool) -> Decision:
    others = able(seen)
    used = recent_starts(seen.notes.attempts, seen.now_s) >= limits.STARTS_MAX
    if used and not others:
        hold = f"{limits.STARTS_MAX} starts are used up on every host that is able to"
        return wait(seen, "hold-console", f"{why}; {hold}: holding, its console stays open for somebody to look at")
    again = again and not used
    then = "it is started here again" if again else f"{names(others)} may start it"
    if seen.vm.power == "unknown" or stopped(seen):
        silent = " and libvirt does not answer" if seen.vm.power == "unknown" else ""
        return Decision("destroy", rule, f"{why}{silent}: QEMU is ended, then {then}", again=again)
    return Decision("shutdown", rule, f"{why}: its power button is pressed, then {then}", again=again)


def stopped(seen: Observation) -> bool:
    """Its QEMU is stopped, so that no power button reaches the guest."""
    return seen.vm.process == "stopped"


def button(seen: Observation, pressed_s: float) -> Decision:
    """The power button was pressed: wait, then end QEMU."""
    left_s = limits.SHUTDOWN_ALLOWANCE_S - pressed_s
    if left_s > 0:
        longest = f"for at most {limits.SHUTDOWN_ALLOWANCE_S:g} s"
        return wait(seen, "button-pressed", f"the guest's power button was pressed: waiting for its end {longest}", left_s)
    text = f"the guest did not shut down within {limits.SHUTDOWN_ALLOWANCE_S:g} s of its power button"
    return Decision("destroy", "button-ignored", f"{text}: QEMU here is destroyed", again=seen.notes.held is not None)


def no_space(seen: Observation) -> Decision:
    """QEMU is stopped because the volume is full: go on once there is space (fault 25). No other host would fare
    better."""
    stopped = "QEMU here is stopped because the volume engine is full"
    if seen.pool.bricks and not seen.pool.firm:
        text = f"{stopped}, and its disk is not open on a majority of the bricks any more: it is destroyed, never resumed"
        return Decision("destroy", "no-space-lost", text)
    needed = f"{limits.RESUME_FREE_BYTES // 1024**2} MiB"
    if seen.pool.bricks and seen.pool.free_bytes is not None and seen.pool.free_bytes >= limits.RESUME_FREE_BYTES:
        return Decision("resume", "space-again", f"the volume engine has more than {needed} free again: the guest goes on")
    return wait(seen, "no-space", f"{stopped}: it goes on once {needed} are free; make space on the bricks")
