"""`mirante predict` with a detector: boxes in pixels of the upright image, and drawn."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from components.base.errors import UsageError
from components.pictures.boxes import colour_of
from components.prediction import predict as asking
from components.prediction.asked import saved_model_folder
from components.prediction.predict import predict
from pipeline.commands.main import main
from tests.ingest.test_hostile_inputs import bomb
from tests.make.detections import make_detections, save_detector
from tests.make.dicom import make_dicom

MIRANTE = Path(sys.executable).with_name("mirante")
CLASS_NAMES = ("cat", "dog")
# In pixels of an image of 400 x 200: the two left quarters, the lower right one, and a doubtful one.
FOUND = [
    ((0.0, 0.0, 100.0, 200.0), 1, 0.9),
    ((200.0, 100.0, 400.0, 200.0), 2, 0.5),
    ((300.0, 20.0, 340.0, 60.0), 1, 0.125),
    ((0.0, 0.0, 50.0, 50.0), 2, 0.005),
]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of its versions."""
    folder = tmp_path_factory.mktemp("serving")
    save_detector(str(folder / "7"), [make_detections(found=FOUND, name="00000.jpg")], CLASS_NAMES)
    return str(folder)


def picture(path: Path, width: int, height: int, orientation: int | None = None) -> str:
    image = Image.new("RGB", (width, height))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return str(path)


def test_boxes_are_in_pixels_of_the_upright_image(detector: str, tmp_path: Path) -> None:
    images = [
        picture(tmp_path / "a.png", 400, 200),
        picture(tmp_path / "b.jpg", 100, 1000),
        # Stored on its side: upright it is 50 px wide and 80 high.
        picture(tmp_path / "turned.jpg", 80, 50, orientation=6),
    ]
    answers = predict(detector, images)
    assert [answer["image"] for answer in answers] == images
    assert answers[0]["predictions"] == [
        {"label": "cat", "score": pytest.approx(0.9), "box": [0.0, 0.0, 100.0, 200.0]},
        {"label": "dog", "score": pytest.approx(0.5), "box": [200.0, 100.0, 400.0, 200.0]},
        {"label": "cat", "score": pytest.approx(0.125), "box": [300.0, 20.0, 340.0, 60.0]},
    ]
    assert answers[1]["predictions"][1]["box"] == [50.0, 500.0, 100.0, 1000.0]
    assert answers[2]["predictions"][1]["box"] == [25.0, 40.0, 50.0, 80.0]


