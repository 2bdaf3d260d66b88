"""Images side by side, each with a caption and boxes on it."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.base.arrays import Array
from components.pictures.boxes import Box, colour_of, draw_boxes

# A box (xmin, ymin, xmax, ymax as shares of the image), the text at it, and its label, 1 and up.
Mark = tuple[Sequence[float], str, int]

# The longer side of an image in a grid: small ones are enlarged by a whole factor, large ones reduced.
_MIN_PX, _MAX_PX = 128, 192
_GAP_PX = 4
_FONT_PX = 11
_LINE_PX = 14


def draw_grid(images: Array, captions: Sequence[str], marks: Sequence[Sequence[Mark]] = ()) -> Array:
    """Draw images in rows, each above its caption.

    Args:
        images: uint8 [N, H, W, 3].
        captions: One per image, of one line or several.
        marks: The boxes on each image; none when left out.

    Returns:
        uint8 [height, width, 3].
    """
    height, width = images.shape[1:3]
    longer = max(height, width)
    scale = -(-_MIN_PX // longer) if longer < _MIN_PX else min(1.0, _MAX_PX / longer)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    columns = math.ceil(math.sqrt(len(images)))
    tile_width = max(size[0], _MIN_PX) + _GAP_PX
    tile_height = size[1] + lines * _LINE_PX + _GAP_PX
    whole = Image.new(
        "RGB", (columns * tile_width + _GAP_PX, -(-len(images) // columns) * tile_height + _GAP_PX), "white"
    )
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(_FONT_PX)
    for place, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(place, columns)
        left, top = _GAP_PX + column * tile_width, _GAP_PX + row * tile_height
        tile = Image.fromarray(pixels).resize(size, resample)
        whole.paste(_draw_marks(tile, marks[place] if marks else ()), (left, top))
        for number, line in enumerate(caption.split("\n")):
            corner = left, top + size[1] + number * _LINE_PX
            draw.text(corner, _cut(line, font, tile_width - _GAP_PX), "black", font)
    return np.asarray(whole)


def _cut(line: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """Return the line, without its end where it is too wide."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line + "..."


def _draw_marks(tile: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """Draw boxes and their texts on a tile, in the colours of their labels."""
    boxes = []
    for shares, text, label in marks:
        xmin, ymin, xmax, ymax = (np.clip(shares, 0.0, 1.0) * np.tile(tile.size, 2)).tolist()
        boxes.append(Box((xmin, ymin, xmax - 1, ymax - 1), text, colour_of(label)))
    return draw_boxes(tile, boxes, least_px=1)
