"""Pictures of what goes into a network: images side by side, with captions."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont

from components.pictures.boxes import Box, colour_of, draw_boxes
from components.transform.config import TransformConfig
from components.transform.levels import Levels, known_levels

if TYPE_CHECKING:
    from components.trainer.tracking.trackers import Trackers
    from components.trainer.trainee import Mark, Task

# Images of a grid of inputs.
MOST_IMAGES = 36
# The longer side of an image in a grid: small ones are enlarged by a whole factor, large ones reduced.
_MIN_PX, _MAX_PX = 128, 192
_GAP_PX = 4
_FONT_PX = 11
_LINE_PX = 14


def _as_bytes(images: np.ndarray[Any, Any], levels: Levels | None) -> np.ndarray[Any, Any]:
    """uint8 [N, H, W, 3]; without levels, each image from its least value to its largest."""
    if levels is not None:
        unit = np.asarray(levels.to_unit(images))
    else:
        low = images.min(axis=(1, 2, 3), keepdims=True)
        high = images.max(axis=(1, 2, 3), keepdims=True)
        unit = (images - low) / np.maximum(high - low, 1e-6)
    pixels = np.round(np.clip(unit, 0.0, 1.0) * 255).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))


def _fitting(line: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The line, its end left out where it is too wide."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line + "..."


def _with_marks(tile: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """The tile with boxes and what is written at them, in the colours of their labels."""
    boxes = []
    for shares, text, label in marks:
        xmin, ymin, xmax, ymax = (np.clip(shares, 0.0, 1.0) * np.tile(tile.size, 2)).tolist()
        boxes.append(Box((xmin, ymin, xmax - 1, ymax - 1), text, colour_of(label)))
    return draw_boxes(tile, boxes, least_px=1)


def grid(
    images: np.ndarray[Any, Any],
    captions: Sequence[str],
    transform: TransformConfig | Levels,
    marks: Sequence[Sequence[Mark]] = (),
) -> np.ndarray[Any, Any]:
    """Images in rows, each over its caption.

    Args:
        images: float32 [N, H, W, C], normalised by Transform.
        captions: One for each image, of one line or several.
        transform: The recipe's part, by which they were normalised, or their levels. Of `standardize` it does
            not tell them: then each image is shown from its own least value to its own largest.
        marks: Of each image the boxes that are drawn on it, with their texts and labels; none when left out.

    Returns:
        uint8 [height, width, 3].
    """
    levels = transform if isinstance(transform, Levels) else known_levels(transform)
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
        "RGB",
        (columns * tile_width + _GAP_PX, -(-len(images) // columns) * tile_height + _GAP_PX),
        "white",
    )
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(_FONT_PX)
    for place, (pixels, caption) in enumerate(zip(_as_bytes(images, levels), captions, strict=True)):
        row, column = divmod(place, columns)
        left, top = _GAP_PX + column * tile_width, _GAP_PX + row * tile_height
        tile = Image.fromarray(pixels).resize(size, resample)
        whole.paste(_with_marks(tile, marks[place] if marks else ()), (left, top))
        for number, line in enumerate(caption.split("\n")):
            corner = left, top + size[1] + number * _LINE_PX
            draw.text(corner, _fitting(line, font, tile_width - _GAP_PX), "black", font)
    return np.asarray(whole)


def save_png(path: str, array: np.ndarray[Any, Any]) -> None:
    """Writes uint8 [H, W, 3] to a file, which may be in a bucket; its folders are made."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(tf.io.encode_png(array).numpy())


class InputPictures:
    """Shows a stage's first batch as the network sees it.

    It goes to `<folder>/<stage>/inputs.png` and to the tracker.

    Args:
        folder: May be in a bucket.
        tracker: What is told of the course.
        task: Says what labels mean.
        levels: Of the images.
    """

    def __init__(self, folder: str, tracker: Trackers, task: Task, levels: Levels):
        self._folder, self._tracker = folder, tracker
        self._task, self._levels = task, levels

    def __call__(self, stage: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        """Images [N, ...] with labels [N, ...]; what are no images is passed over."""
        if images.ndim != 4:
            return
        captions, marks = zip(*(self._task.show(label) for label in labels[:MOST_IMAGES]), strict=True)
        picture = grid(images[:MOST_IMAGES], captions, self._levels, marks)
        save_png(os.path.join(self._folder, stage, "inputs.png"), picture)
        self._tracker.image(stage, 0, "inputs", picture)
