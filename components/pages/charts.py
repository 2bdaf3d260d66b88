"""Charts of curves as inline SVG."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from components.pages.markup import Html, escape, format_number

# Colours for train, eval and test, distinguishable with red-green colour blindness.
COLOURS = {"train": "#2f6db3", "eval": "#e07b1a", "test": "#3f9177"}
OTHER = "#7b5ea7"

_WIDTH, _HEIGHT = 460, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 34
# Per curve; more would not be distinguishable.
_MOST_POINTS = 300


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        name: Its name in the legend.
        points: x and y; the chart leaves out points that are not finite.
        colour: The colour of the line.
        dashed: Whether the line is thin and dashed, for comparison.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dashed: bool = False


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [step * place for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _thin_out(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    finite = [point for point in points if all(math.isfinite(value) for value in point)]
    if len(finite) <= _MOST_POINTS:
        return finite
    stride = math.ceil(len(finite) / _MOST_POINTS)
    return [*finite[:-1:stride], finite[-1]]


def _choose_range(values: Sequence[float], given: tuple[float, float] | None) -> tuple[float, float]:
    if given is not None:
        return given
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return low - margin if low < 0 or low > 4 * margin else 0.0, high + margin


def make_line_chart(
    title: str,
    curves: Sequence[Curve],
    x_label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    height: int = _HEIGHT,
) -> Html:
    """Return curves in one frame with a legend, or a note where there is nothing to draw."""
    lines = [(curve, _thin_out(curve.points)) for curve in curves]
    lines = [(curve, points) for curve, points in lines if points]
    legend = "".join(
        f'<span class="key" style="background:{curve.colour}"></span>{escape(curve.name)}'
        for curve, _ in lines
    )
    caption = f"<figcaption><b>{escape(title)}</b>{legend}</figcaption>"
    if not lines:
        return Html(f"<figure>{caption}<p class=note>nothing was recorded</p></figure>")
    xs = [x for _, points in lines for x, _ in points]
    x_low, x_high = x_range or (min(xs), max(xs))
    if x_high == x_low:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    y_low, y_high = _choose_range([y for _, points in lines for _, y in points], y_range)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        return across, height - _BOTTOM - (y - y_low) / (y_high - y_low) * (height - _TOP - _BOTTOM)

    parts = []
    for value in _ticks(y_low, y_high):
        _, y = place(x_low, value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e6eaef"/>'
        )
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_format_tick(value)}</text>')
    for value in _ticks(x_low, x_high, 6):
        x, _ = place(value, y_low)
        parts.append(
            f'<text x="{x:.1f}" y="{height - _BOTTOM + 14}" text-anchor="middle">{_format_tick(value)}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{height - 4}" text-anchor="middle">{escape(x_label)}</text>')
    for curve, points in lines:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        stroke = 'stroke-width="1" stroke-dasharray="4 4"' if curve.dashed else 'stroke-width="1.8"'
        parts.append(f'<polyline points="{path}" fill="none" stroke="{curve.colour}" {stroke}/>')
        if len(points) == 1:
            x, y = place(*points[0])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{curve.colour}"/>')
    return Html(
        f'<figure>{caption}<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'font-size="11" fill="#56636f">{"".join(parts)}</svg></figure>'
    )


def _format_tick(value: float) -> str:
    return format_number(value) if abs(value) >= 1e5 else f"{value:.6g}"


def put_side_by_side(charts: Sequence[Html]) -> Html:
    """Return charts next to each other where the page is wide enough."""
    return Html(f'<div class="charts">{"".join(charts)}</div>')
