"""What the Exporter asks about detection: boxes, and COCO's mean average precision. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.base.arrays import Array
from components.tasks.detection.coco_eval import Detections
from components.tasks.detection.tally import evaluate
from components.tasks.detection.truth import read_truth

__all__ = ["OUTPUTS", "measure", "read_truth"]

OUTPUTS = ("boxes", "scores", "class_labels", "counts")


def measure(
    answers: Mapping[str, Array],
    frames: Array | None,
    truths: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
) -> float:
    """Return COCO's mean average precision; nan if no image has an object."""
    boxes = answers["boxes"]
    if frames is not None:
        corner, size = frames[:, np.newaxis, :2], frames[:, np.newaxis, 2:] - frames[:, np.newaxis, :2]
        boxes = np.clip((boxes - np.tile(corner, 2)) / np.tile(size, 2), 0.0, 1.0)
    images = []
    for row, truth in enumerate(truths):
        count = int(answers["counts"][row])
        images.append(
            Detections(
                **truth,
                found_boxes=boxes[row][:count],
                found_labels=answers["class_labels"][row][:count],
                scores=answers["scores"][row][:count],
            )
        )
    return evaluate(images, len(class_names)).metrics["map"]
