"""What DataGate asks about detection: problems of boxes, their number and sizes, and a drawing of some.

TFDV checks one feature at a time. This module checks what several features say together.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from components.base.example import parse_example, type_problem
from components.data_gate.protocol import Values
from components.ingest.readings import LEAST_PIXELS, PIXELS_HINT
from components.pictures.boxes import SMALLEST_SIDE_PX, Box, colour_of, draw_boxes, font
from components.tasks.detection.rounding import sure_decimals
from schemas import features

FACTS = "boxes"
FEATURE = "image/object"
DRAWING = "boxes.png"

# Boxes are counted by these upper bounds of their share of the image.
AREA_BOUNDS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
# The most pixels of COCO's small and medium objects: https://cocodataset.org/#detection-eval
SMALL_PX, MEDIUM_PX = 32**2, 96**2


def find_problem(values: Values) -> str | None:
    """Return the first problem of a record's boxes; None if there is none."""
    if wrong_type := type_problem(values):
        return wrong_type
    sides = [values.get(name, []) for name in features.BOX_SIDES]
    count = len(sides[0])
    for name in (*features.BOX_SIDES, features.BOX_LABEL, features.BOX_TEXT, *features.BOX_FLAGS):
        found = len(values.get(name, []))
        if found != count and not (name in features.BOX_FLAGS and not found):
            return f"{name} has {found} values, and {features.BOX_XMIN} has {count}: one per box is expected"
    for at, (xmin, ymin, xmax, ymax) in enumerate(zip(*sides, strict=True), start=1):
        name = f"box {at} of {count}"
        if not all(math.isfinite(side) and 0.0 <= side <= 1.0 for side in (xmin, ymin, xmax, ymax)):
            hint = f"; {PIXELS_HINT}" if max(xmin, ymin, xmax, ymax) > LEAST_PIXELS else ""
            return f"{name} is not within 0 .. 1: {xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}{hint}"
        if not (xmin < xmax and ymin < ymax):
            return f"{name} has no area or its sides are swapped: {xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}"
    return None


@dataclasses.dataclass
class Facts:
    """Counts over records whose boxes have no problem.

    Attributes:
        images: Records.
        boxes: All boxes.
        difficult: Boxes that the evaluation passes over.
        boxes_per_image: Images by their number of boxes.
        areas: Boxes by the lowest of AREA_BOUNDS that their share of the image does not exceed.
        sizes: Boxes by COCO's small, medium and large.
        by_class: Boxes by class name.
    """

    images: int = 0
    boxes: int = 0
    difficult: int = 0
    boxes_per_image: dict[str, int] = dataclasses.field(default_factory=dict)
    areas: dict[str, int] = dataclasses.field(default_factory=dict)
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    by_class: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, values: Values) -> None:
        """Count a record."""
        sides = list(zip(*(values.get(name, []) for name in features.BOX_SIDES), strict=True))
        height, width = ((values.get(name) or [0])[0] for name in (features.HEIGHT, features.WIDTH))
        self.images += 1
        self.boxes += len(sides)
        self.difficult += sum(values.get(features.BOX_DIFFICULT, []))
        _count(self.boxes_per_image, str(len(sides)))
        for xmin, ymin, xmax, ymax in sides:
            area = (xmax - xmin) * (ymax - ymin)
            _count(self.areas, f"{next(bound for bound in AREA_BOUNDS if area <= bound or bound == 1.0):g}")
            sides_px = (
                round(round(high * size, decimals) - round(low * size, decimals), decimals)
                for low, high, size in ((xmin, xmax, width), (ymin, ymax, height))
                for decimals in (sure_decimals(max(size, 1)),)
            )
            pixels = math.prod(sides_px)
            _count(
                self.sizes, "small" if pixels <= SMALL_PX else "medium" if pixels <= MEDIUM_PX else "large"
            )
        for text in values.get(features.BOX_TEXT, []):
            _count(self.by_class, text.decode(errors="replace"))

    def merge(self, other: Facts) -> None:
        """Add the counts of another."""
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, int):
                setattr(self, field.name, mine + theirs)
            else:
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + count

    def report(self) -> dict[str, Any]:
        """Return the counts as JSON, equal for the same records in any order."""
        read = dataclasses.asdict(self)
        for name in ("boxes_per_image", "areas"):
            read[name] = dict(sorted(read[name].items(), key=lambda pair: float(pair[0])))
        for name in ("sizes", "by_class"):
            read[name] = dict(sorted(read[name].items()))
        return read


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def draw(records: Sequence[bytes]) -> bytes:
    """Return a PNG of records with their boxes, for users to see whether the boxes are in place."""
    return draw_samples(records)


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
