"""``trivet ha``: what the broker of this node knows, and global maintenance. Works while the engine is down."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from appliance import layout
from appliance.codec import encode
from appliance.command import Command, Option, Output, explain, require_root
from appliance.effects.clock import Clock, SystemClock
from appliance.effects.files import PRIVATE, write_atomically
from appliance.effects.root import Root
from appliance.errors import EXIT_FAILED, TrivetError, Unavailable
from appliance.model.ha import EngineHa, HaDecision, HaStatus, HostHa
from appliance.verbs.ha_status import STATUS_FILE, read_status
from appliance.verbs.membership import MembershipFiles
from ha_broker import limits
from ha_broker.effects.requests import MAINTENANCE_REQUEST
from ha_broker.status import text

REQUEST_FILE = layout.RUN / MAINTENANCE_REQUEST
"""Left by ``trivet ha maintenance``, taken away by the broker once it is on the board."""

POLL_S = 0.3
"""How often the waiting command looks: a third of a turn."""


def known(path: Path, clock: Clock) -> tuple[HaStatus, TrivetError | None]:
    """The last status of this node's broker, and the error ``ha.broker-silent`` when it is stale or missing."""
    try:
        status = read_status(path, clock)
    except TrivetError as error:
        return _nothing(), _silent(error.reason)
    if status.broker_age_s <= limits.BROKER_SILENT_S:
        return status, None
    return status, _silent(f"it finished its last turn {status.broker_age_s:.0f} s ago; what is shown is from then")


def _silent(reason: str) -> Unavailable:
    remedy = "`systemctl status trivet-ha` and `journalctl -u trivet-ha` on this node say why; other nodes' brokers go on."
    return Unavailable("ha.broker-silent", subject="the broker of this node", reason=reason, remedy=remedy)


def _nothing() -> HaStatus:
    """What is known without a broker: who the members are."""
    cluster, _ = MembershipFiles(Root()).require()
    names = sorted(member.name for member in cluster.members)
    hosts = tuple(HostHa(name, False, 0, ("not known: this node's broker is silent",), "", False, 0.0) for name in names)
    return HaStatus(EngineHa("unknown", "", 0, ""), "none", hosts, (), 0.0)


def _status(_arguments: argparse.Namespace, output: Output) -> int | None:
    status, error = known(STATUS_FILE, SystemClock())
    data = encode(status)
    if error is None:
        output.result(data, text(status))
        return None
    output.result({**data, "error": error.as_json()}, f"{text(status)}\n\n{explain(error)}")
    return EXIT_FAILED


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


_STATE = Option(("state",), "on: no broker starts the engine VM; off: they do again", {"choices": ("on", "off")})

COMMANDS: tuple[Command, ...] = (
    Command(
        ("ha", "status"), "who holds the engine VM, and each host's score and decision", "trivet ha status --json", _status
    ),
    Command(("ha", "maintenance"), "switch global maintenance", "trivet ha maintenance on", _maintenance, (_STATE,)),
    Command(("ha", "log"), "the last decisions of this node's broker", "trivet ha log", _log),
    Command(("ha", "broker"), "run the broker (what trivet-ha.service does)", "trivet ha broker", _broker),
)
