"""Heat maps of the worst mistakes, for pages: where the model looks for the class that it predicts.

heat/0.jpeg, heat/7.jpeg     named after the row of mistakes.csv, from 0, like the images of mistakes
"""

import io
import logging
import os
from collections.abc import Mapping

from PIL import Image

from components.base import files
from components.pictures.heat import HeatMap, blend_heat
from components.pictures.thumbnails import to_jpeg
from components.tasks.classification.mistake_images import MOST_PX
from components.tasks.classification.mistakes import HEAT_FOLDER, Mistakes

# As many as fit into one request.
MOST = 12
logger = logging.getLogger("mirante.evaluator")


def write_heat(evaluation: str, mistakes: Mistakes, encoded: Mapping[int, bytes], model: str) -> None:
    """Write the heat maps into an evaluation's folder; none for a model that cannot explain.

    Args:
        evaluation: The folder.
        mistakes: All mistakes, sorted.
        encoded: Image files by the row of the mistake; the first `MOST` rows get a map.
        model: The folder of the SavedModel.
    """
    import tensorflow as tf

    rows = [row for row in sorted(encoded)[:MOST] if mistakes.listed[row][3] >= 0]
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
