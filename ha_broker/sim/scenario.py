"""A scenario: one incident as a directory, with what has to be seen of it.

``README`` says what is proved. ``world.toml`` has the world and, under ``[expect]``, facts of the outcome: a
new log cannot change them silently. ``events.toml`` has what happens (:class:`ha_broker.sim.faults.Fault`). ``log.expect``
is the incident report: time, who, sentence. Invariants are checked after every event, as in every simulated run.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from appliance.codec import decode
from appliance.command import Output
from appliance.errors import EXIT_DONE, EXIT_FAILED, Refused
from ha_broker.sim import guest
from ha_broker.sim.check import Broken
from ha_broker.sim.faults import KINDS, Fault, apply
from ha_broker.sim.world import World, WorldOptions

README, WORLD, EVENTS, LOG = "README", "world.toml", "events.toml", "log.expect"
FILES: Final = (README, WORLD, EVENTS)
MARK: Final = "***"
"""Begins what happens to the world, in its log."""
MOVED: Final = "the engine VM goes on on "
"""Ends a migration, in its log."""


@dataclass(frozen=True)
class Expect:
    """Facts of the outcome. Times count from the first event."""

    starts: int
    """How often a guest began to run, the first time included."""
    holder: str
    """Who has the engine VM at the end; empty: nobody."""
    epoch: int
    """The highest that a guest got."""
    answers: bool = True
    """The engine answers at the end."""
    moves: int = 0
    """Live migrations that ended well."""
    within_s: float = 0.0
    """A start begins within this time; 0: none is demanded."""
    says: tuple[str, ...] = ()
    """These words are in the log, in this order."""
    never: tuple[str, ...] = ()
    """These are not, after the first event."""


@dataclass(frozen=True)
class WorldFile:
    """``world.toml``."""

    run_s: float
    expect: Expect
    seed: int = 1
    warm: bool = True


@dataclass(frozen=True)
class EventsFile:
    """``events.toml``."""

    event: tuple[Fault, ...]


@dataclass(frozen=True)
class Scenario:
    """Read and checked."""

    folder: Path
    proves: str
    world: WorldFile
    events: tuple[Fault, ...]


@dataclass(frozen=True)
class Seen:
    """What a run showed. ``wrong`` is empty when all facts are as expected."""

    log: tuple[str, ...]
    wrong: tuple[str, ...]


def folders(folder: Path) -> list[Path]:
    """The directory itself, or those in it, that have expectations; none: it is what a failed seed left."""
    return [one for one in (folder, *sorted(folder.glob("*/"))) if _expects(one)]


def _expects(folder: Path) -> bool:
    try:
        return "expect" in tomllib.loads((folder / WORLD).read_text())
    except (OSError, ValueError):
        return False


def read(folder: Path) -> Scenario:
    """The scenario there. Raises ``Refused``: ``scenario.file`` (missing, or not as its type), ``scenario.event``."""
    proves = _text(folder / README).strip()
    if not proves:
        raise _refused(folder / README, "it is empty", "Write the one sentence that this scenario proves.")
    world = decode(WorldFile, _toml(folder / WORLD), subject=str(folder / WORLD), code="scenario.file")
    events = decode(EventsFile, _toml(folder / EVENTS), subject=str(folder / EVENTS), code="scenario.file").event
    for event in events:
        if event.do not in KINDS:
            known = f"Known are: {', '.join(sorted(KINDS))}."
            raise _refused(folder / EVENTS, f"nobody knows how to do “{event.do}”", known, "scenario.event")
        if not 0 <= event.at_s <= world.run_s:
            reason = f"“{event.do}” at {event.at_s:g} s is outside of the {world.run_s:g} s that are run"
            raise _refused(folder / EVENTS, reason, "Change at_s, or run_s of the world.", "scenario.event")
    if not events:
        raise _refused(
            folder / EVENTS, "nothing happens", 'Write an [[event]]; do = "nothing" is one, too.', "scenario.event"
        )
    return Scenario(folder, proves, world, tuple(sorted(events, key=lambda event: event.at_s)))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise _refused(path, f"it cannot be read ({error})", f"A scenario has {', '.join(FILES)}.") from error


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except ValueError as error:
        raise _refused(path, f"it is no TOML ({error})", "Correct that line.") from error


def _refused(path: Path, reason: str, remedy: str, code: str = "scenario.file") -> Refused:
    return Refused(code, subject=str(path), reason=reason, remedy=remedy)


# --- running


def run(scenario: Scenario) -> Seen:
    """Let it happen."""
    world = World(options=WorldOptions(warm=scenario.world.warm), seed=scenario.world.seed)
    for event in scenario.events:
        world.heap.at(event.at_s, lambda event=event: apply(world, event))  # type: ignore[misc]
    broken = ""
    try:
        world.run_to(scenario.world.run_s)
    except Broken as error:
        broken = f"at {clock(world.now_s)} {error}"
    first_s = scenario.events[0].at_s
    log = tuple(line(at_s, text) for at_s, text in world.log)
    after = [line(at_s, text) for at_s, text in world.log if at_s >= first_s]
    wrong = (broken,) if broken else _wrong(world, scenario.world.expect, first_s, after)
    return Seen(log, wrong)


def clock(at_s: float) -> str:
    """Minutes and seconds, whole ones: a report, and not changed by every millisecond."""
    return f"{int(at_s) // 60:02}:{int(at_s) % 60:02}"


def line(at_s: float, text: str) -> str:
    """A line of the log as a line of the report."""
    who, colon, rest = text.partition(": ")
    if text.startswith(MARK):
        who, rest = MARK, text.removeprefix(MARK).strip()
    elif not colon or " " in who:
        who, rest = "", text
    return f"{clock(at_s)}  {who:6} {rest.removeprefix('decided: ')}".rstrip()


def _wrong(world: World, expect: Expect, first_s: float, log: Sequence[str]) -> tuple[str, ...]:
    holders = [host.name for host in world.hosts.values() if host.qemu is not None]
    qemus = [host.qemu for host in world.hosts.values() if host.qemu is not None]
    begun_s = min((at_s for at_s, _ in world.begun(first_s)), default=float("inf"))
    facts: tuple[tuple[str, object, object], ...] = (
        ("starts", len(world.starts), expect.starts),
        ("holder", ", ".join(holders), expect.holder),
        ("epoch", world.check.given, expect.epoch),
        ("answers", any(guest.answers(qemu, world.now_s) for qemu in qemus), expect.answers),
        ("moves", sum(MOVED in text for _, text in world.log), expect.moves),
    )
    wrong = [f"{name}: {found!r}, not {wanted!r}" for name, found, wanted in facts if found != wanted]
    if expect.within_s and begun_s > expect.within_s:
        wrong.append(f"within_s: the first start began after {begun_s:.1f} s, not within {expect.within_s:g} s")
    wrong += [f"never: “{words}” was said" for words in expect.never if any(words in one for one in log)]
    rest = list(log)
    for words in expect.says:
        found = next((index for index, one in enumerate(rest) if words in one), None)
        if found is None:
            wrong.append(f"says: “{words}” was not said (in this order)")
            break
        rest = rest[found:]
    return tuple(wrong)


# --- comparing, accepting


def differences(scenario: Scenario, seen: Seen) -> str:
    """From the log that was accepted to that of this run; empty: they are the same."""
    path = scenario.folder / LOG
    accepted = path.read_text().splitlines() if path.exists() else []
    return "\n".join(difflib.unified_diff(accepted, seen.log, "accepted", "this run", lineterm="", n=1))


def command(folder: Path, accept: bool, output: Output) -> int:
    """``trivet ha sim DIR`` of a scenario, or of all in a directory; the exit code. ``accept``: this run's log is the right
    one from now on, unless a fact is wrong."""
    reports = [_report(read(one), accept) for one in folders(folder) or [folder]]
    good = all(report.good for report in reports)
    output.result([asdict(report) for report in reports], "\n\n".join(report.text for report in reports))
    return EXIT_DONE if good else EXIT_FAILED


@dataclass(frozen=True)
class Report:
    """How one scenario fared. ``changed``: from the accepted log to this run's."""

    scenario: str
    good: bool
    wrong: tuple[str, ...]
    changed: str
    log: tuple[str, ...]
    text: str


def _report(scenario: Scenario, accept: bool) -> Report:
    seen = run(scenario)
    changed = differences(scenario, seen)
    path = scenario.folder / LOG
    good = not seen.wrong and (not changed or accept)
    if changed and good:
        path.write_text("".join(f"{one}\n" for one in seen.log))
    if changed:
        said = "accepted, read it" if good else "this run's log is another than the accepted one"
        body = f"{changed}\n\n{said}: {path}"
    else:
        body = "\n".join(seen.log)
    text = "\n".join([scenario.proves, "", body, *(f"WRONG {one}" for one in seen.wrong)])
    return Report(scenario.folder.name, good, seen.wrong, changed, seen.log, text)
