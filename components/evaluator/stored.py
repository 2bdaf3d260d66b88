"""Reads the results of an evaluation from its folder.

Imports TensorFlow only for evaluations of earlier versions, which keep only TFMA's files.
"""

from components.evaluator.evaluation import Evaluation, read_stored


def load_evaluation(folder: str) -> Evaluation:
    """Return the results in an evaluation's folder; one of an earlier version is read with TFMA."""
    found = read_stored(folder)
    if found is None:
        from components.evaluator.results import read_evaluation  # brings TensorFlow along

        found = read_evaluation(folder)
    return found
