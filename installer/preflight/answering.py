"""Does every node answer, as a bare node that knows the token or as a member of this very cluster?"""

from __future__ import annotations

from collections.abc import Iterator

from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View


def answering(answers: Answers, view: View) -> Iterator[Problem]:
    """One problem for each silent node, with what the attempt to ask it said."""
    for node in view.nodes:
        if node.state == "silent" and node.error is not None:
            yield Problem(
                f"preflight.{node.error.code.replace('.', '-')}",
                node.name,
                f"{node.address} did not answer as a bare node: {node.error.reason}",
                "a bare node that accepts the token in the answers",
                node.error.remedy,
            )
