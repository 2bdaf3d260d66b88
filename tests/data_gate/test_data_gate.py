"""DataGate behind the real ExampleGen, StatisticsGen and validators."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from components.base.errors import DataRefusedError, MiranteError
from components.base.tfrecord import frame_record, read_records
from components.data_gate.combine import MAX_DRAWN, rank
from components.data_gate.images import image_problem, image_problems
from components.schema_gen.schema_file import write_schema
from components.tasks.detection.data_gate import draw
from pipeline.data.examples import Examples
from pipeline.recipe.load import load_recipe
from pipeline.steps import node_ids
from tests.make import boxes, records
from tests.make.images import encode_image, make_coloured_png, make_noise
from tests.make.pipelines import make_node_runner

UP_TO_GATE = node_ids()[: node_ids().index("DataGate") + 1]


def half_a_jpeg() -> bytes:
    """Half of the data, and yet an end: TensorFlow fills the rest with grey."""
    whole = encode_image(make_noise(0, 64, 64), "JPEG")
    return whole[: len(whole) // 2] + b"\xff\xd9"


def turned_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode_image(make_noise(0, 8, 8), "JPEG", exif=exif)


def run_to_gate(
    folder: Path,
    root: Path,
    task: str = "classification",
    counts: dict[str, int] | None = None,
    nodes: Sequence[str] = UP_TO_GATE,
    run_id: str = "run",
) -> Any:
    """Runs the nodes up to DataGate over `folder` and returns the last one's result."""
    from pipeline.run.node import FAILED

    patterns = {split: f"{split}-*" for split in ("train", "eval", "test")}
    class_names = boxes.CLASSES if task == "detection" else records.COLOURS
    schema_file = write_schema(class_names, root / "schema", task)
    examples = Examples(folder, patterns, class_names, task=task, records=counts or {})
    runner = make_node_runner(load_recipe("digits"), examples, schema_file, root, run_id)
    for node_id in nodes:
        result = runner.run(node_id)
        if node_id != "DataGate":
            assert result.status != FAILED, (node_id, result.error)
    return result


@pytest.mark.slow
def test_clean_data_pass_and_records_that_were_lost_are_noticed(tmp_path: Path) -> None:
    splits = {"train": (60, 0), "eval": (30, 100), "test": (30, 200)}
    shards = {split: records.make_examples(count, first) for split, (count, first) in splits.items()}
    folder = records.write_shards(tmp_path / "data", shards)
    whole = run_to_gate(folder, tmp_path / "1", counts={"train": 60, "eval": 30, "test": 30})
    assert whole.status == "completed", whole.error
    assert (Path(whole.outputs["blessing"].uri) / "report.json").read_text() == (
        '{"images": {"train": 60, "eval": 30, "test": 30}}'
    )
    lost = {"train": 60, "eval": 31, "test": 30}
    result = run_to_gate(folder, tmp_path / "1", counts=lost, run_id="again")
    assert isinstance(result.error, MiranteError)
    assert str(result.error).startswith(
        "split eval: expected 31 records, as ingested, got 30 from ImportExampleGen; "
        "split eval: expected 31 records, as ingested, got 30 from StatisticsGen; records were lost"
    )
    # The records, byte for byte and in their order.
    ingested = list(read_records(folder / "train-00000-of-00001"))
    assert records_in(tmp_path / "1" / "ImportExampleGen") == ingested


def records_in(folder: Path) -> list[bytes]:
    return [record for file in sorted(folder.rglob("Split-train/*.gz")) for record in read_records(file)]


def test_anomalies_that_are_gone_are_not_none(tmp_path: Path) -> None:
    from components.data_gate.component import _describe_anomalies

    with pytest.raises(MiranteError, match="expected a folder for each split that was validated, got none"):
        _describe_anomalies(str(tmp_path / "anomalies"))
    (tmp_path / "anomalies/Split-train").mkdir(parents=True)
    (tmp_path / "anomalies/Split-train/SchemaDiff.pb").touch()
    assert _describe_anomalies(str(tmp_path / "anomalies")) == []


