"""What a run reads of its data before the pipeline starts."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from components.base.content import FileDigests
from components.base.errors import DataRefusedError, UsageError
from components.base.tfrecord import frame_record
from components.ingest import ingest
from components.ingest.config import OPTIONS, IngestConfig
from pipeline.data.examples import describe, write_sample
from pipeline.data.prepare import check_config, check_effect
from pipeline.data.shards import look_into_shards
from pipeline.recipe.load import load_recipe
from pipeline.run.nodes import prepare_data
from schemas import features
from tests import failures
from tests.make import boxes
from tests.make.commands import unwrap
from tests.make.folders import write_photos

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]


def test_a_folder_with_a_manifest_is_described(tmp_path: Path) -> None:
    ingest("folder", write_photos(tmp_path, classes=("cats", "dogs", "owls")), tmp_path / "data")
    examples = describe(tmp_path / "data", IngestConfig())
    assert examples.class_names == ("cats", "dogs", "owls")
    assert examples.patterns == {split: f"{split}-*-of-*" for split in ("train", "eval", "test")}
    assert sum(examples.split_sizes.values()) == 90
    assert examples.bit_depth is None
    assert Path(write_sample(examples, tmp_path)).read_bytes().startswith(b"\x89PNG")


def test_the_bits_that_were_kept_are_known(tmp_path: Path) -> None:
    photos = write_photos(tmp_path)
    ingest("folder", photos, tmp_path / "data", IngestConfig(bit_depth="12"))
    assert describe(tmp_path / "data", IngestConfig()).bit_depth == "12"


@pytest.mark.parametrize("name", ["source", "splits.test", *OPTIONS])
def test_an_option_of_ingest_for_ingested_data_is_refused(name: str, tmp_path: Path) -> None:
    photos = write_photos(tmp_path, images=2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00001").touch()
    with pytest.raises(UsageError, match=rf"--set data\.{name}: it has no effect, .*data is ingested"):
        check_effect(IngestConfig(path=str(tmp_path / "data")), [f"data.{name}"])
    check_effect(IngestConfig(path=str(photos)), [f"data.{name}"])
    check_effect(IngestConfig(path=str(tmp_path / "data")), ["data.min_test_images", "training.epochs"])


@pytest.mark.parametrize("key", ["kubeflow.defaults.cpu", "vertex.region"])
def test_settings_of_another_place_are_refused(key: str) -> None:
    with pytest.raises(UsageError, match=rf"--set {key}: it has no effect, {key[:6]}"):
        check_effect(IngestConfig(source="digits"), ["training.epochs", key])


def ingested(folder: Path, labels: dict[str, str], output: str) -> Path:
    """The contract data of 90 photos of three classes, whose folders mean other classes."""
    for name, label in labels.items():
        (folder / "photos" / name).rename(folder / "photos" / f"{label}.new")
    for path in (folder / "photos").glob("*.new"):
        path.rename(path.with_suffix(""))
    ingest("folder", folder / "photos", folder / output)
    return folder / output


def test_equal_sizes_and_times_are_not_equal_content(tmp_path: Path) -> None:
    write_photos(tmp_path, classes=("cats", "dogs", "owls"))
    first = ingested(tmp_path, {}, "data")
    digests = FileDigests(tmp_path / "digests.json")
    before = describe(first, IngestConfig(), digests=digests)
    assert describe(first, IngestConfig(), digests=digests) == before
    second = ingested(tmp_path, {"cats": "dogs", "dogs": "cats"}, "exchanged")
    for path in first.iterdir():
        other, status = second / path.name, path.stat()
        if "-of-" in path.name:
            assert other.stat().st_size == status.st_size
        path.write_bytes(other.read_bytes())
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = describe(first, IngestConfig(), digests=digests)
    assert (after.class_names, after.records) == (before.class_names, before.records)
    assert after.content != before.content
    # Where it is does not matter.
    assert describe(second, IngestConfig()).content == after.content


def test_shards_are_compared_with_the_manifest(tmp_path: Path) -> None:
    ingest("folder", write_photos(tmp_path, classes=("cats", "dogs", "owls")), tmp_path / "data")
    shard = tmp_path / "data" / "eval-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataRefusedError, match=r"eval-00000-of-00001: expected SHA-256 .* damaged"):
        describe(tmp_path / "data", IngestConfig())
    content[100] ^= 1
    shard.write_bytes(content)
    describe(tmp_path / "data", IngestConfig())
    (tmp_path / "data" / "eval-00001-of-00002").touch()
    with pytest.raises(DataRefusedError, match="got also eval-00001-of-00002; move them out"):
        describe(tmp_path / "data", IngestConfig())


def test_records_are_counted_without_a_manifest(tmp_path: Path) -> None:
    failures.shards(tmp_path)
    examples = describe(tmp_path / "shards", IngestConfig())
    assert examples.records == {"train": 40, "eval": 40, "test": 40}


def test_shards_without_a_manifest_are_described(tmp_path: Path) -> None:
    failures.shards(tmp_path)
    examples = describe(tmp_path / "shards", IngestConfig())
    assert examples.class_names == ("cat", "dog")


def test_how_many_test_images_a_class_must_have_can_be_set(tmp_path: Path) -> None:
    made = failures.shards(tmp_path)
    owls = b"".join(failures.record(2, "owl", 300 + n) for n in range(3))
    folder = tmp_path / "shards"
    (folder / "train-00000-of-00001").write_bytes(made["train"] + owls)
    with pytest.raises(DataRefusedError, match=r"1 of 3 classes has no image in split test and .* \(owl\)\."):
        describe(folder, IngestConfig())
    assert describe(folder, IngestConfig(min_test_images=0)).class_names == ("cat", "dog", "owl")
    (folder / "test-00000-of-00001").write_bytes(made["test"] + owls)
    assert describe(folder, IngestConfig(min_test_images=3)).class_names == ("cat", "dog", "owl")
    with pytest.raises(
        DataRefusedError, match=r"1 of 3 classes has fewer than 4 images .* \(owl \(3\)\)\. Add"
    ):
        describe(folder, IngestConfig(min_test_images=4))


def test_a_class_that_is_too_small_for_all_splits_passes(tmp_path: Path) -> None:
    made = failures.shards(tmp_path)
    owls = b"".join(failures.record(2, "owl", 300 + n) for n in range(2))
    (tmp_path / "shards/train-00000-of-00001").write_bytes(made["train"] + owls)
    assert describe(tmp_path / "shards", IngestConfig()).class_names == ("cat", "dog", "owl")
    with pytest.raises(DataRefusedError, match=r"1 of 3 classes has no image in split test and .* \(owl\)\."):
        describe(tmp_path / "shards", IngestConfig(small_classes="refuse"))


def test_many_classes_are_counted_and_some_named(tmp_path: Path) -> None:
    made = failures.shards(tmp_path)
    more = b"".join(failures.record(2 + n, f"bird{n}", 400 + n) for n in range(8))
    (tmp_path / "shards" / "eval-00000-of-00001").write_bytes(made["eval"] + more)
    said = r"8 of 10 classes have no image in split train .* \(bird0, bird1, bird2, bird3, bird4 and 3 more\)"
    with pytest.raises(DataRefusedError, match=said):
        describe(tmp_path / "shards", IngestConfig())


def test_contract_data_needs_no_input_that_the_source_reads(tmp_path: Path) -> None:
    failures.shards(tmp_path)
    check_config(IngestConfig(source="digits", path=str(tmp_path / "shards")))
    with pytest.raises(UsageError, match="brings its own data"):
        check_config(IngestConfig(source="digits", path=str(tmp_path)))


def test_boxes_are_described(tmp_path: Path) -> None:
    failures.boxes_of_two_classes(tmp_path)
    more = (0, 0, 9, 9, "cat"), (1, 1, 9, 9, "cat"), (5, 5, 39, 19, "dog")
    (tmp_path / "boxes" / "0.xml").write_text(boxes.make_xml(*more))
    ingest("voc", tmp_path / "boxes", tmp_path / "data")
    examples = describe(tmp_path / "data", IngestConfig(), "detection")
    assert (examples.task, examples.class_names, examples.max_boxes) == ("detection", ("cat", "dog"), 3)
    assert sum(examples.split_sizes.values()) == 60
    assert Path(write_sample(examples, tmp_path)).read_bytes().startswith(b"\x89PNG")
    # Every image is padded to this many boxes. A recipe that says fewer is reported.
    for bound, told in (({}, False), ({"max_boxes": 3}, False), ({"max_boxes": 2}, True)):
        said = io.StringIO()
        recipe = load_recipe("voc", [f"model.detection={bound}"], str(tmp_path / "data"), elsewhere=True)
        assert prepare_data(recipe, tmp_path / "root", Console(file=said)) == examples
        warning = "warning model.detection.max_boxes is 2, an image has 3 boxes"
        assert (warning in unwrap(said.getvalue())) == told
    # The same without the manifest, as other people's records are.
    (tmp_path / "data" / "manifest.json").unlink()
    bare = describe(tmp_path / "data", IngestConfig(), "detection")
    assert (bare.task, bare.class_names, bare.max_boxes) == ("detection", ("cat", "dog"), 3)
    assert (bare.patterns["train"], bare.split_sizes) == ("train*", {})


def test_a_class_is_judged_by_the_images_that_show_it(tmp_path: Path) -> None:
    cat, dog = (0.1, 0.1, 0.5, 0.5, "cat"), (0.2, 0.2, 0.9, 0.9, "dog")
    shown = {
        "train": [boxes.make_record(cat, dog, seed=n) for n in range(3)],
        "eval": [boxes.make_record(cat, seed=10)],
        # Five dogs on one image are one image.
        "test": [boxes.make_record(cat, dog, dog, dog, dog, dog, seed=20), boxes.make_record(cat, seed=21)],
    }
    (tmp_path / "data").mkdir()
    for split, records in shown.items():
        (tmp_path / "data" / f"{split}.tfrecord").write_bytes(b"".join(map(frame_record, records)))
    assert describe(tmp_path / "data", IngestConfig(), "detection").max_boxes == 6
    with pytest.raises(DataRefusedError, match=r"1 of 2 classes has fewer than 2 images .* \(dog \(1\)\)\."):
        describe(tmp_path / "data", IngestConfig(min_test_images=2), "detection")
    # One class is enough to be found.
    for split in shown:
        (tmp_path / "data" / f"{split}.tfrecord").write_bytes(frame_record(boxes.make_record(cat)))
    assert describe(tmp_path / "data", IngestConfig(), "detection").class_names == ("cat",)
    numbered = boxes.make_record(cat, **{"image/object/class/label": [0]})
    (tmp_path / "data" / "test.tfrecord").write_bytes(frame_record(numbered))
    with pytest.raises(
        DataRefusedError, match=r"image/object/class/label: expected every number from 1 .*got \[0, 1\]"
    ):
        describe(tmp_path / "data", IngestConfig(), "detection")


def test_data_of_the_other_task_are_refused(tmp_path: Path) -> None:
    failures.shards(tmp_path)
    with pytest.raises(UsageError, match=r"expected boxes for task: detection, got one class for"):
        describe(tmp_path / "shards", IngestConfig(), "detection")
    failures.boxes_of_two_classes(tmp_path)
    ingest("voc", tmp_path / "boxes", tmp_path / "data")
    with pytest.raises(UsageError, match=r"expected one class .* task: classification, got boxes"):
        describe(tmp_path / "data", IngestConfig())
    # Before anything is read, where the source alone tells.
    with pytest.raises(
        UsageError,
        match=r"expected a source of boxes .*\(coco, csv, .* got folder, which",
    ):
        check_config(IngestConfig(path=str(tmp_path)), "detection")
    with pytest.raises(UsageError, match=r"expected a source of one class .* got coco, which gives bo"):
        check_config(IngestConfig(source="coco", path=str(tmp_path)))
    check_config(IngestConfig(source="csv", path=str(tmp_path)), "detection")
    # What is contract data needs no source.
    check_config(IngestConfig(path=str(tmp_path / "data")), "detection")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image/object/class/label": [b"1"]},
            r"train-00000-of-00001, record 0: image/object/class/label: expected int64, got bytes",
        ),
        ({"image/object/class/text": [7]}, r"record 0: image/object/class/text: expected bytes, got int64"),
        (
            {"image/object/class/text": [b"\xff"]},
            r"record 0: image/object/class/text: expected UTF-8, got",
        ),
        ({"image/height": [b"20"]}, r"record 0: image/height: expected int64, got bytes"),
        (
            {name: [30.0] for name in features.BOX_SIDES},
            r"expected boxes in shares, 0 .. 1, got 2 of 2 boxes with numbers above 2: are they pixels",
        ),
    ],
)
def test_records_of_another_type_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    records = [boxes.make_record((0.25, 0.25, 0.5, 0.75, "cat"), seed=seed, **changes) for seed in range(2)]
    (tmp_path / "train-00000-of-00001").write_bytes(b"".join(map(frame_record, records)))
    with pytest.raises(DataRefusedError, match=message):
        look_into_shards(tmp_path)


def test_what_is_no_example_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train-00000-of-00001").write_bytes(frame_record(b"no example"))
    with pytest.raises(DataRefusedError, match=r"train-00000-of-00001, record 0: not a tf.train.Example"):
        look_into_shards(tmp_path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("data/eval-00000-of-00001", flip),
        *(
            (name, change)
            for name in (
                "data/train-00000-of-00001",
                "data/manifest.json",
                "data/inputs.csv.gz",
                "data/rejects.csv",
                "data/made-by-mirante.json",
                "made-by-mirante.json",
                "digests.json",
            )
            for change in (Path.unlink, lambda path: os.truncate(path, path.stat().st_size // 2))
        ),
    ],
)
def test_damage_in_what_a_root_has_ingested_is_made_good(
    name: str, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    photos, root = write_photos(tmp_path, classes=("cats", "dogs", "owls")), tmp_path / "root"
    recipe = load_recipe("folder", ["model.weights=null"], str(photos), elsewhere=True)

    def prepare() -> tuple[object, str]:
        said = io.StringIO()
        return prepare_data(recipe, root, Console(file=said, width=500)), unwrap(said.getvalue())

    before, _ = prepare()
    (root / "digests.json").touch()  # shards that are this new are digested again
    shards = {path.name: path.read_bytes() for path in (root / "data").glob("*-of-*")}
    damage(root / name)
    after, said = prepare()
    assert after == before
    assert {path.name: path.read_bytes() for path in (root / "data").glob("*-of-*")} == shards
    if damage is flip:
        assert f"{root / 'data'}: damaged since they were written, and made anew: eval-00000-of-0" in said
    again, said = prepare()
    assert again == before
    assert "unchanged" in said
