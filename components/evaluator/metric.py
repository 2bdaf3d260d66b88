"""Parts that the tasks' metrics for TFMA share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow_model_analysis as tfma

from components.base.errors import MiranteError
from components.evaluator.bounds import COMMON

# The number of images that were judged.
IMAGES = "example_count"
# The names of the common classes as bytes; only the candidate has them, if the baseline knows other classes.
COMMON_NAMES = f"{COMMON}names"


def check_example_count(got: int, expected: int | None) -> None:
    """Check that every example of the split was judged.

    Raises:
        MiranteError: It was not; the message has both numbers.
    """
    if expected is not None and got != expected:
        raise MiranteError(
            f"split test: expected {expected:,} examples, as its manifest has it, got {got:,}: records were "
            "lost, or the manifest is that of others; make both anew: mirante ingest"
        )


def make_key(name: str, model_name: str, class_id: int | None = None) -> Any:
    """Return TFMA's key of a value: of the whole split, or of a class (its label's place, from 0)."""
    sub_key = None if class_id is None else tfma.metrics.SubKey(class_id=class_id)
    # Bounds that a spec has by a metric's name are for None, which is not the default.
    return tfma.metrics.MetricKey(name=name, model_name=model_name, sub_key=sub_key, example_weighted=None)


def outputs_of(predictions: Any, model_name: str) -> Any:
    """Return one model's outputs. If there is one model only, TFMA gives its outputs without its name."""
    return predictions.get(model_name, predictions) if isinstance(predictions, Mapping) else predictions
