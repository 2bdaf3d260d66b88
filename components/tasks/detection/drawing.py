"""Draws an image's labels and the boxes that were found on it, with the errors. Imports no TensorFlow."""

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from components.pictures.boxes import Box, colour_of, draw_boxes, font
from components.tasks.detection.coco_eval import Detections
from components.tasks.detection.error_kinds import KINDS, RIGHT, ImageErrors

PANEL_PX = 480
_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (110, 110, 110)


def open_panel(encoded: bytes) -> Image.Image:
    """Return an image file in RGB, its longer side of PANEL_PX."""
    with Image.open(io.BytesIO(encoded)) as file:
        pixels = file.convert("RGB")
    scale = PANEL_PX / max(pixels.size)
    return pixels.resize((max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale))))


def draw_labels(
    pixels: Image.Image,
    image: Detections,
    errors: ImageErrors,
    class_names: Sequence[str],
    not_found: str = "not found",
) -> Image.Image:
    """Draw the labels of an image.

    Args:
        pixels: The image.
        image: Its objects.
        errors: The errors of a model on it.
        class_names: Names by label - 1.
        not_found: The words at an object that this model did not find.
    """
    boxes = []
    for i, (corners, label) in enumerate(zip(image.boxes, image.labels, strict=True)):
        note = " (difficult)" if image.difficult[i] else f" ({not_found})" if i in errors.not_found else ""
        boxes.append(_make_box(pixels, corners, int(label), note, class_names))
    return draw_boxes(pixels, boxes)


def draw_found(
    pixels: Image.Image, image: Detections, errors: ImageErrors, class_names: Sequence[str]
) -> Image.Image:
    """Draw the boxes that a model found, with their scores and errors; arguments as for `draw_labels`."""
    boxes = []
    for each in errors.found:
        note = f" {each.score:.2f}" + ("" if each.kind == RIGHT else f" {_words(each.kind)}")
        boxes.append(_make_box(pixels, image.found_boxes[each.index], each.label, note, class_names))
    return draw_boxes(pixels, boxes)


def describe(errors: ImageErrors) -> str:
    """Return the numbers of right boxes and of errors by kind, in words."""
    counted = [f"{errors.counts[kind]} {_words(kind)}" for kind in (RIGHT, *KINDS) if errors.counts[kind]]
    return ", ".join(counted) or "nothing there, nothing found"


def draw_side_by_side(
    image: Detections, encoded: bytes, errors: ImageErrors, class_names: Sequence[str]
) -> Image.Image:
    """Draw labels on the left and found boxes on the right, with the errors next to them and above.

    Args:
        image: The image's objects and found boxes.
        encoded: The image file.
        errors: Its errors.
        class_names: Names by label - 1.
    """
    pixels = open_panel(encoded)
    panels = [
        draw_labels(pixels, image, errors, class_names),
        draw_found(pixels, image, errors, class_names),
    ]
    gap, head = 8, 44
    width = max(sum(panel.width for panel in panels) + 3 * gap, 420)
    sheet = Image.new("RGB", (width, panels[0].height + head + gap), _WHITE)
    pen = ImageDraw.Draw(sheet)
    title = _shorten(pen, f"{image.name}: {describe(errors)}", 14, width - 2 * gap)
    pen.text((gap, 4), title, font=font(14), fill=_BLACK)
    for i, (panel, what) in enumerate(zip(panels, ("labels", "found"), strict=True)):
        x = gap + i * (panel.width + gap)
        pen.text((x, 24), what, font=font(14), fill=_GREY)
        sheet.paste(panel, (x, head))
    return sheet


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _make_box(pixels: Image.Image, corners: Any, label: int, note: str, class_names: Sequence[str]) -> Box:
    xmin, ymin, xmax, ymax = (float(c) * s for c, s in zip(corners, 2 * pixels.size, strict=True))
    return Box((xmin, ymin, xmax, ymax), f"{class_names[label - 1]}{note}", colour_of(label))


def _shorten(pen: ImageDraw.ImageDraw, text: str, size_px: int, width_px: float) -> str:
    """Return the text, or as much of its beginning as fits."""
    if pen.textlength(text, font=font(size_px)) <= width_px:
        return text
    while text and pen.textlength(f"{text}...", font=font(size_px)) > width_px:
        text = text[:-1]
    return f"{text}..."
