"""What a model for multilabel classification answers: checks of outputs, and predictions. Imports NumPy only.

probabilities   float32 [N, classes]
labels          string  [N, classes]   the class names, in the order of the probabilities
predicted       bool    [N, classes]   whether the image gets the label
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OUTPUTS = ("probabilities", "labels", "predicted")
COMPARED = ("probabilities", "predicted")
ALSO = {"classify": {"probabilities": "scores", "labels": "classes"}}
DRAWS = False
# Predicted classes that are named on one line.
_MOST_SHOWN = 5


def find_problems(name: str, outputs: Mapping[str, Any], count: int, labels: Sequence[str]) -> list[str]:
    """Return what is wrong with a signature's outputs, as sentences."""
    wanted = (count, len(labels))
    found = [
        f"signature {name}: {key} have shape {outputs[key].shape}, not {wanted}"
        for key in ("probabilities", "predicted")
        if key in outputs and outputs[key].shape != wanted
    ]
    if found:
        return found
    probabilities = outputs["probabilities"]
    if not np.all(np.isfinite(probabilities)):
        found.append(f"signature {name}: probabilities are not all finite")
    elif probabilities.min(initial=0.0) < 0 or probabilities.max(initial=0.0) > 1:
        found.append(f"signature {name}: probabilities are not all between 0 and 1")
    if "predicted" in outputs and outputs["predicted"].dtype != np.bool_:
        found.append(f"signature {name}: predicted are {outputs['predicted'].dtype}, not bool")
    given = [[value.decode() for value in row] for row in outputs["labels"]]
    if given != [list(labels)] * count:
        found.append(f"signature {name}: labels are {given[0]}, not {list(labels)}")
    return found


def list_predictions(
    outputs: Mapping[str, Any], image_px: tuple[int, int], min_score: float | None
) -> list[dict[str, Any]]:
    """Return one image's classes with their probabilities: predicted ones first, then the most probable.

    `predicted` says whether the image gets the label. Each class has its own threshold, so a class that is
    not predicted may have a higher probability. Predicted classes are returned whatever their probability.
    """
    probabilities, labels, predicted = (outputs[key] for key in OUTPUTS)
    order = sorted(range(len(labels)), key=lambda i: (not predicted[i], -probabilities[i], i))
    return [
        {
            "label": labels[i].decode("utf-8"),
            "score": float(probabilities[i]),
            "predicted": bool(predicted[i]),
        }
        for i in order
        if predicted[i] or probabilities[i] >= (min_score or 0.0)
    ]


def find_boxes_to_draw(
    outputs: Mapping[str, Any], image_px: tuple[int, int], min_score: float | None
) -> list[Any]:
    """Return no boxes: classes belong to the whole image."""
    return []


def summarize(predictions: Sequence[Mapping[str, Any]], min_score: float | None) -> list[str]:
    """Return the predicted classes as text; if there is none, that and the most probable class."""
    predicted = [each for each in predictions if each["predicted"]]
    shown = [f"{each['label']} {each['score']:.4f}" for each in predicted[:_MOST_SHOWN]]
    if len(predicted) > _MOST_SHOWN:
        shown.append(f"{len(predicted) - _MOST_SHOWN} more")
    if not predicted:
        shown = ["no label", *(f"({each['label']} {each['score']:.4f})" for each in predictions[:1])]
    return shown
