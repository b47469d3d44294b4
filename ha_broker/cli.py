"""``trivet ha``: what the broker of this node knows, and global maintenance. Works while the engine is down."""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from appliance import layout
from appliance.codec import encode
from appliance.command import Command, Option, Output, explain, require_root
from appliance.effects.clock import Clock, SystemClock
from appliance.effects.files import PRIVATE, write_atomically
from appliance.errors import EXIT_FAILED, Unavailable
from appliance.model.ha import HaDecision
from appliance.verbs.ha_status import STATUS_FILE
from ha_broker import limits
from ha_broker.effects.requests import FORCED_REQUEST, MAINTENANCE_REQUEST
from ha_broker.known import known
from ha_broker.sim import cli as sim
from ha_broker.text import Screen, text
from ha_broker.warm.cli import WARM_COMMAND
from ha_broker.watch import watch

FORCED_FILE = layout.RUN / FORCED_REQUEST
REQUEST_FILE = layout.RUN / MAINTENANCE_REQUEST
"""Left by ``trivet ha maintenance``, taken away by the broker once it is on the board."""

POLL_S = 0.3
"""How often the waiting command looks: a third of a turn."""


def _status(arguments: argparse.Namespace, output: Output) -> int | None:
    clock = SystemClock()
    failed = False

    def look() -> tuple[object, str]:
        nonlocal failed
        status, error = known(STATUS_FILE, clock)
        failed = error is not None
        below = f"\n\n{explain(error)}" if error else ""
        shown = text(status, clock.wall_s(), _screen(output, arguments.watch, below.count("\n")))
        return {**encode(status), **({"error": error.as_json()} if error else {})}, shown + below

    if arguments.watch:
        watch(look, output, clock)
        return None
    output.result(*look())
    return EXIT_FAILED if failed else None


def _screen(output: Output, whole: bool, taken_lines: int) -> Screen:
    """What can be shown; only a screen that is drawn over has an end at the bottom."""
    size = output.terminal()
    if size is None:
        return Screen()
    return Screen(size.columns, max(1, size.lines - taken_lines) if whole else 0, "NO_COLOR" not in os.environ)


def _maintenance(arguments: argparse.Namespace, output: Output) -> None:
    require_root()
    wanted = "global" if arguments.state == "on" else "none"
    set_maintenance(wanted, REQUEST_FILE, STATUS_FILE, SystemClock())
    spoken = "on: the engine VM is not started nor restarted by any broker" if wanted == "global" else "off"
    output.result({"maintenance": wanted}, f"global maintenance is {spoken}")


def set_maintenance(wanted: str, request: Path, status: Path, clock: Clock) -> None:
    """Ask this node's broker for it and wait until its slot on the board shows it.

    Raises ``Unavailable``: ``ha.broker-silent`` (nothing was asked), ``ha.maintenance-deadline`` (the request was taken
    back).
    """
    _, error = known(status, clock)
    if error is not None:
        raise error
    write_atomically(request, json.dumps({"maintenance": wanted}), PRIVATE)
    until_s = clock.monotonic_s() + limits.MAINTENANCE_DEADLINE_S
    while request.exists():
        if clock.monotonic_s() >= until_s:
            request.unlink(missing_ok=True)
            raise Unavailable(
                "ha.maintenance-deadline",
                subject="global maintenance",
                reason=f"this node's broker could not put it on the board within {limits.MAINTENANCE_DEADLINE_S:g} s",
                remedy="`trivet ha status` says how its storage fares; ask on a node that can write the board.",
            )
        clock.sleep(POLL_S)


def _log(_arguments: argparse.Namespace, output: Output) -> int | None:
    status, error = known(STATUS_FILE, SystemClock())
    lines = "\n".join(map(_line, status.decisions)) or "no decision yet"
    if error is None:
        output.result({"decisions": encode(status.decisions)}, lines)
        return None
    output.result({"decisions": encode(status.decisions), "error": error.as_json()}, f"{lines}\n\n{explain(error)}")
    return EXIT_FAILED


def _line(decision: HaDecision) -> str:
    return (
        f"{datetime.fromtimestamp(decision.wall_s, UTC).isoformat(timespec='seconds')}  {decision.host}  {decision.sentence}"
    )


