"""A plan as a directory: README, world.toml, events.toml, log.expect. What a failure leaves and ``trivet ha sim DIR`` runs
again."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.codec import decode
from appliance.errors import Refused
from ha_broker.sim.faults import KINDS, Fault
from ha_broker.sim.plans import HOSTS, Kind, Plan

WORLD, EVENTS, LOG, README = "world.toml", "events.toml", "log.expect", "README"
_DEFAULTS: Final = {field.name: field.default for field in dataclasses.fields(Fault)}


@dataclass(frozen=True)
class _WorldFile:
    seed: int
    kind: Kind = "chaos"
    core: tuple[str, ...] = HOSTS
    warm: bool = True
    chaos_s: float = 600.0


@dataclass(frozen=True)
class _EventsFile:
    event: tuple[Fault, ...] = ()


def write(folder: Path, plan: Plan, invariant: str, text: str, log: Sequence[tuple[float, str]]) -> None:
    """Make the directory (its parents, too)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / README).write_text(
        f"{invariant}: {text}\n\nFound with seed {plan.seed}. `trivet ha sim {folder}` repeats it.\n"
    )
    world = {"seed": plan.seed, "kind": plan.kind, "core": list(plan.core), "warm": plan.warm, "chaos_s": plan.chaos_s}
    (folder / WORLD).write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in world.items()))
    (folder / EVENTS).write_text("\n".join(map(_event, plan.faults)))
    (folder / LOG).write_text("".join(f"{at_s:9.3f} {line}\n" for at_s, line in log))


def _event(fault: Fault) -> str:
    given: dict[str, Any] = {k: v for k, v in dataclasses.asdict(fault).items() if k == "at_s" or v != _DEFAULTS[k]}
    return "[[event]]\n" + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in given.items())


def read(folder: Path) -> Plan:
    """The plan in that directory. Raises ``Refused``: ``sim.directory``, ``sim.event``."""
    world = decode(_WorldFile, _toml(folder / WORLD), subject=str(folder / WORLD), code="sim.directory")
    events = decode(_EventsFile, _toml(folder / EVENTS), subject=str(folder / EVENTS), code="sim.directory").event
    unknown = sorted({event.do for event in events} - set(KINDS))
    if unknown:
        raise Refused(
            "sim.event",
            subject=str(folder / EVENTS),
            reason=f"nobody knows how to do “{unknown[0]}”",
            remedy=f"Known are: {', '.join(sorted(KINDS))}.",
        )
    ordered = tuple(sorted(events, key=lambda event: event.at_s))
    return Plan(world.seed, world.kind, ordered, world.core, world.warm, world.chaos_s)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Refused(
            "sim.directory",
            subject=str(path),
            reason=f"it cannot be read ({error})",
            remedy=f"A scenario has {WORLD}, {EVENTS} and {README}; failed runs leave such directories.",
        ) from error
