"""What a detector answers: checks of a signature's outputs, predictions, and boxes to draw. NumPy only.

boxes          float32 [N, 100, 4]  (xmin, ymin, xmax, ymax) as shares of the upright image
scores         float32 [N, 100]     descending
class_labels   int64   [N, 100]     1 and up; 0 after the last box
class_names    string  [N, 100]     "" after the last box
counts         int64   [N]          boxes

100 is the recipe's `model.detection.max_detections`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OUTPUTS = ("boxes", "scores", "class_labels", "class_names", "counts")
COMPARED = ("boxes", "scores")
ALSO: Mapping[str, Mapping[str, str]] = {}
DRAWS = True
# Most places of an image get a low score, which is not worth an answer; a doubtful box is not worth drawing.
MIN_SCORE = 0.01
MIN_DRAWN_SCORE = 0.3


def find_problems(name: str, outputs: Mapping[str, Any], count: int, labels: Sequence[str]) -> list[str]:
    """Return what is wrong with a signature's outputs, as sentences."""
    boxes, scores, numbers, names, counts = (outputs[key] for key in OUTPUTS)
    most = boxes.shape[1] if boxes.ndim == 3 else 0
    shapes = ((count, most, 4), (count, most), (count, most), (count, most), (count,))
    found = [
        f"signature {name}: {key} have shape {outputs[key].shape}, not {shape}"
        for key, shape in zip(OUTPUTS, shapes, strict=True)
        if outputs[key].shape != shape
    ]
    if found:
        return found
    for key, value in (("boxes", boxes), ("scores", scores)):
        if not (np.isfinite(value).all() and (value >= 0).all() and (value <= 1).all()):
            found.append(f"signature {name}: {key} are not all between 0 and 1")
    if (np.diff(scores, axis=1) > 0).any():
        found.append(f"signature {name}: scores do not descend")
    known = ["", *labels]
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= len(known):
        found.append(f"signature {name}: class_labels are not all 0 to {len(labels)}")
    elif [[value.decode() for value in row] for row in names] != [[known[n] for n in row] for row in numbers]:
        found.append(f"signature {name}: class_names are not those of class_labels")
    if not np.array_equal(counts, (numbers > 0).sum(axis=1)):
        found.append(f"signature {name}: counts are not those of class_labels")
    return found


def list_predictions(
    outputs: Mapping[str, Any], image_px: tuple[int, int], min_score: float | None
) -> list[dict[str, Any]]:
    """Return one image's boxes in pixels with their scores; from 0.01 when `min_score` is None."""
    least = MIN_SCORE if min_score is None else min_score
    size_px = (*image_px, *image_px)
    return [
        {
            "label": outputs["class_names"][i].decode("utf-8"),
            "score": float(outputs["scores"][i]),
            "box": [round(float(c) * s, 2) for c, s in zip(outputs["boxes"][i], size_px, strict=True)],
        }
        for i in range(int(outputs["counts"]))
        if outputs["scores"][i] >= least
    ]


def find_boxes_to_draw(
    outputs: Mapping[str, Any], image_px: tuple[int, int], min_score: float | None
) -> list[tuple[tuple[float, float, float, float], str, int]]:
    """Return corners in pixels, text and label of the boxes to draw; from 0.3 when `min_score` is None."""
    least = MIN_DRAWN_SCORE if min_score is None else min_score
    boxes = []
    # Scores descend, so the boxes that are left out are the last ones.
    for each, label in zip(
        list_predictions(outputs, image_px, least), outputs["class_labels"].tolist(), strict=False
    ):
        xmin, ymin, xmax, ymax = each["box"]
        boxes.append(((xmin, ymin, xmax, ymax), f"{each['label']} {each['score']:.2f}", label))
    return boxes


def summarize(predictions: Sequence[Mapping[str, Any]], min_score: float | None) -> list[str]:
    """Return the boxes that `find_boxes_to_draw` chooses, as text."""
    least = MIN_DRAWN_SCORE if min_score is None else min_score
    return [
        f"{each['label']} {each['score']:.4f} at {', '.join(f'{value:.0f}' for value in each['box'])}"
        for each in predictions
        if each["score"] >= least
    ]
