"""Small images of the worst mistakes, next to the list of them, for pages.

mistakes/0.png, mistakes/7.jpeg     named after the row of mistakes.csv, from 0
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from components.base import files
from components.base.example import parse_example
from components.base.records import record_dataset
from components.evaluator.gathered import MISTAKES_FOLDER
from components.pictures.thumbnails import shrink
from schemas import features

# The most images, and the first mistakes, which all get one.
MOST, FIRST = 160, 32
# Twice the size at which pages show them, for high-resolution screens.
MOST_PX = 224


def write_images(
    evaluation: str,
    rows: Mapping[tuple[str, Any], int],
    shards: Sequence[str],
    truth_of: Callable[[Sequence[int]], Any],
    kept: int = 0,
) -> dict[int, bytes]:
    """Write the images of some mistakes into an evaluation's folder; one that cannot be decoded is left out.

    Args:
        evaluation: The folder.
        rows: Rows of the list of mistakes by the image's name and its truth.
        shards: The TFRecord files that were evaluated.
        truth_of: Makes the truth, as in `rows`, of a record's labels.
        kept: Rows whose image files are returned, from the first one on.

    Returns:
        Image files as they were evaluated, by the row of the list of mistakes.
    """
    left = dict(rows)
    originals: dict[int, bytes] = {}
    for serialized in record_dataset(shards).as_numpy_iterator() if left else ():
        values = parse_example(serialized)
        name = b"".join(values.get(features.FILENAME, [])[:1]).decode("utf-8", "backslashreplace")
        row = left.pop((name, truth_of(values.get(features.LABEL, []))), None)
        if row is not None:
            try:
                encoded = values[features.ENCODED][0]
                content, kind, _ = shrink(encoded, MOST_PX)
            except (OSError, ValueError, SyntaxError, IndexError, KeyError, Image.DecompressionBombError):
                continue  # DataGate names such images
            files.write_bytes(os.path.join(evaluation, MISTAKES_FOLDER, f"{row}.{kind}"), content)
            if row < kept:
                originals[row] = encoded
        if not left:
            break
    return originals
