"""How fit this host is to run the engine VM: the base minus penalties, each with its reason. 0 is "not eligible". Pure."""

from __future__ import annotations

from appliance.model.ha import Penalty
from ha_broker import limits
from ha_broker.ports import HostFacts
from ha_broker.state import Attempt, OwnStorage, Score


def score(
    facts: HostFacts,
    storage: OwnStorage,
    attempts: tuple[Attempt, ...],
    engine_memory_mib: int,
    engine_here: bool,
    now_s: float,
) -> Score:
    """The score of this host now. Memory is not asked for while the engine VM runs here: it has it already."""
    barred: list[str] = []
    if not facts.image:
        barred.append(facts.image_error or "no engine image is on this host")
    needed_mib = engine_memory_mib + limits.MEMORY_RESERVE_MIB
    if not engine_here and facts.memory_available_mib < needed_mib:
        barred.append(f"{facts.memory_available_mib} MiB of memory available, {needed_mib} MiB needed")
    if storage.failing_s or storage.unwritten_s > limits.UNWRITTEN_DESTROY_S:
        barred.append(f"the volume engine is not writable from here{f' ({storage.error})' if storage.error else ''}")
    if barred:
        return Score(0, tuple(barred))
    penalties = (*_load(facts), *_failures(attempts, now_s))
    points = limits.BASE_SCORE - sum(penalty.points for penalty in penalties)
    return Score(max(1, points), tuple(f"{penalty.reason}: -{penalty.points}" for penalty in penalties))


def _load(facts: HostFacts) -> tuple[Penalty, ...]:
    over = facts.load_1 / max(1, facts.cpus) - 1
    if over <= 0:
        return ()
    points = min(limits.LOAD_PENALTY_MAX, round(over * limits.LOAD_PENALTY_POINTS))
    return (Penalty(points, f"load {facts.load_1:.1f} on {facts.cpus} CPUs"),) if points else ()


def _failures(attempts: tuple[Attempt, ...], now_s: float) -> tuple[Penalty, ...]:
    recent = [a for a in attempts if a.outcome in ("failed", "begun") and now_s - a.at_s < limits.STARTS_WINDOW_S]
    if not recent:
        return ()
    window_min = limits.STARTS_WINDOW_S / 60
    text = f"{len(recent)} failed start{'s' if len(recent) > 1 else ''} in the last {window_min:g} min"
    return (Penalty(len(recent) * limits.FAILURE_PENALTY_POINTS, text),)
