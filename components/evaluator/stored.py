"""The results of an evaluation as JSON in its folder, so that pages need not read TFMA's files.

Imports TensorFlow only for evaluations of earlier versions, which have no such file.
"""

import dataclasses
import json
import os

from components.base import files
from components.evaluator.evaluation import CommonClasses, Evaluation

_RESULTS = "evaluation.json"


def write_evaluation(folder: str, found: Evaluation) -> None:
    """Write the results of an evaluation into its folder."""
    files.write_text(os.path.join(folder, _RESULTS), json.dumps(dataclasses.asdict(found)))


def load_evaluation(folder: str) -> Evaluation:
    """Return the results in an evaluation's folder; one of an earlier version is read with TFMA."""
    path = os.path.join(folder, _RESULTS)
    if not files.exists(path):
        from components.evaluator.results import read_evaluation  # brings TensorFlow along

        return read_evaluation(folder)
    found = json.loads(files.read_text(path))
    common = found.pop("common")
    per_class = {int(index): of_class for index, of_class in found.pop("per_class").items()}
    bounds = {name: (words, limits) for name, (words, limits) in found.pop("bounds").items()}
    return Evaluation(
        **found, per_class=per_class, bounds=bounds, common=CommonClasses(**common) if common else None
    )
