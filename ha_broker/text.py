"""A status as one screen of a terminal. Pure: the same text for the same status, time, size and colours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.model.ha import HaStatus, HostHa
from ha_broker import words

SGR = {"good": "32", "bad": "31", "busy": "33", "plain": ""}
"""Colours of ECMA-48: green, red, yellow."""
LABEL_COLUMNS = 13
"""Width of the words on the left: "maintenance" and a gap."""
NARROWEST = 60
"""Narrower terminals get lines of this width: sentences need some room."""
DECISIONS_AT_LEAST = 3
"""So many of the last decisions are shown even if the screen is too small for them."""


@dataclass(frozen=True)
class Screen:
    """What the text is for. ``columns`` 0: sentences are not wrapped; ``lines`` 0: nothing is left out."""

    columns: int = 0
    lines: int = 0
    colours: bool = False


def text(status: HaStatus, now_wall_s: float, screen: Screen = Screen()) -> str:
    """The status as a person reads it."""
    upper = [*_head(status, now_wall_s, screen), "", *_hosts(status, screen)]
    lower = _decisions(status, now_wall_s, screen, max(DECISIONS_AT_LEAST, screen.lines - len(upper) - 3))
    return "\n".join([*upper, "", *lower])


def _head(status: HaStatus, now_wall_s: float, screen: Screen) -> list[str]:
    engine = words.engine_words(status.engine, now_wall_s)
    rows: list[tuple[str, str, words.Mood]] = [
        ("engine", engine, words.mood_of(status)),
        ("fence", words.fence_words(status), "plain" if status.fence.open_on == status.fence.bricks else "busy"),
        ("next start", words.start_words(status), "plain"),
        ("maintenance", words.maintenance_words(status), "plain" if status.maintenance == "none" else "busy"),
    ]
    waiting = words.waiting_words(status, now_wall_s)
    rows += [("waiting", waiting, "busy")] if waiting else []
    rows += [("alert", f"{alert.sentence} [{alert.code}]", "bad") for alert in status.alerts]
    rows.append(("told by", words.source_words(status), "plain"))
    return [line for label, value, mood in rows for line in _labelled(label, value, mood, screen)]


def _labelled(label: str, value: str, mood: words.Mood, screen: Screen) -> list[str]:
    lines = _wrapped(value, LABEL_COLUMNS, screen)
    rest = [" " * LABEL_COLUMNS + _coloured(line, mood, screen) for line in lines[1:]]
    return [f"{label:<{LABEL_COLUMNS}}{_coloured(lines[0], mood, screen)}", *rest]


def _hosts(status: HaStatus, screen: Screen) -> list[str]:
    headings = ("host", "is", "score")
    cells = [(host.name, words.alive_words(host), words.score_words(host)) for host in status.hosts]
    widths = [max(len(row[column]) for row in [headings, *cells]) for column in range(3)]
    named = f"{headings[0]:<{widths[0]}}  {headings[1]:<{widths[1]}}  {headings[2]:>{widths[2]}}"
    lines = [f"{named}  last decision, and what counts against it"]
    for host in status.hosts:
        lines += _host(host, widths, screen)
    return lines


def _host(host: HostHa, widths: Sequence[int], screen: Screen) -> list[str]:
    indent = sum(widths) + 2 * len(widths)
    sentences = [sentence for sentence in (words.host_words(host), *words.eligible_words(host)) if sentence]
    lines = [line for sentence in sentences or ["-"] for line in _wrapped(sentence, indent, screen)]
    alive = _coloured(words.alive_words(host).ljust(widths[1]), words.host_mood(host), screen)
    first = f"{host.name:<{widths[0]}}  {alive}  {words.score_words(host):>{widths[2]}}  {lines[0]}"
    return [first, *(" " * indent + line for line in lines[1:])]


def _decisions(status: HaStatus, now_wall_s: float, screen: Screen, room: int) -> list[str]:
    found = words.last_decisions(status)
    if not found:
        return ["no decision yet"]
    times = [words.decision_time(one.wall_s, now_wall_s) for one in found]
    wide, name = max(map(len, times)), max(len(one.host) for one in found)
    lines: list[str] = []
    for one, when in zip(found, times, strict=True):
        wrapped = _wrapped(one.sentence, wide + name + 4, screen)
        block = [f"{when:<{wide}}  {one.host:<{name}}  {wrapped[0]}", *(" " * (wide + name + 4) + w for w in wrapped[1:])]
        if screen.lines and lines and len(lines) + len(block) > room:
            break
        lines += block
    return ["last decisions, newest first (UTC)", *lines]


def _wrapped(sentence: str, indent: int, screen: Screen) -> list[str]:
    if not screen.columns:
        return [sentence]
    return textwrap.wrap(sentence, max(NARROWEST, screen.columns) - indent, break_on_hyphens=False) or [""]


def _coloured(value: str, mood: words.Mood, screen: Screen) -> str:
    return f"\x1b[{SGR[mood]}m{value}\x1b[0m" if screen.colours and SGR[mood] else value
