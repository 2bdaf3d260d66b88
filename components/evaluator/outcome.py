"""Outcome of the Evaluator: metrics, and whether the model is blessed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from components.base.outcome import Outcome, Output, RunResult, Serving
from components.base.words import format_count


def read_outcome(outputs: Mapping[str, Output], result: RunResult, serving: Serving) -> Outcome:
    """Put the metrics and the blessing into the result."""
    from components.evaluator.stored import load_evaluation

    evaluation = load_evaluation(outputs["evaluation"].uri)
    result.metrics = evaluation.metrics
    if result.baseline is not None:
        result.baseline["metrics"] = evaluation.baseline
        if evaluation.common is not None:
            result.baseline["common_classes"] = dataclasses.asdict(evaluation.common)
    result.test_images = evaluation.example_count
    result.warnings += evaluation.warnings
    result.per_class = {serving.class_names[index]: values for index, values in evaluation.per_class.items()}
    result.mistakes = _find_mistakes(outputs["evaluation"].uri)
    note = _describe_mistakes(result.mistakes)
    result.blessed = outputs["blessing"].properties.get("blessed") == 1
    if result.blessed:
        return Outcome(note=note)
    return Outcome("the model is not blessed: " + "; ".join(evaluation.failures), note)


def _find_mistakes(evaluation: str) -> dict[str, Any] | None:
    """Return the number of test images with mistakes and their list, from the evaluation's folder."""
    from components.evaluator.evaluation import mistakes_path, read_mistakes

    images = read_mistakes(evaluation)
    return None if images is None else {"images": images, "file": mistakes_path(evaluation)}


def _describe_mistakes(mistakes: Mapping[str, Any] | None) -> str:
    """Return where the mistakes are listed as text; empty if there are none, or no list."""
    if not mistakes or not mistakes["images"]:
        return ""
    return f"mistakes on {format_count(mistakes['images'], 'test image')}: {mistakes['file']}"
