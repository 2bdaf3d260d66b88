"""COCO's metrics as one metric of TFMA: pycocotools judges each image in one pass, and the results merge.

What is kept of the images is bounded (`tally` and `sample` of components.tasks.detection). TFMA's own
detection metrics go over every image again for each class, IoU and size, which takes minutes instead of
seconds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from components.base.common_classes import places_of
from components.base.errors import UsageError
from components.evaluator.bounds import BEATS_TRIVIAL, COMMON
from components.evaluator.metric import COMMON_NAMES, IMAGES, check_example_count, make_key, outputs_of
from components.tasks.detection import stored
from components.tasks.detection.coco_eval import Detections, mean_over
from components.tasks.detection.sample import Sample
from components.tasks.detection.tally import Tally
from components.tasks.detection.trivial import judge_trivial
from components.tasks.detection.truth import read_truth

# The detections for the report, as bytes; only the candidate has them.
DETECTIONS = "detections"
_OUTPUTS = ("boxes", "scores", "class_labels", "counts")


def read_answer(outputs: dict[str, Any]) -> dict[str, Any]:
    """Return the other fields of `Detections`: one image's outputs of `serving_tf_examples` without padding.

    Raises:
        UsageError: The model does not answer as a detector.
    """
    missing = [key for key in _OUTPUTS if not isinstance(outputs, dict) or key not in outputs]
    if missing:
        raise UsageError(
            f"the model's signature serving_tf_examples gives no {', '.join(missing)}: expected "
            f"{', '.join(_OUTPUTS)}; is it one of a recipe with task: detection?"
        )
    count = int(np.ravel(outputs["counts"])[0])
    boxes = np.reshape(outputs["boxes"], (-1, 4))[:count].astype(np.float32)
    labels = np.ravel(outputs["class_labels"])[:count].astype(np.int64)
    scores = np.ravel(outputs["scores"])[:count].astype(np.float32)
    there = labels > 0
    return {"found_boxes": boxes[there], "found_labels": labels[there], "scores": scores[there]}


class _ToDetections(tfma.metrics.Preprocessor):  # type: ignore[misc]
    """Makes one `Detections` of an example's extracts."""

    def __init__(self, metric_name: str, model_name: str, new_labels: Any | None):
        # TFMA distinguishes the computations of two models by this name.
        super().__init__(name=f"{metric_name}_of_{model_name}")
        self._model_name = model_name
        # By the model's own label; 0 for boxes that are left out. None if the labels are the same.
        self._new_labels = new_labels

    def process(self, extracts: Any) -> Iterator[Detections]:
        record = np.ravel(extracts[tfma.INPUT_KEY])[0]
        answer = read_answer(outputs_of(extracts[tfma.PREDICTIONS_KEY], self._model_name))
        if self._new_labels is not None:
            labels = self._new_labels[answer["found_labels"]]
            answer = {name: values[labels > 0] for name, values in {**answer, "found_labels": labels}.items()}
        yield Detections(**read_truth(record), **answer)


@dataclasses.dataclass
class _Judged:
    """A model's answers, as far as they are kept; the baseline has no report, so its `sample` is None."""

    tally: Tally
    sample: Sample | None


