"""What the Evaluator asks about detection: COCO's metrics for TFMA, and a report for users.

The report (`components.tasks.detection.report`) is in the folder `detection` of the evaluation. The model
runs once: `CocoMetrics` leaves the judged detections in TFMA's results, and the report reads them from there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.base.files import exists, read_text, write_text
from components.base.intervals import Interval, from_json
from components.base.records import record_dataset
from components.evaluator.config import EvaluationConfig
from components.evaluator.eval_config import build_eval_config
from components.evaluator.evaluation import mistakes_path, write_draws
from components.tasks.detection import TASK, report, stored
from components.tasks.detection.confidence import draw_metrics
from components.tasks.detection.tfma_metric import DETECTIONS, CocoMetrics, add_baseline_classes
from components.tasks.detection.trivial import TRIVIAL, describe_evidence
from components.tasks.detection.truth import find_images

__all__ = [
    "EXTRACTORS",
    "TRIVIAL",
    "add_baseline_classes",
    "describe_evidence",
    "find_warnings",
    "list_metric_names",
    "make_eval_config",
    "read_intervals",
    "write_report",
]  # fmt: skip

# The images of a detector are judged one by one.
EXTRACTORS = None


def list_metric_names(num_classes: int) -> tuple[str, ...]:
    """Return the overall metrics that can be bound, which do not depend on the number of classes."""
    return TASK.metrics


def make_eval_config(
    config: EvaluationConfig, class_names: Sequence[str], expected_examples: int | None = None
) -> config_pb2.EvalConfig:
    """Build TFMA's configuration with `CocoMetrics`.

    It has no keys: the metric takes labels from the record, and predictions from all outputs.
    """
    return build_eval_config(
        config,
        class_names,
        TASK.metrics,
        CocoMetrics,
        {"class_names": list(class_names), "expected_examples": expected_examples},
    )


def find_warnings(metrics: Mapping[str, float]) -> list[str]:
    """Return no warnings."""
    return []


def read_intervals(evaluation: str) -> dict[str, Interval]:
    """Return the 95 % confidence intervals of overall metrics that `write_report` wrote, by name."""
    path = os.path.join(evaluation, report.FOLDER, "intervals.json")
    return from_json(json.loads(read_text(path))) if exists(path) else {}


def write_report(evaluation: str, files: Sequence[str], model: str) -> int | None:
    """Write report and mistakes; return the number of images with errors, None without any examples."""
    found = read_judged(evaluation)
    if found is None:
        return None
    # The intervals of some images would not be those of all.
    draws = draw_metrics(found.images, len(found.class_names)) if found.is_whole else {}
    with tempfile.TemporaryDirectory() as temporary:
        wrong = report.write_report(
            Path(temporary),
            found,
            draws,
            lambda wanted: find_images(record_dataset(files).as_numpy_iterator(), found.images, wanted),
        )
        target = os.path.join(evaluation, report.FOLDER)
        incomplete = os.path.join(evaluation, f".{report.FOLDER}.incomplete")
        io_utils.copy_dir(temporary, incomplete)
        fileio.rename(incomplete, target)
    write_text(mistakes_path(evaluation), report.format_mistakes(found.images, wrong))
    write_draws(evaluation, draws)
    return len(wrong)


def read_judged(evaluation: str) -> stored.Judged | None:
    """Return the candidate's detections from an evaluation's folder; None if there were no examples."""
    for by_slice in tfma.load_metrics(evaluation):
        for item in by_slice.metric_keys_and_values:
            if item.key.name == DETECTIONS:
                return stored.from_bytes(item.value.bytes_value)
    return None
