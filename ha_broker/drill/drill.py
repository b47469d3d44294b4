"""The drill itself: ask whether it may begin, end the engine VM, watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from appliance.effects.clock import Clock
from appliance.errors import Conflict, TrivetError
from appliance.model.ha import HaStatus
from ha_broker.drill.measure import Report, detection_s, report_text, since, start_s
from ha_broker.drill.permit import hindrances
from ha_broker.drill.ports import Field

DEADLINE_S = 240.0
"""For the engine to answer again: a cold start of an emulated guest on a loaded machine took 60 s; then another host
tries."""
POLL_S = 0.2
"""How often it is asked whether the API answers; the brokers' decisions carry their own times."""
DECISIONS_EVERY_S = 2.0
"""How often all hosts are asked for their decisions."""

Say = Callable[[float, str], None]


def permitted(field: Field) -> HaStatus:
    """The status, if a drill may begin now. Raises ``Conflict`` (``ha.drill-refused``)."""
    status = field.status()
    pool, pool_error = None, ""
    try:
        pool = field.pool()
    except TrivetError as error:
        pool_error = error.reason
    against = hindrances(status, pool, pool_error)
    if against:
        raise Conflict(
            "ha.drill-refused",
            subject="a drill",
            reason=f"it would cost more than time now: {'; '.join(against)}",
            remedy="`trivet ha status` and `trivet gluster status` show when all of it is over.",
            facts={"against": list(against)},
        )
    return status


def kill(field: Field, clock: Clock, say: Say) -> Report:
    """End the engine VM on its host and measure. Raises ``Conflict`` (``ha.drill-refused``), and errors of its agent."""
    status = permitted(field)
    begun_s, ended_wall_s = clock.monotonic_s(), clock.wall_s()
    field.end_engine_vm(status.engine.host)
    begun = Report("engine VM destroyed", status.engine.host, status.engine.epoch, ended_wall_s)
    return watch(field, clock, begun, begun_s, say)


def watch(field: Field, clock: Clock, begun: Report, begun_s: float, say: Say) -> Report:
    """Measure until the engine answers with a higher epoch. ``begun_s`` is the monotonic time of the end."""
    decisions = tuple(field.decisions())
    asked_s = clock.monotonic_s()
    epoch = None
    while clock.monotonic_s() - begun_s < DEADLINE_S:
        epoch = field.epoch_up()
        if epoch is not None and epoch > begun.epoch:
            break
        epoch = None
        if clock.monotonic_s() - asked_s >= DECISIONS_EVERY_S:
            decisions, asked_s = (*decisions, *field.decisions()), clock.monotonic_s()
            made = since(decisions, begun.ended_wall_s)
            say(clock.monotonic_s() - begun_s, made[-1].sentence if made else "nobody has noticed yet")
        clock.sleep(POLL_S)
    answers_s = round(clock.monotonic_s() - begun_s, 2) if epoch is not None else None
    made = since((*decisions, *field.decisions()), begun.ended_wall_s)
    return replace(
        begun,
        detection_s=detection_s(made, begun.ended_wall_s),
        start_s=start_s(made, begun.ended_wall_s),
        answers_s=answers_s,
        new_host=field.host_of_engine() if epoch is not None else "",
        new_epoch=epoch or 0,
        decisions=made,
    )


def keep(field: Field, report: Report) -> str:
    """Write the report down; answers the path."""
    when = datetime.fromtimestamp(report.ended_wall_s, UTC)
    name = f"drill-{when.strftime('%Y%m%dT%H%M%SZ')}.txt"
    return field.keep(name, f"{when.isoformat(timespec='seconds')}\n{report_text(report)}\n")
