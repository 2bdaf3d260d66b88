"""Draws boxes on images, with Pillow alone.

Pillow's own font has Latin letters; those of other scripts are drawn as empty boxes.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from components.base.paths import replace_file

# Bright and far apart, for most of the colour-blind too: after Okabe and Ito, "Color universal design", 2008
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
    (255, 255, 255),
)
Colour = tuple[int, int, int]

# In smaller images a text next to a box of a few pixels would cover everything: they are enlarged first.
SMALLEST_SIDE_PX = 400


@dataclasses.dataclass(frozen=True)
class Box:
    """A box to draw: corners (xmin, ymin, xmax, ymax) in pixels of the image, its text and its colour."""

    corners: tuple[float, float, float, float]
    text: str
    colour: Colour


def colour_of(label: int) -> Colour:
    """Return the colour of a class; labels from 1 on. After eight classes colours repeat."""
    return COLOURS[(label - 1) % len(COLOURS)]


def font(size_px: int) -> Any:
    """Return Pillow's own font in this size."""
    return ImageFont.load_default(size=size_px)


def enlarge(image: Image.Image, least_px: int = SMALLEST_SIDE_PX) -> tuple[Image.Image, int]:
    """Return the image in RGB, each pixel k x k pixels so that the longest side has `least_px`, and k."""
    factor = max(1, -(-least_px // max(image.size)))
    image = image.convert("RGB")
    if factor > 1:
        size = (image.width * factor, image.height * factor)
        image = image.resize(size, Image.Resampling.NEAREST)
    return image, factor


def draw_boxes(image: Image.Image, boxes: Sequence[Box], least_px: int = SMALLEST_SIDE_PX) -> Image.Image:
    """Draw boxes on an image, the first on top; lines and letters grow with it, a tiny image is enlarged.

    See `enlarge` for `least_px`; with 1, the image keeps its size.

    A text is above its box, or inside where there is no room above. It never leaves the image unless it is
    longer than the image is wide; its end is then cut off.
    """
    drawn, factor = enlarge(image, least_px)
    pen = ImageDraw.Draw(drawn)
    longest = max(drawn.size)
    line_px = max(2, round(longest / 300))
    letters = font(max(13, round(longest / 45)))
    for box in reversed(boxes):
        xmin, ymin, xmax, ymax = (value * factor for value in box.corners)
        xmax, ymax = max(xmin, xmax), max(ymin, ymax)
        # A dark rim keeps a bright line visible on a bright image.
        for colour, rim in (((0, 0, 0), 1), (box.colour, 0)):
            pen.rectangle(
                (xmin - rim, ymin - rim, xmax + rim, ymax + rim), outline=colour, width=line_px + 2 * rim
            )
    for box in reversed(boxes):
        _draw_text(pen, drawn.size, box, factor, letters, line_px)
    return drawn


def _draw_text(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], box: Box, factor: int, letters: Any, line_px: int
) -> None:
    if not box.text:
        return
    left, top, right, bottom = pen.textbbox((0, 0), box.text, font=letters)
    width, height = right - left + 2 * line_px + 2, bottom - top + 2 * line_px + 2
    x = min(max(box.corners[0] * factor, 0), max(size[0] - width, 0))
    y = box.corners[1] * factor - height
    if y < 0:
        y = min(max(box.corners[1] * factor, 0), max(size[1] - height, 0))
    pen.rectangle((x, y, x + width, y + height), fill=box.colour)
    red, green, blue = box.colour
    dark = 0.299 * red + 0.587 * green + 0.114 * blue > 110
    pen.text(
        (x + line_px + 1 - left, y + line_px + 1 - top),
        box.text,
        font=letters,
        fill=(0, 0, 0) if dark else (255, 255, 255),
    )


def save(image: Image.Image, path: Path) -> None:
    """Write the image, whole or not at all; as a .jpg of high quality, or as the name says.

    Raises:
        OSError: It cannot be written.
    """
    options = {"quality": 92, "subsampling": 0} if path.suffix == ".jpg" else {}
    with replace_file(path) as temporary, temporary.open("wb") as file:
        image.save(file, format="JPEG" if path.suffix == ".jpg" else "PNG", **options)


def file_names(images: Sequence[str], folder: Path, kind: str = "boxes") -> list[Path]:
    """Return the path of each image's drawing in `folder`: `<name>.<kind>.jpg`, `<name>.<kind>-2.jpg`, ...

    No two are the same, also where file systems know no capitals, and none is one of the images.
    """
    taken = {os.path.realpath(image).casefold() for image in images}
    paths = []
    for image in images:
        number, stem = 1, Path(image).stem
        path = folder / f"{stem}.{kind}.jpg"
        while os.path.realpath(path).casefold() in taken:
            number += 1
            path = folder / f"{stem}.{kind}-{number}.jpg"
        taken.add(os.path.realpath(path).casefold())
        paths.append(path)
    return paths
