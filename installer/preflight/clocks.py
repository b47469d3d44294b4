"""Are the clocks together?"""

from __future__ import annotations

from collections.abc import Iterator

from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View


def clocks(answers: Answers, view: View) -> Iterator[Problem]:
    """Each node's clock against the installing node's. Certificates and Gluster's metadata times depend on them."""
    bound_s = answers.cluster.clock_skew_s
    for node in view.nodes:
        if node.facts and abs(node.skew_s) > bound_s:
            yield Problem(
                "preflight.clock-skew",
                node.name,
                f"its clock is {abs(node.skew_s):.1f} s {'ahead of' if node.skew_s > 0 else 'behind'} the installing node's",
                f"at most {bound_s:g} s",
                "Set the clocks by one source (timedatectl set-ntp true) and try again.",
            )
