"""The timeline of one failover as an SVG: a lane for each node and one for the engine's API, seconds from left to right."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, TOP, LANE, RIGHT = 960, 90, 56, 64, 24
BEFORE_S = 1.0
TICK_S = (1, 2, 5, 10, 20, 60)
MOST_TICKS = 14
COLOURS = {"decided": "#5b6b82", "start-begun": "#c2410c", "start-done": "#15803d", "destroyed": "#b91c1c"}
OTHER = "#7c3aed"
LINES_SHOWN = 4
"""Sentences written out in a lane; more would lie on each other. Every line has its dot, and its sentence as a tooltip."""


def failover_plot(timeline: dict[str, Any]) -> str:
    """The drawing. ``timeline``: a :class:`tests.lab.faults.Timeline` as JSON whose engine came back."""
    end_s = max(float(timeline["api_s"] or 0), float(timeline["begun_s"] or 0)) + 2
    lines = [line for line in timeline["lines"] if 0 <= line["at_s"] <= end_s]
    nodes = sorted({line["node"] for line in timeline["lines"]})
    scale = (WIDTH - LEFT - RIGHT) / (end_s + BEFORE_S)
    height = TOP + LANE * (len(nodes) + 1) + 40

    def x(at_s: float) -> float:
        return round(LEFT + (at_s + BEFORE_S) * scale, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="24" font-size="15" font-weight="bold">Power cut of the engine\'s host: what happened when</text>',
        f'<text x="12" y="42" fill="#5b6b82">{_summary(timeline)}</text>',
        *_axis(end_s, x, height),
    ]
    for number, node in enumerate(nodes):
        parts += _lane(node, [line for line in lines if line["node"] == node], TOP + LANE * number, x)
    parts += _api(timeline, TOP + LANE * len(nodes), x, end_s)
    parts.append(f'<line x1="{x(0)}" y1="{TOP - 6}" x2="{x(0)}" y2="{height - 34}" stroke="#b91c1c" stroke-width="2"/>')
    parts.append(f'<text x="{x(0) + 4}" y="{height - 38}" fill="#b91c1c">fault</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _summary(timeline: dict[str, Any]) -> str:
    spoken = (("seen", "seen_s"), ("start command", "begun_s"), ("API healthy", "api_s"))
    return ", ".join(f"{title} after {timeline[name]:.1f} s" for title, name in spoken if timeline[name] is not None)


def _axis(end_s: float, x: Any, height: int) -> list[str]:
    step = next((step for step in TICK_S if end_s / step <= MOST_TICKS), TICK_S[-1])
    parts = []
    for at_s in range(0, int(end_s) + 1, step):
        parts.append(f'<line x1="{x(at_s)}" y1="{TOP}" x2="{x(at_s)}" y2="{height - 34}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{x(at_s)}" y="{height - 18}" text-anchor="middle" fill="#5b6b82">{at_s} s</text>')
    return parts


def _lane(node: str, lines: list[dict[str, Any]], top: int, x: Any) -> list[str]:
    middle = top + LANE // 2
    parts = [
        f'<text x="12" y="{middle + 4}" font-weight="bold">{escape(node)}</text>',
        f'<line x1="{LEFT}" y1="{middle}" x2="{WIDTH - RIGHT}" y2="{middle}" stroke="#cbd5e1"/>',
    ]
    for number, line in enumerate(lines):
        at, colour = x(line["at_s"]), COLOURS.get(line["kind"], OTHER)
        tip = escape(f"{line['at_s']:.2f} s {line['kind']}: {line['sentence']}")
        radius = 6 if line["kind"] in COLOURS and line["kind"] != "decided" else 4
        parts.append(f'<circle cx="{at}" cy="{middle}" r="{radius}" fill="{colour}"><title>{tip}</title></circle>')
        if line["kind"] != "decided" and number < LINES_SHOWN * 4:
            parts.append(
                f'<text x="{at}" y="{middle - 10}" text-anchor="middle" fill="{colour}">{escape(line["kind"])}</text>'
            )
    return parts


def _api(timeline: dict[str, Any], top: int, x: Any, end_s: float) -> list[str]:
    middle = top + LANE // 2
    up_s = timeline["api_s"]
    parts = [f'<text x="12" y="{middle + 4}" font-weight="bold">engine API</text>']
    spans = [(-BEFORE_S, 0.0, "#15803d", "answers"), (0.0, up_s if up_s is not None else end_s, "#fca5a5", "no answer")]
    if up_s is not None:
        spans.append((up_s, end_s, "#15803d", "answers"))
    for begin_s, until_s, colour, word in spans:
        width = round(x(until_s) - x(begin_s), 1)
        parts.append(f'<rect x="{x(begin_s)}" y="{middle - 8}" width="{width}" height="16" fill="{colour}" rx="3"/>')
        if width > 60:
            parts.append(f'<text x="{x(begin_s) + width / 2}" y="{middle + 4}" text-anchor="middle">{word}</text>')
    return parts