@pytest.mark.both_stacks
@pytest.mark.slow
def test_every_kind_of_anomaly_is_named_with_feature_and_split(tmp_path: Path) -> None:
    folder = records.write_shards(
        tmp_path / "data",
        {
            "train": [
                *records.make_examples(60, 0),
                records.make_example(0, 900, image__encoded=b"\x89PNG no picture"),
            ],
            "eval": [
                *records.make_examples(30, 100),
                records.make_example(1, 901, image__class__text=b"purple"),
            ],
            "test": [
                *records.make_examples(30, 200),
                records.make_example(2, 902, image__encoded=None),
                records.make_example(2, 903, image__class__label=7),
            ],
        },
    )
    result = run_to_gate(folder, tmp_path / "root")
    assert isinstance(result.error, DataRefusedError)
    said = str(result.error).splitlines()

    def line(*parts: str) -> str:
        found = [text for text in said if all(part in text for part in parts)]
        assert found, (parts, said)
        return found[0]

    assert "blue/900.png" in line("image/encoded", "split train", "cannot be decoded")
    assert "purple" in line("image/class/text", "split eval")
    assert "red/902.png" in line("image/encoded", "split test", "is missing")
    line("image/encoded in split test", "dropped")
    line("image/class/label in split test", "Out-of-range values")


@pytest.mark.slow
def test_drift_of_the_label_distribution_between_train_and_eval(tmp_path: Path) -> None:
    folder = records.write_shards(
        tmp_path / "data",
        {
            "train": records.make_examples(60, 0),
            # Half of eval is red, a third of train.
            "eval": [*records.make_examples(30, 100), *(records.make_example(2, 300 + i) for i in range(10))],
            "test": records.make_examples(30, 200),
        },
    )
    result = run_to_gate(folder, tmp_path / "root")
    assert isinstance(result.error, DataRefusedError)
    (line,) = [text for text in str(result.error).splitlines() if text.startswith("  - ")]
    assert "image/class/text in split train against eval" in line
    assert "red" in line


def write_boxes(folder: Path, splits: dict[str, list[bytes]]) -> Path:
    folder.mkdir()
    for split, of_split in splits.items():
        (folder / f"{split}-00000-of-00001").write_bytes(b"".join(map(frame_record, of_split)))
    return folder


CAT = (0.1, 0.2, 0.5, 0.6, "cat")
DOG = (0.0, 0.0, 1.0, 1.0, "dog")


def of_boxes(first_seed: int, count: int = 30) -> list[bytes]:
    """A cat on every image, a dog on every second one, nothing on every tenth."""
    return [
        boxes.make_record(*((CAT, DOG)[: 1 + seed % 2] if seed % 10 else ()), seed=seed)
        for seed in range(first_seed, first_seed + count)
    ]


@pytest.mark.slow
def test_boxes_that_cannot_be_are_named(tmp_path: Path) -> None:
    swapped = boxes.make_record((0.5, 0.2, 0.1, 0.6, "cat"), seed=900)
    beyond = boxes.make_record((0.5, 0.2, 1.5, 0.6, "cat"), seed=901)
    uneven = boxes.make_record(CAT, seed=902, **{"image/object/class/text": [b"cat", b"dog"]})
    wolf = boxes.make_record((0.1, 0.2, 0.3, 0.4, "wolf"), seed=903, classes=("cat", "dog", "wolf"))
    dogs = [boxes.make_record(DOG, DOG, DOG, seed=seed) for seed in range(300, 310)]
    folder = write_boxes(
        tmp_path / "data",
        {
            "train": [*of_boxes(0), swapped],
            "eval": [*of_boxes(100), beyond, *dogs],
            "test": [*of_boxes(200), uneven, wolf],
        },
    )
    result = run_to_gate(folder, tmp_path / "root", "detection")
    assert isinstance(result.error, DataRefusedError)
    said = str(result.error)
    swapped_said = "box 1 of 1 has no area or its sides are swapped: 0.5, 0.2, 0.1, 0.6"
    assert f"image/object in split train: 900.png: {swapped_said}" in said
    assert "image/object in split eval: 901.png: box 1 of 1 is not within 0 .. 1: 0.5, 0.2, 1.5, 0.6" in said
    assert "image/object in split test: 902.png: image/object/class/text has 2 values, and" in said
    # What TFDV sees of each feature.
    assert "image/object/bbox/xmax in split eval: Out-of-range values" in said
    assert "image/object/class/text in split test: Unexpected string values" in said
    assert "image/object/class/label in split test: Out-of-range values" in said
    assert "903.png" not in said
    # More than a class's share of boxes may differ by chance.
    assert "image/object/class/text in split train against eval" in said


