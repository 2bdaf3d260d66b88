"""The plain arrangement: the pipeline of TFX's own MNIST example, on the shards of an ingest.

    python plain_pipeline.py SETTINGS.json        written by benchmarks/plain_tfx.py

Everything is as TFX's example has it or as TFX does by default: inferred schema, module files, materialised
examples, statistics before and after Transform, SQLite metadata. Where it differs, it is faster than the
example: LocalDagRunner and Beam in one process (the example's multi-process Beam imports TFX anew in every
worker), no MirroredStrategy (it has one device). Beam's in-process runner is asked for by name, since newer
DirectRunners first try to download another one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

import tensorflow_model_analysis as tfma
from tfx import v1 as tfx

from schemas import features

NAME = "plain"
METADATA_FILE = "metadata.sqlite"
MODULE_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plain_module.py")
BEAM_PIPELINE_ARGS = [
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--direct_running_mode=in_memory",
]


def create_pipeline(settings: dict[str, Any]) -> tfx.dsl.Pipeline:
    """Builds the pipeline; `settings` are those that `benchmarks/plain_tfx.py` writes."""
    root = settings["root"]
    splits = [
        tfx.proto.Input.Split(name=name, pattern=pattern) for name, pattern in settings["patterns"].items()
    ]
    example_gen = tfx.components.ImportExampleGen(
        input_base=settings["data"], input_config=tfx.proto.Input(splits=splits)
    )
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = tfx.components.SchemaGen(
        statistics=statistics_gen.outputs["statistics"], infer_feature_shape=True
    )
    example_validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        module_file=MODULE_FILE,
        custom_config={"transform": settings["transform"]},
    )
    trainer = tfx.components.Trainer(
        module_file=MODULE_FILE,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=[features.TRAIN]),
        eval_args=tfx.proto.EvalArgs(splits=[features.EVAL]),
        custom_config=settings,
    )
    resolver = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model_resolver")
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": settings["min_accuracy"]})
    )
    accuracy = tfma.MetricConfig(
        class_name="SparseCategoricalAccuracy", config='{"name": "accuracy"}', threshold=threshold
    )
    evaluator = tfx.components.Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=resolver.outputs["model"],
        # The split that Mirante judges by.
        example_splits=[features.TEST],
        eval_config=tfma.EvalConfig(
            model_specs=[tfma.ModelSpec(label_key=features.LABEL, signature_name="serving_default")],
            slicing_specs=[tfma.SlicingSpec()],
            metrics_specs=[tfma.MetricsSpec(metrics=[accuracy])],
        ),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=os.path.join(root, "serving"))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=NAME,
        pipeline_root=root,
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            example_validator,
            transform,
            trainer,
            resolver,
            evaluator,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            os.path.join(root, METADATA_FILE)
        ),
        beam_pipeline_args=BEAM_PIPELINE_ARGS,
    )


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.INFO)
    with open(sys.argv[1], encoding="utf-8") as file:
        tfx.orchestration.LocalDagRunner().run(create_pipeline(json.load(file)))
