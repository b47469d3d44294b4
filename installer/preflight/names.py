"""Do the names in the answers resolve, here and on every node?"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.tools.addresses import is_address
from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View


def names(answers: Answers, view: View) -> Iterator[Problem]:
    """Node addresses given as names, and the engine's name if it resolves already."""
    given = {node.name: node.address for node in answers.nodes}
    addresses = {given[node.name]: node.address for node in view.nodes}
    for node in view.nodes:
        if not node.address:
            yield _unresolved(node.name, given[node.name], "the installing node")
        for asked, reached in node.reaches:
            if asked not in addresses or is_address(asked):
                continue
            if not reached.resolved:
                yield _unresolved(node.name, asked, node.name)
            elif reached.resolved != addresses[asked]:
                yield Problem(
                    "preflight.name-differs",
                    node.name,
                    f"{asked} resolves to {reached.resolved} there",
                    f"{addresses[asked]}, as on the installing node",
                    "Correct the name service, or give an IP address in the answers.",
                )
    engine = answers.engine
    if view.fqdn_resolves_to not in ("", engine.address):
        yield Problem(
            "preflight.name-differs",
            "engine",
            f"{engine.fqdn} resolves to {view.fqdn_resolves_to}",
            f"{engine.address}, or a name that does not resolve yet",
            "Correct the name service or engine.address.",
        )


def _unresolved(node: str, name: str, where: str) -> Problem:
    return Problem(
        "preflight.name-unresolved",
        node,
        f"the name {name} does not resolve on {where}",
        "an IP address, or a name that resolves on every node",
        "Correct the name service, or give an IP address in the answers.",
    )
