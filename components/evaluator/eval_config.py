"""TFMA's configuration of an evaluation: one metric of the task, its bounds, and slices."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2

from components.base import files
from components.base.errors import UsageError
from components.evaluator import bounds
from components.evaluator.config import EvaluationConfig

CANDIDATE = "candidate"
BASELINE = "baseline"
# TFMA's configuration in an evaluation's folder.
_FILE = "eval_config.json"


def build_eval_config(
    config: EvaluationConfig,
    class_names: Sequence[str],
    known: Sequence[str],
    metric: type,
    options: Mapping[str, Any],
    *,
    keys: Mapping[str, str] | None = None,
    slice_by: str | None = None,
) -> config_pb2.EvalConfig:
    """Build TFMA's configuration: one metric, its bounds and slices, through `serving_tf_examples`.

    Args:
        config: The recipe's `evaluation` part.
        class_names: All classes, in the order of their labels.
        known: The overall metrics that can be bound.
        metric: The class of TFMA's metric, which gives them all.
        options: Its arguments, as JSON.
        keys: Fields of TFMA's ModelSpec, such as `label_key`.
        slice_by: A feature whose values are slices, besides the whole split.

    Raises:
        UsageError: A bound names a metric that this data set does not have.
    """
    for part in ("thresholds", "max_regression"):
        unknown = sorted(set(getattr(config, part)) - set(known))
        if unknown:
            raise UsageError(
                f"evaluation.{part}.{unknown[0]}: no such metric with {len(class_names)} classes; "
                f"there are {', '.join(known)}"
            )
    slices = [config_pb2.SlicingSpec()]
    if slice_by is not None:
        slices.append(config_pb2.SlicingSpec(feature_keys=[slice_by]))
    return config_pb2.EvalConfig(
        # Both need a name; TFMA removes the baseline's spec if there is no baseline.
        model_specs=[
            config_pb2.ModelSpec(
                name=name, signature_name="serving_tf_examples", is_baseline=name == BASELINE, **(keys or {})
            )
            for name in (CANDIDATE, BASELINE)
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(
                        class_name=metric.__name__, module=metric.__module__, config=json.dumps(dict(options))
                    )
                ],
                # One metric gives many values, so their bounds are in the spec by name, not in the metric.
                per_slice_thresholds=bounds.make_thresholds(config, known),
            )
        ],
        slicing_specs=slices,
    )


def read_eval_config(folder: str) -> config_pb2.EvalConfig:
    """Return the configuration that TFMA keeps in an evaluation's folder."""
    config = config_pb2.EvalConfig()
    content = json.loads(files.read_text(os.path.join(folder, _FILE)))["evalConfig"]
    return json_format.ParseDict(content, config, ignore_unknown_fields=True)
