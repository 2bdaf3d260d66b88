"""Charts of an evaluation, with Pillow only: matplotlib is not a dependency, and these few need none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from components.pictures.boxes import font

WHITE, BLACK, GREY, LIGHT = (255, 255, 255), (0, 0, 0), (110, 110, 110), (225, 225, 225)
# Dark enough for lines on white.
LINES = ((0, 114, 178), (213, 94, 0), (0, 158, 115))
PANEL_PX = (360, 340)
PANELS_PER_PAGE = 20
_MARGIN = (52, 52, 14, 46)  # left, top, right, bottom


def draw_precision_recall(
    curves: Mapping[str, Sequence[tuple[str, npt.NDArray[Any]]]], recalls: npt.NDArray[Any]
) -> list[Image.Image]:
    """Draw pages of up to 20 panels, one per class.

    Args:
        curves: By title: up to three (name, precision [recalls]); all nan if a class has no objects.
        recalls: 0 to 1, ascending.
    """
    titles = list(curves)
    pages = []
    for start in range(0, len(titles), PANELS_PER_PAGE):
        part = titles[start : start + PANELS_PER_PAGE]
        columns = min(4, len(part))
        rows = math.ceil(len(part) / columns)
        page = Image.new("RGB", (columns * PANEL_PX[0], rows * PANEL_PX[1]), WHITE)
        for i, title in enumerate(part):
            panel = _draw_panel(title, curves[title], recalls)
            page.paste(panel, ((i % columns) * PANEL_PX[0], (i // columns) * PANEL_PX[1]))
        pages.append(page)
    return pages


def _draw_panel(
    title: str, lines: Sequence[tuple[str, npt.NDArray[Any]]], recalls: npt.NDArray[Any]
) -> Image.Image:
    panel = Image.new("RGB", PANEL_PX, WHITE)
    pen = ImageDraw.Draw(panel)
    left, top = _MARGIN[:2]
    right, bottom = PANEL_PX[0] - _MARGIN[2], PANEL_PX[1] - _MARGIN[3]

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * (right - left), bottom - y * (bottom - top)

    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        pen.line((*at(tick, 0), *at(tick, 1)), fill=LIGHT)
        pen.line((*at(0, tick), *at(1, tick)), fill=LIGHT)
        pen.text((at(tick, 0)[0], bottom + 5), f"{tick:g}", font=font(12), fill=GREY, anchor="ma")
        pen.text((left - 6, at(0, tick)[1]), f"{tick:g}", font=font(12), fill=GREY, anchor="rm")
    pen.rectangle((left, top, right, bottom), outline=GREY)
    pen.text((12, 8), shorten(pen, title, 16, right - 12), font=font(16), fill=BLACK)
    pen.text(((left + right) / 2, PANEL_PX[1] - 22), "recall", font=font(13), fill=BLACK, anchor="ma")
    pen.text((12, top - 10), "precision", font=font(13), fill=BLACK, anchor="ls")
    there = [(name, values) for name, values in lines if not np.isnan(values).any()]
    if not there:
        middle = ((left + right) / 2, (top + bottom) / 2)
        pen.text(middle, "no objects", font=font(16), fill=GREY, anchor="mm")
    for (_, values), colour in zip(there, LINES, strict=False):
        points = [at(float(x), float(y)) for x, y in zip(recalls, values, strict=True)]
        pen.line(points, fill=colour, width=3, joint="curve")
    for i, ((name, values), colour) in enumerate(zip(there, LINES, strict=False)):
        y = bottom - 12 - 18 * (len(there) - 1 - i)
        text = f"{name}: {np.mean(values):.3f}"
        box = pen.textbbox((left + 32, y), text, font=font(13), anchor="lm")
        pen.rectangle((left + 5, box[1] - 2, box[2] + 3, box[3] + 2), fill=WHITE)
        pen.line((left + 8, y, left + 26, y), fill=colour, width=3)
        pen.text((left + 32, y), text, font=font(13), fill=BLACK, anchor="lm")
    return panel


def shorten(pen: ImageDraw.ImageDraw, text: str, size_px: int, width_px: float) -> str:
    """Return the text, or as much of its beginning as fits."""
    if pen.textlength(text, font=font(size_px)) <= width_px:
        return text
    while text and pen.textlength(f"{text}...", font=font(size_px)) > width_px:
        text = text[:-1]
    return f"{text}..."


def draw_bars(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float, str]]]]) -> Image.Image:
    """Draw horizontal bars in groups, each with its own scale.

    Args:
        title: Title of the chart.
        groups: (heading, bars); a bar is (name, value from 0 on, text at its end).
    """
    row, width, named, written = 30, 720, 150, 110
    height = 50 + sum(34 + row * len(rows) + 12 for _, rows in groups)
    chart = Image.new("RGB", (width, height), WHITE)
    pen = ImageDraw.Draw(chart)
    pen.text((16, 14), shorten(pen, title, 18, width - 32), font=font(18), fill=BLACK)
    y = 50
    for (heading, rows), colour in zip(groups, LINES, strict=False):
        pen.text((16, y + 8), heading, font=font(14), fill=GREY)
        y += 34
        most = max((value for _, value, _ in rows), default=0.0) or 1.0
        for name, value, text in rows:
            pen.text((named - 8, y + row / 2), name, font=font(14), fill=BLACK, anchor="rm")
            length = (width - named - written) * max(value, 0.0) / most
            pen.rectangle((named, y + 5, named + max(length, 1), y + row - 5), fill=colour)
            pen.text((named + max(length, 1) + 8, y + row / 2), text, font=font(14), fill=BLACK, anchor="lm")
            y += row
        y += 12
    return chart
