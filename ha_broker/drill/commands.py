"""``trivet ha drill``."""

from __future__ import annotations

import argparse

from appliance.codec import encode
from appliance.command import Output, confirmed, require_root
from appliance.effects.clock import Clock, SystemClock
from appliance.errors import EXIT_FAILED, Refused
from ha_broker.drill.drill import DEADLINE_S, Say, keep, kill, permitted, watch
from ha_broker.drill.measure import Report, report_text
from ha_broker.drill.ports import Field
from ha_broker.drill.real import NodeField


def command(arguments: argparse.Namespace, output: Output) -> int | None:
    """What was asked for, on this node. Exit 1: the engine did not come back in time."""
    require_root()
    if arguments.power:
        raise Refused(
            "ha.drill-power",
            subject="a drill with power",
            reason="a node cannot cut its own power and look at what follows",
            remedy="In a lab: `trivet lab drill` on the machine that holds it. With servers: pull the plug of the host.",
        )
    field, clock = NodeField(SystemClock()), SystemClock()
    if arguments.check:
        check(field, output)
        return None
    if arguments.power_cut_at is not None:
        begun = Report("power of its host cut", arguments.host, arguments.above_epoch, arguments.power_cut_at)
        begun_s = clock.monotonic_s() - max(0.0, clock.wall_s() - arguments.power_cut_at)
        return told(field, watch(field, clock, begun, begun_s, _say(output)), output)
    return drill(field, clock, field.cluster.engine.fqdn, arguments.confirm, output)


def check(field: Field, output: Output) -> None:
    """Whether a drill may begin now; nothing is done. Raises ``Conflict`` (``ha.drill-refused``)."""
    engine = permitted(field).engine
    output.result({"permitted": True, "engine": encode(engine)}, f"a drill may begin: the engine is up on {engine.host}")


def drill(field: Field, clock: Clock, fqdn: str, given: str, output: Output) -> int | None:
    """The whole drill. Raises ``Conflict`` (``ha.drill-refused``), ``Refused`` (``command.not-confirmed``)."""
    engine = permitted(field).engine
    confirmed(fqdn, given, f"The engine VM on {engine.host} will be killed: nobody can manage anything for some seconds.")
    return told(field, kill(field, clock, _say(output)), output)


def told(field: Field, report: Report, output: Output) -> int | None:
    """Print and keep the report."""
    text, path = report_text(report), keep(field, report)
    data = {**encode(report), "passed": report.passed, "text": text, "file": path}
    output.result(data, f"{text}\n\nkept as {path}")
    return None if report.passed else EXIT_FAILED


def _say(output: Output) -> Say:
    return lambda since_s, text: output.progress(min(99.0, 100 * since_s / DEADLINE_S), since_s, text)
