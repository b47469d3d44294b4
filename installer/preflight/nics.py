"""Is the management interface there, and does it carry the node's address?"""

from __future__ import annotations

from collections.abc import Iterator

from appliance import layout
from appliance.model.node import NodeFacts
from installer.answers import Answers, NodeAnswers
from installer.preflight.problem import Problem
from installer.probe import NodeView, View


def nics(answers: Answers, view: View) -> Iterator[Problem]:
    """A node whose bridge was made by an interrupted run carries its address on the bridge: that is right, too."""
    for node, wanted in zip(view.nodes, answers.nodes, strict=True):
        if node.facts:
            yield from _judge(node, wanted, node.facts, answers.engine.prefix)


def _judge(node: NodeView, wanted: NodeAnswers, facts: NodeFacts, prefix: int) -> Iterator[Problem]:
    nic = next((nic for nic in facts.nics if nic.name == wanted.nic), None)
    if nic is None:
        there = ", ".join(nic.name for nic in facts.nics if nic.physical) or "none"
        yield Problem(
            "preflight.nic-missing",
            node.name,
            f"no interface {wanted.nic} (there: {there})",
            f"interface {wanted.nic}",
            "Name the right interface in the answers.",
        )
        return
    if nic.bridge not in ("", layout.MANAGEMENT_BRIDGE):
        yield Problem(
            "preflight.nic-taken",
            node.name,
            f"{nic.name} is a port of bridge {nic.bridge}",
            f"an interface that is in no bridge, or in {layout.MANAGEMENT_BRIDGE}",
            f"Take it out of {nic.bridge}, or name another interface in the answers.",
        )
        return
    carrier = nic.name if not nic.bridge else nic.bridge
    carried = next((item.addresses for item in facts.nics if item.name == carrier), ())
    if f"{node.address}/{prefix}" not in carried:
        yield Problem(
            "preflight.nic-address",
            node.name,
            f"{carrier} carries {', '.join(carried) or 'no address'}",
            f"{node.address}/{prefix}",
            "Correct address, interface or engine.prefix in the answers, or the node's network.",
        )
