"""Small images of the worst mistakes, next to the list of them, for pages.

mistakes/0.png, mistakes/7.jpeg     named after the row of mistakes.csv, from 0
"""

import os
from collections.abc import Sequence

from PIL import Image

from components.base import files
from components.base.example import parse_example
from components.base.records import record_dataset
from components.pictures.thumbnails import shrink
from components.tasks.multilabel.mistakes import Mistakes
from schemas import features

FOLDER = "mistakes"
# The first mistakes of all, and the first of each class that is missed, or predicted by mistake.
_MOST, _FIRST, _PER_KIND = 160, 32, 3
# Twice the size at which pages show them, for high-resolution screens.
MOST_PX = 224


def choose(mistakes: Mistakes) -> list[int]:
    """Return the rows of the list of mistakes that get an image, rising."""
    of_kind: dict[tuple[bool, int], int] = {}
    chosen: list[int] = []
    for row, (_, _, true, found) in enumerate(mistakes.listed):
        kinds = [(True, label) for label in true if label not in found]
        kinds += [(False, label) for label in found if label not in true]
        for kind in kinds:
            of_kind[kind] = of_kind.get(kind, 0) + 1
        if len(chosen) < _MOST and (row < _FIRST or any(of_kind[kind] <= _PER_KIND for kind in kinds)):
            chosen.append(row)
    return chosen


def write_images(evaluation: str, mistakes: Mistakes, shards: Sequence[str]) -> None:
    """Write the images of some mistakes into an evaluation's folder; leave out those that cannot be decoded.

    Args:
        evaluation: The folder.
        mistakes: All mistakes, sorted.
        shards: The TFRecord files that were evaluated.
    """
    rows = {
        (mistakes.listed[row][1], tuple(mistakes.listed[row][2])): row for row in reversed(choose(mistakes))
    }
    for serialized in record_dataset(shards).as_numpy_iterator() if rows else ():
        values = parse_example(serialized)
        name = b"".join(values.get(features.FILENAME, [])[:1]).decode("utf-8", "backslashreplace")
        row = rows.pop((name, tuple(sorted(set(values.get(features.LABEL, []))))), None)
        if row is not None:
            try:
                content, kind, _ = shrink(values[features.ENCODED][0], MOST_PX)
            except (OSError, ValueError, SyntaxError, IndexError, KeyError, Image.DecompressionBombError):
                continue  # DataGate names such images
            files.write_bytes(os.path.join(evaluation, FOLDER, f"{row}.{kind}"), content)
        if not rows:
            break
