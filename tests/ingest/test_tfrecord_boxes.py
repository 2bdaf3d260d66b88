"""TFRecords with boxes: those of the Object Detection API, and our own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.base.example import serialize_example
from components.base.tfrecord import frame_record
from components.ingest import IngestConfig, ingest, read_manifest
from tests.ingest.test_voc import many
from tests.make.boxes import ingest_boxes, make_image, make_record, make_xml, read_rejects, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

CAT = (0.25, 0.25, 0.5, 0.75, "cat")
CAT_SHARES = ("cat", 0.25, 0.25, 0.5, 0.75)
DOG = (0.0, 0.0, 1.0, 1.0, "dog")
DOG_SHARES = ("dog", 0.0, 0.0, 1.0, 1.0)


def write(path: Path, records: Iterable[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(frame_record, records)))
    return path


def lean(*labels: int, seed: int = 0, texts: bool = True, **changes: Any) -> bytes:
    """As widespread scripts write it: no digest, no flags, more than is read."""
    names = {1: b"cat", 2: b"dog"}
    count = len(labels)
    values = {
        "image/encoded": make_image(seed),
        "image/format": b"jpg",
        "image/filename": f"{seed}.jpg".encode(),
        "image/source_id": f"{seed}.jpg".encode(),
        "image/height": 20,
        "image/width": 40,
        "image/object/bbox/xmin": [0.25] * count,
        "image/object/bbox/ymin": [0.25] * count,
        "image/object/bbox/xmax": [0.5] * count,
        "image/object/bbox/ymax": [0.75] * count,
        "image/object/class/label": list(labels),
        **({"image/object/class/text": [names[label] for label in labels]} if texts else {}),
        **changes,
    }
    return serialize_example({name: value for name, value in values.items() if value is not None})


def test_records_of_others(tmp_path: Path) -> None:
    crowd = {"image/object/is_crowd": [1, 0], "image/object/difficult": [0, 0]}
    write(tmp_path / "in/pascal_train.record", [lean(2, seed=0), lean(seed=1), lean(1, 2, seed=2, **crowd)])
    write(tmp_path / "in/pascal_val.record-00000-of-00001", [lean(1, seed=3)])
    found = ingest_boxes("tfrecord", tmp_path / "in", tmp_path / "out")
    assert {name: (one.split, [box[0] for box in one.boxes]) for name, one in found.items()} == {
        "0.jpg": ("train", ["dog"]),
        "1.jpg": ("train", []),
        "2.jpg": ("train", ["cat", "dog"]),
        "3.jpg": ("eval", ["cat"]),
    }
    assert found["0.jpg"].boxes == [("dog", 0.25, 0.25, 0.5, 0.75)]
    assert found["2.jpg"].difficult == [1, 0]
    assert found["0.jpg"].values["image/format"] == [b"png"]  # what it is, not what it says
    assert len(found["0.jpg"].values["image/key/sha256"][0]) == 64


def test_records_of_ours_come_back_to_the_bit(tmp_path: Path) -> None:
    options = {"max_reject_share": 0.1, "shards": 2}
    ingest("voc", many(tmp_path / "in"), tmp_path / "1", IngestConfig(workers=1, **options))
    ingest("tfrecord", tmp_path / "1", tmp_path / "2", IngestConfig(workers=1, **options))
    for path in (tmp_path / "1").glob("*-of-*"):
        assert (tmp_path / "2" / path.name).read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "1").glob("*-of-*"))) == 6


def test_numbers_without_texts_are_named_by_the_label_map(tmp_path: Path) -> None:
    records = [lean(7, seed=0, texts=False), lean(3, 7, seed=1, texts=False), lean(seed=2, texts=False)]
    write(tmp_path / "in/train.record", records)
    found = ingest_boxes("tfrecord", tmp_path / "in", tmp_path / "out")
    assert [box[0] for box in found["1.jpg"].boxes] == ["3", "7"]
    assert found["1.jpg"].values["image/object/class/label"] == [1, 2]
    write_files(tmp_path / "in", {"label_map.pbtxt": "item { id: 7 name: 'cat' } item { id: 3 name: 'dog' }"})
    found = ingest_boxes("tfrecord", tmp_path / "in", tmp_path / "out")
    assert [box[0] for box in found["1.jpg"].boxes] == ["dog", "cat"]
    assert found["1.jpg"].values["image/object/class/label"] == [1, 2]
    write_files(tmp_path / "in", {"label_map.pbtxt": "item { id: 7 name: 'cat' }"})
    with pytest.raises(DataRefusedError, match=r"train.record#1: the class 3 is not in the label map"):
        ingest("tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(workers=1))


def test_records_that_cannot_be_used(tmp_path: Path) -> None:
    records = [
        lean(1, seed=0),
        lean(1, 2, seed=1, **{"image/object/bbox/xmax": [0.5]}),
        lean(1, seed=2, **{"image/object/bbox/xmin": [float("nan")]}),
        lean(1, seed=3, **{"image/object/class/text": [b""], "image/object/class/label": []}),
        lean(1, seed=4, **{"image/encoded": None}),
        lean(1, seed=5, **{"image/height": 40, "image/width": 20}),
        lean(1, 2, seed=6, **{"image/object/bbox/xmax": [0.2, 0.9], "image/object/bbox/ymax": [0.75, 1.5]}),
        lean(1, seed=7, **{"image/height": None, "image/width": None}),
        b"no example",
    ]
    write(tmp_path / "in/train.record", records)
    found = ingest_boxes("tfrecord", tmp_path / "in", tmp_path / "out")
    assert {name: one.boxes for name, one in found.items()} == {
        "0.jpg": [CAT_SHARES],
        "6.jpg": [("dog", 0.25, 0.25, 0.9, 1.0)],
        "7.jpg": [CAT_SHARES],
    }
    assert [(path, reason[:62]) for path, reason in read_rejects(tmp_path / "out")] == [
        ("5.jpg", "its boxes are of an image of 20 x 40 pixels, and it has 40 x 2"),
        ("6.jpg", "box 1 of 2 (cat): in the wrong order: xmin 0.25 is above xmax "),
        ("train.record#1", "image/object/bbox/xmax has 1 values, image/object/bbox/xmin ha"),
        ("train.record#2", "image/object/bbox/xmin: expected a number, got nan"),
        ("train.record#3", "unlabelled: neither image/object/class/text nor image/object/c"),
        ("train.record#4", "no image/encoded"),
        ("train.record#8", "not a tf.train.Example"),
    ]


def test_labels_that_contradict_each_other(tmp_path: Path) -> None:
    other = lean(1, seed=1, **{"image/object/class/text": [b"wolf"]})
    write(tmp_path / "in/train.record", [lean(1, seed=0), other])
    said = r"train.record#1: image/object/class/label 1 stands for both 'cat' and 'wolf'"
    with pytest.raises(DataRefusedError, match=said):
        ingest("tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(workers=1))


def test_boxes_beside_a_class_of_the_image_are_no_detection(tmp_path: Path) -> None:
    # As ImageNet's records are: where the class is that of the image, boxes have none.
    imagenet = {"image/object/class/label": None, "image/object/class/text": None}
    values = {"image/class/label": 3, "image/class/text": b"tench"}
    write(tmp_path / "in/train.record", [lean(1, seed=n, **imagenet, **values) for n in range(2)])
    ingest("tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(workers=1, splits={"train": 1}))
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert (manifest.task, manifest.class_names) == ("classification", ["tench"])


def test_records_of_the_contract_are_written_as_tests_write_them(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {"0.png": make_image(0), "0.xml": make_xml((10, 5, 20, 15, "cat"), (0, 0, 40, 20, "dog"))},
    )
    ingest("voc", root, tmp_path / "out", IngestConfig(workers=1, splits={"train": 1}))
    assert (tmp_path / "out/train-00000-of-00001").read_bytes() == frame_record(make_record(CAT, DOG, seed=0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image/width": b"40"}, "image/width: expected int64, got bytes"),
        ({"image/object/class/text": [1]}, "image/object/class/text: expected bytes, got int64"),
        (
            {"image/object/class/label": [b"1"], "image/object/class/text": None},
            "image/object/class/label: expected int64, got bytes",
        ),
        ({"image/object/difficult": [0.0]}, "image/object/difficult: expected int64, got float"),
        ({"image/object/group_of": [b"0"]}, "image/object/group_of: expected int64, got bytes"),
        ({"image/object/bbox/ymax": [b"0.5"]}, "image/object/bbox/ymax: expected float, got bytes"),
        (
            {"image/object/bbox/xmin": [10]},
            "image/object/bbox/xmin: expected float, got int64; whole numbers may be pixels, which "
            "--box-units pixels reads",
        ),
        ({"image/encoded": [1]}, "image/encoded: expected bytes, got int64"),
        ({"image/filename": [2.0]}, "image/filename: expected bytes, got float"),
    ],
)
def test_features_of_another_type(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    write(tmp_path / "in/train.record", [lean(1, seed=0), lean(1, seed=1, **changes)])
    assert list(ingest_boxes("tfrecord", tmp_path / "in", tmp_path / "out")) == ["0.jpg"]
    assert read_rejects(tmp_path / "out") == [("train.record#1", reason)]
    # What nobody reads may be anything.
    other = {"image/source_id": [1], "image/key/sha256": [2], "image/format": [3.0]}
    write(tmp_path / "other/train.record", [lean(1, seed=0, **other)])
    assert list(ingest_boxes("tfrecord", tmp_path / "other", tmp_path / "out2")) == ["0.jpg"]


@pytest.mark.parametrize("whole", [False, True])
def test_boxes_in_pixels(tmp_path: Path, whole: bool) -> None:
    kind: Any = int if whole else float
    sides = {"xmin": kind(0), "ymin": kind(0), "xmax": kind(20), "ymax": kind(15)}
    changes = {f"image/object/bbox/{name}": [side] for name, side in sides.items()}
    write(tmp_path / "in/train.record", [lean(1, seed=seed, **changes) for seed in range(4)])
    if whole:
        message = r"image/object/bbox/xmin: expected float, got int64; whole numbers may be pixels"
        with pytest.raises(DataRefusedError, match=message):
            ingest("tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(workers=1))
    else:
        message = r"expected boxes in shares, got 4 of 4 boxes with numbers above 2: they seem to be pixels"
        with pytest.raises(UsageError, match=message):
            ingest("tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(workers=1))
    found = ingest_boxes("tfrecord", tmp_path / "in", tmp_path / "out", box_units="pixels")
    assert [one.boxes for one in found.values()] == [[("cat", 0.0, 0.0, 0.5, 0.75)]] * 4


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in/train.record", [lean(1)])
    (tmp_path / "in/val.record").symlink_to("/proc/self/mem")  # can be opened, and not read
    with pytest.raises(DataRefusedError, match=r"val.record: cannot be read: Input/output error"):
        ingest("tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(workers=1))
