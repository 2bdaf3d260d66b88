"""The source labelme: shapes, the image of each file, and what is refused."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.ingest import IngestConfig, ingest
from components.ingest.files import FileEntry
from components.ingest.index import Index
from components.ingest.sources.context import SourceContext
from components.ingest.sources.own_image import find_image
from tests.make.boxes import ingest_boxes, make_image, read_rejects, read_warnings, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

# A quarter of an image of 40 x 20.
QUARTER = (0.25, 0.25, 0.5, 0.75)


def shape(label: Any, *points: Any, kind: str | None = "rectangle", **changes: Any) -> dict[str, Any]:
    named = {} if kind is None else {"shape_type": kind}
    return {"label": label, "points": [list(point) for point in points], **named, "flags": {}, **changes}


CAT = shape("cat", (10, 5), (20, 15), group_id=None)


def labelme(*shapes: Any, name: str = "1.png", size: Any = (40, 20), data: Any = None) -> str:
    sized = {"imageWidth": size[0], "imageHeight": size[1]} if size else {}
    return json.dumps(
        {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": data, **sized}
    )


def test_a_file_next_to_each_image(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {
        "train/1.png": make_image(1), "train/1.json": labelme(CAT, shape("dog", (0, 0), (40, 20))),
        "train/2.png": make_image(2), "train/2.json": labelme(name="2.png"),
        "test/1.png": make_image(3), "test/1.json": labelme(CAT, size=None),
        # Renamed together: the name in the file is that of before.
        "test/b.png": make_image(4), "test/b.json": labelme(CAT, name="a.png"),
        "test/unlabelled.png": make_image(5),
        "labels.json": '{"cat": 1}', "notes.txt": "",
    })  # fmt: skip
    found = ingest_boxes("labelme", root, tmp_path / "out")
    assert {name: (one.split, one.boxes) for name, one in found.items()} == {
        "train/1.png": ("train", [("cat", *QUARTER), ("dog", 0, 0, 1, 1)]),
        "train/2.png": ("train", []),
        "test/1.png": ("test", [("cat", *QUARTER)]),
        "test/b.png": ("test", [("cat", *QUARTER)]),
    }
    assert read_rejects(tmp_path / "out") == [
        ("test/unlabelled.png", "unlabelled: no .json file belongs to it")
    ]
    assert (tmp_path / "out" / "left_out.csv").read_text().splitlines()[1:] == [
        "labels.json,no annotation of LabelMe: it has no shapes",
        "notes.txt,no image by its name: text",
    ]


def test_a_list_of_classes_is_the_order(tmp_path: Path) -> None:
    dog = shape("dog", (0, 0), (40, 20))
    root = write_files(tmp_path / "in", {
        "1.png": make_image(), "1.json": labelme(CAT, dog),
        "labels.txt": "__ignore__\n_background_\ndog\ncat\n",
    })  # fmt: skip
    found = ingest_boxes("labelme", root, tmp_path / "out")["1.png"]
    assert found.values["image/object/class/label"] == [2, 1]


def test_other_folders(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {
        "images/1.png": make_image(1), "labels/1.json": labelme(CAT, name="..\\images\\1.png"),
        "images/2.png": make_image(2), "labels/second.json": labelme(CAT, name="../images/2.png"),
    })  # fmt: skip
    found = ingest_boxes("labelme", root, tmp_path / "out", max_reject_share=0.0)
    assert {name: one.boxes for name, one in found.items()} == {
        f"images/{n}.png": [("cat", *QUARTER)] for n in (1, 2)
    }


def test_the_box_round_each_shape(tmp_path: Path) -> None:
    shapes = {
        "corners in another order": (shape("cat", (20, 5), (10, 15)), QUARTER),
        "four corners": (shape("cat", (10, 5), (20, 5), (20, 15), (10, 15)), QUARTER),
        "polygon": (shape("cat", (10, 8), (20, 5), (12.5, 15), kind="polygon"), QUARTER),
        "no kind": (shape("cat", (10, 8), (20, 5), (12.5, 15), kind=None), QUARTER),
        # A radius of 5: 3 across and 4 down.
        "circle": (shape("cat", (15, 10), (18, 14), kind="circle"), QUARTER),
        "mask": (shape("cat", (10, 5), (20, 15), kind="mask", mask="iVBO"), QUARTER),
        "rotated": (shape("cat", (15, 5), (20, 10), (15, 15), (10, 10), kind="rotation"), QUARTER),
    }
    files: dict[str, bytes | str] = {}
    for at, (name, (one, _)) in enumerate(shapes.items()):
        files |= {f"{name}.png": make_image(at), f"{name}.json": labelme(one, name=f"{name}.png")}
    found = ingest_boxes("labelme", write_files(tmp_path / "in", files), tmp_path / "out")
    assert {name: one.boxes for name, one in found.items()} == {
        f"{name}.png": [("cat", *sides)] for name, (_, sides) in shapes.items()
    }
    assert (
        "5 objects are not an upright box (1 circle, 1 mask, 2 polygons, 1 rotated box): the box round each "
        "was read." in read_warnings(tmp_path / "out")
    )


def test_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    parts = [
        shape("cat", (10, 5), (12, 6), group_id=1),
        shape("dog", (0, 0), (40, 20), group_id=1),
        shape("cat", (18, 14), (20, 15), group_id=1),
        shape("cat", (0, 0), (4, 4), group_id=2),
    ]
    root = write_files(tmp_path / "in", {"1.png": make_image(), "1.json": labelme(*parts)})
    assert ingest_boxes("labelme", root, tmp_path / "out")["1.png"].boxes == [
        ("cat", *QUARTER), ("dog", 0, 0, 1, 1), ("cat", 0, 0, 0.1, 0.2)
    ]  # fmt: skip
    assert (
        "1 shape with the label and group of another one: read as part of the same object."
        in read_warnings(tmp_path / "out")
    )


def test_the_image_in_the_file(tmp_path: Path) -> None:
    image = make_image(1)
    data = base64.b64encode(image).decode()
    root = write_files(tmp_path / "in", {
        "a/1.json": labelme(CAT, name="..\\b\\photo.png", data=data),
        "a/2.json": labelme(CAT, data="not base64!"),
        "a/3.json": labelme(CAT, data=data[: len(data) // 8 * 4]),
        # The file wins.
        "a/4.json": labelme(CAT, name="4.png", data="not looked at"), "a/4.png": make_image(4),
    })  # fmt: skip
    found = ingest_boxes("labelme", root, tmp_path / "out")
    assert {name: one.boxes for name, one in found.items()} == {
        "a/1.png": [("cat", *QUARTER)], "a/4.png": [("cat", *QUARTER)]
    }  # fmt: skip
    assert found["a/1.png"].values["image/encoded"] == [image]
    rejects = read_rejects(tmp_path / "out")
    assert [path for path, _ in rejects] == ["a/2.json", "a/3.png"]
    assert rejects[0][1].startswith("imageData: not an image in base64: ")
    said = "2 image files are missing: the image in the .json file (imageData) was read."
    assert said in read_warnings(tmp_path / "out")
    unchanged = ingest("labelme", root, tmp_path / "out", IngestConfig(
        workers=1, max_reject_share=1.0, splits={"train": 1}
    ))  # fmt: skip
    assert unchanged.unchanged


def test_what_cannot_be_used(tmp_path: Path) -> None:
    bad: dict[str, str] = {
        "01": labelme(shape("cat", (1, 2), kind="point")),
        "02": labelme(CAT, shape("cat", (1, 2), (3, 4), kind="line")),
        "03": labelme(shape("", (1, 2), (3, 4))),
        "04": labelme(shape("cat", (1, 2), (3, "wide"))),
        "05": labelme(shape("cat", (1, 2))),
        "06": labelme(shape("cat", (1, 2), (3, 4, 5))),
        "07": labelme("cat"),
        "08": labelme(CAT)[:-9],
        "09": labelme(shape("cat", (1, 2), (3, 4), kind=["x"])),  # type: ignore[arg-type]
        "10": labelme(shape(["cat"], (1, 2), (3, 4))),
        "11": labelme(CAT, size=(20, 40)),
        "12": "[1]",
        "13": labelme(shape("\ud800", (1, 2), (3, 4))),
    }
    files: dict[str, bytes | str] = {
        "00.png": make_image(0),
        "00.json": labelme(CAT),
        "gone.json": labelme(CAT),
    }
    for name, text in bad.items():
        files |= {f"{name}.png": make_image(int(name)), f"{name}.json": text}
    found = ingest_boxes("labelme", write_files(tmp_path / "in", files), tmp_path / "out")
    assert list(found) == ["00.png"]
    kinds = "rectangle, mask, circle, polygon, rotation, oriented_rectangle"
    area = f"expected an object with an area ({kinds}), got"
    assert read_rejects(tmp_path / "out") == [
        ("01.json", f"shape 1 (cat): {area} 'point'; remove the shape, or draw a box"),
        ("02.json", f"shape 2 (cat): {area} 'line'; remove the shape, or draw a box"),
        ("03.json", "shape 1: unlabelled: it has no label"),
        ("04.json", "shape 1 (cat): points: expected a number, got 'wide'"),
        ("05.json", "shape 1 (cat): points: expected 2 or more, got [[1, 2]]"),
        ("06.json", "shape 1 (cat): points: expected [x, y], got [3, 4, 5]"),
        ("07.json", "shape 1: expected a shape with label and points, got 'cat'"),
        ("08.json", "line 1: the file is cut off (Unterminated string starting at)"),
        ("09.json", f"shape 1 (cat): {area} ['x']; remove the shape, or draw a box"),
        ("10.json", "shape 1: expected a text, got ['cat']"),
        (
            "11.png",
            "its boxes are of an image of 20 x 40 pixels, and it has 40 x 20: it is not the image that was "
            "annotated",
        ),
        ("12.json", "line 1: expected '{', found '['"),
        ("13.json", r"shape 1: expected a text, got '\ud800'"),
        ("gone.json", "there is no image gone.* and no 1.png"),
    ]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (
            '{"shapes": ' + "[" * 100_000,
            DataRefusedError,
            r"line 1: lists or objects in each other, deeper than",
        ),
        (labelme(shape("cat", (1, "9" * 5000), (3, 4))), DataRefusedError, r"points: expected a number, got"),
        (labelme(CAT, name="\ud800"), DataRefusedError, r"imagePath: expected a text, got"),
        ('{"a": 1}', UsageError, r"no .json file of LabelMe in it. The source labelme reads images"),
    ],
)
def test_hostile_files(tmp_path: Path, content: str, error: type[Exception], message: str) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image(), "1.json": content})
    with pytest.raises(error, match=message):
        ingest("labelme", root, tmp_path / "out", IngestConfig(workers=1))


def test_the_same_names_in_many_folders_take_no_longer(tmp_path: Path) -> None:
    """Each image looked up all annotations of its name: with 300 folders that took over a minute."""
    index = Index(Path(":memory:"))
    names = [f"{folder:03}/frame.{ending}" for folder in range(300) for ending in ("jpg", "json")]
    index.files.add(FileEntry(name, name.encode(), 1, 1) for name in names)
    context = SourceContext(tmp_path, "", None, index, tmp_path, IngestConfig())
    began = time.process_time()
    for folder in range(0, 300, 30):
        found = find_image(context, f"{folder:03}/frame.json", "frame.jpg")
        assert isinstance(found, FileEntry)
        assert found.path == f"{folder:03}/frame.jpg"
    assert time.process_time() - began < 1.0
