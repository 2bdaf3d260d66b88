"""DataGate: stops the run, and says why, if the data does not match the schema or the train split.

ExampleValidator and DistributionValidator write what they find and let the run continue. This component reads
it, decodes every image, asks the task about every record, and raises.
"""

# No `from __future__ import annotations`: TFX reads the annotations of a component function as types.
import json
import os
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts
from tfx.utils import io_utils

from components.base.anomalies import read_anomalies
from components.base.errors import DataRefusedError, MiranteError
from components.base.task import part
from components.data_gate.combine import ChooseRecords, CountFacts, CountProblems, find_problem, rank
from components.data_gate.images import image_problems
from components.data_gate.protocol import TaskDataGate
from schemas import features

REPORT = "report.json"
# TFX's name.
STATISTICS_FILE = "FeatureStats.pb"
# Records decoded at once.
BATCH = 64


def _write_drawing(records: list[bytes], folder: str, task: str) -> None:
    """Write the task's drawing of records; none if one of them is unusable, because then the run ends."""
    asked: TaskDataGate = part(task, "data_gate")
    try:
        drawing = asked.draw(records)
    except (OSError, KeyError, ValueError, IndexError):
        return
    if drawing is None:
        return
    with fileio.open(os.path.join(folder, asked.DRAWING), "wb") as file:
        file.write(drawing)


def _write_text(path: str) -> beam.PTransform:
    """Write one text to one file."""
    return beam.io.WriteToText(path, shard_name_template="", append_trailing_newlines=False)


def _describe_anomalies(folder: str) -> list[str]:
    """Return every anomaly of an ExampleAnomalies artifact as a sentence: feature, split, reason.

    Raises:
        MiranteError: The artifact has nothing of any split, not even that there are no anomalies.
    """
    found = read_anomalies(folder)
    if not found:
        raise MiranteError(
            f"{folder}: expected a folder for each split that was validated, got none: was it removed? Run "
            "the pipeline again with use_cache=false"
        )
    sentences = []
    for split, anomalies in found.items():
        for feature, info in sorted(anomalies.anomaly_info.items()):
            # ExampleValidator describes a feature as a whole, DistributionValidator each reason.
            sentences += [
                f"{feature} in split {split}: {reason.short_description}: {reason.description}"
                for reason in info.reason or [info]
            ]
        if anomalies.HasField("dataset_anomaly_info"):
            sentences.append(f"split {split}: {anomalies.dataset_anomaly_info.description}")
    return sentences


def _read_json(path: str) -> Any:
    with fileio.open(path) as file:
        return json.loads(file.read())


def _num_examples(statistics: standard_artifacts.ExampleStatistics, split: str) -> int:
    """Return the number of examples that StatisticsGen counted in a split."""
    path = os.path.join(artifact_utils.get_split_uri([statistics], split), STATISTICS_FILE)
    parsed = statistics_pb2.DatasetFeatureStatisticsList()
    with fileio.open(path, "rb") as file:
        parsed.ParseFromString(file.read())
    return int(parsed.datasets[0].num_examples)


def _describe(feature: str, split: str, bad: int, named: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each problem that is named, and one for the others."""
    lines = [f"{feature} in split {split}: {name}: {reason}" for name, reason in named]
    if bad > len(named):
        lines.append(f"{feature} in split {split}: {bad - len(named)} more images like these")
    return lines


@component(use_beam=True)
def DataGate(  # noqa: N802 - components are named like classes
    examples: InputArtifact[standard_artifacts.Examples],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    drift: InputArtifact[standard_artifacts.ExampleAnomalies],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    blessing: OutputArtifact[simple_artifacts.Statistics],
    check_images: Parameter[int],
    task: Parameter[str] = features.CLASSIFICATION,
    expected_records: Parameter[str] = "{}",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Raise DataRefusedError, naming feature, split and anomaly, or write the report.

    Args:
        examples: All splits.
        anomalies: Of ExampleValidator.
        drift: Of DistributionValidator.
        statistics: Of StatisticsGen; its counts, and those of the records that are read here, must be
            `expected_records`.
        blessing: Says that the data passed. Its folder has `report.json` with the images of each split, the
            task's facts (`components.data_gate.protocol`), and the task's drawing of some records. The type
            is one of TFX's, since no other one can be compiled for Vertex AI.
        check_images: 0 skips the decoding of every image. The task's own check always runs.
        task: The recipe's.
        expected_records: JSON: the number of ingested records by split.
        beam_pipeline: Set by TFX.
    """
    problems = _describe_anomalies(anomalies.uri)
    problems += [f"{line} (data.max_label_drift sets the bound)" for line in _describe_anomalies(drift.uri)]
    report: dict[str, dict[str, object]] = {"images": {}}
    asked: TaskDataGate = part(task, "data_gate")
    if asked.FACTS:
        report[asked.FACTS] = {}
    results = os.path.join(blessing.uri, "images")
    splits = artifact_utils.decode_split_names(examples.split_names)
    if check_images or asked.FACTS:
        with beam_pipeline as pipeline:
            for split in splits:
                pattern = io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))
                records = pipeline | f"Read[{split}]" >> beam.io.ReadFromTFRecord(pattern)
                if check_images:
                    (
                        records
                        | f"Batch[{split}]" >> beam.BatchElements(BATCH, BATCH)
                        | f"Decode[{split}]" >> beam.FlatMap(image_problems)
                        | f"Count[{split}]" >> beam.CombineGlobally(CountProblems())
                        | f"Format[{split}]" >> beam.Map(json.dumps)
                        | f"Write[{split}]" >> _write_text(os.path.join(results, split))
                    )
                if asked.FACTS:
                    (
                        records
                        | f"Ask[{split}]" >> beam.Map(find_problem, task)
                        | f"CountFacts[{split}]" >> beam.CombineGlobally(CountFacts(task))
                        | f"FormatFacts[{split}]" >> beam.Map(json.dumps)
                        | f"WriteFacts[{split}]" >> _write_text(os.path.join(results, f"{split}-facts"))
                    )
                if asked.FACTS and split == features.TRAIN:
                    (
                        records
                        | "Rank" >> beam.Map(rank)
                        | "Choose" >> beam.CombineGlobally(ChooseRecords())
                        | "Draw" >> beam.Map(_write_drawing, blessing.uri, task)
                    )
    counted: list[tuple[str, str, int]] = []
    for split in splits:
        if check_images:
            images, bad, named = _read_json(os.path.join(results, split))
            report["images"][split] = images
            problems += _describe("image/encoded", split, bad, named)
            counted.append((split, "ImportExampleGen", images))
        counted.append((split, "StatisticsGen", _num_examples(statistics, split)))
        if asked.FACTS:
            found = _read_json(os.path.join(results, f"{split}-facts"))
            report[asked.FACTS][split] = found["facts"]
            problems += _describe(asked.FEATURE, split, found["bad"], found["named"])
    expected = json.loads(expected_records)
    missed = [one for one in counted if one[0] in expected and one[2] != expected[one[0]]]
    if missed:
        raise MiranteError(
            "; ".join(
                f"split {split}: expected {expected[split]:,} records, as ingested, got {count:,} from {node}"
                for split, node, count in missed
            )
            + "; records were lost or added between the nodes: run again with --no-cache"
        )
    if problems:
        found = "\n".join(f"  - {line}" for line in problems)
        raise DataRefusedError(
            f"the data was refused:\n{found}\nCorrect or remove what is named and run the same command again"
        )
    io_utils.write_string_file(os.path.join(blessing.uri, REPORT), json.dumps(report))
