"""A process that runs three steps and kills itself at the n-th point: ``python -I journal_worker.py ROOT WORLD POINT``.

Points are all places between two things that last: around each system call of the journal, and inside each step.
Prints how many points it passed when it got to the end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])

from appliance.effects.clock import SystemClock
from appliance.journal import Journal, Log, Runner

WORLD = Path(sys.argv[2])
DIE_AT = int(sys.argv[3])
passed = 0


def point() -> None:
    global passed
    passed += 1
    if passed == DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def watched(name: str) -> None:
    real: Callable[..., Any] = getattr(os, name)

    def call(*arguments: Any) -> Any:
        point()
        answer = real(*arguments)
        point()
        return answer

    setattr(os, name, call)


class Write:
    """A step with an effect of two parts, of which the probe sees the second."""

    weight_s = 1.0

    def __init__(self, name: str) -> None:
        self.name = name
        self.title = f"Write {name}"

    def done(self, world: Path) -> bool:
        return (world / self.name).exists()

    def do(self, world: Path, log: Log) -> None:
        draft = world / f"{self.name}.draft"
        draft.write_text(self.name * 3)
        point()
        draft.rename(world / self.name)
        log(self.name)


for call_name in ("ftruncate", "pwrite", "fsync"):
    watched(call_name)
clock = SystemClock()
runner: Runner[Path] = Runner(Journal(WORLD / "steps.journal", clock), clock, lambda progress: None, lambda text: None)
runner.run([Write("one"), Write("two"), Write("three")], WORLD)
print(passed)
