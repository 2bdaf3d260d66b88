"""DataGate: stops the run, and says why, when the data is not what the schema and the train split say.

ExampleValidator and DistributionValidator write down what they find and let the run go on; this component
reads what they wrote, decodes every image besides, looks at boxes, and raises.
"""

# No `from __future__ import annotations`: TFX reads the annotations of a component function as types.
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
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

from components.base.errors import DataRefusedError, MiranteError
from components.base.example import parse_example
from components.base.records import files_in
from components.data_gate.images import Problem, image_problems
from components.tasks.detection.records import BoxFacts, Values, box_problem
from components.tasks.detection.samples import MOST_IMAGES, picture_of, place_of
from schemas import features

REPORT = "report.json"
# TFX's name.
STATISTICS_FILE = "FeatureStats.pb"
PICTURE = "boxes.png"
# Examples named per split; the count is always whole.
MAX_NAMED = 10
# Records decoded at once.
BATCH = 64

# Images, bad images, the first of these by name.
Count = tuple[int, int, list[Problem]]


def read_anomalies(folder: str) -> list[str]:
    """Every anomaly below `folder`, an ExampleAnomalies artifact, as a sentence: feature, split, what."""
    sentences = []
    for split_folder in sorted(fileio.listdir(folder)):
        if not split_folder.startswith("Split"):
            continue
        split = split_folder.removeprefix("SplitPair-").removeprefix("Split-").replace("_", " against ")
        for path in files_in(os.path.join(folder, split_folder)):
            anomalies = anomalies_pb2.Anomalies()
            with fileio.open(path, "rb") as file:
                anomalies.ParseFromString(file.read())
            for feature, info in sorted(anomalies.anomaly_info.items()):
                # What ExampleValidator says of a feature as a whole, DistributionValidator says by reason.
                for reason in info.reason or [info]:
                    sentences.append(
                        f"{feature} in split {split}: {reason.short_description}: {reason.description}"
                    )
            if anomalies.HasField("dataset_anomaly_info"):
                sentences.append(f"split {split}: {anomalies.dataset_anomaly_info.description}")
    return sentences


class _Problems(beam.CombineFn):  # type: ignore[misc]
    """Counts records and keeps the first `MAX_NAMED` problems by name."""

    def create_accumulator(self) -> Count:
        return 0, 0, []

    def add_input(self, accumulator: Count, element: Problem | None) -> Count:
        images, bad, named = accumulator
        if element is None:
            return images + 1, bad, named
        return images + 1, bad + 1, sorted([*named, element])[:MAX_NAMED]

    def merge_accumulators(self, accumulators: Iterable[Count]) -> Count:
        images, bad, named = zip(*accumulators, strict=True)
        return sum(images), sum(bad), sorted(item for part in named for item in part)[:MAX_NAMED]

    def extract_output(self, accumulator: Count) -> Count:
        return accumulator


def box_result(record: bytes) -> tuple[Problem | None, Values]:
    """What is wrong with the boxes of a serialized example, and its features but for the image."""
    values = parse_example(record)
    values.pop(features.ENCODED, None)
    reason = box_problem(values)
    if reason is None:
        return None, values
    name = b"".join(values.get(features.FILENAME, [])).decode(errors="replace") or "(unnamed)"
    return (name, reason), values


class _BoxReport(beam.CombineFn):  # type: ignore[misc]
    """Counts boxes, and problems as `_Problems` does."""

    def create_accumulator(self) -> tuple[Count, BoxFacts]:
        return (0, 0, []), BoxFacts()

    def add_input(
        self, accumulator: tuple[Count, BoxFacts], element: tuple[Problem | None, Values]
    ) -> tuple[Count, BoxFacts]:
        count, facts = accumulator
        problem, values = element
        if problem is None:
            facts.add(values)
        return _Problems().add_input(count, problem), facts

    def merge_accumulators(self, accumulators: Iterable[tuple[Count, BoxFacts]]) -> tuple[Count, BoxFacts]:
        counts, facts = zip(*accumulators, strict=True)
        whole = BoxFacts()
        for part in facts:
            whole.merge(part)
        return _Problems().merge_accumulators(counts), whole

    def extract_output(self, accumulator: tuple[Count, BoxFacts]) -> dict[str, object]:
        (_, bad, named), facts = accumulator
        return {"bad": bad, "named": named, "facts": facts.report()}


def _placed(record: bytes) -> tuple[bytes, bytes]:
    return place_of(record), record


