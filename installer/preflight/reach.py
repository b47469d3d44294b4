"""Does every node reach every other one?"""

from __future__ import annotations

from collections.abc import Iterator

from appliance import layout
from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View


def reach(answers: Answers, view: View) -> Iterator[Problem]:
    """Seen from each bare node: the agents of the others. A silent target is not told again; ``answering`` did."""
    states = {node.name: node.state for node in view.nodes}
    for node in view.nodes:
        for target, reached in node.reaches:
            if not reached.answered and states.get(target, "silent") != "silent":
                yield Problem(
                    "preflight.unreachable",
                    node.name,
                    f"it does not reach {target} ({reached.resolved or 'address unknown'}), port {layout.AGENT_PORT}",
                    "every node reaches every other one",
                    "Look at cables, switches and firewalls between the two.",
                )
