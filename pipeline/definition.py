"""The one definition of the pipeline: its nodes, in the order in which the data flows.

Runners decide where the nodes run; nothing here does.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_gen.import_example_gen.component import ImportExampleGen as TfxImportExampleGen
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.pusher.component import Pusher
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import pipeline
from tfx.proto import (
    distribution_validator_pb2,
    example_gen_pb2,
    pusher_pb2,
    trainer_pb2,
    transform_pb2,
)
from tfx.types import Channel, standard_artifacts
from tfx.utils import json_utils

from components.data_gate.component import DataGate
from components.distribution_validator.component import DistributionValidator
from components.evaluator.batches import custom_extractors
from components.evaluator.results import eval_config
from components.example_gen.component import CONTENT, ImportExampleGen
from components.infra_validator.component import InfraValidator
from components.models.user_code import builder_digest
from components.pusher.executor import AtomicPushExecutor
from components.resolver.baseline import imports_folder
from components.resolver.strategies import BaselineStrategy, BaseModelStrategy
from components.schema_gen.component import CuratedSchema
from components.tasks.detection.evaluator import Evaluator as DetectionEvaluator
from components.trainer import run_fn
from components.transform import preprocessing_fn
from components.tuner import tuner_fn
from components.tuner.component import Tuner
from pipeline.data.prepare import Examples
from pipeline.digests import CODE, add_code_digests, node_code_digest, warm_start_digest, weights_digest
from pipeline.recipe.recipe import Recipe
from pipeline.targets.vertex.target import OnVertex, deployment, training_job
from schemas import features

CHECKPOINTS_FOLDER = "checkpoints"
SEARCHES_FOLDER = "searches"
# Beam's in-process runner, asked for by name: since 2.68 the DirectRunner tries to download another one.
BEAM_PIPELINE_ARGS = (
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--direct_running_mode=in_memory",
    # There is no image and none is needed. Without this TFX packs itself up for remote workers at each node
    # that uses Beam: 2.4 s of CPU and 53 MB of temporary files, for nothing.
    "--sdk_container_image=none",
)


def _import_path(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def compile_pipeline(recipe: Recipe, examples: Examples, schema_file: str, root: str) -> Any:
    """What `create_pipeline` builds, as TFX's `pipeline_pb2.Pipeline`: everything that a NodeRunner needs."""
    return compiler.Compiler().compile(create_pipeline(recipe, examples, schema_file, root))


