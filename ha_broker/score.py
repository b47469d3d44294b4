"""How fit this host is to run the engine VM: the base minus penalties, each with its reason. 0 is "not eligible". Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Final

from appliance.model.ha import Penalty
from ha_broker import limits
from ha_broker.state import HostFacts, Notes, OwnStorage, PoolView, Score, ScoreSettings, crash_looping

WHOLE: Final = Score(limits.BASE_SCORE)
"""Of a host that nothing speaks against."""


@dataclass(frozen=True)
class Fitness:
    """All that a score is made of. ``engine_here``: the engine VM runs here, its memory is taken already."""

    host: str
    facts: HostFacts
    storage: OwnStorage
    engine_memory_mib: int
    now_s: float
    notes: Notes = field(default_factory=Notes)
    pool: PoolView = field(default_factory=PoolView)
    engine_here: bool = False
    local_maintenance: bool = False
    losses: int = 0
    libvirt_silent_s: float = 0.0


def score(fit: Fitness) -> Score:
    """The score of this host now."""
    barred = _barred(fit)
    if barred:
        return Score(0, barred)
    settings = fit.facts.settings
    penalties = _load(fit.facts, settings)
    if fit.notes.attempts:
        penalties += _failures(fit, settings)
    if not fit.pool.here(fit.host):
        penalties += (Penalty(settings.local_brick, "the local brick of the volume engine does not answer"),)
    if lately_unreached(fit.notes, fit.now_s):
        penalties += (Penalty(settings.unreached, "no other host reached the engine VM here"),)
    if fit.losses:
        penalties += (_outages(fit.losses, settings),)
    if not penalties and not settings.preferred:
        return WHOLE
    points = limits.BASE_SCORE + settings.preferred - sum([penalty.points for penalty in penalties])
    preferred = (f"preferred: {settings.preferred:+d}",) if settings.preferred else ()
    return Score(max(1, points), (*preferred, *[f"{penalty.reason}: -{penalty.points}" for penalty in penalties]))


def _barred(fit: Fitness) -> tuple[str, ...]:
    facts, storage = fit.facts, fit.storage
    barred: list[str] = []
    if fit.local_maintenance:
        barred.append("local maintenance is on")
    if not facts.settings.eligible:
        barred.append("this host is not to run the engine VM (eligible = false in its settings)")
    if not facts.image:
        barred.append(facts.image_error or "no engine image is on this host")
    if facts.cpu_error:
        barred.append(facts.cpu_error)
    if fit.libvirt_silent_s >= limits.LIBVIRT_SILENT_S:
        barred.append("its libvirt does not answer")
    needed_mib = fit.engine_memory_mib + limits.MEMORY_RESERVE_MIB
    if not fit.engine_here and facts.memory_available_mib < needed_mib:
        barred.append(f"{facts.memory_available_mib} MiB of memory available, {needed_mib} MiB needed")
    if storage.failing_s or storage.unwritten_s > limits.UNWRITTEN_DESTROY_S:
        barred.append(f"the volume engine is not writable from here{f' ({storage.error})' if storage.error else ''}")
    if crash_looping(fit.notes, fit.now_s):
        barred.append(f"its broker started {limits.CRASHES_MAX} times within {limits.CRASHES_WINDOW_S:g} s")
    return tuple(barred) if barred else ()


def _load(facts: HostFacts, settings: ScoreSettings) -> tuple[Penalty, ...]:
    over = facts.load_1 / (facts.cpus or 1) - 1
    if over <= 0:
        return ()
    points = min(settings.load_max, round(over * settings.load))
    return (Penalty(points, f"load {facts.load_1:.1f} on {facts.cpus} CPUs"),) if points else ()


def _failures(fit: Fitness, settings: ScoreSettings) -> tuple[Penalty, ...]:
    attempts = fit.notes.attempts
    if not attempts:
        return ()
    failed = [a.at_s for a in attempts if a.outcome in ("failed", "begun", "unhealthy")]
    recent = [at_s for at_s in failed if fit.now_s - at_s < limits.STARTS_WINDOW_S]
    found: list[Penalty] = []
    if recent:
        text = f"{len(recent)} failed start{'s' if len(recent) > 1 else ''} in the last {_window_min()} min"
        found.append(Penalty(len(recent) * settings.failure, text))
    last = attempts[-1]
    if last.outcome == "unreachable" and fit.now_s - last.at_s < limits.UNREACHED_ALLOWANCE_S:
        found.append(Penalty(settings.failure, "its last start did not reach the disk"))
    return tuple(found)


def _outages(losses: int, settings: ScoreSettings) -> Penalty:
    text = f"own storage lost {losses} time{'s' if losses > 1 else ''} in the last {_window_min()} min"
    return Penalty(losses * settings.outage, text)


def lately_unreached(notes: Notes, now_s: float) -> bool:
    """Nobody reached the engine VM when it ran here last."""
    return notes.unreached_s is not None and now_s - notes.unreached_s < limits.UNREACHED_MARK_S


@cache
def _window_min() -> str:
    return f"{limits.STARTS_WINDOW_S / 60:g}"
