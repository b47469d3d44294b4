"""What host verbs ask of the outside, as protocols.

The real ones live in :mod:`appliance.effects`, the fakes in :mod:`appliance.fakes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from appliance.effects.clock import Clock
from appliance.effects.process import Completed

__all__ = ["Clock", "Processes"]


class Processes(Protocol):
    """Starts programs. See :class:`appliance.effects.process.SystemProcesses` for meaning and errors."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] | None = (0,),
    ) -> Completed: ...

    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        line: Callable[[str], None],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] = (0,),
    ) -> int: ...
