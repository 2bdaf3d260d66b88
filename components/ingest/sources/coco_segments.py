"""Find the box round COCO's segments: polygons, or the runs of a mask (RLE), plain or compressed.

https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h
"""

import itertools
import re
from typing import Any

from components.ingest.values import brief, number, whole

# A number of a compressed RLE has up to seven letters, and all but the last are from P on. pycocotools does
# not look at that, and reads on behind the end of what breaks it.
_COMPRESSED = re.compile(r"(?:[P-o]{0,6}[0-O])+", re.ASCII)
_MOST_SIDE_PX = 1 << 20


def box_of_segments(segments: Any) -> tuple[float, float, float, float]:
    """Return (x, y, width, height) of the box round an annotation's `segmentation`.

    Raises:
        ValueError: It is neither polygons nor RLE, or an empty mask; says what is wrong.
    """
    return _box_of_mask(segments) if isinstance(segments, dict) else _box_of_polygons(segments)


def _box_of_polygons(polygons: Any) -> tuple[float, float, float, float]:
    expected = "expected polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or RLE {counts, size}"
    if not isinstance(polygons, list):
        raise ValueError(f"{expected}, found {brief(polygons)}")
    xs: list[float] = []
    ys: list[float] = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"{expected}, found {brief(polygon)}")
        xs += map(number, polygon[::2])
        ys += map(number, polygon[1::2])
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _box_of_mask(mask: dict[str, Any]) -> tuple[float, float, float, float]:
    from pycocotools import mask as masks

    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError(f"size: expected [height, width], found {brief(size)}")
    height, width = map(whole, size)
    if not (0 < height <= _MOST_SIDE_PX and 0 < width <= _MOST_SIDE_PX):
        raise ValueError(f"size: expected [height, width] of 1 to {_MOST_SIDE_PX}, found {brief(size)}")
    rle: Any = {"size": [height, width], "counts": counts}
    if isinstance(counts, list):
        runs = list(map(whole, counts))
        ends = list(itertools.accumulate(runs))
        if not runs or min(runs) < 0 or ends[-1] != height * width or ends[-1] >= 1 << 32:
            raise ValueError(f"counts: expected runs that add up to {height * width}, found {brief(counts)}")
        rle = masks.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    elif not isinstance(counts, str) or not _COMPRESSED.fullmatch(counts):
        raise ValueError(f"counts: expected runs or a compressed RLE, found {brief(counts)}")
    x, y, across, down = map(float, masks.toBbox(rle))
    if not (across and down):
        raise ValueError("counts: the mask is empty")
    return x, y, across, down
