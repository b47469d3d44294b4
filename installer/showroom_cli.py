"""``trivet run``, ``stop`` and ``status``: what they print."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from appliance.command import Command, Option, Output, require_root, table
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.errors import EXIT_FAILED, TrivetError
from image.build import Builder
from image.lab import model
from image.lab.operations import Say
from image.recipe import Kind
from installer.install import ADMIN_USER
from installer.showroom import Showroom

BUILD_SHARE = 0.1
"""How much of the progress the images are: most of it at the first run, nothing at all at the others."""


def run(arguments: argparse.Namespace, output: Output) -> None:
    """``trivet run``: images, nodes, installation, engine."""
    showroom = _showroom(arguments)
    clock = SystemClock()
    begun_s = clock.monotonic_s()

    def say(percent: float, text: str) -> None:
        output.progress(percent, clock.monotonic_s() - begun_s, text)

    nodes = model.check_nodes(arguments.nodes)
    showroom.check_port(arguments.port or model.default_port())
    if showroom.is_up:
        output.log("the nodes are there already and keep their image; `trivet stop` first for nodes from a newer one")
        tree = showroom.lab.wanted().tree
    else:
        tree = _built(say, output)
    keys = tuple(Path(file).read_text().strip() for file in arguments.ssh_key)
    showroom.run(nodes, tree, arguments.port, say, output.log, keys)
    say(100, "the engine answers")
    data = describe(showroom)
    output.result(data, f"\n{described(data)}\n\n{hints(showroom.name)}")


def stop(arguments: argparse.Namespace, output: Output) -> int | None:
    """``trivet stop``: remove everything; name what is left all the same."""
    showroom = _showroom(arguments)
    clock = SystemClock()
    begun_s = clock.monotonic_s()
    left = showroom.stop(lambda percent, text: output.progress(percent, clock.monotonic_s() - begun_s, text))
    words = f"lab {showroom.name}: nothing of it is left"
    if left:
        words = f"lab {showroom.name}: these are left:\n" + "\n".join(f"  {one}" for one in left)
    output.result({"name": showroom.name, "left": list(left)}, words)
    return EXIT_FAILED if left else None


def status(arguments: argparse.Namespace, output: Output) -> None:
    """``trivet status``: where everything is."""
    data = describe(_showroom(arguments))
    output.result(data, described(data))


def describe(showroom: Showroom) -> dict[str, object]:
    """The showroom as data. Raises ``Conflict`` (``lab.not-up``)."""
    nodes = [
        {"name": one.name, "power": one.power, "address": one.address, "link": one.link} for one in showroom.lab.status()
    ]
    engine: dict[str, object] = {"state": "unknown", "host": "", "epoch": 0}
    ha = showroom.ha()
    if ha is not None and isinstance(ha.get("engine"), dict):
        engine = dict(ha["engine"])  # type: ignore[call-overload]
    try:
        engine["health"] = showroom.health()
    except TrivetError as error:
        engine["health"] = error.as_json()
    return {
        "name": showroom.name,
        "engine": engine,
        "url": showroom.url(),
        "user": ADMIN_USER,
        "password_file": str(showroom.password_file),
        "ca_file": str(showroom.ca_file),
        "nodes": nodes,
    }


def described(data: dict[str, object]) -> str:
    """The same for people."""
    engine = data["engine"]
    assert isinstance(engine, dict)
    health = engine.get("health", {})
    place = f"{engine.get('state')} on {engine.get('host') or 'no node'}, epoch {engine.get('epoch')}"
    answers = "answers" if health.get("status") == "up" else f"does not answer ({health.get('reason', 'not up yet')})"
    nodes = data["nodes"]
    assert isinstance(nodes, list)
    rows = [(one["name"], one["power"], one["address"], one["link"]) for one in nodes]
    return (
        f"engine    {place}; it {answers}\naddress   {data['url']}\nuser      {data['user']}\n"
        f"password  in the file {data['password_file']}\nCA        {data['ca_file']}\n\n"
        f"{table(('node', 'power', 'address', 'link'), rows)}"
    )


def hints(name: str) -> str:
    """What to try next."""
    which = "" if name == model.DEFAULT_LAB else f" --name {name}"
    return (
        "what to try next:\n"
        f"  ./trivet lab exec{which} node1 -- trivet ha status     who holds the engine, and why\n"
        f"  ./trivet lab power{which} node2 off                    pull a plug, then look: ./trivet status{which}\n"
        f"  ./trivet lab exec{which} node1 -- trivet gluster status\n"
        f"  ./trivet stop{which}                                   take everything down again"
    )


def _built(say: Say, output: Output) -> Path:
    """Both images (quick when they are current), and the node's tree that the lab boots. Progress: the first tenth."""
    report = _Report(say, output)
    builder = Builder(SystemProcesses(), SystemClock(), report, os.environ)
    builder.build(Kind.NODE)
    return builder.node_tree()


class _Report:
    """The builder's progress as the first part of ours."""

    def __init__(self, say: Say, output: Output) -> None:
        self._say = say
        self._output = output

    def progress(self, percent: float, elapsed_s: float, text: str) -> None:
        self._say(percent * BUILD_SHARE, text)

    def log(self, text: str) -> None:
        self._output.log(text)


def _showroom(arguments: argparse.Namespace) -> Showroom:
    require_root()
    return Showroom(model.check_name(arguments.name), SystemProcesses(), SystemClock())


NAME = Option(("--name",), "which lab (default: %(default)s)", {"default": model.DEFAULT_LAB, "metavar": "LAB"})

SHOWROOM_COMMANDS = (
    Command(
        ("run",),
        "Three nodes on this machine, from nothing to a running engine: build images, boot nodes, install the cluster.",
        "trivet run",
        run,
        (
            NAME,
            Option(("--nodes",), "how many nodes (default: %(default)s)", {"type": int, "default": model.DEFAULT_NODES}),
            Option(("--port",), f"where the engine answers on 127.0.0.1 (default: {model.default_port()})", {"type": int}),
            Option(
                ("--ssh-key",),
                "public key file for root of nodes and engine VM (default: nobody can log in); may be repeated",
                {"action": "append", "default": [], "metavar": "FILE"},
            ),
        ),
    ),
    Command(("stop",), "Take the nodes of `trivet run` down and remove everything of them.", "trivet stop", stop, (NAME,)),
    Command(
        ("status",), "Where the engine is, its address, its CA and its password file.", "trivet status", status, (NAME,)
    ),
)
