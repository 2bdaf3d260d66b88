"""`mirante boxes`: what is written is read back by `mirante ingest`, box by box."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.annotations.formats import FORMATS
from components.annotations.write import write_records
from components.base.errors import UsageError
from components.prediction.asked import asked_images
from tests.make.boxes import ingest_boxes, make_image, make_xml, read_boxes, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]


def write_data(here: Path) -> Path:
    """A data folder: boxes at all borders, none, flags, non-ASCII names, two splits."""
    files: dict[str, bytes | str] = {
        "train/größe & <1>.png": make_image(0),
        "train/größe & <1>.xml": make_xml((0, 0, 40, 20, "Füße &amp; Hände"), (39, 19, 40, 20, "dog")),
        "train/a/b.jpg": make_image(1, 33, 17, "JPEG"),
        "train/a/b.xml": make_xml((3.25, 1.5, 7.125, 16.5, "dog"), size=(33, 17)),
        "train/none.bmp": make_image(2, image_format="BMP"),
        "train/none.xml": make_xml(),
        "test/none.png": make_image(3),
        "test/none.xml": make_xml(
            (1, 2, 3, 4, "dog"), more="<difficult>1</difficult><truncated>1</truncated>"
        ),
        "test/last.png": make_image(4),
        "test/last.xml": make_xml((1, 2, 30, 14, "dog"), filename="last.png"),
    }
    ingest_boxes("voc", write_files(here / "voc", files), here / "data", splits={"train": 0.5, "test": 0.5})
    return here / "data"


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_finds_the_same_boxes(name: str, tmp_path: Path) -> None:
    data = write_data(tmp_path)
    out = tmp_path / "out put"
    done = write_records(data, out, name)
    before = read_boxes(data)
    assert (done.images, done.boxes) == (5, 5)
    assert (out / "classes.txt").read_text(encoding="utf-8").splitlines() == ["Füße & Hände", "dog"]
    assert not list(tmp_path.glob(".*"))
    after = ingest_boxes(name, out, tmp_path / "again")
    # By the bytes of the image: its name may have another suffix.
    found = {
        kind: {
            values.values["image/key/sha256"][0]: (
                values.split,
                sorted(values.boxes),
                sorted(values.difficult),
                values.values["image/width"],
            )
            for values in of.values()
        }
        for kind, of in (("before", before), ("after", after))
    }
    assert found["after"] == found["before"]
    assert "train/none.png" in {path.relative_to(out).as_posix() for path in out.rglob("*")}


def test_files_of_one_name_get_numbers_and_stay_inside() -> None:
    from components.annotations.image import find_free_stem

    taken: set[tuple[str, str]] = set()
    names = ("a.jpg", "a.png", "../a.png", "/x//a.b.png", "", "..", ".hidden", "train/c.jpg")
    stems = [find_free_stem("train", name, taken) for name in names]
    assert stems == ["a", "a-2", "a-3", "x/a.b", "image", "image-2", ".hidden", "c"]
    assert find_free_stem("test", "a.jpg", taken) == "a"


def test_what_is_there_is_kept_and_what_has_no_boxes_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="nothing is overwritten"):
        write_records(data, tmp_path / "out", "voc")
    with pytest.raises(UsageError, match="expected a folder that `mirante ingest` wrote"):
        write_records(tmp_path / "voc", tmp_path / "new", "voc")
    # A damaged shard leaves nothing behind.
    shard = next(data.glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(Exception, match=shard.name):
        write_records(data, tmp_path / "new", "coco")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_predictions_become_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of the detector are given: other tests ask one."""
    from components.annotations import predictions
    from components.base.saved_model import LABELS_FILE, MODEL_FILE, TASK_FILE
    from components.prediction.predict import AnsweredImage

    model = {MODEL_FILE: b"", LABELS_FILE: "cat\ndog\n", TASK_FILE: "detection"}
    write_files(tmp_path / "model", model)
    write_files(tmp_path / "photos", {"a.png": make_image(0), "größe/b.png": make_image(1, 33, 17)})
    lying = Image.fromarray(np.zeros((20, 40, 3), np.uint8))
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(tmp_path / "photos" / "lying.jpg", exif=exif)

    def answer(folder: str, images: list[str], min_score: float, **_: object) -> Iterator[Any]:
        found = [{"label": "dog", "score": 0.9, "box": [0.0, 5.25, 40.0, 20.0]}]
        sizes = {"a.png": (40, 20), "größe/b.png": (33, 17), "lying.jpg": (20, 40)}
        for name, boxes in (("a.png", found), ("größe/b.png", []), ("lying.jpg", found * 2)):
            path = f"{images[0]}/{name}"
            yield AnsweredImage({"image": path, "predictions": boxes}, None, path.encode(), sizes[name])
        path = f"{images[0]}/broken.jpg"
        yield AnsweredImage({"image": path, "error": "not an image file"}, None, path.encode(), None)

    monkeypatch.setattr(predictions, "answer_images", answer)
    said: list[str] = []
    for name in ("coco", "csv", "voc"):
        done, failed = predictions.write_predictions(
            str(tmp_path / "model"), tmp_path / "photos", tmp_path / name, name, 0.5, said.append
        )
        assert (done.images, done.boxes, failed) == (3, 3, 1)
    assert said == [f"{tmp_path}/photos/broken.jpg: not an image file"] * 3
    listed = json.loads((tmp_path / "coco" / "_annotations.coco.json").read_text(encoding="utf-8"))
    assert [(image["file_name"], image["width"], image["height"]) for image in listed["images"]] == [
        ("a.png", 40, 20),
        ("größe/b.png", 33, 17),
        ("lying.jpg", 20, 40),
    ]
    assert listed["annotations"][0]["bbox"] == [0.0, 5.25, 40.0, 14.75]
    assert listed["annotations"][0]["score"] == pytest.approx(0.9)
    assert [(each["id"], each["name"]) for each in listed["categories"]] == [(1, "cat"), (2, "dog")]
    with (tmp_path / "csv" / "boxes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["filename"], row["score"]) for row in rows] == [
        ("a.png", "0.9000"),
        ("größe/b.png", ""),
        *[("lying.jpg", "0.9000")] * 2,
    ]
    assert (tmp_path / "csv" / "größe" / "b.png").read_bytes() == make_image(1, 33, 17)
    again = ingest_boxes("voc", tmp_path / "voc", tmp_path / "again", max_reject_share=1.0)
    assert again["a.png"].boxes == [("dog", 0.0, 0.2625, 1.0, 1.0)]
    write_files(tmp_path / "model", {TASK_FILE: "classification"})
    with pytest.raises(UsageError, match="expected a detector, got a model for classification"):
        predictions.write_predictions(
            str(tmp_path / "model"), tmp_path / "photos", tmp_path / "new", "voc", 0.5, said.append
        )


