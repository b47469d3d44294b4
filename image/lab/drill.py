"""``trivet lab drill``: cut the power of the node that has the engine VM, and let another node measure what follows.

Here and not in ``trivet ha``, because only the machine that holds the lab can cut a node's power. What is measured is
measured by `trivet ha drill` on a surviving node, so that both drills mean the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.codec import decode
from appliance.command import Command, Option, Output, confirmed, require_root
from appliance.effects.clock import Clock, SystemClock
from appliance.effects.process import Completed, SystemProcesses
from appliance.errors import EXIT_FAILED, Failed, TrivetError, Unavailable, from_json
from appliance.model.ha import EngineHa
from image.lab import model
from image.lab.operations import Lab, Say

CHECK_TIMEOUT_S: Final = 60.0
"""Because the heal state of all volumes is asked, on a loaded machine."""
MEASURE_TIMEOUT_S: Final = 300.0
"""Beyond the deadline of the drill itself, 240 s."""
FAMILY_OF_EXIT: Final = {1: 503, 2: 409}
"""The family of an error that a program in a node ended with: failed and refused stay what they were."""


def run(arguments: argparse.Namespace, output: Output) -> int | None:
    """The drill. Raises ``Conflict`` (``ha.drill-refused``), ``Refused`` (``command.not-confirmed``)."""
    require_root()
    clock = SystemClock()
    lab = Lab(arguments.name, SystemProcesses(), clock)
    begun_s = clock.monotonic_s()

    def say(percent: float, text: str) -> None:
        output.progress(percent, clock.monotonic_s() - begun_s, text)

    return drill(lab, clock, arguments.confirm, output, say)


def drill(lab: Lab, clock: Clock, given: str, output: Output, say: Say) -> int | None:
    """Ask, cut, measure, tell; the node stays off."""
    alive = [node.name for node in lab.status() if node.power == "on"]
    if not alive:
        raise Unavailable(
            "lab.all-off", subject=f"lab {lab.name}", reason="no node of it is on", remedy="`trivet lab power NODE on`"
        )
    say(5, "asking whether a drill may begin")
    answer = _json(lab, alive[0], ["--check"], CHECK_TIMEOUT_S)
    engine = decode(Permit, answer, subject=f"answer of {alive[0]}", ignore_unknown=True).engine
    confirmed(lab.name, given, f"The power of {engine.host}, which has the engine VM, will be cut.")
    holder, epoch = engine.host, str(engine.epoch)
    cut_wall_s = clock.wall_s()
    lab.power(holder, "off", say)
    survivor = next(name for name in alive if name != holder)
    say(30, f"{survivor} measures")
    words = ["--power-cut-at", f"{cut_wall_s:.3f}", "--above-epoch", epoch, "--host", holder]
    report = _json(lab, survivor, words, MEASURE_TIMEOUT_S, ok=(0, EXIT_FAILED))
    after = f"{holder} is still off: `trivet lab power {holder} on --name {lab.name}`"
    output.result(report, f"{report.get('text')}\n\n{after}")
    return None if report.get("passed") is True else EXIT_FAILED


@dataclass(frozen=True)
class Permit:
    """What `trivet ha drill --check` answers."""

    engine: EngineHa


def _json(lab: Lab, node: str, words: Sequence[str], timeout_s: float, ok: Sequence[int] = (0,)) -> dict[str, object]:
    done = lab.exec(node, ["trivet", "ha", "drill", "--json", *words], timeout_s=timeout_s)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    if isinstance(found, dict) and "error" not in found and done.status in ok:
        return found
    raise _error(done, found, node)


def _error(done: Completed, found: object, node: str) -> TrivetError:
    said = found.get("error") if isinstance(found, dict) else None
    if isinstance(said, dict):
        return from_json(FAMILY_OF_EXIT.get(done.status, 500), said)
    return Failed(
        "lab.drill",
        subject=node,
        reason=f"`trivet ha drill` there ended with {done.status}: {(done.stderr or done.stdout).strip()[-500:]}",
        remedy=f"`trivet lab shell {node} --name LAB` and try it there.",
    )


COMMAND: Final = Command(
    ("lab", "drill"),
    "cut the power of the node that has the engine VM, and measure how it comes back",
    "trivet lab drill --confirm trivet",
    run,
    (
        Option(("--name",), "which lab (default: %(default)s)", {"default": model.DEFAULT_LAB, "metavar": "LAB"}),
        Option(("--confirm",), "the lab's name, typed beforehand: for scripts", {"default": "", "metavar": "LAB"}),
    ),
)