def create_pipeline(
    recipe: Recipe, examples: Examples, schema_file: str, root: str, vertex: OnVertex | None = None
) -> pipeline.Pipeline:
    """Builds the TFX pipeline of a recipe.

    Args:
        recipe: What to do.
        examples: What to do it on.
        schema_file: The curated schema with the examples' classes (`schemas.curated.write_schema`).
        root: The pipeline root, a folder or a bucket's: artifacts and pushed models lie below it.
        vertex: Set for Vertex AI: some nodes are others there (docs/vertex.md), and no bucket is looked into.

    Raises:
        UsageError: A threshold names a metric that this data set does not have, or there are no weights where
            the training is to start from.
    """
    # Bring in the records: the three splits that ingest made, of the span that was chosen.
    example_gen = _example_gen(examples, vertex)
    # The curated schema, with the data set's class list as the label's domain.
    if vertex:
        text = Path(schema_file).read_text(encoding="utf-8")
        schema_gen = CuratedSchema(text=text).with_id("ImportSchemaGen")
    else:
        schema_gen = ImportSchemaGen(schema_file=schema_file)
    # Statistics of every split; the schema keeps them from counting image bytes as words.
    statistics_gen = StatisticsGen(
        examples=example_gen.outputs["examples"], schema=schema_gen.outputs["schema"]
    )
    # Every split against the schema.
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    # The classes' shares in train against those in eval.
    distribution_validator = DistributionValidator(
        statistics=statistics_gen.outputs["statistics"],
        baseline_statistics=statistics_gen.outputs["statistics"],
        config=_drift_config(recipe.data.max_label_drift, examples.split_sizes, examples.task),
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
    # Boxes of an image are filled up to so many.
    max_boxes = recipe.model.detection.max_boxes or examples.max_boxes
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
            "transform": recipe.transform.model_dump(),
            **({"max_boxes": max_boxes} if examples.task == features.DETECTION else {}),
        },
    )
    transform.add_upstream_node(data_gate)
    pushed_to = recipe.push_destination(root)
    # Of the trials and of the Trainer alike.
    trained_on: dict[str, Any] = {
        "examples": example_gen.outputs["examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema_gen.outputs["schema"],
    }
    data_path = examples.span.path if examples.span else recipe.data.path
    training_config = {
        "transform": recipe.transform.model_dump(),
        "model": recipe.model.model_dump(),
        "training": recipe.training.model_dump(),
        "weights_sha256": weights_digest(recipe.model.weights),
        "builder_sha256": builder_digest(recipe.model),
        # Checkpoints, too, are of one code; what a pushed model started from is told by it.
        CODE: node_code_digest("Trainer", recipe.task),
        "checkpoints": os.path.join(root, CHECKPOINTS_FOLDER),
        "about": {
            "recipe": recipe.name,
            "data": os.path.basename(data_path or recipe.data.source),
        },
        **({} if vertex else warm_start_digest(recipe.training.warm_start, pushed_to)),
    }
    # Where the served model is found, and what stands for it if no artifact does.
    served = {"push_destination": pushed_to, "imports": imports_folder(root)}
    # The model to start from, where the recipe says: the served one, unless this training made it.
    base_model = None
    if recipe.training.warm_start and recipe.training.warm_start.is_latest_blessed:
        not_its_own: dict[str, Any] = {
            "strategy_class": BaseModelStrategy,
            "config": {"custom_config": json_utils.dumps(training_config), **served},
            **trained_on,
        }
        base_model = Resolver(
            **({"strategy_class": LatestBlessedModelStrategy} if vertex else not_its_own),
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("BaseModelResolver")
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
                **training_config,
                "tuner": recipe.tuner.model_dump(),
                CODE: node_code_digest("Tuner", recipe.task),
                "checkpoints": os.path.join(root, SEARCHES_FOLDER),
            },
        )
    # Train on the raw records through that graph, and export both as one model.
    trainer_class = Trainer
    if vertex and vertex.config.training:
        from tfx.extensions.google_cloud_ai_platform.trainer.component import Trainer as JobTrainer

        trainer_class = JobTrainer
        training_config = {**training_config, **training_job(vertex.config.training, vertex)}
    trainer = trainer_class(
        run_fn=_import_path(run_fn),
        **training_inputs,
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        custom_config=training_config,
    )
    # The served model, to compare with.
    other_than_candidate: dict[str, Any] = {
        "strategy_class": BaselineStrategy,
        "config": served,
        "candidate": trainer.outputs["model"],
    }
    resolver = Resolver(
        **({"strategy_class": LatestBlessedModelStrategy} if vertex else other_than_candidate),
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("Resolver")
    # Judge the model on the test split: absolute bounds, and against the baseline.
    evaluator_class = DetectionEvaluator if recipe.task == "detection" else Evaluator
    evaluator = evaluator_class(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=resolver.outputs["model"],
        eval_config=eval_config(
            recipe.evaluation,
            examples.class_names,
            recipe.task,
            expected_examples=examples.split_sizes.get(features.TEST),
        ),
        example_splits=[features.TEST],
        # Of classification: whole batches at once. A detector's images are judged one by one.
        module_path=None if recipe.task == features.DETECTION else custom_extractors.__module__,
    )
    # Load the model as a server does, and ask it.
    infra_validator = InfraValidator(
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        images=recipe.infra_validation.images,
        time_limit_secs=recipe.infra_validation.time_limit_secs or 0,
    )
    # Hand it over to TF Serving, if both blessed it.
    blessed: dict[str, Any] = {
        "model": trainer.outputs["model"],
        "model_blessing": evaluator.outputs["blessing"],
        "infra_blessing": infra_validator.outputs["blessing"],
    }
    if vertex and vertex.config.deployment:
        from tfx.extensions.google_cloud_ai_platform.pusher.component import Pusher as EndpointPusher

        pusher = EndpointPusher(**blessed, custom_config=deployment(vertex.config.deployment, vertex))
    else:
        pusher = Pusher(
            **blessed,
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=pushed_to)
            ),
            custom_executor_spec=executor_spec.ExecutorClassSpec(AtomicPushExecutor),
        )
    components = [
        example_gen,
        schema_gen,
        statistics_gen,
        example_validator,
        distribution_validator,
        data_gate,
        transform,
        *([base_model] if base_model else []),
        *([tuner] if tuner else []),
        trainer,
        resolver,
        evaluator,
        infra_validator,
        pusher,
    ]
    add_code_digests(components, recipe.task)
    return pipeline.Pipeline(
        # Vertex takes no underscore.
        pipeline_name=recipe.name.replace("_", "-") if vertex else recipe.name,
        pipeline_root=root,
        components=components,
        enable_cache=recipe.use_cache,
        beam_pipeline_args=list(BEAM_PIPELINE_ARGS),
    )


def _example_gen(examples: Examples, vertex: OnVertex | None) -> ImportExampleGen:
    """Builds the node that reads the shards; on Vertex AI its driver is TFX's, in a container of its own."""
    span = examples.span
    splits = [
        example_gen_pb2.Input.Split(name=split, pattern=examples.patterns[split]) for split in features.SPLITS
    ]
    config = example_gen_pb2.Input(splits=splits)
    if vertex:
        example_gen = TfxImportExampleGen(input_base=vertex.config.data_root, input_config=config)
        example_gen.exec_properties[CONTENT] = examples.content
        return example_gen
    return ImportExampleGen(
        content_sha256=examples.content,
        span=span.number if span else None,
        version=span.version if span else None,
        input_base=str(examples.folder),
        input_config=config,
    )


def _drift_config(
    max_label_drift: float, split_sizes: dict[str, int], task: str = features.CLASSIFICATION
) -> distribution_validator_pb2.DistributionValidatorConfig:
    """The largest difference of a class's share between train and eval; of detection, its share of boxes.

    Never less than three standard deviations of what chance alone makes of two splits of these sizes: a fixed
    bound would refuse every fifth small data set.
    """
    chance = 0.0
    if split_sizes:
        # A share p of n images varies by p (1 - p) / n, at most 1 / 4n. The boxes of one image are alike, so
        # that many boxes are no better than the images they are on.
        variance = sum(0.25 / split_sizes[split] for split in (features.TRAIN, features.EVAL))
        chance = 3 * math.sqrt(variance)
    config = distribution_validator_pb2.DistributionValidatorConfig()
    feature = config.default_slice_config.feature.add()
    feature.path.step.append(features.BOX_TEXT if task == features.DETECTION else features.LABEL_TEXT)
    feature.distribution_comparator.infinity_norm.threshold = max(max_label_drift, chance)
    return config
