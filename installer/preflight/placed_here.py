"""Is the installing machine one of the nodes?"""

from __future__ import annotations

from collections.abc import Iterator

from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View


def placed_here(answers: Answers, view: View) -> Iterator[Problem]:
    """The installing node keeps the CA and talks with its own member certificate, so it has to be one of the nodes."""
    if not view.here:
        yield Problem(
            "preflight.not-a-node",
            "cluster",
            "the machine that installs has none of the nodes' addresses",
            "to be run on one of the nodes: " + ", ".join(f"{node.name} ({node.address})" for node in answers.nodes),
            "Run the same command on one of them.",
        )
