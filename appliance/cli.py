"""``trivet node`` and ``trivet agent``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import layout
from appliance.codec import encode
from appliance.command import Command, Option, Output, table
from appliance.effects.clock import SystemClock
from appliance.effects.root import Root
from appliance.errors import Conflict, Refused, TrivetError
from appliance.verbs.membership import MembershipFiles

if TYPE_CHECKING:
    from appliance.model.cluster import Cluster, Member
    from appliance.wire.signatures import Method

ROOT = Option(("--root",), "where the node's file system begins (for tests)", {"default": "/", "metavar": "FOLDER"})
PORT = Option(("--port",), "TCP port of the agent", {"type": int, "default": layout.AGENT_PORT})
STATUS_TIMEOUT_S = 4.0
"""A person waits for `node status`: a node that is off must not hold up the table of those that are on."""


def _root(arguments: argparse.Namespace) -> Root:
    return Root(Path(arguments.root))


def facts(arguments: argparse.Namespace, output: Output) -> None:
    """`trivet node facts`."""
    from appliance.effects.process import SystemProcesses
    from appliance.verbs.facts import Facts

    root = _root(arguments)
    found = Facts(root, SystemProcesses(), SystemClock()).read(MembershipFiles(root).membership())
    data = encode(found)
    rows = [(name, json.dumps(value, ensure_ascii=False)) for name, value in data.items()]
    output.result(data, table(("fact", "value"), rows))


def token(arguments: argparse.Namespace, output: Output) -> None:
    """`trivet node token`."""
    root = _root(arguments)
    membership = MembershipFiles(root).membership()
    if membership is not None:
        raise Conflict(
            "join.already-member",
            subject="this node",
            reason=f"it is {membership.name} of cluster {membership.cluster_id} already, so it has no join token",
            remedy="To move it to another cluster, remove it from this one first.",
        )
    path = root.at(layout.JOIN_TOKEN_FILE)
    try:
        found = path.read_text().strip()
    except FileNotFoundError as error:
        raise Conflict(
            "join.no-token",
            subject="this node",
            reason="its agent has not made a token yet",
            remedy="`systemctl status trivet-agent` says whether the agent runs.",
        ) from error
    except PermissionError as error:
        raise Refused("command.not-root", subject=str(path), reason="root alone reads it", remedy="Use sudo.") from error
    output.result({"token": found}, found)


def leave(arguments: argparse.Namespace, output: Output) -> None:
    """`trivet node leave`: of a node that the others do not count any more."""
    from appliance.command import require_root
    from appliance.effects.libvirt_host import LibvirtHost
    from appliance.effects.process import SystemProcesses
    from appliance.verbs.leaving import Leaving
    from appliance.verbs.units import Units

    require_root()
    root = _root(arguments)
    files = MembershipFiles(root)
    cluster, membership = files.require()
    refuse_member(membership.name, denials(files, cluster, membership.name, arguments.port), arguments.force)
    Leaving(root, SystemProcesses(), LibvirtHost()).leave(unmount=True)
    Units(SystemProcesses()).act("trivet-agent.service", "restart")
    words = f"this node has left cluster {cluster.name} and is bare; `trivet node token` prints its new token"
    output.result({"left": cluster.id, "name": membership.name}, words)


def denials(files: MembershipFiles, cluster: Cluster, name: str, port: int) -> dict[str, str]:
    """Other member → the code with which it refuses us, empty when it does not."""
    others = tuple(one for one in cluster.members if one.name != name)
    return {
        member: said.code if isinstance(said, TrivetError) else "" for member, said in _epochs(files, others, port).items()
    }


def refuse_member(name: str, told: Mapping[str, str], force: bool) -> None:
    """Raises ``Conflict`` ``node.member`` while another member counts this node, or nobody says that it does not."""
    counted = [member for member, code in told.items() if not code]
    if counted or not (force or "agent.no-member" in told.values()):
        whose = f"{', '.join(counted)} count it as a member" if counted else "no other member says that it is none any more"
        raise Conflict(
            "node.member",
            subject=f"node {name}",
            reason=whose,
            remedy="Remove the host through the API: it leaves by itself then."
            + ("" if counted else " If the others are gone for good, say --force."),
        )


def status(arguments: argparse.Namespace, output: Output) -> None:
    """`trivet node status`."""
    root = _root(arguments)
    files = MembershipFiles(root)
    cluster, membership = files.cluster(), files.membership()
    if cluster is None or membership is None:
        output.result(
            {"member": False, "cluster": None, "agents": [], "mounts": [], "engine": None},
            "This node is not a member of a cluster yet. `trivet node token` prints its join token.",
        )
        return
    agents = _ask_agents(files, cluster, arguments.port)
    mounts = [
        {"volume": volume, "mounted": os.path.ismount(root.at(layout.VOLUMES / volume))}
        for volume in (layout.ENGINE_VOLUME, layout.VMSTORE_VOLUME)
    ]
    engine, engine_words, out = _engine(root)
    for one in agents:
        one["maintenance"] = one["name"] in out
    data = {
        "member": True,
        "name": membership.name,
        "cluster": {"id": cluster.id, "name": cluster.name},
        "agents": agents,
        "mounts": mounts,
        "engine": engine,
    }
    rows = [
        (
            one["name"],
            one["address"],
            "in maintenance" if one["maintenance"] else "in service",
            "answers" if one["reachable"] else one["reason"],
        )
        for one in agents
    ]
    mounted = [f"{one['volume']}: {'mounted' if one['mounted'] else 'NOT mounted'}" for one in mounts]
    text = [f"{membership.name} of cluster {cluster.name} ({cluster.id})", ""]
    text += [
        table(("node", "address", "is", "agent"), rows),
        "",
        "volumes  " + ", ".join(mounted),
        f"engine   {engine_words}",
    ]
    output.result(data, "\n".join(text))


def _ask_agents(files: MembershipFiles, cluster: Cluster, port: int) -> list[dict[str, Any]]:
    """In the order of the cluster file."""
    rows: list[dict[str, Any]] = []
    for one, said in zip(cluster.members, _epochs(files, cluster.members, port).values(), strict=True):
        row = {"name": one.name, "address": one.address, "reachable": True, "reason": "", "epoch": said}
        if isinstance(said, TrivetError):
            row |= {"reachable": False, "reason": said.reason, "epoch": None}
        rows.append(row)
    return rows


def _epochs(files: MembershipFiles, members: Sequence[Member], port: int) -> dict[str, int | TrivetError]:
    """Member → the epoch that its agent knows, or why it does not say; all at once, in their order."""
    from appliance.wire.client import connect
    from appliance.wire.definition import NodeApi

    tls = files.tls()
    found: dict[str, int | TrivetError] = {}

    def ask(name: str, address: str) -> None:
        agent = connect(NodeApi, address, port, tls, name=name, timeout_s=STATUS_TIMEOUT_S)  # type: ignore[type-abstract]
        try:
            found[name] = agent.epoch()
        except TrivetError as error:
            found[name] = error

    threads = [threading.Thread(target=ask, args=(one.name, one.address), daemon=True) for one in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {member.name: found[member.name] for member in members}


def _engine(root: Root) -> tuple[dict[str, Any] | None, str, set[str]]:
    """What the broker here says of the engine, and which nodes are in maintenance."""
    from appliance.verbs.ha_status import STATUS_FILE, read_status

    try:
        found = read_status(root.at(STATUS_FILE), SystemClock())
    except TrivetError as error:
        return None, f"unknown: {error.reason}", set()
    engine = found.engine
    words = f"{engine.state} on {engine.host or 'no host'}, epoch {engine.epoch} (told {found.broker_age_s:.0f} s ago)"
    out = {host.name for host in found.hosts if host.maintenance}
    return {**encode(engine), "broker_age_s": found.broker_age_s}, words, out


def serve(arguments: argparse.Namespace, output: Output) -> None:
    """`trivet agent serve`."""
    del output
    from appliance.agent.server import serve as serve_agent

    serve_agent(_root(arguments), arguments.address, arguments.port)


def console(arguments: argparse.Namespace, output: Output) -> None:
    """`trivet agent console`."""
    del output
    import socket

    from appliance.agent.console import serve as serve_console
    from appliance.effects.libvirt_host import LibvirtHost

    with socket.socket(fileno=os.dup(0)) as plain:
        serve_console(_root(arguments), LibvirtHost(arguments.libvirt), SystemClock(), plain)


def call(arguments: argparse.Namespace, output: Output) -> None:
    """`trivet agent call`."""
    from appliance.wire.client import HttpsTransport, path_with

    files = MembershipFiles(_root(arguments))
    cluster, _ = files.require()
    method = _method(arguments.route)
    given = _json_object(arguments.json_arguments)
    if set(given) != set(method.arguments):
        wanted = ", ".join(method.arguments) or "none"
        reason = f"given were {', '.join(given) or 'none'}; its arguments are: {wanted}"
        raise Refused("agent.request", subject=method.name, reason=reason, remedy="Give them as one JSON object.")
    member = cluster.member(arguments.node)
    address = member.address if member else arguments.node
    wire = HttpsTransport(arguments.node, address, arguments.port, files.tls(), arguments.epoch, None)
    body = {name: value for name, value in given.items() if name not in method.in_path}
    result = wire(method, path_with(method, given), body)
    output.result(result, json.dumps(result, indent=2, ensure_ascii=False))


def _method(wanted: str) -> Method:
    """By the method's name or by its path as the interface writes it."""
    from appliance.agent.context import ROUTE_MODULES
    from appliance.wire.definition import AGENT_INTERFACES
    from appliance.wire.signatures import methods

    interfaces = [*AGENT_INTERFACES, *(importlib.import_module(name).INTERFACE for name in ROUTE_MODULES)]
    known = [method for interface in interfaces for method in methods(interface)]
    for method in known:
        if wanted in (method.name, method.route.path):
            return method
    raise Refused(
        "agent.route-unknown",
        subject=wanted,
        reason="the agent has no such route",
        remedy=f"Known are: {', '.join(sorted(method.name for method in known))}.",
    )


