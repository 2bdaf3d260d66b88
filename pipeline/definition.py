"""The one definition of the pipeline: its nodes, in the order in which the data flows.

A `Target` says what differs where the nodes run, and the task's room what differs between tasks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from tfx.components.example_validator.component import ExampleValidator
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.transform.component import Transform
from tfx.dsl.compiler import compiler
from tfx.orchestration import pipeline
from tfx.proto import trainer_pb2, transform_pb2
from tfx.utils import json_utils

from components.base.task import part, task_named
from components.bulk_inference.component import BulkInference
from components.bulk_inference.content import digest_images
from components.data_gate.component import DataGate
from components.distribution_validator.component import DistributionValidator, drift_config
from components.evaluator.component import Evaluator
from components.evaluator.protocol import TaskEvaluator
from components.exporter.component import Exporter
from components.infra_validator.component import InfraValidator
from components.resolver.strategies import BaselineStrategy, BaseModelStrategy
from components.trainer import run_fn
from components.transform import preprocessing_fn
from components.tuner import tuner_fn
from components.tuner.component import Tuner
from pipeline.data.examples import Examples
from pipeline.digests import add_code_digests
from pipeline.engines.arguments import make_arguments
from pipeline.model_card import describe_for_card
from pipeline.recipe.recipe import Recipe
from pipeline.steps import imports_folder, step_named
from pipeline.target import Target
from pipeline.training import training_config, work_of
from schemas import features


def compile_pipeline(recipe: Recipe, examples: Examples, schema_file: str, root: str) -> Any:
    """Return what `create_pipeline` builds, as TFX's `pipeline_pb2.Pipeline` for a `NodeRunner`."""
    return compiler.Compiler().compile(create_pipeline(recipe, examples, schema_file, root))


