"""``trivet node maintenance``: one node out of service and back, from any node."""

from __future__ import annotations

import argparse

from appliance.codec import encode
from appliance.command import Command, Option, Output, require_root
from appliance.effects.clock import SystemClock
from appliance.effects.root import Root
from appliance.errors import NotFound
from appliance.verbs.membership import MembershipFiles
from ha_broker.planned import Outcome, Planned


def _maintenance(arguments: argparse.Namespace, output: Output) -> None:
    from ha_broker.nodes import AgentNodes

    require_root()
    files = MembershipFiles(Root())
    cluster, membership = files.require()
    node = arguments.node
    if cluster.member(node) is None:
        known = ", ".join(member.name for member in cluster.members)
        raise NotFound("node.unknown", subject=node, reason="no member has this name", remedy=f"Members are: {known}.")
    clock = SystemClock()
    began_s = clock.monotonic_s()
    planned = Planned(
        AgentNodes(cluster, membership.name, files.tls()),
        clock,
        lambda percent, text: output.progress(percent, clock.monotonic_s() - began_s, text),
        output.log,
        cluster.engine.memory_mib,
    )
    done = planned.on(node, arguments.force) if arguments.state == "on" else planned.off(node)
    output.result(encode(done), _text(done))


def _text(done: Outcome) -> str:
    if not done.maintenance:
        return f"{done.node} is in service again"
    moved = ", ".join(f"{vm} to {target}" for vm, target in done.moved.items()) or "nothing had to be moved"
    return f"{done.node} is in maintenance and may be worked on ({moved}; {done.took_s:.0f} s)"


COMMANDS: tuple[Command, ...] = (
    Command(
        ("node", "maintenance"),
        "move everything off a node so that it can be worked on, or take it back",
        "trivet node maintenance on node2",
        _maintenance,
        (
            Option(("state",), "on: VMs move away and none comes; off: in service again", {"choices": ("on", "off")}),
            Option(("node",), "name of the member"),
            Option(("--force",), "also where redundancy is lost by it; each reason is told", {"action": "store_true"}),
        ),
    ),
)
