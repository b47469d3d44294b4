"""``trivet install`` on a node, and ``trivet run``, ``stop``, ``status`` on the machine of a lab."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from appliance import layout
from appliance.command import Command, Option, Output, require_root, table
from appliance.effects.clock import SystemClock
from appliance.journal import Journal, Progress
from installer import answers as answers_file
from installer.agents import HttpsAgents
from installer.here import ThisNode
from installer.install import JOURNAL_NAME, Installed, Prepared, alone, execute, prepare
from installer.showroom_cli import SHOWROOM_COMMANDS

LOCK = layout.RUN / "install.lock"


def install(arguments: argparse.Namespace, output: Output) -> int | None:
    """``trivet install``."""
    require_root()
    answers = answers_file.read(Path(arguments.answers))
    clock = SystemClock()
    with alone(LOCK):
        installing = ThisNode(clock)
        prepared = prepare(answers, installing, HttpsAgents, clock)
        tell_fingerprints(prepared, output)
        if arguments.explain:
            output.result(explained(prepared), explained_text(prepared))
            return None
        installed = execute(
            prepared,
            installing,
            HttpsAgents(prepared.cluster.id),
            clock,
            Journal(layout.JOURNALS / JOURNAL_NAME, clock),
            lambda progress: tell(progress, output),
            output.log,
        )
    output.result(asdict(installed), installed_text(installed))
    return None


def tell(progress: Progress, output: Output) -> None:
    """One line for each step begun, finished or found done."""
    words = {"begun": "…", "done": "done", "already": "already so", "failed": "FAILED", "undone": "undone"}
    output.progress(progress.percent, progress.elapsed_s, f"{progress.title}: {words[progress.event]}")


def tell_fingerprints(prepared: Prepared, output: Output) -> None:
    """A token without a fingerprint pins nothing: say whom it was given to, so that a person can compare."""
    for node, view in zip(prepared.answers.nodes, prepared.view.nodes, strict=True):
        if view.state == "bare" and "." not in node.token:
            output.log(f"{node.name} shows the fingerprint {view.fingerprint[:16]}; `trivet node token` there shows its own")


def explained(prepared: Prepared) -> dict[str, object]:
    """The plan as data."""
    steps = [{"step": step.name, "title": step.title, "seconds": step.weight_s} for step in prepared.steps]
    return {
        "cluster": prepared.cluster.name,
        "steps": steps,
        "seconds": round(sum(step.weight_s for step in prepared.steps)),
    }


def explained_text(prepared: Prepared) -> str:
    """The plan as a table."""
    rows = [(number, step.title, f"{step.weight_s:g} s", step.name) for number, step in enumerate(prepared.steps, start=1)]
    total_s = sum(step.weight_s for step in prepared.steps)
    summary = f"{len(rows)} steps, about {total_s:.0f} s. Nothing was changed."
    return f"{table(('#', 'step', 'takes', 'name'), rows)}\n\n{summary}"


def installed_text(installed: Installed) -> str:
    """What a person needs next."""
    return (
        f"\nCluster {installed.cluster_name} is up: the engine runs on {installed.engine_host}"
        f" (epoch {installed.engine_epoch}).\n"
        f"  address   {installed.url}\n  user      {installed.user}\n  password  in the file {installed.password_file}\n"
        f"  CA        {installed.ca_file}\n  health    trivet ha status"
    )


COMMANDS = (
    Command(
        path=("install",),
        summary="Turn bare nodes into a cluster with a running engine. Run it on one of the nodes; run it again to go on.",
        example="trivet install --answers /root/answers.toml",
        run=install,
        options=(
            Option(("--answers",), "the answers file (TOML, mode 0600)", {"required": True, "metavar": "FILE"}),
            Option(("--explain",), "check everything, show the plan, and stop", {"action": "store_true"}),
        ),
    ),
    *SHOWROOM_COMMANDS,
)
