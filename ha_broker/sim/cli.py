"""``trivet ha sim``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from appliance.command import Command, Option, Output
from appliance.errors import Refused


def _sim(arguments: argparse.Namespace, output: Output) -> int:
    from ha_broker.sim import many, scenario  # only this needs the simulated world

    if (arguments.directory is None) == (arguments.seed is None):
        reason = "it needs either a directory or --seed"
        raise Refused(
            "sim.usage", subject="trivet ha sim", reason=reason, remedy="Example: trivet ha sim --seed 1 --count 500"
        )
    if arguments.directory is not None and (arguments.accept or scenario.folders(Path(arguments.directory))):
        return scenario.command(Path(arguments.directory), arguments.accept, output)
    if arguments.directory is not None:
        return many.directory(Path(arguments.directory), output)
    if arguments.count < 1 or arguments.jobs < 1:
        reason = "--count and --jobs are at least 1"
        raise Refused(
            "sim.usage", subject="trivet ha sim", reason=reason, remedy="Example: trivet ha sim --seed 1 --count 500"
        )
    return many.seeds_of(
        range(arguments.seed, arguments.seed + arguments.count), arguments.jobs, Path(arguments.out), output
    )


_OPTIONS: tuple[Option, ...] = (
    Option(("directory",), "a scenario, a directory of them, or what a failed seed left", {"nargs": "?"}),
    Option(("--seed",), "the first seed of random runs", {"type": int}),
    Option(("--count",), "how many seeds", {"type": int, "default": 1}),
    Option(("--jobs",), "processes side by side", {"type": int, "default": os.cpu_count() or 1}),
    Option(("--accept",), "take this run's log as the right one, unless a fact is wrong", {"action": "store_true"}),
    Option(("--out",), "where failed seeds leave their directories", {"default": "build/sim"}),
)

COMMAND: Final = Command(
    ("ha", "sim"), "simulate the brokers under faults", "trivet ha sim --seed 1 --count 500", _sim, _OPTIONS
)