@pytest.mark.slow
def test_clean_boxes_pass_and_are_reported(tmp_path: Path) -> None:
    splits = {"train": of_boxes(0), "eval": of_boxes(100), "test": of_boxes(200)}
    folder = write_boxes(tmp_path / "data", splits)
    result = run_to_gate(folder, tmp_path / "root", "detection")
    assert result.status == "completed", result.error
    blessing = Path(result.outputs["blessing"].uri)
    report = json.loads((blessing / "report.json").read_text())
    assert report["images"] == {"train": 30, "eval": 30, "test": 30}
    # Of 30 images 3 are empty, 12 more have even seeds, 15 have odd ones.
    assert report["boxes"]["train"] == {
        "images": 30,
        "boxes": 42,
        "difficult": 0,
        "boxes_per_image": {"0": 3, "1": 12, "2": 15},
        "areas": {"0.25": 27, "1": 15},  # 0.4 x 0.4 of an image of 40 x 20 pixels, and all of it
        "sizes": {"small": 42},
        "by_class": {"cat": 27, "dog": 15},
    }
    # The same records are drawn, whatever their order.
    chosen = sorted(splits["train"], key=rank)[:MAX_DRAWN]
    assert (blessing / "boxes.png").read_bytes() == draw(chosen)


def test_drift_by_chance_is_allowed_for() -> None:
    from components.distribution_validator.component import drift_config

    def bound(**sizes: int) -> float:
        config = drift_config(0.1, sizes, "image/class/text")
        return float(config.default_slice_config.feature[0].distribution_comparator.infinity_norm.threshold)

    assert bound() == 0.1
    assert bound(train=100_000, eval=10_000, test=10) == 0.1
    # 3 sqrt(0.25 / 400 + 0.25 / 100) = 3 * 0.0559
    assert bound(train=400, eval=100) == pytest.approx(0.1677, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"image__encoded": None}, "is missing"),
        ({"image__encoded": b""}, "is missing"),
        ({"image__encoded": b"<html>not found</html>"}, "cannot be decoded"),
        ({"image__encoded": make_coloured_png(0, 1)[:-40]}, "cannot be decoded"),
        ({"image__encoded": half_a_jpeg()}, "premature end of data segment"),
        (
            {"image__encoded": turned_jpeg()},
            "looks different to a served model; run `mirante ingest tfrecord`",
        ),
        ({"image__encoded": encode_image(make_noise(0, 8, 8, 4))}, "looks different to a served model"),
        (
            {"image__encoded": encode_image(make_noise(0, 8, 8), "GIF")},
            "expected a JPEG or PNG, got another format",
        ),
    ],
)
def test_image_problem(changes: dict[str, Any], reason: str | None) -> None:
    problem = image_problem(records.make_example(0, 5, **changes).SerializeToString())
    if reason is None:
        assert problem is None
    else:
        assert problem is not None
        assert problem[0] == "blue/5.png"
        assert reason in problem[1]


def test_a_batch_has_the_problems_of_its_records() -> None:
    good = [item.SerializeToString() for item in records.make_examples(5, 0)]
    jpeg = records.make_example(0, 8, image__encoded=b"\xff\xd8\xff\xe0 no picture").SerializeToString()
    missing = records.make_example(1, 9, image__encoded=None).SerializeToString()
    half = records.make_example(0, 7, image__encoded=half_a_jpeg()).SerializeToString()
    assert image_problems(good) == [None] * 5
    assert image_problems([*good, half]) == [*[None] * 5, image_problem(half)]
    assert image_problems([*good, jpeg, missing]) == [
        *[None] * 5,
        image_problem(jpeg),
        ("green/9.png", "image/encoded is missing"),
    ]
    assert "blue/8.png" in image_problem(jpeg)[0]  # type: ignore[index]
