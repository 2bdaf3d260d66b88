"""Outcome of the Evaluator: metrics, and whether the model is blessed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from components.base.outcome import Outcome, Output, RunResult, Serving


def read_outcome(outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
    """Put the metrics and the blessing into the result."""
    from components.evaluator.results import read_evaluation

    evaluation = read_evaluation(outputs["evaluation"].uri)
    result.metrics = evaluation.metrics
    if result.baseline is not None:
        result.baseline["metrics"] = evaluation.baseline
        if evaluation.common is not None:
            result.baseline["common_classes"] = dataclasses.asdict(evaluation.common)
    result.test_images = evaluation.example_count
    result.warnings += evaluation.warnings
    result.per_class = {serving.class_names[index]: values for index, values in evaluation.per_class.items()}
    result.blessed = outputs["blessing"].properties.get("blessed") == 1
    if result.blessed:
        return Outcome()
    return Outcome(refusal="the model is not blessed: " + "; ".join(evaluation.failures))
