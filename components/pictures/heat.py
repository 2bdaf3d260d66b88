"""Draws heat maps over images, with a legend, with Pillow alone."""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from components.base.arrays import Array
from components.pictures.boxes import enlarge, font

# From little heat to much, ever brighter, so that colour vision is not needed; little heat is transparent.
_COLOURS = ((20, 11, 90), (120, 28, 125), (215, 60, 80), (252, 150, 30), (252, 250, 120))
_MOST_OPACITY = 0.75
_LITTLE, _MUCH = "little", "much"
_GRAY = 128


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """The importance of each place of an image for an answer.

    Attributes:
        values: float [h, w] in 0..1, of what the network took.
        frame: Where the image is in that: xmin, ymin, xmax, ymax in shares; all of it unless it was padded.
    """

    values: Array
    frame: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def resize(self, size: tuple[int, int]) -> Array:
        """Return it for an image of this width and height, float32 [height, width] in 0..1."""
        values = np.nan_to_num(self.values, nan=0.0, posinf=0.0, neginf=0.0).clip(0.0, 1.0).astype(np.float32)
        height, width = values.shape
        left, top, right, bottom = self.frame
        box = left * width, top * height, right * width, bottom * height
        resized = Image.fromarray(values).resize(size, Image.Resampling.BICUBIC, box=box)
        return np.clip(np.asarray(resized), 0.0, 1.0)


def blend_heat(image: Image.Image, heat: HeatMap) -> Image.Image:
    """Return the image in RGB, of the same size, with the heat over it."""
    return _blend(image.convert("RGB"), heat.resize(image.size))


def draw_heat(image: Image.Image, heat: HeatMap, caption: str) -> Image.Image:
    """Return the image with the heat over it, above a line with a caption and the legend.

    A tiny image is enlarged; any other one keeps its size, and the line is added below.
    """
    enlarged, _ = enlarge(image)
    drawn = blend_heat(enlarged, heat)
    letters = font(max(13, round(max(drawn.size) / 45)))
    line = _draw_legend(caption, letters, drawn.width)
    whole = Image.new("RGB", (max(drawn.width, line.width), drawn.height + line.height), "white")
    whole.paste(drawn, (0, 0))
    whole.paste(line, (0, drawn.height))
    return whole


def _blend(image: Image.Image, heat: Array) -> Image.Image:
    stops = np.linspace(0.0, 1.0, len(_COLOURS))
    colours = np.stack([np.interp(heat, stops, channel) for channel in zip(*_COLOURS, strict=True)], axis=-1)
    opacity = (_MOST_OPACITY * heat)[..., np.newaxis]
    blended = np.asarray(image, np.float32) * (1.0 - opacity) + colours * opacity
    return Image.fromarray(blended.round().astype(np.uint8))


def _draw_legend(caption: str, letters: Any, least_width: int) -> Image.Image:
    """Draw the caption at the left, the scale of the heat at the right, or below where both do not fit."""
    gap = round(letters.size / 2)
    height = letters.size + 2 * gap
    bar = round(letters.size * 5)
    widths = [round(letters.getlength(text)) for text in (caption, _LITTLE, _MUCH)]
    scale_width = widths[1] + widths[2] + bar + 2 * gap
    beside = widths[0] + scale_width + 4 * gap <= least_width
    width = max(least_width, max(widths[0], scale_width) + 2 * gap)
    line = Image.new("RGB", (width, height if beside else 2 * height), "white")
    pen = ImageDraw.Draw(line)
    pen.text((gap, height / 2), caption, "black", letters, anchor="lm")
    left, middle = width - gap - scale_width, line.height - height / 2
    pen.text((left, middle), _LITTLE, "black", letters, anchor="lm")
    gray = Image.new("RGB", (bar, letters.size), (_GRAY,) * 3)
    scale = np.broadcast_to(np.linspace(0.0, 1.0, bar, dtype=np.float32), (letters.size, bar))
    line.paste(_blend(gray, scale), (left + widths[1] + gap, round(middle - letters.size / 2)))
    pen.text((width - gap, middle), _MUCH, "black", letters, anchor="rm")
    return line
