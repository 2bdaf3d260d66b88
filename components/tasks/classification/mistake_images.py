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
from components.base.records import record_dataset
from components.pictures.heat import HeatMap, blend_heat
from components.pictures.thumbnails import shrink, to_jpeg
from components.tasks.classification.mistakes import FOLDER, HEAT_FOLDER, Mistakes
from schemas import features

# Images: at most this many, among them the first mistakes of all, and the first of each pair of classes.
_MOST, _FIRST, _PER_PAIR = 160, 32, 6
# Twice the size at which pages show them, for high-resolution screens.
MOST_PX = 224
# Heat maps: as many as fit into one request.
MOST_HEAT = 12
logger = logging.getLogger("mirante.evaluator")


def choose(mistakes: Mistakes) -> list[int]:
    """Return the rows of the list of mistakes that get an image, rising."""
    by_pair: Counter[tuple[int, int]] = Counter()
    chosen: list[int] = []
    for row, (_, _, true, predicted) in enumerate(mistakes.listed):
        by_pair[true, predicted] += 1
        if len(chosen) < _MOST and (row < _FIRST or by_pair[true, predicted] <= _PER_PAIR):
            chosen.append(row)
    return chosen


def write_images(
    evaluation: str, mistakes: Mistakes, shards: Sequence[str], kept: int = 0
) -> dict[int, bytes]:
    """Write the images of some mistakes into an evaluation's folder; one that cannot be decoded is left out.

    Args:
        evaluation: The folder.
        mistakes: All mistakes, sorted.
        shards: The TFRecord files that were evaluated.
        kept: Rows whose image files are returned, from the first one on.

    Returns:
        Image files as they were evaluated, by the row of the list of mistakes.
    """
    import tensorflow as tf

    rows = {mistakes.listed[row][1:3]: row for row in reversed(choose(mistakes)) if mistakes.listed[row][1]}
    originals: dict[int, bytes] = {}
    for serialized in record_dataset(shards).as_numpy_iterator() if rows else ():
        feature = tf.train.Example.FromString(serialized).features.feature
        name = b"".join(feature[features.FILENAME].bytes_list.value[:1]).decode("utf-8", "backslashreplace")
        row = rows.pop((name, sum(feature[features.LABEL].int64_list.value[:1])), None)
        if row is not None:
            try:
                encoded = feature[features.ENCODED].bytes_list.value[0]
                content, kind, _ = shrink(encoded, MOST_PX)
            except (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError):
                continue  # DataGate names such images
            files.write_bytes(os.path.join(evaluation, FOLDER, f"{row}.{kind}"), content)
            if row < kept:
                originals[row] = encoded
        if not rows:
            break
    return originals


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
