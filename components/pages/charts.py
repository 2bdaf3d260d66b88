"""Charts as inline SVG, by Matplotlib, whose import takes half a second: only drawing imports it.

The SVG takes its colours from the variables of the page's stylesheet, so a chart follows the page from light
to dark. Its text is text.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from components.pages.markup import Html, format_number, render_part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours by the name of their variable in page.css, as they are in light; distinguishable with red-green
# colour blindness.
_LIGHT = {
    "train": "#2f6db3",
    "eval": "#c2610c",
    "test": "#2d7d67",
    "other": "#7b5ea7",
    "faint": "#8fb4de",
    "chance": "#7a8794",
    "muted": "#566370",
    "grid": "#e3e8ee",
    "paper": "#fefefe",
    "right": "#2f6db4",
    "wrong": "#c43a36",
}
# What draws the splits.
COLOURS = {"train": "train", "eval": "eval", "test": "test"}
OTHER, FAINT, CHANCE = "other", "faint", "chance"
# Lines of one chart that are not splits.
LINES = ("train", "eval", "test", "other")

WIDTH_IN, _HEIGHT_IN = 4.7, 2.35
# Per curve; more would not be distinguishable.
_MOST_POINTS = 300
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mirante",
    "text.parse_math": False,
    "font.size": 9.5,
    "axes.edgecolor": _LIGHT["chance"],
    "axes.labelcolor": _LIGHT["muted"],
    "xtick.color": _LIGHT["chance"],
    "ytick.color": _LIGHT["chance"],
    "xtick.labelcolor": _LIGHT["muted"],
    "ytick.labelcolor": _LIGHT["muted"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LIGHT["grid"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "lines.linewidth": 1.8,
}
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
# Numbers the charts of a process, so that no two on a page share an id.
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        name: Its name in the legend.
        points: x and y; the chart leaves out points that are not finite.
        colour: The name of a colour.
        dashed: Whether the line is thin and dashed, for comparison.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dashed: bool = False


@contextmanager
def drawing(width_in: float = WIDTH_IN, height_in: float = _HEIGHT_IN) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure with one pair of axes, in the style of the pages."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where its caches are is of no interest
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        yield figure, figure.add_subplot()


def colour_of(name: str) -> str:
    """Return what Matplotlib draws in a colour of the stylesheet."""
    return _LIGHT[name]


def to_svg(figure: Figure, description: str) -> Html:
    """Return a figure as inline SVG in the page's colours.

    Args:
        figure: Drawn within `drawing`.
        description: What it shows, for readers that cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_METADATA)
    root = ElementTree.fromstring(buffer.getvalue())
    number = next(_numbers)
    used = set(re.findall(r"(?:#)([\w.-]+)[)\"]", buffer.getvalue()))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        _clean(element, used, f"c{number}-")
    for parent, name in ((root, "metadata"), (root, "defs")):
        for child in parent.findall(name):  # the first `defs` has a style for everything
            if child.find("style") is not None or name == "metadata":
                parent.remove(child)
    view = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib |= {"class": "plot", "viewBox": view, "role": "img", "aria-label": description}
    return Html(_take_colours(ElementTree.tostring(root, encoding="unicode")))


def _clean(element: ElementTree.Element, used: set[str], prefix: str) -> None:
    """Take from an element what a page has no use for, and make its id the page's only one of that name."""
    attributes = element.attrib
    if (name := attributes.pop("id", None)) in used:
        attributes["id"] = f"{prefix}{name}"
    if (target := attributes.pop(_HREF, None)) is not None:
        attributes["href"] = f"#{prefix}{target[1:]}" if target.startswith("#") else target
    if "clip-path" in attributes:
        attributes["clip-path"] = attributes["clip-path"].replace("#", f"#{prefix}")
    if element.tag == "text":
        attributes["style"] = re.sub(r"font: [^;]*;?|font-family: [^;]*;?", _keep_size, attributes["style"])
        if attributes.get("transform", "").startswith("rotate(-0 "):
            del attributes["transform"]
    if "d" in attributes:
        attributes["d"] = _shorten_path(attributes["d"])
    element.text = (element.text or "").strip()
    element.tail = None


def _keep_size(font: re.Match[str]) -> str:
    size = re.search(r"[\d.]+px", font.group())
    return f"font-size: {size.group()};" if size else ""


def _shorten_path(path: str) -> str:
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number.group()):.1f}", " ".join(path.split()))


@functools.cache
def _colour_pattern() -> re.Pattern[str]:
    return re.compile("|".join(_LIGHT.values()))


def _take_colours(svg: str) -> str:
    variables: Mapping[str, str] = {value: f"var(--{name})" for name, value in _LIGHT.items()}
    return _colour_pattern().sub(lambda found: variables[found.group()], svg)


def _thin_out(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    finite = [point for point in points if all(math.isfinite(value) for value in point)]
    if len(finite) <= _MOST_POINTS:
        return finite
    stride = math.ceil(len(finite) / _MOST_POINTS)
    return [*finite[:-1:stride], finite[-1]]


def make_line_chart(
    title: str,
    curves: Sequence[Curve],
    x_label: str,
    *,
    y_label: str = "",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    height_in: float = _HEIGHT_IN,
) -> Html:
    """Return curves in one frame with a legend, or a note where there is nothing to draw."""
    lines = [(curve, _thin_out(curve.points)) for curve in curves]
    lines = [(curve, points) for curve, points in lines if points]
    # Curves of one name have one key.
    legend = list(dict.fromkeys((curve.name, curve.colour, curve.dashed) for curve, _ in lines))
    if not lines:
        return render_part("chart", title, [], None)
    with drawing(height_in=height_in) as (figure, axes):
        for curve, points in lines:
            style: dict[str, Any] = {"linestyle": "--", "linewidth": 1.0} if curve.dashed else {}
            if len(points) == 1:
                style["marker"] = "o"
            axes.plot(*zip(*points, strict=True), color=_LIGHT[curve.colour], **style)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.margins(x=0.02)
        if x_range is not None:
            axes.set_xlim(*_widen(x_range))
        else:  # epochs, steps or pixels
            axes.locator_params("x", integer=True)
        if y_range is not None:
            axes.set_ylim(*_widen(y_range))
        svg = to_svg(figure, describe_curves(title, lines))
    return render_part("chart", title, legend, svg)


def _widen(limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits at which no line is drawn over the frame."""
    margin = (limits[1] - limits[0]) * 0.02
    return limits[0] - margin, limits[1] + margin


def describe_curves(title: str, lines: Sequence[tuple[Curve, Sequence[tuple[float, float]]]]) -> str:
    """Return the first and last value of each curve in words."""
    said = [
        f"{curve.name} from {format_number(points[0][1])} to {format_number(points[-1][1])}"
        for curve, points in lines
        if not curve.dashed
    ]
    return f"Chart. {title}: {'; '.join(said)}" if said else f"Chart. {title}"


def put_side_by_side(charts: Sequence[Html]) -> Html:
    """Return charts next to each other where the page is wide enough."""
    return render_part("side_by_side", charts)
