"""Two charts as SVG text: bars on a logarithmic scale around 1, and lines on two logarithmic scales.

Readable without colour or sight: a title and a description that says every value, text at every bar and line,
met and missed told apart by words and by filling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 960
INK, FAINT, GOOD, BAD = "#1f2328", "#d0d7de", "#0b6e4f", "#b3401a"
#: Told apart in grey too, by dashes.
STROKES = (
    ("#0b5cad", ""),
    ("#b3401a", "7 3"),
    ("#0b6e4f", "2 3"),
    ("#6f42c1", "10 3 2 3"),
    ("#7a5b00", "4 4"),
    ("#57606a", "12 4"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    label: str
    value: float
    note: str
    good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    label: str
    points: Sequence[tuple[float, float]]


def said(value: float) -> str:
    """Three digits are all a shared machine has to say."""
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.3g}"
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 1000 else f"{value:.1e}"


def bars(title: str, drawn: Sequence[Bar]) -> str:
    """One bar each from 1, to the left for less, to the right for more."""
    row, top, left, right = 40, 70, 40, WIDTH - 40
    low, high = _decades([1.0, *(one.value for one in drawn)])

    def x(value: float) -> float:
        return left + (right - left) * (math.log10(value) - low) / (high - low)

    bottom = top + row * len(drawn)
    body = [_text(left, 30, title, size=18)]
    for decade in range(low, high + 1):
        at = x(10.0**decade)
        body.append(_rule(at, top - 8, at, bottom, INK if decade == 0 else FAINT))
        body.append(_text(at, top - 14, _power(decade), anchor="middle"))
    for place, one in enumerate(drawn):
        y = top + place * row
        start, end = sorted((x(1.0), x(one.value)))
        fill = f'fill="{GOOD}"' if one.good else f'fill="none" stroke="{BAD}" stroke-width="2"'
        body.append(
            f'<rect x="{start:.1f}" y="{y + 18}" width="{max(end - start, 1):.1f}" height="14" {fill}/>'
        )
        word = "met" if one.good else "missed"
        body.append(
            _text(left, y + 13, f"{one.label}: {one.note}, {word} ({said(one.value)} × target)")
        )
    told = "; ".join(
        f"{b.label}: {said(b.value)} times its target, {'met' if b.good else 'missed'}"
        for b in drawn
    )
    return _svg(title, told, bottom + 20, body)


def lines(title: str, drawn: Sequence[Line]) -> str:
    """Every line with its name below the axes and its last value at its end."""
    top, left, right, bottom = 60, 80, WIDTH - 110, 420
    points = [point for one in drawn for point in one.points]
    (x0, x1), (y0, y1) = _decades([p[0] for p in points]), _decades([p[1] for p in points])

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return (
            left + (right - left) * (math.log10(point[0]) - x0) / (x1 - x0),
            bottom - (bottom - top) * (math.log10(point[1]) - y0) / (y1 - y0),
        )

    body = [_text(left, 30, title, size=18)]
    for decade in range(x0, x1 + 1):
        x, _ = at((10.0**decade, 10.0**y0))
        body += [
            _rule(x, top, x, bottom, FAINT),
            _text(x, bottom + 20, _power(decade), anchor="middle"),
        ]
    for decade in range(y0, y1 + 1):
        _, y = at((10.0**x0, 10.0**decade))
        body += [
            _rule(left, y, right, y, FAINT),
            _text(left - 8, y + 4, _power(decade), anchor="end"),
        ]
    for place, one in enumerate(drawn):
        colour, dash = STROKES[place % len(STROKES)]
        pen = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}" fill="none"'
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, one.points))
        body.append(f'<polyline points="{path}" {pen}/>')
        body += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
            for x, y in map(at, one.points)
        ]
        x, y = at(one.points[-1])
        body.append(_text(x + 8, y + 4, said(one.points[-1][1]), colour=colour))
        key = bottom + 50 + 22 * place
        body.append(f'<line x1="{left}" y1="{key - 4}" x2="{left + 50}" y2="{key - 4}" {pen}/>')
        body.append(_text(left + 60, key, one.label))
    told = "; ".join(
        f"{one.label}: " + ", ".join(f"{said(y)} at {x:,.0f}" for x, y in one.points)
        for one in drawn
    )
    return _svg(title, told, bottom + 50 + 22 * len(drawn), body)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Whole decades around all values, at least one wide."""
    low = math.floor(math.log10(min(values)))
    return low, max(low + 1, math.ceil(math.log10(max(values))))


def _power(decade: int) -> str:
    return f"{10**decade:,}" if decade >= 0 else f"{10.0**decade:g}"


def _text(
    x: float, y: float, said: str, *, size: int = 13, anchor: str = "start", colour: str = INK
) -> str:
    # A white rim keeps it readable where a rule crosses it.
    rim = 'paint-order="stroke" stroke="#ffffff" stroke-width="4"'
    how = f'font-size="{size}" text-anchor="{anchor}" fill="{colour}" {rim}'
    return f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escape(said)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _svg(title: str, told: str, height: float, body: Sequence[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}"'
    told_by = 'role="img" aria-labelledby="title desc" font-family="system-ui, sans-serif"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} {told_by}>',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(told)}</desc>',
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
            *body,
            "</svg>\n",
        ]
    )