def create_pipeline(
    recipe: Recipe,
    examples: Examples,
    schema_file: str,
    root: str,
    target: Target = Target(),  # noqa: B008 - it has no state
) -> pipeline.Pipeline:
    """Build the TFX pipeline of a recipe.

    Args:
        recipe: What to do.
        examples: What to do it on.
        schema_file: The curated schema with the examples' classes (`components.schema_gen.schema_file`).
        root: The pipeline root, a folder or a bucket's: artifacts and pushed models are below it.
        target: Where the nodes run.

    Raises:
        UsageError: A threshold names a metric that this data set does not have, or there are no weights where
            the training is to start from.
    """
    # Bring in the records: the three splits that ingest made, of the span that was chosen.
    example_gen = target.example_gen(examples)
    # The curated schema, with the data set's class list as the label's domain.
    schema_gen = target.schema_gen(schema_file).with_id("ImportSchemaGen")
    # Statistics of every split; the schema keeps them from counting image bytes as words.
    statistics_gen = StatisticsGen(
        examples=example_gen.outputs["examples"], schema=schema_gen.outputs["schema"]
    )
    # Every split against the schema.
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    # The classes' shares in train against those in eval.
    label = task_named(examples.task).text
    distribution_validator = DistributionValidator(
        statistics=statistics_gen.outputs["statistics"],
        baseline_statistics=statistics_gen.outputs["statistics"],
        config=drift_config(recipe.data.max_label_drift, examples.split_sizes, label),
        include_split_pairs=[(features.TRAIN, features.EVAL)],
    )
    # Stop here if any of them found something, or if an image does not decode.
    data_gate = DataGate(
        examples=example_gen.outputs["examples"],
        anomalies=example_validator.outputs["anomalies"],
        drift=distribution_validator.outputs["anomalies"],
        statistics=statistics_gen.outputs["statistics"],
        expected_records=json.dumps(examples.records, sort_keys=True),
        check_images=int(recipe.data.check_images),
        task=examples.task,
    )
    # Pad each image's boxes to this number.
    max_boxes = recipe.model.detection.max_boxes or examples.max_boxes or None
    # Decode, resize, normalise: one graph for training and serving. Pixels are not written out:
    # decoding them again is faster than reading them back (docs/decisions/001).
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn=_import_path(preprocessing_fn),
        splits_config=transform_pb2.SplitsConfig(analyze=[features.TRAIN]),
        materialize=False,
        disable_analyzer_cache=True,
        disable_statistics=True,
        custom_config={
            "task": recipe.task,
            "transform": recipe.transform.model_dump(),
            "max_boxes": max_boxes,
        },
    )
    transform.add_upstream_node(data_gate)
    pushed_to = recipe.push_destination(root)
    # Shared by the Tuner's trials and the Trainer.
    trained_on: dict[str, Any] = {
        "examples": example_gen.outputs["examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema_gen.outputs["schema"],
    }
    trained_by = training_config(recipe, examples, root, target)
    # Where the served model is found, and the artifact for it if no artifact has it.
    served = {"push_destination": pushed_to, "imports": imports_folder(root)}
    # If the recipe asks for a warm start: the served model, unless this very training made it.
    base_model = None
    if recipe.training.warm_start and recipe.training.warm_start.is_latest_blessed:
        known = {"custom_config": json_utils.dumps(trained_by), **served}
        base_model = target.resolver("BaseModelResolver", BaseModelStrategy, known, **trained_on)
    training_inputs: dict[str, Any] = {
        **trained_on,
        "base_model": base_model.outputs["model"] if base_model else None,
        "train_args": trainer_pb2.TrainArgs(splits=[features.TRAIN]),
        "eval_args": trainer_pb2.EvalArgs(splits=[features.EVAL]),
    }
    # Where the recipe asks for it, search for better values of some of its fields.
    tuner = None
    if recipe.tuner is not None:
        tuner = Tuner(
            tuner_fn=_import_path(tuner_fn),
            **training_inputs,
            custom_config={
                **trained_by,
                "tuner": recipe.tuner.model_dump(),
                **work_of("Tuner", recipe, root),
            },
        )
    # Train on the raw records through that graph, and export both as one model.
    trainer = target.trainer(
        trained_by,
        run_fn=_import_path(run_fn),
        **training_inputs,
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
    )
    # The served model, to compare with.
    resolver = target.resolver("Resolver", BaselineStrategy, served, candidate=trainer.outputs["model"])
    # Judge the model on the test split: absolute bounds, and against the baseline.
    task_evaluator: TaskEvaluator = part(recipe.task, "evaluator")
    evaluator = Evaluator(
        task=recipe.task,
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=resolver.outputs["model"],
        eval_config=task_evaluator.make_eval_config(
            recipe.evaluation, examples.class_names, examples.split_sizes.get(features.TEST)
        ),
        example_splits=[features.TEST],
        module_path=task_evaluator.EXTRACTORS,
    )
    # Load the model as a server does, and ask it.
    infra_validator = InfraValidator(
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        images=recipe.infra_validation.images,
        time_limit_secs=recipe.infra_validation.time_limit_secs or 0,
    )
    blessed_model: dict[str, Any] = {
        "model": trainer.outputs["model"],
        "model_blessing": evaluator.outputs["blessing"],
        "infra_blessing": infra_validator.outputs["blessing"],
    }
    # Where the recipe asks for it, write the blessed model in formats of other runtimes. Stop here if one of
    # them has lost too much.
    exporter = None
    if recipe.export is not None:
        exporter = Exporter(
            examples=example_gen.outputs["examples"],
            settings=recipe.export.model_dump_json(),
            **blessed_model,
        )
    # Hand it over to TF Serving, if both blessed it.
    pusher = target.pusher(
        pushed_to,
        recipe.push.also,
        describe_for_card(recipe, examples),
        {
            "evaluation": evaluator.outputs["evaluation"],
            "exports": exporter.outputs["exports"] if exporter else None,
        },
        **blessed_model,
    )
    if exporter is not None:
        pusher.add_upstream_node(exporter)
    # Where the recipe asks for it, have the blessed model answer images.
    bulk_inference = None
    if recipe.bulk_inference is not None:
        work = os.path.join(root, step_named("BulkInference").keeps)
        bulk_inference = BulkInference(
            recipe.bulk_inference,
            input_sha256=digest_images(recipe.bulk_inference, work),
            work=work,
            examples=example_gen.outputs["examples"],
            **blessed_model,
        )
        bulk_inference.add_upstream_node(pusher)
    nodes = [example_gen, schema_gen, statistics_gen, example_validator, distribution_validator, data_gate]
    nodes += [transform, base_model, tuner, trainer, resolver, evaluator, infra_validator]
    nodes = [node for node in (*nodes, exporter, pusher, bulk_inference) if node is not None]
    add_code_digests(nodes, recipe.task)
    # No part of TFX's cache key: results are equal on every engine (docs/decisions/013).
    for node in nodes:
        if step_named(node.id).engine_group:
            node.with_beam_pipeline_args(make_arguments(recipe.beam, node.id, root))
    return pipeline.Pipeline(
        pipeline_name=target.pipeline_name(recipe),
        pipeline_root=root,
        components=nodes,
        enable_cache=recipe.use_cache,
    )


def _import_path(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