def test_the_least_score(detector: str, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", 400, 200)
    counts = [len(predict(detector, [image], least)[0]["predictions"]) for least in (None, 0.0, 0.5, 0.95)]
    assert counts == [3, 4, 2, 0]  # 0.01 when nothing is said


def test_drawn_images_show_the_boxes(detector: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    images = [picture(tmp_path / "a.png", 400, 200), picture(tmp_path / "other" / "a.jpg", 400, 200)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    folder = tmp_path / "new" / "drawn"
    answers = predict(detector, [*images, str(broken)], draw=folder)
    assert [answer.get("drawn") for answer in answers] == [
        str(folder / "a.boxes.jpg"),
        str(folder / "a.boxes-2.jpg"),
        None,
    ]
    assert "error" in answers[2]
    assert sorted(path.name for path in folder.iterdir()) == ["a.boxes-2.jpg", "a.boxes.jpg"]
    assert len(answers[0]["predictions"]) == 3  # all are answered, those from 0.3 on drawn

    def columns_of(label: int, path: str) -> np.ndarray:
        # JPEG keeps no pixel exactly.
        pixels = np.asarray(Image.open(path)).astype(int)
        return np.flatnonzero((np.abs(pixels - colour_of(label)).max(axis=-1) < 60).any(axis=0))

    assert columns_of(2, answers[0]["drawn"]).min() == pytest.approx(200, abs=6)
    assert columns_of(1, answers[0]["drawn"]).max() == pytest.approx(100, abs=6)  # not the doubtful one
    everything = predict(detector, images[:1], min_score=0.1, draw=folder)
    assert columns_of(1, everything[0]["drawn"]).max() >= 340


def test_drawing_into_the_folder_of_the_images_harms_none(detector: str, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.boxes.jpg", 400, 200)
    before = Path(image).read_bytes()
    for _ in range(2):
        (answer,) = predict(detector, [image], draw=tmp_path)
        assert answer["drawn"] == str(tmp_path / "a.boxes.boxes.jpg")
    assert Path(image).read_bytes() == before


def test_an_image_that_cannot_be_written_is_told(
    detector: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    (answer,) = predict(detector, [picture(tmp_path / "a.png", 400, 200)], draw=tmp_path / "drawn")
    assert answer["error"].endswith("a.boxes.jpg cannot be written: No space left on device")
    assert len(answer["predictions"]) == 3
    assert "drawn" not in answer


def test_a_folder_that_cannot_be_is_refused_at_once(detector: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(UsageError, match=r"--draw .*file: cannot be made: File exists; give another folder"):
        predict(detector, [], draw=tmp_path / "file")


def test_a_classifier_draws_nothing(tmp_path: Path) -> None:
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.size(image_bytes)
        return {
            "probabilities": tf.tile([[0.25, 0.75]], [count, 1]),
            "labels": tf.tile([["cat", "dog"]], [count, 1]),
        }

    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": serve})
    image = picture(tmp_path / "a.png", 40, 20)
    assert predict(str(tmp_path / "model"), [image])[0]["predictions"] == [
        {"label": "dog", "score": 0.75},
        {"label": "cat", "score": 0.25},
    ]
    with pytest.raises(UsageError, match=r"tells what is on an image, not where: leave out --draw"):
        predict(str(tmp_path / "model"), [image], draw=tmp_path / "drawn")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: os.mkfifo(path), "not a regular file: expected an image file, got a pipe"),
        (
            lambda path: path.symlink_to("/dev/zero"),
            "not a regular file: expected an image file, got a device",
        ),
        (
            lambda path: path.symlink_to("/dev/full"),
            "not a regular file: expected an image file, got a device",
        ),
        (lambda path: sparse(path, b"\0" * 16), "not an image file"),
        (
            lambda path: sparse(path, b"\xff\xd8\xff\xe0"),
            "file too large: expected at most 1 GiB, got 21,474,8",
        ),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.mkdir(), "a folder without an image"),
        (lambda path: path.write_bytes(bomb()), "more than 178956970 pixels"),
    ],
    ids=["pipe", "endless", "full", "huge", "huge JPEG", "empty", "folder", "bomb"],
)
def test_what_is_no_image_file_is_told_at_once_and_the_others_are_answered(
    detector: str, tmp_path: Path, make: Callable[[Path], object], error: str
) -> None:
    odd, good = tmp_path / "odd.jpg", picture(tmp_path / "good.png", 400, 200)
    make(odd)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    first, second = predict(detector, [str(odd), good])
    assert error in first["error"]
    assert "predictions" not in first
    assert len(second["predictions"]) == 3
    assert time.monotonic() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


def sparse(path: Path, head: bytes) -> None:
    """20 GiB that take no room."""
    path.write_bytes(head)
    os.truncate(path, 20 << 30)


def test_folders_are_looked_through_in_the_order_of_names(detector: str, tmp_path: Path) -> None:
    (tmp_path / "photos" / "b").mkdir(parents=True)
    for name in ("b/2.png", "b/10.jpg", "a.png", ".hidden.png"):
        picture(tmp_path / "photos" / name, 40, 20)
    (tmp_path / "photos" / "README.txt").write_text("notes")
    (tmp_path / "photos" / "c.jpg").write_text("no image")
    last = picture(tmp_path / "last.png", 40, 20)
    answers = predict(detector, [str(tmp_path / "photos"), last])
    photos = str(tmp_path / "photos")
    names = ["a.png", "b/10.jpg", "b/2.png", "c.jpg"]
    assert [answer["image"] for answer in answers] == [*(f"{photos}/{name}" for name in names), last]
    assert [("error" in answer) for answer in answers] == [False, False, False, True, False]


@pytest.mark.slow
def test_names_that_are_no_text_are_escaped(detector: str, tmp_path: Path) -> None:
    names = [b"caf\xe9.png", b"\x1b]0;title\x07.png", b"line\nbreak.png"]
    paths = [os.path.join(os.fsencode(tmp_path), name) for name in names]
    for path in paths:
        picture(Path(os.fsdecode(path)), 400, 200)
    command = [str(MIRANTE), "predict", detector, *paths, b"no\x1b[31msuch.png", "--json", "--csv", "out.csv"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert ended.returncode == 1
    answers = json.loads(ended.stdout.decode("utf-8").splitlines()[-1])
    assert [Path(answer["image"]).name for answer in answers] == [
        "caf\\xe9.png",
        "\x1b]0;title\x07.png",
        "line\nbreak.png",
        "no\x1b[31msuch.png",
    ]
    assert ended.stdout.isascii()
    assert b"no\\x1b[31msuch.png: cannot be read: No such file or directory\n" in ended.stderr
    assert b"\x1b" not in ended.stderr
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["image"]).name for row in rows[::3]] == [
        "caf\\xe9.png",
        "\\x1b]0;title\\x07.png",
        "line\\nbreak.png",
        "no\\x1b[31msuch.png",
    ]
    assert [rows[0][key] for key in ("label", "xmin", "ymin", "xmax", "ymax", "error")] == [
        "cat", "0.0", "0.0", "100.0", "200.0", "",
    ]  # fmt: skip
    assert rows[-1]["error"].startswith("cannot be read")
    told = subprocess.run(command[:-3], cwd=tmp_path, capture_output=True, check=False)
    assert told.stdout.count(b"\n") == 3
    assert b"\x1b" not in told.stdout


def test_what_makes_an_answer_doubtful_is_told(detector: str, tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 40), 4095, np.uint16)).save(tmp_path / "thermal.png")
    told = CliRunner().invoke(main, ["predict", detector, str(tmp_path / "thermal.png")])
    assert told.exit_code == 0
    assert "\n  warning: 16 bits per channel and no value above a quarter of the range" in told.stdout


