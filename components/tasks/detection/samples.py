"""A drawing of some records with their boxes, for users to see whether the boxes are in place."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from components.base.example import parse_example
from components.pictures.boxes import SMALLEST_SIDE_PX, Box, colour_of, draw_boxes, font
from schemas import features

_COLUMNS = 5
_TILE_PX = 300
_LINE_PX = 18
_GAP_PX = 6


def draw_samples(records: Sequence[bytes]) -> bytes:
    """Return a PNG of the records' images in rows, each above its file name, with their boxes.

    A box has its class as its label, with `?` if it is difficult.

    Args:
        records: Serialized examples.
    """
    columns = min(_COLUMNS, max(1, len(records)))
    rows = -(-len(records) // columns)
    cell = _TILE_PX + _GAP_PX, _TILE_PX + _LINE_PX + _GAP_PX
    whole = Image.new("RGB", (columns * cell[0] + _GAP_PX, max(1, rows) * cell[1] + _GAP_PX), "white")
    pen = ImageDraw.Draw(whole)
    for at, record in enumerate(records):
        left, top = _GAP_PX + at % columns * cell[0], _GAP_PX + at // columns * cell[1]
        image, name = _draw(record)
        whole.paste(image, (left + (_TILE_PX - image.width) // 2, top + (_TILE_PX - image.height) // 2))
        while pen.textlength(name, font=font(12)) > _TILE_PX:
            name = name[1:]  # its end tells more than its folders
        pen.text((left, top + _TILE_PX), name, fill="black", font=font(12))
    file = io.BytesIO()
    whole.save(file, "PNG")
    return file.getvalue()


def _draw(record: bytes) -> tuple[Image.Image, str]:
    """Return the image of a record with its boxes, its longest side _TILE_PX, and its file name."""
    values = parse_example(record)
    with Image.open(io.BytesIO(values[features.ENCODED][0])) as opened:
        image = opened.convert("RGB")
    # Enlarge small images before drawing: the labels shrink with the image afterwards.
    scale = SMALLEST_SIDE_PX / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    sides = zip(*(values.get(name, []) for name in features.BOX_SIDES), strict=True)
    texts = [text.decode(errors="replace") for text in values.get(features.BOX_TEXT, [])]
    difficult = values.get(features.BOX_DIFFICULT) or [0] * len(texts)
    boxes = [
        Box(
            (xmin * image.width, ymin * image.height, xmax * image.width, ymax * image.height),
            f"{text}?" if is_difficult else text,
            colour_of(label),
        )
        for (xmin, ymin, xmax, ymax), text, is_difficult, label in zip(
            sides, texts, difficult, values.get(features.BOX_LABEL, []), strict=True
        )
    ]
    drawn = draw_boxes(image, boxes)
    drawn.thumbnail((_TILE_PX, _TILE_PX))
    return drawn, b"".join(values.get(features.FILENAME, [])).decode(errors="replace")
