"""``trivet engine …``: the programs inside the engine VM."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from appliance import layout
from appliance.command import Command, Option, Output, explain, require_root
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.errors import TrivetError
from engine.layout import Guest

ROOT = Option(("--root",), "the guest's file tree (tests have one of their own)", {"default": "/", "type": Path})


def console(guest: Guest, output: Output) -> Callable[[str], None]:
    """A log that also appears on the VM's screen: when the engine does not come up, that is where people look."""

    def say(text: str) -> None:
        output.log(text)
        try:
            descriptor = os.open(guest.console, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return  # no console: the journal has it
        try:
            os.write(descriptor, f"trivet: {text}\r\n".encode())
        except OSError:
            return  # a console that nobody reads is full
        finally:
            os.close(descriptor)

    return say


def _data(arguments: argparse.Namespace, output: Output) -> None:
    from appliance.effects.notify import tell_systemd
    from engine.boot.activate import activate

    require_root()
    guest = Guest(arguments.root)
    say = console(guest, output)
    tell_systemd("READY=1\nSTATUS=standby")
    try:
        start = activate(guest, SystemProcesses(), SystemClock(), say)
    except TrivetError as error:
        say(explain(error))
        raise
    output.result({"epoch": start.epoch, "host": start.host}, f"the engine may go active: epoch {start.epoch}")


def _web(arguments: argparse.Namespace, output: Output) -> None:
    from engine.server import serve

    sys.argv = sys.argv[:1]
    serve(Guest(arguments.root), arguments.address, arguments.port)


def _vmconsole(arguments: argparse.Namespace, output: Output) -> None:
    from engine.consoles.program import serve

    serve(Guest(arguments.root), arguments.console_port, SystemClock(), output.log)


def _jobs(arguments: argparse.Namespace, output: Output) -> None:
    from engine.jobs.program import main

    main(Guest(arguments.root), arguments.agent_port, output.log)


def _sign(arguments: argparse.Namespace, output: Output) -> None:
    from engine.signer import LIMIT_BYTES, answer

    print(answer(Guest(arguments.root), sys.stdin.read(LIMIT_BYTES), SystemClock().wall_s()))  # noqa: T201 - to the socket


COMMANDS: tuple[Command, ...] = (
    Command(
        ("engine", "data"),
        "wait for seed and data disk, then go active: read this start's address and epoch, make the data disk usable",
        "trivet engine data",
        _data,
        (ROOT,),
    ),
    Command(
        ("engine", "web"),
        "serve API and console over TLS",
        "trivet engine web",
        _web,
        (
            ROOT,
            Option(("--address",), "address to listen on", {"default": "0.0.0.0"}),  # noqa: S104 - it is a server
            Option(("--port",), "port to listen on", {"default": layout.ENGINE_PORT, "type": int}),
        ),
    ),
    Command(
        ("engine", "vmconsole"),
        "serve one person at a serial console over standard input (what trivet-engine-vmconsole@.service does)",
        "trivet engine vmconsole",
        _vmconsole,
        (ROOT, Option(("--console-port",), "the nodes' port", {"default": layout.CONSOLE_PORT, "type": int})),
    ),
    Command(
        ("engine", "jobs"),
        "follow the nodes and run the jobs",
        "trivet engine jobs",
        _jobs,
        (ROOT, Option(("--agent-port",), "port of the nodes' agents", {"default": layout.AGENT_PORT, "type": int})),
    ),
    Command(
        ("engine", "sign"),
        "sign a node's certificate: the request on standard input, the answer on standard output (what systemd starts)",
        "trivet engine sign",
        _sign,
        (ROOT,),
    ),
)