class _Chosen(beam.CombineFn):  # type: ignore[misc]
    """The records that are shown, serialized, each after its place."""

    def create_accumulator(self) -> list[tuple[bytes, bytes]]:
        return []

    def add_input(
        self, accumulator: list[tuple[bytes, bytes]], element: tuple[bytes, bytes]
    ) -> list[tuple[bytes, bytes]]:
        return sorted([*accumulator, element])[:MOST_IMAGES]

    def merge_accumulators(
        self, accumulators: Iterable[list[tuple[bytes, bytes]]]
    ) -> list[tuple[bytes, bytes]]:
        return sorted(placed for part in accumulators for placed in part)[:MOST_IMAGES]

    def extract_output(self, accumulator: list[tuple[bytes, bytes]]) -> list[bytes]:
        return [record for _, record in accumulator]


def _write_picture(records: list[bytes], path: str) -> None:
    """Writes the picture of records; none if one of them has no usable image or boxes: then the run ends."""
    try:
        picture = picture_of(records)
    except (OSError, KeyError, ValueError, IndexError):
        return
    with fileio.open(path, "wb") as file:
        file.write(picture)


def _write_text(path: str) -> beam.PTransform:
    """Writes one text to one file."""
    return beam.io.WriteToText(path, shard_name_template="", append_trailing_newlines=False)


def _read_json(path: str) -> Any:
    with fileio.open(path) as file:
        return json.loads(file.read())


def _num_examples(statistics: standard_artifacts.ExampleStatistics, split: str) -> int:
    """Return how many examples StatisticsGen has counted in a split."""
    path = os.path.join(artifact_utils.get_split_uri([statistics], split), STATISTICS_FILE)
    parsed = statistics_pb2.DatasetFeatureStatisticsList()
    with fileio.open(path, "rb") as file:
        parsed.ParseFromString(file.read())
    return int(parsed.datasets[0].num_examples)


def _worded(feature: str, split: str, bad: int, named: Sequence[Sequence[str]]) -> list[str]:
    """A line for each problem that is named, and one for the others."""
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
    """Raises DataRefusedError, naming feature, split and anomaly, or writes its report.

    `blessing` says that the data passed: a folder with `report.json`, the images counted by split. Of
    detection, boxes too (`components.tasks.detection.records.BoxFacts`), and `boxes.png` shows some of them.
    Its type is one of TFX's: no other can be compiled for Vertex AI.

    `anomalies` come from ExampleValidator, `drift` from DistributionValidator; `check_images` 0 skips the
    decoding of every image. Boxes, where the `task` is detection, are always looked at. `expected_records` is
    JSON of the records of each split that were ingested; StatisticsGen's `statistics`, and the records where
    they are read, must be as many.
    """
    problems = read_anomalies(anomalies.uri)
    problems += [f"{line} (data.max_label_drift sets the bound)" for line in read_anomalies(drift.uri)]
    report: dict[str, dict[str, object]] = {"images": {}}
    has_boxes = task == features.DETECTION
    if has_boxes:
        report["boxes"] = {}
    results = os.path.join(blessing.uri, "images")
    splits = artifact_utils.decode_split_names(examples.split_names)
    if check_images or has_boxes:
        with beam_pipeline as pipeline:
            for split in splits:
                pattern = io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))
                records = pipeline | f"Read[{split}]" >> beam.io.ReadFromTFRecord(pattern)
                if check_images:
                    (
                        records
                        | f"Batch[{split}]" >> beam.BatchElements(BATCH, BATCH)
                        | f"Decode[{split}]" >> beam.FlatMap(image_problems)
                        | f"Count[{split}]" >> beam.CombineGlobally(_Problems())
                        | f"Format[{split}]" >> beam.Map(json.dumps)
                        | f"Write[{split}]" >> _write_text(os.path.join(results, split))
                    )
                if has_boxes:
                    (
                        records
                        | f"Boxes[{split}]" >> beam.Map(box_result)
                        | f"CountBoxes[{split}]" >> beam.CombineGlobally(_BoxReport())
                        | f"FormatBoxes[{split}]" >> beam.Map(json.dumps)
                        | f"WriteBoxes[{split}]" >> _write_text(os.path.join(results, f"{split}-boxes"))
                    )
                if has_boxes and split == features.TRAIN:
                    (
                        records
                        | "Place" >> beam.Map(_placed)
                        | "Choose" >> beam.CombineGlobally(_Chosen())
                        | "Draw" >> beam.Map(_write_picture, os.path.join(blessing.uri, PICTURE))
                    )
    counted: list[tuple[str, str, int]] = []
    for split in splits:
        if check_images:
            images, bad, named = _read_json(os.path.join(results, split))
            report["images"][split] = images
            problems += _worded("image/encoded", split, bad, named)
            counted.append((split, "ImportExampleGen", images))
        counted.append((split, "StatisticsGen", _num_examples(statistics, split)))
        if has_boxes:
            found = _read_json(os.path.join(results, f"{split}-boxes"))
            report["boxes"][split] = found["facts"]
            problems += _worded("image/object", split, found["bad"], found["named"])
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
