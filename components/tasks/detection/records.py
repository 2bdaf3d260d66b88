"""What is to be said of the boxes of records: which cannot be, how many there are, and how large.

TFDV looks at the values of a feature, one feature at a time; what lies between features is looked at here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from components.base.example import type_problem
from components.ingest.readings import LEAST_PIXELS
from schemas import features

# Upper bounds of a box's share of its image, by which boxes are counted.
AREA_BOUNDS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
# COCO's small and medium objects have up to so many pixels: https://cocodataset.org/#detection-eval
SMALL_PX, MEDIUM_PX = 32**2, 96**2

PIXELS_HINT = "are they pixels? `mirante ingest tfrecord DATA OUTPUT --box-units pixels` makes shares of them"

Values = Mapping[str, list[Any]]


def sure_decimals(size_px: int) -> int:
    """Returns the decimals of a pixel that shares of float32 can tell, of an image so many pixels wide.

    A share is off by up to 2^-25, so that 32 px of 640 come back as 32.0000005, and a box of 32 x 32 px as
    more than 1024 square pixels. Rounded to this many decimals (4 for 640 px), sides are what they were.
    """
    return int(-math.log10(size_px * 2.0**-24))


def box_problem(values: Values) -> str | None:
    """The first thing that is wrong with a record's boxes; None where nothing is.

    values: The record's features, as `components.base.example.parse_example` gives them.
    """
    if problem := type_problem(values):
        return problem
    sides = [values.get(name, []) for name in features.BOX_SIDES]
    count = len(sides[0])
    for name in (*features.BOX_SIDES, features.BOX_LABEL, features.BOX_TEXT, *features.BOX_FLAGS):
        found = len(values.get(name, []))
        if found != count and not (name in features.BOX_FLAGS and not found):
            return f"{name} has {found} values, and {features.BOX_XMIN} has {count}: one a box is expected"
    for at, (xmin, ymin, xmax, ymax) in enumerate(zip(*sides, strict=True), start=1):
        name = f"box {at} of {count}"
        if not all(math.isfinite(side) and 0.0 <= side <= 1.0 for side in (xmin, ymin, xmax, ymax)):
            hint = f"; {PIXELS_HINT}" if max(xmin, ymin, xmax, ymax) > LEAST_PIXELS else ""
            return f"{name} is not within 0 .. 1: {xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}{hint}"
        if not (xmin < xmax and ymin < ymax):
            return f"{name} has no area or its sides are swapped: {xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}"
    return None


@dataclasses.dataclass
class BoxFacts:
    """What was counted of some records whose boxes have no problem.

    boxes_per_image: images by their number of boxes. areas: boxes by the least of AREA_BOUNDS that their
    share of the image does not exceed. sizes: boxes by COCO's small, medium and large. by_class: boxes by
    class name. difficult: boxes that the evaluation passes over.
    """

    images: int = 0
    boxes: int = 0
    difficult: int = 0
    boxes_per_image: dict[str, int] = dataclasses.field(default_factory=dict)
    areas: dict[str, int] = dataclasses.field(default_factory=dict)
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    by_class: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, values: Values) -> None:
        """Counts a record."""
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

    def merge(self, other: BoxFacts) -> None:
        """Counts what the other one counted."""
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, int):
                setattr(self, field.name, mine + theirs)
            else:
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + count

    def report(self) -> dict[str, Any]:
        """As JSON, the same for the same records in any order."""
        read = dataclasses.asdict(self)
        for name in ("boxes_per_image", "areas"):
            read[name] = dict(sorted(read[name].items(), key=lambda pair: float(pair[0])))
        for name in ("sizes", "by_class"):
            read[name] = dict(sorted(read[name].items()))
        return read


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1