def _json_object(text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise Refused("command.usage", subject="JSON", reason=f"it cannot be read ({error})", remedy="Quote it.") from error
    if not isinstance(data, dict):
        raise Refused("command.usage", subject="JSON", reason="it is no object", remedy='Give {"name": value, …}.')
    return data


def _command(
    words: str, summary: str, example: str, run: Callable[[argparse.Namespace, Output], None], *options: Option
) -> Command:
    return Command(tuple(words.split()), summary, example, run, (ROOT, *options))


COMMANDS: tuple[Command, ...] = (
    _command("node facts", "what this node is: hardware, versions, peers", "trivet node facts", facts),
    _command("node token", "the one-time token with which this bare node is joined", "trivet node token", token),
    _command(
        "node leave",
        "forget the cluster: of a node that was removed from it while it was off; it is bare afterwards",
        "trivet node leave",
        leave,
        PORT,
        Option(("--force",), "although no other member answers", {"action": "store_true"}),
    ),
    _command("node status", "membership, the other agents, mounts, the engine's place", "trivet node status", status, PORT),
    _command(
        "agent serve",
        "run this node's agent (what trivet-agent.service does)",
        "trivet agent serve",
        serve,
        PORT,
        Option(("--address",), "listen on this address alone", {"default": "", "metavar": "ADDRESS"}),
    ),
    _command(
        "agent console",
        "give the engine a serial console over standard input (what trivet-vmconsole@.service does)",
        "trivet agent console",
        console,
        Option(
            ("--libvirt",),
            "libvirt's address (for tests)",
            {"default": "qemu:///system", "metavar": "URI"},
        ),
    ),
    _command(
        "agent call",
        "call a route of a node's agent with this node's certificate",
        "trivet agent call node2 vms",
        call,
        PORT,
        Option(("node",), "name of a member, or an address"),
        Option(("route",), "name of a route (facts, vm_destroy …) or its path"),
        Option(("json_arguments",), "its arguments as a JSON object", {"nargs": "?", "default": "{}", "metavar": "JSON"}),
        Option(("--epoch",), "send this engine epoch", {"type": int, "default": None, "metavar": "N"}),
    ),
)
