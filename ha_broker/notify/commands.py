"""``trivet ha notify``: try it, look at it, be it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from appliance import layout
from appliance.command import Output, table
from appliance.effects.clock import Clock, SystemClock
from appliance.effects.root import Root
from appliance.errors import EXIT_FAILED, NotFound, TrivetError
from appliance.verbs.ha_status import STATUS_FILE
from appliance.verbs.membership import MembershipFiles
from ha_broker.notify.choose import QUIET
from ha_broker.notify.config import CONFIG_FILE, read_settings
from ha_broker.notify.deliver import Way, ways
from ha_broker.notify.events import EventReader, Position, Told
from ha_broker.notify.message import message
from ha_broker.notify.outbox import Place, backoff_s
from ha_broker.notify.run import STATE_FILE, Messages, Whose, journal, read_memory, run
from ha_broker.ports import Event

EVENT_FILE = layout.HA_STATE / "events.jsonl"


def whose() -> Whose:
    """From this node's files. Raises ``Conflict`` (``node.bare``)."""
    cluster, own = MembershipFiles(Root()).require()
    return Whose(cluster.name, own.name)


def command(what: str, output: Output) -> int | None:
    """``trivet ha notify WHAT`` on this node."""
    clock = SystemClock()
    if what == "run":
        serve()
        return None
    if what == "test":
        return test(output, CONFIG_FILE, whose(), clock)
    return status(output, CONFIG_FILE, STATE_FILE, EVENT_FILE, whose(), clock)


def serve() -> None:
    """What trivet-ha-notify.service does. Ends well when the configuration is taken away, badly when it has a mistake."""
    clock, own = SystemClock(), whose()
    places = fresh_ways(CONFIG_FILE, clock, own.host)
    places()
    try:
        run(Messages(own, EventReader(EVENT_FILE), STATUS_FILE, STATE_FILE, clock), places, clock)
    except NotFound as gone:
        journal(f"{gone.reason} any more: nobody is to be told")


def fresh_ways(path: Path, clock: Clock, host: str) -> Callable[[], tuple[Way, ...]]:
    """The places in the file at ``path``, read anew when it changes."""
    read_from: tuple[int, int] | None = None
    places: tuple[Way, ...] = ()

    def look() -> tuple[Way, ...]:
        nonlocal read_from, places
        found = path.stat() if path.exists() else None
        now = (found.st_mtime_ns, found.st_ino) if found else None
        if now is None or now != read_from:
            places, read_from = ways(read_settings(path), clock, host), now
        return places

    return look


def test(output: Output, settings: Path, own: Whose, clock: Clock) -> int | None:
    """Send a message to each place now, and say how it went. Nothing of the events is touched."""
    sentence = f"this is a test of Trivet's messages, asked for on {own.host}"
    event = Event(clock.wall_s(), own.host, "test", 0, sentence)
    told = message((Told(f"test-{int(clock.wall_s())}", event, Position()),), own.cluster, own.host)
    results: list[dict[str, object]] = []
    lines: list[str] = []
    for way in ways(read_settings(settings), clock, own.host):
        try:
            remark = way.deliver(told)
            results.append({"place": way.name, "taken": True, "remark": remark})
            lines.append(f"{way.name}: taken{f' ({remark})' if remark else ''}")
        except TrivetError as error:
            results.append({"place": way.name, "taken": False, "error": error.as_json()})
            lines.append(f"{way.name}: NOT taken: {error.reason}\n  what helps: {error.remedy}\n  code: {error.code}")
    output.result({"places": results}, "\n".join(lines))
    return None if all(one["taken"] for one in results) else EXIT_FAILED


def status(output: Output, settings: Path, state: Path, events: Path, own: Whose, clock: Clock) -> int | None:
    """How each place fares; exit 1 when one of them does not take messages."""
    memory, reader = read_memory(state), EventReader(events)
    found = []
    for way in ways(read_settings(settings), clock, own.host):
        place = memory.places.get(way.key)
        waiting = [one for one in reader.after(place.delivered).events if one.event.kind not in QUIET] if place else []
        found.append(_fares(way, place, len(waiting)))
    rows = [[one[key] for key in ("place", "last_told", "waiting", "state")] for one in found]
    output.result({"places": found}, table(("place", "last told (UTC)", "waiting", "state"), rows))
    return EXIT_FAILED if any(one["failures"] for one in found) else None


def _fares(way: Way, place: Place | None, waiting: int) -> dict[str, object]:
    if place is None:
        said = "not begun: see `systemctl status trivet-ha-notify`"
    elif place.failures:
        said = f"failed {place.failures} times, tried again after {backoff_s(place.failures):g} s: {place.error}"
    else:
        said = "good"
    last = (
        datetime.fromtimestamp(place.sent_wall_s[-1], UTC).strftime("%Y-%m-%d %H:%M:%S")
        if place and place.sent_wall_s
        else "-"
    )
    failures, given_up = (place.failures, place.given_up) if place else (0, 0)
    return {
        "place": way.name,
        "last_told": last,
        "waiting": waiting,
        "failures": failures,
        "given_up": given_up,
        "state": said,
    }
