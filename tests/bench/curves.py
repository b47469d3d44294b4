"""Cost curves as an SVG: size from left to right, cost upwards, both linear, so that linear growth is a straight line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 400, 70, 50, 110, 50
COLOURS = ("#c2410c", "#15803d", "#1d4ed8", "#7c3aed")
TICKS = 5


@dataclass(frozen=True)
class Curve:
    """``points``: (size, cost), by size."""

    name: str
    points: tuple[tuple[float, float], ...]


def curves_plot(title: str, size: str, unit: str, curves: Sequence[Curve]) -> str:
    """The drawing. ``size``: what is counted below, ``unit``: what the cost is measured in."""
    largest = max(point[0] for curve in curves for point in curve.points)
    dearest = max(point[1] for curve in curves for point in curve.points)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        across = LEFT + point[0] / largest * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(HEIGHT - BOTTOM - point[1] / dearest * (HEIGHT - TOP - BOTTOM), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for number in range(TICKS + 1):
        at, cost = largest * number / TICKS, dearest * number / TICKS
        (x, floor), (wall, y) = place((at, 0)), place((0, cost))
        parts.append(f'<line x1="{wall}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{wall - 6}" y="{y + 4}" text-anchor="end" fill="#5b6b82">{cost:,.0f} {escape(unit)}</text>')
        parts.append(f'<text x="{x}" y="{floor + 18}" text-anchor="middle" fill="#5b6b82">{at:,.0f}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end" fill="#5b6b82">{escape(size)}</text>')
    for curve, colour in zip(curves, COLOURS, strict=False):
        line = " ".join(f"{x},{y}" for x, y in map(place, curve.points))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in map(place, curve.points)]
        x, y = place(curve.points[-1])
        parts.append(f'<text x="{x + 8}" y="{y + 4}" fill="{colour}">{escape(curve.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
