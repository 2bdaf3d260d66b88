"""Images of what goes into a network."""

import os

import tensorflow as tf

from components.base.arrays import Array
from components.pictures.grid import draw_grid
from components.trainer.tracking.trackers import Trackers
from components.trainer.trainee import Trainee
from components.transform.levels import Levels, to_bytes

# Images of a grid of inputs.
MOST_IMAGES = 36


def save_png(path: str, array: Array) -> None:
    """Write uint8 [H, W, 3] to a file, which may be in a bucket; create its folders."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(tf.io.encode_png(array).numpy())


class ShowInputs:
    """Shows a stage's first batch as the network sees it.

    The image goes to `<folder>/<stage>/inputs.png` and to the tracker.

    Args:
        folder: May be in a bucket.
        tracker: Follows the training.
        trainee: Says what labels mean.
        levels: Those of the images.
    """

    def __init__(self, folder: str, tracker: Trackers, trainee: Trainee, levels: Levels):
        self._folder, self._tracker = folder, tracker
        self._trainee, self._levels = trainee, levels

    def __call__(self, stage: str, images: Array, labels: Array) -> None:
        """Show images [N, H, W, C] with labels [N, ...]; ignore features, which have other shapes."""
        if images.ndim != 4:
            return
        captions, marks = zip(*(self._trainee.show(label) for label in labels[:MOST_IMAGES]), strict=True)
        grid = draw_grid(to_bytes(images[:MOST_IMAGES], self._levels), captions, marks)
        save_png(os.path.join(self._folder, stage, "inputs.png"), grid)
        self._tracker.image(stage, 0, "inputs", grid)