def _broker(_arguments: argparse.Namespace, _output: Output) -> None:
    require_root()
    from ha_broker.daemon import run  # only the daemon needs libvirt

    run()


def _start(arguments: argparse.Namespace, output: Output) -> None:
    from ha_broker.force import command  # membership is read only here

    require_root()
    sentence = command(arguments.force, FORCED_FILE, STATUS_FILE, SystemClock())
    output.result({"decision": sentence}, sentence)


def _hand_over(_arguments: argparse.Namespace, output: Output) -> None:
    require_root()
    from ha_broker.effects.hand_over import hand_over  # only this needs libvirt

    sentence = hand_over()
    output.result({"outcome": sentence}, sentence)


def _page(arguments: argparse.Namespace, _output: Output) -> None:
    from ha_broker.page.serve import serve  # TLS only where it is needed

    serve(arguments.address, arguments.port)


def _notify(arguments: argparse.Namespace, output: Output) -> int | None:
    require_root()
    from ha_broker.notify.commands import command  # SMTP and HTTPS only where they are needed

    return command(arguments.what, output)


def _drill(arguments: argparse.Namespace, output: Output) -> int | None:
    from ha_broker.drill.commands import command  # the pool's model only where it is needed

    return command(arguments, output)


_DRILL = (
    Option(("--confirm",), "the engine's FQDN, typed beforehand: for scripts", {"default": "", "metavar": "FQDN"}),
    Option(("--check",), "only say whether a drill may begin now", {"action": "store_true"}),
    Option(("--power",), "says where power can be cut: not here", {"action": "store_true"}),
    Option(
        ("--power-cut-at",),
        "kill nothing: the host's power was cut then (seconds since 1970), measure",
        {"type": float, "default": None, "metavar": "SECONDS"},
    ),
    Option(("--host",), "with --power-cut-at: whose power", {"default": "", "metavar": "NODE"}),
    Option(
        ("--above-epoch",), "with --power-cut-at: the engine's epoch before", {"type": int, "default": 0, "metavar": "N"}
    ),
)
_WHAT = Option(
    ("what",),
    "test: write to each place now; status: how they fare; run: be the service",
    {"choices": ("test", "status", "run")},
)
_ADDRESS = Option(("--address",), "listen on this one only (default: all)", {"default": "", "metavar": "IP"})
_PORT = Option(("--port",), "listen there (default: %(default)s)", {"type": int, "default": layout.NODE_PAGE_PORT})
_WATCH = Option(("--watch",), "again each second, until Ctrl-C", {"action": "store_true"})
_STATE = Option(("state",), "on: no broker starts the engine VM; off: they do again", {"choices": ("on", "off")})

COMMANDS: tuple[Command, ...] = (
    Command(
        ("ha", "status"),
        "who has the engine VM, why not, and what is waited for",
        "trivet ha status --watch",
        _status,
        (_WATCH,),
    ),
    Command(("ha", "maintenance"), "switch global maintenance", "trivet ha maintenance on", _maintenance, (_STATE,)),
    Command(("ha", "log"), "the last decisions, as this node's broker knows them", "trivet ha log", _log),
    Command(
        ("ha", "start"),
        "start the engine VM on this node against maintenance, used-up starts or a score of 0 (asks for the cluster's name)",
        "trivet ha start --force",
        _start,
        (Option(("--force",), "without it nothing is started", {"action": "store_true"}),),
    ),
    Command(
        ("ha", "hand-over"),
        "get the engine VM off this node, whose broker was given up (what trivet-ha-handover.service does)",
        "trivet ha hand-over",
        _hand_over,
    ),
    Command(
        ("ha", "drill"),
        "kill the engine VM for real, and measure how it comes back",
        "trivet ha drill --confirm engine.example.com",
        _drill,
        _DRILL,
    ),
    Command(
        ("ha", "page"),
        "serve this node's page (what trivet-ha-page.service does)",
        "trivet ha page --port 4443",
        _page,
        (_ADDRESS, _PORT),
    ),
    Command(
        ("ha", "notify"),
        "messages by e-mail and webhook about what the brokers do",
        "trivet ha notify test",
        _notify,
        (_WHAT,),
    ),
    WARM_COMMAND,
    Command(("ha", "broker"), "run the broker (what trivet-ha.service does)", "trivet ha broker", _broker),
    sim.COMMAND,
)
