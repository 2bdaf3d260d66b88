"""What a classifier answers: checks of a signature's outputs, and predictions. Imports NumPy only.

probabilities   float32 [N, classes]
labels          string  [N, classes]   the class names, in the order of the probabilities
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OUTPUTS = ("probabilities", "labels")
COMPARED = ("probabilities",)
ALSO = {"classify": {"probabilities": "scores", "labels": "classes"}}
DRAWS = False
_MOST_SHOWN = 3


def find_problems(name: str, outputs: Mapping[str, Any], count: int, labels: Sequence[str]) -> list[str]:
    """Return what is wrong with a signature's outputs, as sentences."""
    probabilities = outputs["probabilities"]
    wanted = (count, len(labels))
    if probabilities.shape != wanted:
        return [f"signature {name}: probabilities have shape {probabilities.shape}, not {wanted}"]
    found = []
    if not np.all(np.isfinite(probabilities)):
        found.append(f"signature {name}: probabilities are not all finite")
    elif not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-3):
        found.append(f"signature {name}: probabilities do not sum to 1")
    given = [[value.decode() for value in row] for row in outputs["labels"]]
    if given != [list(labels)] * count:
        found.append(f"signature {name}: labels are {given[0]}, not {list(labels)}")
    return found


def list_predictions(
    outputs: Mapping[str, Any], image_px: tuple[int, int], min_score: float | None
) -> list[dict[str, Any]]:
    """Return one image's classes with their probabilities, the most probable class first."""
    probabilities, labels = outputs["probabilities"], outputs["labels"]
    order = sorted(range(len(labels)), key=lambda i: (-probabilities[i], i))
    return [
        {"label": labels[i].decode("utf-8"), "score": float(probabilities[i])}
        for i in order
        if probabilities[i] >= (min_score or 0.0)
    ]


def find_boxes_to_draw(
    outputs: Mapping[str, Any], image_px: tuple[int, int], min_score: float | None
) -> list[Any]:
    """Return no boxes: a class belongs to the whole image."""
    return []


def summarize(predictions: Sequence[Mapping[str, Any]], min_score: float | None) -> list[str]:
    """Return the three most probable classes as text."""
    return [f"{each['label']} {each['score']:.4f}" for each in predictions[:_MOST_SHOWN]]
