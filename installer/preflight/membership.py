"""Is any node already in another cluster or another Gluster pool?"""

from __future__ import annotations

from collections.abc import Iterator

from gluster.plan import strangers
from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View


def membership(answers: Answers, view: View) -> Iterator[Problem]:
    """A member of this very cluster (an interrupted run) is right; peers that the answers do not name are not."""
    ours = {node.name for node in answers.nodes} | {node.address for node in view.nodes}
    for node in view.nodes:
        if node.facts is None:
            continue
        if node.facts.cluster_id and node.facts.cluster_id != view.cluster_id:
            yield Problem(
                "preflight.other-cluster",
                node.name,
                f"it is a member of cluster {node.facts.cluster_id}",
                "a bare node",
                "Take it out of that cluster, or name another node.",
            )
        others = strangers(node.facts.gluster_peers, ours, bare=node.state == "bare")
        if others:
            yield Problem(
                "preflight.other-pool",
                node.name,
                f"its glusterd has the peers {', '.join(others)}",
                "a glusterd without peers",
                "Run `gluster peer detach` on its pool, or name another node.",
            )
