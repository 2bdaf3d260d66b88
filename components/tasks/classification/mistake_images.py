"""Small images of the worst mistakes, next to the list of them, for pages, and where the model looks on them.

mistakes/0.png, mistakes/7.jpeg     named after the row of mistakes.csv, from 0
heat/0.jpeg, heat/7.jpeg            heat maps of the predicted class, likewise
"""

import io
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence

from PIL import Image

from components.base import files
from components.evaluator import mistake_images
from components.evaluator.mistake_images import FIRST, MOST, MOST_PX
from components.pictures.heat import HeatMap, blend_heat
from components.pictures.thumbnails import to_jpeg
from components.tasks.classification.mistakes import HEAT_FOLDER, Mistakes

# Images of each pair of classes.
_PER_PAIR = 6
# Heat maps: as many as fit into one request.
MOST_HEAT = 12
logger = logging.getLogger("mirante.evaluator")


def choose(mistakes: Mistakes) -> list[int]:
    """Return the rows of the list of mistakes that get an image, rising."""
    by_pair: Counter[tuple[int, int]] = Counter()
    chosen: list[int] = []
    for row, (_, _, true, predicted) in enumerate(mistakes.listed):
        by_pair[true, predicted] += 1
        if len(chosen) < MOST and (row < FIRST or by_pair[true, predicted] <= _PER_PAIR):
            chosen.append(row)
    return chosen


def write_images(
    evaluation: str, mistakes: Mistakes, shards: Sequence[str], kept: int = 0
) -> dict[int, bytes]:
    """Write the images of some mistakes; see `components.evaluator.mistake_images`."""
    rows = {mistakes.listed[row][1:3]: row for row in reversed(choose(mistakes)) if mistakes.listed[row][1]}
    return mistake_images.write_images(evaluation, rows, shards, lambda labels: sum(labels[:1]), kept)


def write_heat(evaluation: str, mistakes: Mistakes, encoded: Mapping[int, bytes], model: str) -> None:
    """Write the heat maps into an evaluation's folder; none for a model that cannot explain.

    Args:
        evaluation: The folder.
        mistakes: All mistakes, sorted.
        encoded: Image files by the row of the mistake; the first `MOST_HEAT` rows get a map.
        model: The folder of the SavedModel.
    """
    import tensorflow as tf

    rows = [row for row in sorted(encoded)[:MOST_HEAT] if mistakes.listed[row][3] >= 0]
    if not rows:
        return
    try:
        loaded = tf.saved_model.load(model)  # to be kept, or its variables are gone
        if not hasattr(loaded, "explain"):
            return
        labels = [mistakes.listed[row][3] for row in rows]
        found = loaded.explain(
            image_bytes=tf.constant([encoded[row] for row in rows]), labels=tf.constant(labels, tf.int64)
        )
    except Exception as e:  # noqa: BLE001 - a page without heat maps is no reason to fail an evaluation
        logger.info("no heat maps of mistakes: %s: %s", type(e).__name__, str(e).partition("\n")[0])
        return
    for row, values, frame in zip(rows, found["heat"].numpy(), found["frame"].numpy(), strict=True):
        try:
            with Image.open(io.BytesIO(encoded[row])) as image:
                drawn = blend_heat(image, HeatMap(values, tuple(frame.tolist())))
        except Exception as e:  # noqa: BLE001 - as above
            logger.info("no heat map of mistake %d: %s: %s", row, type(e).__name__, e)
            continue
        drawn.thumbnail((MOST_PX, MOST_PX))
        files.write_bytes(os.path.join(evaluation, HEAT_FOLDER, f"{row}.jpeg"), to_jpeg(drawn))
