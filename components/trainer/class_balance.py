"""What a training does about classes of different size: weights in its loss, and a report.

Weights are those of scikit-learn's `compute_class_weight`. Where images have any number of classes, they are
of the images with the class, as `pos_weight` of PyTorch's `BCEWithLogitsLoss`. Balanced sampling, the other
way, is in components/trainer/input/order.py.
"""

import logging
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.base.words import format_count
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import Examples

logger = logging.getLogger("mirante.trainer")


# The report next to the model.
REPORT = "class_balance.txt"


def class_weights(config: TrainingConfig, class_names: Sequence[str], labels: Array) -> Array | None:
    """Return the weight of each class in the training loss, float64 [classes]; None if all count the same.

    Args:
        config: The recipe's part `training`.
        class_names: In the order of the labels.
        labels: Those of the train split, int [N], or float [N, classes] of any number of classes. A class
            without an image gets the weight 1, and so does one that all images have.

    Raises:
        UsageError: A weight is for a class that is not in the data.
    """
    if config.class_weights == "none":
        return None
    weights = np.ones(len(class_names))
    if config.class_weights == "balanced":
        counts = count_images(labels, len(class_names))
        there = counts > 0
        if labels.ndim == 1:
            weights[there] = len(labels) / (there.sum() * counts[there])
        else:
            there &= counts < len(labels)
            weights[there] = (len(labels) - counts[there]) / counts[there]
    else:
        config.check_classes(class_names)
        for name, weight in config.class_weights.items():
            weights[class_names.index(name)] = weight
    return weights


def count_images(labels: Array, num_classes: int) -> Array:
    """Return the images of each class, int64 [classes]: of labels int [N], or float [N, classes]."""
    if labels.ndim == 1:
        return np.bincount(labels, minlength=num_classes)
    return np.rint(labels.sum(axis=0)).astype(np.int64)


def weigh(labels: tf.Tensor, weights: Array) -> tf.Tensor:
    """Return the weight of each image, float32 [N]; that of a mixed image is the mean over its parts.

    Args:
        labels: int [N], or float [N, classes] of mixed images.
        weights: Of each class, [classes].
    """
    of_classes = tf.constant(weights, tf.float32)
    if labels.shape.rank == 1:
        return tf.gather(of_classes, labels)
    return tf.linalg.matvec(tf.cast(labels, tf.float32), of_classes)


def report(config: TrainingConfig, class_names: Sequence[str], train: Examples, folder: str) -> None:
    """Log what the training does about classes of different size, and write it for the Trainer's page.

    Args:
        config: The recipe's part `training`.
        class_names: In the order of the labels.
        train: The train split.
        folder: Gets `class_balance.txt` with a line for each class; may be a bucket's.
    """
    if config.class_weights == "none" and config.sampling != "balanced":
        return
    labels = train.labels
    weights = class_weights(config, class_names, labels)
    counts = count_images(labels, len(class_names))
    per_class = len(labels) / max(1, np.count_nonzero(counts))
    if weights is not None:
        of_each = [f"weight {weight:.4g}" for weight in weights]
        said = (
            "class weights: the training loss of an image is multiplied by the weight of its class"
            if labels.ndim == 1
            else "class weights: the training loss of a class is multiplied by its weight on its images"
        )
    else:
        of_each = [f"each {per_class / max(1, count):.3g} times per epoch" for count in counts]
        said = (
            f"balanced sampling: an epoch has {format_count(len(labels), 'image')}, "
            f"{per_class:,.6g} of each class"
        )
    lines = [
        f"{name}: {format_count(int(count), 'train image')}, {what}"
        for name, count, what in zip(class_names, counts, of_each, strict=True)
    ]
    ends = [int(np.argmin(counts)), int(np.argmax(counts))]
    logger.info("%s; smallest class %s; largest class %s", said, *(lines[place] for place in ends))
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(os.path.join(folder, REPORT), "w") as file:
        file.write("\n".join([f"{said[0].upper()}{said[1:]}.", *lines]) + "\n")
