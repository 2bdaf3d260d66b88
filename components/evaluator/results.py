"""The results of an evaluation, read from the folder that the Evaluator wrote.

Metric names, as `evaluation.thresholds` and the results use them, are those of the task: for classification
components.tasks.classification.metrics describes them, for detection components.tasks.detection.coco_eval. If
the baseline knows other classes, both models are compared on the classes that both know; these metrics have
other names, such as `common_classes/accuracy`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import tensorflow_model_analysis as tfma

from components.base.task import part, task_named
from components.base.words import format_count
from components.evaluator import bounds
from components.evaluator.eval_config import BASELINE, read_eval_config
from components.evaluator.evaluation import CommonClasses, Evaluation, read_task
from components.evaluator.metric import COMMON_NAMES, IMAGES
from components.evaluator.protocol import TaskEvaluator


def _read_number(value: Any) -> float | None:
    return value.double_value.value if value.WhichOneof("type") == "double_value" else None


def read_candidate(folder: str) -> tuple[dict[str, bytes], dict[str, float]]:
    """Return the candidate's stored bytes and its overall metrics that have a value, over the whole split."""
    stored: dict[str, bytes] = {}
    metrics: dict[str, float] = {}
    for by_slice in tfma.load_metrics(folder):
        if by_slice.slice_key.single_slice_keys:
            continue
        for item in by_slice.metric_keys_and_values:
            if item.key.model_name == BASELINE or item.key.is_diff or item.key.HasField("sub_key"):
                continue
            number = _read_number(item.value)
            if item.value.WhichOneof("type") == "bytes_value":
                stored[item.key.name] = item.value.bytes_value
            elif number is not None and math.isfinite(number):
                metrics[item.key.name] = number
    return stored, metrics


def read_evaluation(folder: str) -> Evaluation:
    """Read the results from an evaluation's folder."""
    name = read_task(folder)
    task, asked = task_named(name), part(name, "evaluator")
    overall: dict[str, float] = {}
    baseline: dict[str, float] = {}
    per_class: dict[int, dict[str, float | None]] = {}
    slices: dict[str, dict[str, float]] = {}
    common_names: list[str] = []
    reported = (*task.metrics, *task.more_metrics)
    for by_slice in tfma.load_metrics(folder):
        if by_slice.slice_key.single_slice_keys:
            slices[_name_slice(by_slice.slice_key, task.text)] = _read_slice(by_slice, reported)
            continue
        for item in by_slice.metric_keys_and_values:
            number = _read_number(item.value)
            key = item.key
            if key.name == COMMON_NAMES:
                common_names = json.loads(item.value.bytes_value)
            if number is None or key.is_diff:
                continue
            is_number = not math.isnan(number)  # one class alone has no area under the curve
            if key.HasField("sub_key"):
                if key.model_name != BASELINE and key.name in task.class_metrics:
                    of_class = per_class.setdefault(key.sub_key.class_id.value, {})
                    of_class[key.name] = number if is_number else None
            elif is_number:
                (baseline if key.model_name == BASELINE else overall)[key.name] = number
    common = _read_common(common_names, asked, overall, baseline)
    validation = tfma.load_validation_result(folder)
    return Evaluation(
        {name: overall[name] for name in reported if name in overall},
        dict(sorted(per_class.items())),
        validation.validation_ok,
        _describe_failures(validation, describe_trivial(overall, asked), common),
        {name: baseline[name] for name in reported if name in baseline},
        find_warnings(overall, asked) + _warn_about_common(folder, common, asked),
        int(overall.get(IMAGES, 0)),
        common,
        _read_bounds(folder),
        asked.read_intervals(folder),
        dict(sorted(slices.items())),
    )


