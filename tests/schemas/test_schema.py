"""The curated schema with a data set's classes in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_data_validation import StatsOptions
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_metadata.proto.v0 import schema_pb2

from components.base.task import task_named
from components.schema_gen.schema_file import write_schema
from schemas import features
from schemas.curated import class_names_of, curated_schema

CLASSIFICATION, DETECTION = task_named(features.CLASSIFICATION), task_named(features.DETECTION)
# TFDV would hold all of their values in memory.
_OWN = (features.ENCODED, features.FILENAME, features.SHA256)
CLASSES = ["Admiral", "Pfauenauge", "Zitronenfalter"]


def by_name(schema: schema_pb2.Schema) -> dict[str, schema_pb2.Feature]:
    return {feature.name: feature for feature in schema.feature}


def read(path: Path) -> schema_pb2.Schema:
    return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())


def test_the_classes_are_the_domain_of_label_and_text() -> None:
    found = by_name(curated_schema(CLASSIFICATION, CLASSES))
    label = found[features.LABEL].int_domain
    assert (label.min, label.max, label.is_categorical) == (0, 2, True)
    text = found[features.LABEL_TEXT]
    assert list(text.string_domain.value) == CLASSES
    # No share of unknown values is tolerated.
    assert text.distribution_constraints.min_domain_mass == 1.0


def test_every_feature_of_the_contract_is_in_every_record_once() -> None:
    schema = curated_schema(CLASSIFICATION, CLASSES)
    found = by_name(schema)
    assert len(schema.feature) == len(found)
    assert set(found) == {
        "image/encoded",
        "image/format",
        "image/height",
        "image/width",
        "image/filename",
        "image/key/sha256",
        "image/class/label",
        "image/class/text",
    }
    for feature in schema.feature:
        assert (feature.presence.min_fraction, feature.presence.min_count) == (1.0, 1), feature.name
        assert [dim.size for dim in feature.shape.dim] == [1], feature.name
    integers = {name for name, feature in found.items() if feature.type == schema_pb2.INT}
    assert integers == {features.HEIGHT, features.WIDTH, features.LABEL}
    assert list(found[features.FORMAT].string_domain.value) == ["jpeg", "png"]


@pytest.mark.parametrize("task", features.TASKS)
def test_what_each_image_has_of_its_own_is_not_counted_by_value(task: str) -> None:
    options = StatsOptions(schema=curated_schema(task_named(task), CLASSES))
    values = {name: [f"{name}-{n}".encode() for n in range(3)] for name in (*_OWN, features.FORMAT)}
    table = pa.record_batch([[[value] for value in column] for column in values.values()], list(values))
    counted = {
        feature.path.step[0]: feature.WhichOneof("stats")
        for feature in generate_statistics_in_memory(table, options).datasets[0].features
    }
    assert counted == {**dict.fromkeys(_OWN, "bytes_stats"), features.FORMAT: "string_stats"}


def test_the_names_are_those_of_the_contract() -> None:
    names = {
        value for key, value in vars(features).items() if isinstance(value, str) and value[:6] == "image/"
    }
    of_boxes = {name for name in names if name.startswith("image/object/")}
    of_classes = {"image/class/label", "image/class/text"}
    assert set(by_name(curated_schema(CLASSIFICATION, CLASSES))) == names - of_boxes
    others = {"image/source_id", "image/object/view", "image/object/is_crowd", "image/object/group_of"}
    others |= {"image/object/area", "image/object/weight"}
    assert set(by_name(curated_schema(DETECTION, CLASSES))) == (names - of_classes) | others


def test_boxes_are_any_number_of_shares_with_labels_from_1() -> None:
    found = by_name(curated_schema(DETECTION, CLASSES))
    for name in (*features.BOX_SIDES, features.BOX_LABEL, features.BOX_TEXT, *features.BOX_FLAGS):
        assert not found[name].HasField("shape"), name
        assert not found[name].HasField("presence"), name
    for name in features.BOX_SIDES:
        assert (found[name].float_domain.min, found[name].float_domain.max) == (0.0, 1.0)
    label = found[features.BOX_LABEL].int_domain
    assert (label.min, label.max, label.is_categorical) == (1, 3, True)
    assert list(found[features.BOX_TEXT].string_domain.value) == CLASSES


@pytest.mark.parametrize(
    "names", [["a"], CLASSES, ["b", "a"], [str(i) for i in range(1000)], ["grün", '"\\']]
)
def test_round_trip(tmp_path: Path, names: list[str]) -> None:
    schema = read(write_schema(names, tmp_path))
    assert schema == curated_schema(CLASSIFICATION, names)
    assert class_names_of(schema, features.LABEL_TEXT) == names
    schema = read(write_schema(names, tmp_path, "detection"))
    assert schema == curated_schema(DETECTION, names)
    assert class_names_of(schema, features.BOX_TEXT) == names


@pytest.mark.parametrize("names", [[], ["cat", "dog", "cat"]])
def test_a_wrong_class_list_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="expected a list of distinct class names, got"):
        curated_schema(CLASSIFICATION, names)
    with pytest.raises(ValueError, match="expected a list of distinct class names, got"):
        curated_schema(DETECTION, names)


def test_the_class_list_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="with the feature 'image/class/text', got one without"):
        class_names_of(schema_pb2.Schema(feature=[schema_pb2.Feature(name="age")]), features.LABEL_TEXT)


def test_the_path_follows_the_content(tmp_path: Path) -> None:
    path = write_schema(CLASSES, tmp_path)
    assert path.name == "schema.pbtxt"
    assert path.parent.parent == tmp_path
    others = [write_schema(names, tmp_path) for names in (CLASSES[::-1], CLASSES[:2], [*CLASSES, "Wolf"])]
    assert len({path, *others}) == 4


def test_the_path_is_stable(tmp_path: Path) -> None:
    path = write_schema(CLASSES, tmp_path)
    before = path.stat()
    assert write_schema(tuple(CLASSES), tmp_path) == path
    # Left alone: a new file would do no harm, but there is no need of one.
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # The same in another process, whatever its hash seed: TFX caches by this path.
    code = (
        "import sys, pathlib; from components.schema_gen.schema_file import write_schema; "
        "print(write_schema(sys.argv[2:], pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "other"), *CLASSES]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(said).relative_to(tmp_path / "other") == path.relative_to(tmp_path)


def test_nothing_temporary_is_left(tmp_path: Path) -> None:
    path = write_schema(CLASSES, tmp_path)
    assert [found.name for found in path.parent.iterdir()] == ["schema.pbtxt"]


def test_tensorflow_reads_records_by_it(tmp_path: Path) -> None:
    import tensorflow as tf
    import tensorflow_data_validation as tfdv
    from tensorflow_transform.tf_metadata import schema_utils

    schema = tfdv.load_schema_text(str(write_schema(CLASSES, tmp_path)))
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    assert spec[features.ENCODED] == tf.io.FixedLenFeature([1], tf.string)
    assert spec[features.LABEL] == tf.io.FixedLenFeature([1], tf.int64)


def anomalies(schema: schema_pb2.Schema, records: list[bytes]) -> dict[str, str]:
    """Return what TFDV says of the records, by feature."""
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics import stats_impl
    from tfx_bsl.coders import example_coder

    # Without a schema, as StatisticsGen reads them: features that it does not know are seen.
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    options = tfdv.StatsOptions(schema=schema)
    statistics = stats_impl.generate_statistics_in_memory(decoder.DecodeBatch(records), options)
    found = tfdv.validate_statistics(statistics, schema).anomaly_info
    return {name: info.short_description for name, info in found.items()}


def test_records_of_the_contract_pass_and_others_do_not() -> None:
    from tests.make.images import make_image
    from tests.make.records import CLASS_NAMES, make_record

    schema = curated_schema(CLASSIFICATION, CLASS_NAMES)
    good = [make_record(make_image(index), index % 3) for index in range(6)]
    assert anomalies(schema, good) == {}
    assert anomalies(schema, [*good, make_record(make_image(0), 3)]) == {
        "image/class/label": "Out-of-range values"
    }
    other = make_record(make_image(0), 0, class_names=("wolf",))
    assert anomalies(schema, [*good, other]) == {"image/class/text": "Unexpected string values"}


def test_records_of_boxes_pass_and_others_do_not() -> None:
    from tests.make.boxes import make_record

    schema = curated_schema(DETECTION, ["cat", "dog"])
    good = [
        make_record((0.1, 0.2, 0.5, 0.6, "cat"), (0.0, 0.0, 1.0, 1.0, "dog"), seed=0),
        make_record((0.25, 0.5, 0.75, 1.0, "dog"), seed=1),
        # Nothing is to be found on this one.
        make_record(seed=2),
    ]
    assert anomalies(schema, good) == {}
    assert anomalies(schema, good[1:]) == {}  # every image has at most one
    # As other people's scripts write them.
    lean = {"image/key/sha256": None, "image/object/difficult": None, "image/object/truncated": None}
    lean |= {"image/format": b"jpg", "image/source_id": b"7", "image/object/view": [b"Frontal"]}
    assert anomalies(schema, [make_record((0.1, 0.2, 0.5, 0.6, "cat"), **lean) for _ in range(3)]) == {}

    beyond = make_record((0.1, 0.2, 1.1, 0.6, "cat"))
    assert anomalies(schema, [*good, beyond]) == {"image/object/bbox/xmax": "Out-of-range values"}
    below = make_record((-0.1, 0.2, 0.9, 0.6, "cat"))
    assert anomalies(schema, [*good, below]) == {"image/object/bbox/xmin": "Out-of-range values"}
    wolf = make_record((0.1, 0.2, 0.5, 0.6, "wolf"), classes=("wolf",))
    assert anomalies(schema, [*good, wolf]) == {"image/object/class/text": "Unexpected string values"}
    for label in (0, 3):
        numbered = make_record((0.1, 0.2, 0.5, 0.6, "dog"), **{"image/object/class/label": [label]})
        assert anomalies(schema, [*good, numbered]) == {"image/object/class/label": "Out-of-range values"}
    assert "image/encoded" in anomalies(schema, [*good, make_record(**{"image/encoded": None})])
