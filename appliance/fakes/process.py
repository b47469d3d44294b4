"""Processes by script: which command answers what, and what was run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.effects.process import Completed, failure
from appliance.errors import TrivetError

Answer = str | Completed | TrivetError | Callable[[tuple[str, ...]], str]


@dataclass
class ScriptedProcesses:
    """A :class:`appliance.ports.Processes` without processes.

    ``answers`` maps the beginning of a command (its words joined by spaces) to its output, a whole ``Completed``, an error
    to raise, or a function of the argv; the longest match counts. A command without an answer is a mistake of the test.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        """As the real one; ``stdin``, ``env`` and ``cwd`` are not looked at."""
        words = tuple(argv)
        self.ran.append(words)
        found = self._answer(words)
        if isinstance(found, TrivetError):
            raise found
        if callable(found):
            found = found(words)
        completed = found if isinstance(found, Completed) else Completed(words, 0, found, "")
        if ok is not None and completed.status not in ok:
            raise failure(completed)
        return completed

    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        line: Callable[[str], None],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] = (0,),
        cancelled: Callable[[], bool] | None = None,
    ) -> int:
        """As the real one, the answer's output line by line; ``cancelled`` is not asked."""
        completed = self.run(argv, timeout_s=timeout_s, ok=None)
        for text in completed.stdout.splitlines():
            line(text)
        if completed.status not in ok:
            raise failure(completed)
        return completed.status

    def _answer(self, words: tuple[str, ...]) -> Answer:
        command = " ".join(words)
        fitting = [start for start in self.answers if command == start or command.startswith(f"{start} ")]
        if not fitting:
            raise AssertionError(f"nobody scripted an answer to: {command}")
        return self.answers[max(fitting, key=len)]
