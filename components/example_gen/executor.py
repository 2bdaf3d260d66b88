"""ImportExampleGen's executor: takes over each shard as a whole, one element of the Beam pipeline.

TFX's own executor shuffles all records of a split over the workers. Then the order of the records depends on
Beam's engine, and in one process all images of the data are in memory. Ingest has shuffled the records, and
the Trainer shuffles them again in every epoch.
"""

from __future__ import annotations

import os
from typing import Any

import apache_beam as beam
from tfx.components.example_gen import utils
from tfx.components.example_gen.import_example_gen import executor
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.base.errors import MiranteError
from components.example_gen.shards import copy_shard, remove_unfinished


class ShardExecutor(executor.Executor):
    """TFX's executor, which copies shards: as many files as there were, with equal records in equal order."""

    def Do(  # noqa: N802 - TFX's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Write the splits that the input configuration names.

        Raises:
            MiranteError: A split has no files.
        """
        given = example_gen_pb2.Input()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], given)
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        names = utils.generate_output_split_names(given, example_gen_pb2.Output())
        examples.split_names = artifact_utils.encode_split_names(names)
        copies = []
        for split in given.splits:
            pattern = os.path.join(exec_properties[standard_component_specs.INPUT_BASE_KEY], split.pattern)
            sources = sorted(fileio.glob(pattern))
            if not sources:
                raise MiranteError(f"split {split.name}: expected files {pattern}, got none; ingest anew")
            folder = artifact_utils.get_split_uri([examples], split.name)
            for number, source in enumerate(sources):
                target = os.path.join(folder, f"data_tfrecord-{number:05}-of-{len(sources):05}.gz")
                copies.append((source, target))
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(copies)
                | "Share" >> beam.Reshuffle()
                | "Copy" >> beam.MapTuple(copy_shard)
            )
        remove_unfinished([target for _, target in copies])
        format_of_payload = exec_properties.get(standard_component_specs.OUTPUT_DATA_FORMAT_KEY)
        examples_utils.set_payload_format(examples, format_of_payload)
