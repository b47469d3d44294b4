"""Wrong rules: what the planted bugs of :mod:`ha_broker.sim.mutants` put in the place of the right ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import ha_broker.decide as deciding
from ha_broker import board, engine_vm, limits, score
from ha_broker.handover import Mover
from ha_broker.memory import Memory
from ha_broker.sim.host import SimHost
from ha_broker.state import Decision, Held, Observation, Register, Score

Rule = Callable[[Observation], Decision]
ABSENT: Final = sys.modules["ha_broker.decide.absent"]
PRESENT: Final = sys.modules["ha_broker.decide.present"]
_right_decide: Rule = deciding.decide
_right_present: Rule = PRESENT.present
_right_absent: Rule = ABSENT.absent
_right_broken: Callable[[Observation], Decision | None] = PRESENT._broken
_right_after_lock: Callable[[Observation], Decision | None] = ABSENT._after_lock
_right_epoch: Callable[..., int] = engine_vm.next_epoch
_right_ensure, _right_score, _right_hand = SimHost.ensure, score.score, Mover._hand


def nothing(*_: object) -> None:
    """Does, or finds, nothing."""


def never(*_: object) -> bool:
    """False."""
    return False


def none_counts(*_: object) -> int:
    """Zero."""
    return 0


def no_words(*_: object) -> str:
    """Empty."""
    return ""


# --- a QEMU is here


def resume_after_error(seen: Observation) -> Decision | None:
    """A guest that was stopped by an I/O error is resumed."""
    if seen.vm.power == "paused-io-error":
        return Decision("resume", "wrong", "a stopped guest is resumed")
    return _right_broken(seen)


def keep_after_error(seen: Observation) -> Decision | None:
    """… or left as it is."""
    if seen.vm.power == "paused-io-error":
        return Decision("none", "wrong", "a stopped guest is left as it is")
    return _right_broken(seen)


def keep_left_paused(seen: Observation) -> Decision | None:
    """What a start that broke off has left stays."""
    return None if seen.vm.power == "paused" else _right_broken(seen)


def end_adopted(seen: Observation) -> Decision:
    """An engine VM that another broker process started is destroyed."""
    if seen.vm.power == "running" and len(seen.notes.broker_starts) > 1:
        return Decision("destroy", "wrong", "an engine VM that this broker did not start is destroyed")
    return _right_present(seen)


def end_arriving(seen: Observation) -> Decision:
    """An engine VM that arrives by migration is destroyed."""
    return Decision("destroy", "wrong", f"an engine VM that was not started on {seen.host} is destroyed")


def wait_for_libvirt(seen: Observation) -> Decision:
    """Nothing is known while libvirt does not answer."""
    return Decision("none", "wrong", f"libvirt does not answer ({seen.vm.error})")


# --- none is here


def ignore_maintenance(seen: Observation) -> Decision:
    """Global maintenance is not looked at."""
    return _right_absent(replace(seen, maintenance=Register()))


def impatient(seen: Observation) -> Decision:
    """Who has no QEMU starts one, whatever the others say."""
    if seen.work is None and seen.vm.power == "off" and seen.storage.good_for_s > limits.GRACE_S:
        return Decision("start", "wrong", "no engine VM is here: it is started")
    return _right_decide(seen)


def give_up_after_lock(seen: Observation) -> Decision | None:
    """Once refused by the lock, never tried again."""
    if any(attempt.outcome == "locked" for attempt in seen.notes.attempts):
        return Decision("none", "wrong", "the lock refused once")
    return _right_after_lock(seen)


def restart_first(seen: Observation) -> Decision:
    """What is held and not here is started here again, whatever the others say."""
    if seen.notes.held is not None and seen.storage.good_for_s > limits.GRACE_S:
        return Decision("start", "wrong", "what was held here is not here: it is started again")
    return _right_absent(seen)


def fit_in_maintenance(fit: score.Fitness) -> Score:
    """Local maintenance costs nothing."""
    return _right_score(replace(fit, local_maintenance=False))


# --- epochs


def same_epoch(*arguments: Any) -> int:
    """Not above the highest known one."""
    return max(1, _right_epoch(*arguments) - 1)


def record_too_early(host: SimHost, start: Any) -> None:
    """Written before the lock is there."""
    _right_ensure(host, start)
    host.write_record(start.epoch)


def own_agent_not_told(host: SimHost, epoch: int) -> int:
    """The node's own agent goes on with the old epoch."""
    return host.epoch


def adopt_without_epoch(memory: Memory, seen: Observation, now: Callable[[], str]) -> bool:
    """Whatever runs here has epoch 0."""
    held = memory.notes.held
    if seen.vm.power == "running" and (held is None or held.pid != seen.vm.pid):
        memory.change(held=Held(0, seen.vm.pid, now()))
        return True
    return False


def still_held(mover: Mover, target: str, now_s: float) -> None:
    """After a good migration the source goes on as if the engine VM were its own."""
    held = mover._memory.notes.held
    _right_hand(mover, target, now_s)
    mover._handing = None
    mover._memory.change(held=held)


# --- the board


def lowest_register(self: Register, other: Register) -> bool:
    """The older maintenance setting wins."""
    return (self.counter, self.by) < (other.counter, other.by)


def newer_is_silent(before: board.Track, head: object, finding: str, now_s: float) -> board.Track:
    """A host whose slot is not understood counts as gone."""
    return replace(before, read=True, finding=finding)