def test_files_that_only_ingest_reads_are_converted(detector: str, tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    # Is on its side: upright it is 100 px wide and 200 high.
    Image.new("RGB", (200, 100)).save(tmp_path / "a.heic", exif=exif.tobytes())
    Image.new("RGB", (400, 200)).save(tmp_path / "b.jp2")
    (tmp_path / "c.dcm").write_bytes(make_dicom(np.zeros((200, 400), np.uint16)))
    (tmp_path / "d.dcm").write_bytes(make_dicom(np.zeros((2, 4), np.uint16), NumberOfFrames=3))
    heic, jp2, dicom, several = predict(detector, [str(tmp_path)])
    assert heic["predictions"][0]["box"] == [0.0, 0.0, 25.0, 200.0]
    assert jp2["predictions"][0]["box"] == dicom["predictions"][0]["box"] == [0.0, 0.0, 100.0, 200.0]
    assert several["error"].startswith("expected one image in a DICOM file, got 3 frames")


def test_how_large_an_image_may_be_is_an_option(detector: str, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", 400, 200)
    told = CliRunner().invoke(main, ["predict", detector, image, "--max-pixels", "79999"])
    assert told.exit_code == 1
    assert "400 x 200 pixels, more than max_pixels = 79999" in told.stderr


def test_a_csv_that_cannot_be_written_is_told(detector: str, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", 400, 200)
    nowhere = CliRunner().invoke(main, ["predict", detector, image, "--csv", str(tmp_path / "no" / "x.csv")])
    assert nowhere.exit_code == 2
    assert "expected a file in a folder that is there" in nowhere.stderr
    full = CliRunner().invoke(main, ["predict", detector, image, "--csv", str(tmp_path / ("x" * 300))])
    assert full.exit_code == 1
    assert "cannot be written: File name too long" in full.stderr
    assert "cat 0.9000" in full.stdout  # the answers are there all the same


def test_which_model_is_asked(detector: str, tmp_path: Path) -> None:
    root = tmp_path / "runs" / "pets"
    shutil.copytree(Path(detector) / "7", root / "serving" / "7")
    assert saved_model_folder(str(root)) == root / "serving" / "7"
    for name in ("10", "\u00b2", "\u0663", "11.incomplete", "12"):  # a superscript, an Arabic digit
        shutil.copytree(Path(detector) / "7", root / "serving" / name)
    (root / "serving" / "12" / "saved_model.pb").unlink()
    assert saved_model_folder(str(root)) == root / "serving" / "10"
    assert saved_model_folder(str(root / "serving")) == root / "serving" / "10"
    assert saved_model_folder(str(root / "serving" / "7")) == root / "serving" / "7"
    # A root whose runs push elsewhere.
    other = tmp_path / "runs" / "other"
    for run, pushed in (("1", "gone/3"), ("2", "pets/serving/7"), ("3", None)):
        (other / "runs" / run).mkdir(parents=True)
        told = pushed and str(tmp_path / "runs" / pushed)
        (other / "runs" / run / "result.json").write_text(json.dumps({"pushed_model": told}))
    assert saved_model_folder(str(other)) == root / "serving" / "10"
    with pytest.raises(UsageError, match=r"nothing.*: no model there: .* or a run's root"):
        saved_model_folder(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match=r"unknown://model: expected a folder, gs://BUCKET/FOLDER or s3://"):
        saved_model_folder("unknown://model")


def test_the_command(detector: str, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", 400, 200)
    told = CliRunner().invoke(main, ["predict", detector, image])
    assert told.exit_code == 0
    assert told.stdout == f"{image}: cat 0.9000 at 0, 0, 100, 200  dog 0.5000 at 200, 100, 400, 200\n"
    drawn = CliRunner().invoke(
        main, ["predict", detector, image, "--json", "--min-score", "0.6", "--draw", str(tmp_path / "drawn")]
    )
    (answer,) = json.loads(drawn.stdout.splitlines()[-1])
    assert answer["predictions"] == [
        {"label": "cat", "score": pytest.approx(0.9), "box": [0.0, 0.0, 100.0, 200.0]}
    ]
    assert Path(answer["drawn"]).is_file()


def test_answers_come_while_images_are_read(
    detector: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "BATCH_IMAGES", 2)
    good = [picture(tmp_path / f"{number}.png", 400, 200) for number in range(4)]
    first, last = str(tmp_path / "none.png"), str(tmp_path / "nothing.png")
    read = []
    found = asking.answer_images(detector, [first, *good, last], top=1)
    monkeypatch.setattr(
        asking, "read_image_file", lambda path: read.append(path) or Path(os.fsdecode(path)).read_bytes()
    )
    counts = [(answer["image"], len(answer.get("predictions", [])), len(read)) for answer, *_ in found]
    # A file that is not there is answered at once; two images when the third one is read.
    assert counts == [
        (first, 0, 1),
        (good[0], 1, 4),
        (good[1], 1, 4),
        (good[2], 1, 6),
        (good[3], 1, 6),
        (last, 0, 6),
    ]


def test_a_request_without_a_usable_image_does_not_ask_the_model(detector: str, tmp_path: Path) -> None:
    served: Any = SimpleNamespace(ask=pytest.fail, task=None)
    (found,) = asking.answer_images(detector, [str(tmp_path / "none.png")], served=served, is_strict=True)
    assert found.answer["error"] == "cannot be read: No such file or directory"


def test_sizes_are_of_the_image_that_the_model_sees(detector: str, tmp_path: Path) -> None:
    """A TIFF is turned by Pillow itself; an orientation that EXIF does not have, or of XMP, turns nothing."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for orientation in (6, 9):
        picture(folder / f"{orientation}.jpg", 40, 20, orientation)
    picture(folder / "6.tiff", 40, 20, 6)
    xmp = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    Image.new("RGB", (40, 20)).save(folder / "xmp.jpg", xmp=xmp)
    (folder / "none.jpg").write_bytes(b"")
    found = {
        Path(os.fsdecode(each.path)).name: each for each in asking.answer_images(detector, [str(folder)])
    }
    assert {name: each.size_px for name, each in found.items()} == {
        "6.jpg": (20, 40),
        "6.tiff": (20, 40),
        "9.jpg": (40, 20),
        "none.jpg": None,
        "xmp.jpg": (40, 20),
    }
    assert max(box["box"][3] for box in found["6.jpg"].answer["predictions"]) == 40


def test_a_table_has_the_best_and_what_cannot_be_read(detector: str, tmp_path: Path) -> None:
    folder = tmp_path / "=photos"
    folder.mkdir()
    picture(folder / "café.png", 400, 200)
    (folder / "d.png").write_bytes(b"")
    table = tmp_path / "out.csv"
    table.write_text("as it was")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        ended = CliRunner().invoke(main, ["predict", detector, "=photos", "--top", "1", "--csv", "out.csv"])
    assert ended.exit_code == 1
    assert (
        table.read_bytes()
        == (
            "\ufeffimage,label,score,predicted,xmin,ymin,xmax,ymax,error\n"
            "'=photos/café.png,cat,0.8999999761581421,,0.0,0.0,100.0,200.0,\n"
            "'=photos/d.png,,,,,,,,empty file\n"
        ).encode()
    )
