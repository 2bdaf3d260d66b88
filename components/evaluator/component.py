"""Evaluator: TFX's, which also writes the task's report into the evaluation's folder."""

from __future__ import annotations

from typing import Any

from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils, proto_utils

from components.base.records import list_files
from components.base.saved_model import class_names_of, model_folder
from components.base.task import part
from components.evaluator.evaluation import write_about, write_evaluation
from components.evaluator.protocol import TaskEvaluator
from components.evaluator.results import read_evaluation

# Execution property with the recipe's task.
TASK = "task"


class ReportingExecutor(executor.Executor):
    """TFX's executor. It tells the metric which classes the baseline knows, and has the report written."""

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Evaluate, set the blessing, and write the report."""
        asked: TaskEvaluator = part(exec_properties[TASK], "evaluator")
        if baselines := input_dict.get(standard_component_specs.BASELINE_MODEL_KEY):
            class_names = class_names_of(model_folder(baselines[0].uri))
            if class_names is not None:
                key = standard_component_specs.EVAL_CONFIG_KEY
                config = config_pb2.EvalConfig()
                proto_utils.json_to_proto(exec_properties[key], config)
                asked.add_baseline_classes(config, class_names)
                exec_properties = {**exec_properties, key: proto_utils.proto_to_json(config)}
        super().Do(input_dict, output_dict, exec_properties)
        examples = input_dict[standard_component_specs.EXAMPLES_KEY]
        records = [
            file
            for split in json_utils.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
            for folder in artifact_utils.get_split_uris(examples, split)
            for file in list_files(folder)
        ]
        evaluation = artifact_utils.get_single_uri(output_dict[standard_component_specs.EVALUATION_KEY])
        model = artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY])
        mistakes = asked.write_report(evaluation, records, model_folder(model))
        write_about(evaluation, exec_properties[TASK], mistakes)
        write_evaluation(evaluation, read_evaluation(evaluation))


class Evaluator(component.Evaluator):
    """TFX's component, with `ReportingExecutor`."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(ReportingExecutor)

    def __init__(self, *, task: str, **given: Any):
        """Take TFX's arguments.

        Args:
            task: The recipe's.
            given: TFX's arguments.
        """
        super().__init__(**given)
        self.exec_properties[TASK] = task
