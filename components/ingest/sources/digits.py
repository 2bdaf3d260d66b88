"""scikit-learn's digits: 1,797 images of 8 x 8 pixels, 10 classes, no download.

Their values 0 .. 16 are scaled to 0 .. 255. For multilabel classification they are put together: each image
of 24 x 24 pixels has none to three of them, and the classes of these.
https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html
"""

import os
from collections.abc import Iterator
from typing import Any

from components.base.errors import UsageError
from components.ingest.item import Item, Reject
from components.ingest.sources.context import SourceContext
from components.ingest.truth import Label, Labels

_LARGEST_VALUE = 16
# Images with several digits: their side, that of the cells for a digit each, and the largest value of noise.
_SIDE_PX, _CELL_PX, _NOISE = 24, 12, 40
# How many of ten such images have none, one, two and three digits.
_NUMBERS = (0, 1, 1, 1, 2, 2, 2, 2, 3, 3)
# Digits that are put together on images of one group, so that no digit is in two splits, and how often each.
_GROUP_DIGITS, _ROUNDS = 12, 3


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """Yield one item per image, `digits#<row>`.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise UsageError("The source digits needs scikit-learn: pip install scikit-learn") from error
    import numpy as np

    digits = datasets.load_digits()
    pixels = np.rint(digits.images * (255 / _LARGEST_VALUE)).astype(np.uint8)  # [1797, 8, 8]
    names = list(map(str, digits.target_names))
    truths: list[Label] | list[Labels]
    groups: list[str | None]
    if context.config.multilabel:
        pixels, rows, groups = _put_together(pixels)
        truths = [Labels(tuple(names[digits.target[row]] for row in of_image)) for of_image in rows]
    else:
        truths = [Label(names[target]) for target in digits.target]
        groups = [None] * len(pixels)
    file = context.scratch / "digits.raw"
    file.write_bytes(pixels.tobytes())
    height, width = pixels.shape[1:]
    context.index.set_class_names(names)
    for row, (truth, group) in enumerate(zip(truths, groups, strict=True)):
        yield Item(
            path=f"digits#{row}",
            file=os.fsencode(file),
            offset=row * height * width,
            size_bytes=height * width,
            shape=(height, width, 1),
            truth=truth,
            group=group,
        )


def _put_together(pixels: Any) -> tuple[Any, list[list[int]], list[str | None]]:
    """Return images of several digits uint8 [N, 24, 24], the rows of their digits, and their groups."""
    import numpy as np

    random = np.random.default_rng(0)
    side, most = pixels.shape[1], _CELL_PX - pixels.shape[1]
    canvases, rows, groups = [], list[list[int]](), list[str | None]()
    for start in range(0, len(pixels), _GROUP_DIGITS):
        members = np.arange(start, min(start + _GROUP_DIGITS, len(pixels)))
        waiting = np.concatenate([random.permutation(members) for _ in range(_ROUNDS)]).tolist()
        while waiting:
            count = int(random.choice(_NUMBERS))
            of_image, waiting = waiting[:count], waiting[count:]
            canvas = random.integers(0, _NOISE + 1, (_SIDE_PX, _SIDE_PX), np.uint8)
            for cell, row in zip(random.permutation(4), of_image, strict=False):
                top, left = np.array(divmod(cell, 2)) * _CELL_PX + random.integers(0, most + 1, 2)
                place = canvas[top : top + side, left : left + side]
                np.maximum(place, pixels[row], out=place)
            canvases.append(canvas)
            rows.append(of_image)
            groups.append(f"digits {start}")
    return np.stack(canvases), rows, groups


def fits(context: SourceContext) -> str | None:
    """Return None: no input is data of this source, which brings its own."""
    return None
