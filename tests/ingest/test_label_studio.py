"""The source label_studio: both exports, regions, choices, several annotators, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, ingest
from tests.make.boxes import ingest_boxes, make_image, read_rejects, read_warnings, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

# A quarter of an image of 40 x 20.
QUARTER = (0.25, 0.25, 0.5, 0.75)
PLACE = {"x": 25, "y": 25, "width": 25, "height": 50, "rotation": 0}
CAT = {**PLACE, "rectanglelabels": ["cat"]}
SIZE = {"original_width": 40, "original_height": 20}


def result(value: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": "a", "type": "x", "from_name": "y", "to_name": "image", "value": value, **SIZE,
            "image_rotation": 0, **changes}  # fmt: skip


def said(*results: Any, **changes: Any) -> dict[str, Any]:
    return {"id": 1, "completed_by": 1, "result": list(results), "was_cancelled": False, **changes}


def task(key: int, image: Any, *annotations: Any, **changes: Any) -> dict[str, Any]:
    return {"id": key, "annotations": list(annotations), "predictions": [said(result(CAT))],
            "data": {"image": image}, **changes}  # fmt: skip


def row(key: int, image: str, **outputs: Any) -> dict[str, Any]:
    return {"image": image, "id": key, **outputs, "annotator": 1, "annotation_id": key, "created_at": "2026",
            "updated_at": "2026", "lead_time": 1.5}  # fmt: skip


def folder(root: Path, tasks: Any, *images: str) -> Path:
    write_files(root, {name: make_image(n) for n, name in enumerate(images)})
    return write_files(root, {"export.json": json.dumps(tasks)})


def test_json(tmp_path: Path) -> None:
    dog = {"x": 0, "y": 0, "width": 100, "height": 100, "rotation": 0, "rectanglelabels": ["dog"]}
    root = folder(tmp_path / "in", [
        task(1, "/data/upload/3/0123abcd-1.png", said(result(CAT), result(dog))),
        task(2, "/data/local-files/?d=pets/2.png", said()),  # submitted without a region: background
        task(3, "s3://bucket/pets/3.png?x=1", said(result({**PLACE, "labels": ["cat"]}))),
        task(4, "4.png", said(was_cancelled=True)),
    ], "0123abcd-1.png", "pets/2.png", "pets/3.png", "4.png")  # fmt: skip
    found = ingest_boxes("label_studio", root, tmp_path / "out", max_reject_share=0.0)
    assert {name: one.boxes for name, one in found.items()} == {
        "0123abcd-1.png": [("cat", *QUARTER), ("dog", 0, 0, 1, 1)],
        "pets/2.png": [],
        "pets/3.png": [("cat", *QUARTER)],
    }
    assert (tmp_path / "out" / "left_out.csv").read_text().splitlines()[1:] == [
        '4.png,"skipped by its annotators (export.json, task 4)"'
    ]
    by_file = ingest_boxes("label_studio", root / "export.json", tmp_path / "by_file")
    assert by_file.keys() == found.keys()


def test_json_min(tmp_path: Path) -> None:
    both = [{**CAT, **SIZE}, {**PLACE, "x": 50, "rectanglelabels": ["dog"], **SIZE}]
    root = folder(tmp_path / "in", [
        row(1, "/data/upload/3/0123abcd-1.png", label=[{**CAT, **SIZE}]),
        row(2, "images/2.png", label=both),
        row(2, "images/2.png", label=both),
        row(3, "images/3.png"),
    ], "images/1.png", "images/2.png", "images/3.png")  # fmt: skip
    found = ingest_boxes("label_studio", root, tmp_path / "out", max_reject_share=0.0)
    assert {name: one.boxes for name, one in found.items()} == {
        "images/1.png": [("cat", *QUARTER)],
        "images/2.png": [("cat", *QUARTER), ("dog", 0.5, 0.25, 0.75, 0.75)],
        "images/3.png": [],
    }
    assert "the prefix of an upload to Label Studio" in str(read_warnings(tmp_path / "out"))


def test_the_box_round_each_region(tmp_path: Path) -> None:
    regions: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
        # Of 40 x 20 pixels: a quarter turn about (20, 5) makes 10 x 10 pixels of those on the left of it.
        "rotated": ({**PLACE, "x": 50, "rotation": 90, "rectanglelabels": ["cat"]}, QUARTER),
        "ellipse": (
            {"x": 37.5, "y": 50, "radiusX": 12.5, "radiusY": 25, "rotation": 0, "ellipselabels": ["cat"]},
            QUARTER,
        ),
        # 4 pixels across and 8 down; after a quarter turn 8 across and 4 down.
        "rotated ellipse": (
            {"x": 50, "y": 50, "radiusX": 10, "radiusY": 40, "rotation": 90, "ellipselabels": ["cat"]},
            (0.3, 0.3, 0.7, 0.7),
        ),
        "polygon": ({"points": [[25, 40], [50, 25], [30, 75]], "polygonlabels": ["cat"]}, QUARTER),
    }
    tasks = [
        task(n, f"{name}.png", said(result(value))) for n, (name, (value, _)) in enumerate(regions.items())
    ]
    root = folder(tmp_path / "in", tasks, *(f"{name}.png" for name in regions))
    found = ingest_boxes("label_studio", root, tmp_path / "out")
    assert {name: one.boxes for name, one in found.items()} == {
        f"{name}.png": [("cat", *sides)] for name, (_, sides) in regions.items()
    }
    assert "4 objects are not an upright box (2 ellipses, 1 polygon, 1 rotated box)" in str(
        read_warnings(tmp_path / "out")
    )


def classes(output: Path) -> dict[str, str]:
    read = {}
    for shard in output.glob("*-of-*"):
        for values in map(parse_example, read_records(shard)):
            read[values["image/filename"][0].decode()] = values["image/class/text"][0].decode()
    return read


@pytest.mark.parametrize("is_min", [False, True])
def test_choices_are_classes(tmp_path: Path, is_min: bool) -> None:
    chosen: dict[str, list[str]] = {"1.png": ["cat"], "2.png": ["dog"], "3.png": ["cat", "dog"], "4.png": []}
    if is_min:
        tasks = [
            row(n, name, choice=found[0] if len(found) == 1 else {"choices": found})
            for n, (name, found) in enumerate(chosen.items())
        ]
    else:
        tasks = [
            task(n, name, said(result({"choices": found}), result({"text": ["a note"]})))
            for n, (name, found) in enumerate(chosen.items())
        ]
    root = folder(tmp_path / "in", tasks, *chosen)
    ingest("label_studio", root, tmp_path / "out", IngestConfig(workers=1, max_reject_share=1.0))
    assert classes(tmp_path / "out") == {"1.png": "cat", "2.png": "dog"}
    assert read_rejects(tmp_path / "out") == [
        (
            "3.png",
            "expected one choice, which is the class, got 2: ['cat', 'dog'] (export.json, task 2)",
        ),
        ("4.png", "unlabelled: it has no choice (export.json, task 3)"),
    ]


def test_choices_next_to_regions_are_counted(tmp_path: Path) -> None:
    # And a region of two controls, once alone and once with the label of the other one.
    annotation = said(result({"choices": ["sharp"]}), result(PLACE), result({**PLACE, "labels": ["cat"]}))
    root = folder(tmp_path / "in", [task(1, "1.png", annotation)], "1.png")
    assert ingest_boxes("label_studio", root, tmp_path / "out")["1.png"].boxes == [("cat", *QUARTER)]
    assert "1 choice for whole images: not read; boxes are." in read_warnings(tmp_path / "out")


def test_several_annotators(tmp_path: Path) -> None:
    one, other = said(result(CAT)), said(result({**CAT, "rectanglelabels": ["dog"]}))
    root = folder(tmp_path / "in", [
        task(1, "1.png", one, one),
        task(2, "2.png", one, other),
        task(3, "3.png", one, {**other, "ground_truth": True}),
        task(4, "4.png", {**one, "was_cancelled": True}, other),
    ], *(f"{n}.png" for n in range(1, 5)))  # fmt: skip
    found = ingest_boxes("label_studio", root, tmp_path / "out")
    assert {name: one.boxes[0][0] for name, one in found.items()} == {
        "1.png": "cat", "3.png": "dog", "4.png": "dog"
    }  # fmt: skip
    assert read_rejects(tmp_path / "out") == [
        (
            "2.png",
            "ambiguous: 2 annotations that differ; mark one of them as ground truth, or delete the others "
            "(export.json, task 2)",
        )
    ]


def test_units(tmp_path: Path) -> None:
    shares = {"x": 0.25, "y": 0.25, "width": 0.25, "height": 0.5, "rotation": 0, "rectanglelabels": ["cat"]}
    root = folder(tmp_path / "in", [task(1, "1.png", said(result(shares)))], "1.png")
    with pytest.raises(
        UsageError, match=r"expected boxes in percent, 0 to 100, got 1 of 1 box with no number above 1"
    ):
        ingest("label_studio", root, tmp_path / "out", IngestConfig(workers=1))
    found = ingest_boxes("label_studio", root, tmp_path / "shares", box_units="shares")
    assert found["1.png"].boxes == [("cat", *QUARTER)]
    pixels = {"x": 1000, "y": 500, "width": 1000, "height": 1000, "rotation": 0, "rectanglelabels": ["cat"]}
    sized = {"original_width": 4000, "original_height": 2000}
    root = folder(tmp_path / "big", [task(1, "1.png", said(result(pixels, **sized)))], "1.png")
    with pytest.raises(UsageError, match=r"they seem to be pixels; --box-units pixels"):
        ingest("label_studio", root, tmp_path / "out", IngestConfig(workers=1))
    found = ingest_boxes("label_studio", root, tmp_path / "pixels", box_units="pixels")
    assert found["1.png"].boxes == [("cat", *QUARTER)]


def test_what_cannot_be_used(tmp_path: Path) -> None:
    bad: list[Any] = [
        task(1, "01.png"),
        task(2, "02.png", said(result({**CAT, "x": "left"}))),
        task(3, "03.png", said(result({**CAT, "rectanglelabels": []}))),
        task(4, "04.png", said(result({**CAT, "rectanglelabels": ["cat", "dog"]}))),
        task(5, "05.png", said(result(CAT, image_rotation=90))),
        task(6, "06.png", said(result({"format": "rle", "rle": [1], "brushlabels": ["cat"]}))),
        task(7, "07.png", said(result({"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["cat"]}))),
        task(8, "08.png", said(result({**CAT, "rotation": 30}, original_width=None))),
        task(9, "gone.png", said(result(CAT))),
        task(10, ["a.png", "b.png"], said(result(CAT))),
        {"id": 11, "annotations": [], "data": None},
        "a task",
        task(13, "13.png", said(result(CAT, original_width=20, original_height=40))),
        task(14, "14.png", said(result({"points": [[1, 2]], "polygonlabels": ["cat"]}))),
        task(15, "15.png", said(result(PLACE))),
        task(16, "00.png", said(result(CAT))),
        task(17, "data:image/png;base64,iVBO", said(result(CAT))),
    ]
    names = [f"{n:02}.png" for n in (0, *range(1, 9), 13, 14, 15)]
    found = ingest_boxes("label_studio", folder(tmp_path / "in", bad, *names), tmp_path / "out")
    assert list(found) == ["00.png"]
    area = "expected a region with an area (rectangle, ellipse or polygon), got one without"
    place = "(export.json, task {})".format
    assert read_rejects(tmp_path / "out") == [
        ("01.png", f"unlabelled: it has no annotation; export annotated tasks only {place(1)}"),
        ("02.png", f"x: expected a number, got 'left' {place(2)}"),
        ("03.png", f"unlabelled: a region has no label {place(3)}"),
        ("04.png", f"expected one label for each region, got 2: ['cat', 'dog'] {place(4)}"),
        (
            "05.png",
            "image_rotation: expected 0, got 90: its boxes are of the image as it was turned in Label "
            f"Studio; turn it back there {place(5)}",
        ),
        ("06.png", f"{area} x; remove it, or draw a rectangle {place(6)}"),
        ("07.png", f"{area} height; remove it, or draw a rectangle {place(7)}"),
        (
            "08.png",
            f"original_width, original_height: expected the size, since a region is rotated {place(8)}",
        ),
        (
            "13.png",
            "its boxes are of an image of 20 x 40 pixels, and it has 40 x 20: it is not the image that was "
            "annotated",
        ),
        ("14.png", f"points: expected 3 or more, got [[1, 2]] {place(14)}"),
        ("15.png", f"unlabelled: a region has no label {place(15)}"),
        ("export.json, element 12", "expected a task of Label Studio, got 'a task'"),
        ("export.json, task 10", "expected a file name in the task's data, as image, got none"),
        ("export.json, task 11", "expected a file name in the task's data, as image, got none"),
        (
            "export.json, task 17",
            "expected a file name in the task's data, as image, got an image in the JSON itself",
        ),
        ("gone.png", f"no such file {place(9)}"),
    ]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('[{"id": 1,\n "data"', DataRefusedError, r"export.json, line 2: the file is cut off"),
        ("[" * 100_000, DataRefusedError, r"line 1: lists or objects in each other, deeper than can be read"),
        ('[{"id": ' + "9" * 5000 + "}]", DataRefusedError, r"line 1: a number of 5,000 digits"),
        ("[] x", DataRefusedError, r"line 1: expected nothing after the list"),
        ('{"a": 1}', UsageError, r"expected one .json file that is a list of tasks .*, found none"),
        ("[]", DataRefusedError, r"no image found for the source label_studio"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, content: str, error: type[Exception], message: str
) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image(), "export.json": content})
    with pytest.raises(error, match=message):
        ingest("label_studio", root, tmp_path / "out", IngestConfig(workers=1))


def test_another_source_names_this_one(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", [task(1, "1.png", said(result(CAT)))], "1.png")
    with pytest.raises(DataRefusedError, match=r"expected '\{', found '\['.*data of the source label_studio"):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))
