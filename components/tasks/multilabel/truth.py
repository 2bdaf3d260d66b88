"""The classes of images as a table of true and false. Imports no TensorFlow."""

from collections.abc import Sequence

import numpy as np

from components.base.arrays import Array
from components.base.errors import DataRefusedError


def make_truth(labels: Sequence[Sequence[int]], num_classes: int) -> Array:
    """Return whether an image has a class, bool [N, num_classes], from the labels of each image.

    Raises:
        DataRefusedError: A label is out of range.
    """
    truth = np.zeros((len(labels), num_classes), bool)
    for place, of_image in enumerate(labels):
        if of_image and not 0 <= min(of_image) <= max(of_image) < num_classes:
            raise DataRefusedError(
                f"expected labels 0 to {num_classes - 1}, got {', '.join(map(str, of_image))}; make the "
                "records anew: mirante ingest"
            )
        truth[place, list(of_image)] = True
    return truth
