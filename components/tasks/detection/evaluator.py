"""TFX's Evaluator for detection, which also writes the report that a person looks at.

The report (`components.tasks.detection.report`) lies in the folder `detection` of the evaluation artifact.
The model runs once: `CocoMetrics` leaves in the evaluation what it judged, and this reads it from there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, proto_utils

from components.base.records import files_in, record_dataset
from components.base.serving_folder import class_names_of
from components.resolver.baseline import model_folder
from components.tasks.detection import stored
from components.tasks.detection.coco_eval import Detections
from components.tasks.detection.report import write_report
from components.tasks.detection.tfma_metric import DETECTIONS, add_baseline_classes, ground_truth
from schemas import features

REPORT_FOLDER = "detection"


class ReportingExecutor(executor.Executor):
    """TFX's executor, with the report."""

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Evaluates, sets the blessing, and writes the report."""
        if baselines := input_dict.get(standard_component_specs.BASELINE_MODEL_KEY):
            exec_properties = _with_baseline_classes(exec_properties, baselines[0].uri)
        super().Do(input_dict, output_dict, exec_properties)
        evaluation = artifact_utils.get_single_uri(output_dict[standard_component_specs.EVALUATION_KEY])
        examples = input_dict[standard_component_specs.EXAMPLES_KEY]
        splits = json_utils.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
        files = [
            file
            for split in splits
            for folder in artifact_utils.get_split_uris(examples, split)
            for file in files_in(folder)
        ]
        found = judged(evaluation)
        if found is None:
            return  # there were no examples, and no threshold was met
        with tempfile.TemporaryDirectory() as temporary:
            write_report(Path(temporary), found, lambda wanted: encoded_images(files, found.images, wanted))
            target = os.path.join(evaluation, REPORT_FOLDER)
            incomplete = os.path.join(evaluation, f".{REPORT_FOLDER}.incomplete")
            io_utils.copy_dir(temporary, incomplete)
            fileio.rename(incomplete, target)


def _with_baseline_classes(exec_properties: dict[str, Any], uri: str) -> dict[str, Any]:
    """Return the properties, with the classes of the baseline at `uri` added to the configuration."""
    class_names = class_names_of(model_folder(uri))
    if class_names is None:
        return exec_properties
    key = standard_component_specs.EVAL_CONFIG_KEY
    config = config_pb2.EvalConfig()
    proto_utils.json_to_proto(exec_properties[key], config)
    add_baseline_classes(config, class_names)
    return {**exec_properties, key: proto_utils.proto_to_json(config)}


def judged(evaluation: str) -> stored.Judged | None:
    """What the candidate found, from the evaluation artifact's folder; None where there were no examples."""
    for by_slice in tfma.load_metrics(evaluation):
        for item in by_slice.metric_keys_and_values:
            if item.key.name == DETECTIONS:
                return stored.from_bytes(item.value.bytes_value)
    return None


def encoded_images(
    files: Iterable[str], images: Sequence[Detections], wanted: Sequence[int]
) -> Mapping[int, bytes]:
    """The image files of `images[i]` for the wanted i, out of the records."""

    def key(name: str, height: int, width: int, boxes: Any) -> tuple[Any, ...]:
        return name, height, width, boxes.tobytes()  # names need not be unique

    keys = {i: key(images[i].name, images[i].height, images[i].width, images[i].boxes) for i in wanted}
    encoded = {}
    sought = set(keys.values())
    for serialized in record_dataset(files).as_numpy_iterator():
        truth = ground_truth(serialized)
        found = key(truth["name"], truth["height"], truth["width"], truth["boxes"])
        if found in sought:
            feature = tf.train.Example.FromString(serialized).features.feature
            encoded[found] = feature[features.ENCODED].bytes_list.value[0]
    return {i: encoded[found] for i, found in keys.items()}


class Evaluator(component.Evaluator):
    """TFX's component, with `ReportingExecutor`."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(ReportingExecutor)