def _name_slice(key: Any, class_feature: str) -> str:
    """Return the name of a slice: a class, or features with their values."""
    parts = [
        (each.column, getattr(each, each.WhichOneof("kind") or "bytes_value"))
        for each in key.single_slice_keys
    ]
    values = [(name, value.decode() if isinstance(value, bytes) else str(value)) for name, value in parts]
    return ", ".join(value if name == class_feature else f"{name} {value}" for name, value in values)


def _read_slice(by_slice: Any, reported: Sequence[str]) -> dict[str, float]:
    """Return the candidate's overall metrics of a slice, without those that nothing was measured for."""
    found = {
        item.key.name: number
        for item in by_slice.metric_keys_and_values
        if (number := _read_number(item.value)) is not None
        and not item.key.is_diff
        and not item.key.HasField("sub_key")
        and item.key.model_name != BASELINE
        and not math.isnan(number)
    }
    return {name: found[name] for name in reported if name in found}


def _read_bounds(folder: str) -> dict[str, tuple[str, list[float]]]:
    """Return the bounds of each metric from the configuration that TFMA keeps."""
    found = {}
    for specs in read_eval_config(folder).metrics_specs:
        for metric in specs.metrics:
            if metric.per_slice_thresholds:
                found[json.loads(metric.config)["name"]] = bounds.describe_bounds(metric.per_slice_thresholds)
        # A metric that gives many values has its bounds next to it.
        for name, bounded in specs.per_slice_thresholds.items():
            found[name] = bounds.describe_bounds(bounded.thresholds)
    return found


def _read_common(
    names: list[str], asked: TaskEvaluator, overall: dict[str, float], baseline: dict[str, float]
) -> CommonClasses | None:
    if not names:
        return None
    keys = {name: f"{bounds.COMMON}{name}" for name in asked.list_metric_names(len(names))}
    ours, theirs = (
        {name: values[key] for name, key in keys.items() if key in values} for values in (overall, baseline)
    )
    return CommonClasses(names, int(overall[f"{bounds.COMMON}{IMAGES}"]), ours, theirs)


def _warn_about_common(folder: str, common: CommonClasses | None, asked: TaskEvaluator) -> list[str]:
    """Warn about bounds of `max_regression` that every model meets on so few common classes."""
    if common is None:
        return []
    telling = {f"{bounds.COMMON}{name}" for name in asked.list_metric_names(len(common.class_names))}
    bound = {name for specs in read_eval_config(folder).metrics_specs for name in specs.per_slice_thresholds}
    return [
        f"evaluation.max_regression.{name.removeprefix(bounds.COMMON)} compares nothing: it says nothing "
        f"about {format_count(common.class_names, 'common class', 'common classes')}"
        for name in sorted(bound - telling)
        if name.startswith(bounds.COMMON)
    ]


def find_warnings(metrics: dict[str, float], asked: TaskEvaluator) -> list[str]:
    """Return what users have to know before they trust a model, by its overall metrics."""
    found = asked.find_warnings(metrics)
    if metrics.get(bounds.BEATS_TRIVIAL) != bounds.UNKNOWN:
        return found
    images = format_count(int(metrics.get(IMAGES, 0)), "image")
    return [
        f"the test split ({images}) is too small to tell whether the model is better than "
        f"{describe_trivial(metrics, asked)}",
        *found,
    ]


def describe_trivial(metrics: dict[str, float], asked: TaskEvaluator) -> str:
    """Return the trivial model, and the metrics that compare the model with it."""
    return f"{asked.TRIVIAL}: {asked.describe_evidence(metrics)}"


def _describe_failures(validation: Any, trivial: str, common: CommonClasses | None) -> list[str]:
    sentences = [
        bounds.describe_failure(
            failure.metric_key.name,
            _read_number(failure.metric_value),
            failure.metric_key.is_diff,
            failure.metric_threshold,
            trivial,
            str(common or ""),
        )
        for by_slice in validation.metric_validations_per_slice
        for failure in by_slice.failures
    ]
    if not validation.validation_ok and not sentences:
        sentences.append("no threshold could be checked: is the test split empty?")
    return sentences
