"""What was seen while the engine came back, as times since it was ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.command import table
from appliance.model.ha import HaDecision

DETECTION = "first decision about it"
START = "start begins"
ANSWERS = "API answers"


@dataclass(frozen=True)
class Report:
    """A drill's outcome. Times are seconds since ``ended_wall_s``; None: not seen within the deadline. ``decisions`` are
    those made since, oldest first."""

    kind: str
    """"engine VM destroyed" or "power of its host cut"."""
    host: str
    epoch: int
    ended_wall_s: float
    detection_s: float | None = None
    start_s: float | None = None
    answers_s: float | None = None
    new_host: str = ""
    new_epoch: int = 0
    decisions: tuple[HaDecision, ...] = ()

    @property
    def passed(self) -> bool:
        """The engine answers again, with a higher epoch."""
        return self.answers_s is not None


def since(decisions: Sequence[HaDecision], ended_wall_s: float) -> tuple[HaDecision, ...]:
    """The decisions made after the end, each once (hosts also tell what they heard from others), oldest first."""
    first: dict[tuple[str, str], HaDecision] = {}
    for one in sorted(decisions, key=lambda one: (not one.action, one.wall_s)):
        if one.wall_s >= ended_wall_s:
            first.setdefault((one.host, one.sentence), one)
    return tuple(sorted(first.values(), key=lambda one: one.wall_s))


def detection_s(made: Sequence[HaDecision], ended_wall_s: float) -> float | None:
    """Until the first decision of any broker after the end: before it, nobody had anything new to say."""
    return _after(made[:1], ended_wall_s)


def start_s(made: Sequence[HaDecision], ended_wall_s: float) -> float | None:
    """Until a broker decided to start the engine VM; the command follows within the same turn."""
    return _after([one for one in made if one.action == "start"][:1], ended_wall_s)


def _after(found: Sequence[HaDecision], ended_wall_s: float) -> float | None:
    return round(found[0].wall_s - ended_wall_s, 2) if found else None


def report_text(report: Report) -> str:
    """The report for people."""
    where = f"on {report.new_host}, epoch {report.new_epoch}" if report.passed else "not within the deadline"
    rows = [
        (DETECTION, _seconds(report.detection_s), report.decisions[0].host if report.decisions else "-"),
        (START, _seconds(report.start_s), next((one.host for one in report.decisions if one.action == "start"), "-")),
        (ANSWERS, _seconds(report.answers_s), where),
    ]
    head = f"drill: {report.kind} on {report.host} (epoch {report.epoch})"
    verdict = "passed: the engine came back" if report.passed else "FAILED: the engine does not answer"
    made = "\n".join(f"{one.wall_s - report.ended_wall_s:7.2f} s  {one.host}  {one.sentence}" for one in report.decisions)
    return f"{head}\n\n{table(('what', 'after', 'where'), rows)}\n\n{made or 'no decision was seen'}\n\n{verdict}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
