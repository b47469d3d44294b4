"""Is the engine's address free?"""

from __future__ import annotations

from collections.abc import Iterator

from appliance import layout
from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View


def engine_address(answers: Answers, view: View) -> Iterator[Problem]:
    """No node carries it and nobody answers at it. Once a node is a member, whoever answers may be our own engine."""
    address = answers.engine.address
    found = [
        (node.name, f"{nic.name} carries {address}")
        for node in view.nodes
        for nic in (node.facts.nics if node.facts else ())
        if any(item.partition("/")[0] == address for item in nic.addresses)
    ]
    if all(node.state != "member" for node in view.nodes):
        found += [
            (node.name, f"something answers at {address}, port {layout.ENGINE_PORT}")
            for node in view.nodes
            if node.engine_answered
        ]
    for name, what in found:
        yield Problem(
            "preflight.engine-address-taken",
            name,
            what,
            "an address that nobody uses",
            "Give the engine another address (engine.address).",
        )