def test_files_of_one_name_or_of_no_unicode_keep_their_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.annotations import predictions
    from components.base.saved_model import LABELS_FILE, MODEL_FILE, TASK_FILE
    from components.prediction.predict import AnsweredImage

    write_files(tmp_path / "model", {MODEL_FILE: b"", LABELS_FILE: "cat\n", TASK_FILE: "detection"})
    photos = tmp_path / "photos"
    photos.mkdir()
    # The name of the last one is Latin-1.
    names = {b"a.jpg": "a.jpg", b"a.png": "a-2.png", b"caf\xe9.png": "caf\\xe9.png"}
    for seed, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(photos) + b"/" + name)).write_bytes(make_image(seed))

    def answer(folder: str, images: list[str], min_score: float, **_: object) -> Iterator[Any]:
        for asked in asked_images(images):
            box = {"label": "cat", "score": 0.9, "box": [0.0, 0.0, 4.0, 2.0]}
            yield AnsweredImage({"image": asked.name, "predictions": [box]}, None, asked.path, (40, 20))

    monkeypatch.setattr(predictions, "answer_images", answer)
    for file_format in FORMATS:
        out = tmp_path / file_format
        done, failed = predictions.write_predictions(
            str(tmp_path / "model"), photos, out, file_format, 0.5, lambda text: None
        )
        assert (done.images, done.boxes, failed) == (3, 3, 0)
        for seed, name in enumerate(names.values()):
            assert (out / name).read_bytes() == make_image(seed)
    assert len(list((tmp_path / "voc").glob("*.xml"))) == 3