class _Judge(beam.CombineFn):  # type: ignore[misc]
    """Judges `Detections` one by one, and measures what was counted."""

    def __init__(
        self,
        model_name: str,
        class_names: Sequence[str],
        expected: int | None,
        *,
        others: Sequence[str] | None,
        is_baseline: bool,
    ):
        self._model_name = model_name
        self._expected = expected
        self._class_names = list(class_names)
        self._others = others  # the baseline's classes; None without a baseline
        self._is_baseline = is_baseline

    def create_accumulator(self) -> _Judged:
        return _Judged(Tally(len(self._class_names)), None if self._is_baseline else Sample())

    def add_input(self, accumulator: _Judged, element: Detections) -> _Judged:
        accumulator.tally.add(element)
        if accumulator.sample is not None:
            accumulator.sample.add(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Judged]) -> _Judged:
        first, *others = accumulators
        for other in others:
            first.tally.merge(other.tally)
            if first.sample is not None and other.sample is not None:
                first.sample.merge(other.sample)
        return first

    def compact(self, accumulator: _Judged) -> _Judged:
        accumulator.tally.compact()
        if accumulator.sample is not None:
            accumulator.sample.compact()
        return accumulator

    def _make_key(self, name: str, class_id: int | None = None) -> Any:
        return make_key(name, self._model_name, class_id)

    def extract_output(self, accumulator: _Judged) -> dict[tfma.metrics.MetricKey, float | bytes]:
        result = accumulator.tally.measure()
        check_example_count(result.images, self._expected)
        values: dict[Any, float | bytes] = {}
        if self._others is not None:
            common = [name for name in self._class_names if name in set(self._others)]
            over_common = mean_over(result, places_of(common, self._class_names).tolist())
            values |= {self._make_key(f"{COMMON}{name}"): value for name, value in over_common.items()}
            if set(self._others) != set(self._class_names):
                values[self._make_key(f"{COMMON}{IMAGES}")] = float(result.images)
                if self._is_baseline:
                    return values
                values[self._make_key(COMMON_NAMES)] = json.dumps(common).encode()
        values |= {self._make_key(name): value for name, value in result.metrics.items()}
        for class_id, of_class in enumerate(result.per_class):
            values |= {self._make_key(name, class_id): value for name, value in of_class.items()}
        values[self._make_key(IMAGES)] = float(result.images)
        values[self._make_key(BEATS_TRIVIAL)] = judge_trivial(
            int(result.objects.sum()), result.metrics["map_50"] > 0
        )
        if accumulator.sample is not None:
            images = accumulator.sample.list_images()
            values[self._make_key(DETECTIONS)] = stored.to_bytes(images, self._class_names, result)
        return values


def _computations(
    name: str,
    class_names: Sequence[str],
    expected_examples: int | None,
    baseline_class_names: Sequence[str] | None,
    eval_config: Any,
    model_name: str,
) -> list[tfma.metrics.MetricComputation]:
    baselines = [spec.name for spec in eval_config.model_specs if spec.is_baseline]
    others = (baseline_class_names or class_names) if baselines else None
    new_labels = None
    if model_name in baselines and others is not None:
        new_labels = places_of(["", *others], ["", *class_names]).clip(0)
    return [
        tfma.metrics.MetricComputation(
            keys=[],  # there are many; the preprocessor's name distinguishes the computations
            preprocessors=[_ToDetections(name, model_name, new_labels)],
            combiner=_Judge(
                model_name, class_names, expected_examples, others=others, is_baseline=model_name in baselines
            ),
        )
    ]


def add_baseline_classes(config: Any, class_names: Sequence[str]) -> None:
    """Add the baseline's classes to an `EvalConfig`, since a detector's answers only name what it found.

    Args:
        config: The configuration, which is changed.
        class_names: The baseline's classes, in the order of its labels.
    """
    for specs in config.metrics_specs:
        for metric in specs.metrics:
            options = json.loads(metric.config)
            metric.config = json.dumps({**options, "baseline_class_names": list(class_names)})


class CocoMetrics(tfma.metrics.Metric):  # type: ignore[misc]
    """The metrics of `components.tasks.detection.coco_eval` for `serving_tf_examples`.

    It gives the overall metrics by their names, those of each class with a sub key of `class_id`, which is
    the label - 1, the number of images as `example_count`, `beats_trivial` of components.evaluator.bounds,
    and for the candidate `detections`: images for the report (`components.tasks.detection.stored`). With a
    baseline it also gives the metrics that can be bound over the classes that both know, under names that
    begin with `components.evaluator.bounds.COMMON`. A baseline that knows other classes has only these.

    Args:
        class_names: All classes, in the order of their labels.
        expected_examples: The number of images of the split; None if that is not known.
        baseline_class_names: The baseline's classes, in the order of its labels; None for the same ones.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        expected_examples: int | None = None,
        baseline_class_names: Sequence[str] | None = None,
        name: str = "coco",
    ):
        super().__init__(
            tfma.metrics.merge_per_key_computations(_computations),
            name=name,
            class_names=list(class_names),
            expected_examples=expected_examples,
            baseline_class_names=baseline_class_names,
        )
