"""All metrics of classification as one metric of TFMA, from one pass over batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from components.base.errors import MiranteError, UsageError
from components.evaluator.gate import BEATS_TRIVIAL, constant_verdict
from components.tasks.classification.metrics import ByClass, Tally, measure

# The plots' names.
CONFUSION_MATRIX = "confusion_matrix"
ROC = "roc"


def check_example_count(got: int, expected: int | None) -> None:
    """Fails where not every example of the split was judged.

    Raises:
        MiranteError: With both numbers.
    """
    if expected is not None and got != expected:
        raise MiranteError(
            f"split test: expected {expected:,} examples, as its manifest has it, got {got:,}: records were "
            "lost, or the manifest is that of others; make both anew: mirante ingest"
        )


class _ToArrays(tfma.metrics.Preprocessor):  # type: ignore[misc]
    """Labels and one model's probabilities of a batch, as `components.evaluator.batches` gives it."""

    def __init__(self, metric_name: str, model_name: str):
        # The name is what TFMA tells the computations of two models by.
        super().__init__(name=f"{metric_name}_of_{model_name}")
        self._model_name = model_name

    def process(self, extracts: Any) -> Iterator[tuple[bool, Any, Any]]:
        outputs = extracts[tfma.PREDICTIONS_KEY]
        # With one model there is no name, and its outputs stand where else those of all models do.
        outputs = outputs.get(self._model_name, outputs) if isinstance(outputs, dict) else outputs
        probabilities = outputs.get("probabilities") if isinstance(outputs, dict) else outputs
        if probabilities is None:
            raise UsageError(
                f"the model's signature serving_tf_examples gives no probabilities, but "
                f"{', '.join(sorted(outputs))}; is it one of a recipe with task: classification?"
            )
        is_whole = list(extracts[tfma.SLICE_KEY_TYPES_KEY]) == [()]
        yield is_whole, extracts[tfma.LABELS_KEY], np.asarray(probabilities)


class _Count(beam.CombineFn):  # type: ignore[misc]
    """Counts batches, and measures the counts."""

    def __init__(self, model_name: str, num_classes: int, expected: int | None):
        self._model_name = model_name
        self._num_classes = num_classes
        self._expected = expected

    def create_accumulator(self) -> list[Tally]:
        return []  # whether it is the whole split is told by the first batch

    def add_input(self, accumulator: list[Tally], element: tuple[bool, Any, Any]) -> list[Tally]:
        is_whole, labels, probabilities = element
        if not accumulator:
            accumulator.append(Tally(self._num_classes, with_curves=is_whole))
        try:
            accumulator[0].add(labels, probabilities)
        except ValueError as e:
            raise UsageError(f"the model and the test split have different classes: {e}") from e
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Tally]]) -> list[Tally]:
        merged: list[Tally] = []
        for accumulator in accumulators:
            if merged and accumulator:
                merged[0].merge(accumulator[0])
            else:
                merged = merged or accumulator
        return merged

    def compact(self, accumulator: list[Tally]) -> list[Tally]:
        for tally in accumulator:
            tally.compact()
        return accumulator

    def _key(self, name: str, class_id: int | None = None) -> tfma.metrics.MetricKey:
        sub_key = None if class_id is None else tfma.metrics.SubKey(class_id=class_id)
        # A bound that stands in the spec by a metric's name is for None, which is not the default.
        return tfma.metrics.MetricKey(
            name=name, model_name=self._model_name, sub_key=sub_key, example_weighted=None
        )

    def extract_output(self, accumulator: list[Tally]) -> dict[tfma.metrics.MetricKey, Any]:
        if not accumulator or not accumulator[0].images:
            return {}
        (tally,) = accumulator
        overall, per_class = measure(tally)
        if self._num_classes <= 5:
            del overall["top_5_accuracy"]
        values: dict[Any, Any] = {self._key(name): value for name, value in overall.items()}
        for class_id, of_class in enumerate(per_class):
            values |= {
                self._key(name, class_id): math.nan if value is None else value
                for name, value in of_class.items()
            }
        counts = ByClass.of(tally.confusion(), self._num_classes).rows()
        # In each slice, though it binds the whole split alone: TFMA refuses a model for what is missing.
        values[self._key(BEATS_TRIVIAL)] = constant_verdict(counts)
        if tally.with_curves:  # of the whole split
            check_example_count(tally.images, self._expected)
            values[tfma.metrics.PlotKey(name=CONFUSION_MATRIX, model_name=self._model_name)] = (
                _confusion_plot(tally)
            )
            values[tfma.metrics.PlotKey(name=ROC, model_name=self._model_name)] = _roc_plot(tally)
        return values


def _confusion_plot(tally: Tally) -> metrics_for_slice_pb2.MultiClassConfusionMatrixAtThresholds:
    plot = metrics_for_slice_pb2.MultiClassConfusionMatrixAtThresholds()
    matrix = plot.matrices.add()
    for (true, predicted), count in tally.confusion().items():
        matrix.entries.add(actual_class_id=true, predicted_class_id=predicted, num_weighted_examples=count)
    return plot


def _roc_plot(tally: Tally) -> metrics_for_slice_pb2.ConfusionMatrixAtThresholds:
    plot = metrics_for_slice_pb2.ConfusionMatrixAtThresholds()
    for threshold, true_positives, false_positives, true_negatives, false_negatives in tally.roc():
        plot.matrices.add(
            threshold=threshold,
            true_positives=true_positives,
            false_positives=false_positives,
            true_negatives=true_negatives,
            false_negatives=false_negatives,
        )
    return plot


def _computations(
    name: str, num_classes: int, expected_examples: int | None, model_name: str
) -> list[tfma.metrics.MetricComputation]:
    return [
        tfma.metrics.MetricComputation(
            keys=[],  # there are many, and the preprocessor's name tells the computations apart
            preprocessors=[_ToArrays(name, model_name)],
            combiner=_Count(model_name, num_classes, expected_examples),
        )
    ]


class ClassificationMetrics(tfma.metrics.Metric):  # type: ignore[misc]
    """`components.tasks.classification.metrics.measure` of what `serving_tf_examples` answers.

    Gives the overall metrics by their names, those of each class with a sub key of `class_id`, and of the
    whole split `beats_trivial` (components.evaluator.gate) and the plots `confusion_matrix` and `roc`.

    Args:
        num_classes: Labels are 0 to this - 1.
        expected_examples: How many examples the split has; None where that is not known.
    """

    def __init__(self, num_classes: int, expected_examples: int | None = None, name: str = "classification"):
        super().__init__(
            tfma.metrics.merge_per_key_computations(_computations),
            name=name,
            num_classes=num_classes,
            expected_examples=expected_examples,
        )
