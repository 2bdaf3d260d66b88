"""scikit-learn's digits: 1,797 images of 8 x 8 pixels, 10 classes, no download.

Their values 0 .. 16 are scaled to 0 .. 255.
https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html
"""

import os
from collections.abc import Iterator

from components.base.errors import UsageError
from components.ingest.item import Item, Reject
from components.ingest.sources.context import SourceContext
from components.ingest.truth import Label

_LARGEST_VALUE = 16


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
    file = context.scratch / "digits.raw"
    file.write_bytes(pixels.tobytes())
    height, width = pixels.shape[1:]
    context.index.set_class_names(map(str, digits.target_names))
    for row, target in enumerate(digits.target):
        yield Item(
            path=f"digits#{row}",
            file=os.fsencode(file),
            offset=row * height * width,
            size_bytes=height * width,
            shape=(height, width, 1),
            truth=Label(str(target)),
        )


def fits(context: SourceContext) -> str | None:
    """Return None: no input is data of this source, which brings its own."""
    return None
