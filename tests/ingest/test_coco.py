"""The source coco, and JSON that is read piece by piece."""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks

from components.base.errors import DataRefusedError, UsageError
from components.ingest import IngestConfig, ingest, json_stream, read_manifest
from components.ingest.json_stream import JsonError, read_object
from tests.make.boxes import ingest_boxes, make_image, read_rejects, read_warnings, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}, {"id": 90, "name": "toothbrush"}]


def image(key: int, name: str, **changes: Any) -> dict[str, Any]:
    return {"id": key, "file_name": name, "width": 40, "height": 20, **changes}


def box(image_id: int, category: int, *bbox: float, **changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image_id, "category_id": category, "bbox": list(bbox), **changes}


def coco(images: Any, annotations: Any, categories: Any = CATEGORIES) -> str:
    # As the real files: what is referred to stands last.
    return json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories})


def two_splits(root: Path) -> Path:
    return write_files(
        root,
        {
            "annotations/instances_train2017.json": coco(
                [image(3, "1.png"), image(5, "2.png")],
                [box(5, 18, 0, 0, 40, 20), box(3, 17, 10, 5, 10, 10), box(5, 17, 10.5, 5, 10, 10, iscrowd=1)],
            ),
            "annotations/instances_val2017.json": coco(
                [image(3, "1.png"), image(4, "3.png")], [box(4, 17, 0, 0, 8, 8)]
            ),
            "annotations/captions_train2017.json": "{}",
            "train2017/1.png": make_image(1),
            "train2017/2.png": make_image(2),
            "train2017/9.png": make_image(9),  # not in the list: none of the data
            "val2017/1.png": make_image(3),
            "val2017/3.png": make_image(4),
        },
    )


def test_the_folders_of_coco(tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = ingest_boxes("coco", two_splits(tmp_path / "in"), out)
    assert {name: (one.split, one.boxes, one.difficult) for name, one in found.items()} == {
        "train2017/1.png": ("train", [("cat", 0.25, 0.25, 0.5, 0.75)], [0]),
        # A crowd is there, and does not count.
        "train2017/2.png": ("train", [("dog", 0, 0, 1, 1), ("cat", 0.2625, 0.25, 0.5125, 0.75)], [0, 1]),
        "val2017/1.png": ("eval", [], []),
        "val2017/3.png": ("eval", [("cat", 0, 0, 0.2, 0.4)], [0]),
    }
    assert read_rejects(out) == []
    # In the order of their ids and numbered from 1; a category without a box is no class.
    assert found["train2017/2.png"].values["image/object/class/label"] == [2, 1]
    manifest = read_manifest(out)
    assert manifest is not None
    assert (manifest.class_names, manifest.max_boxes) == (["cat", "dog"], 2)


def test_the_file_itself_finds_the_folders_beside_its_own(tmp_path: Path) -> None:
    root = two_splits(tmp_path / "in")
    found = ingest_boxes("coco", root / "annotations" / "instances_val2017.json", tmp_path / "out")
    # Its name tells no split: there is nothing to tell it from.
    assert {name: one.split for name, one in found.items()} == {
        "val2017/1.png": "train",
        "val2017/3.png": "train",
    }


def test_a_json_in_every_split_folder(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "train/_annotations.coco.json": coco([image(0, "a.png")], [box(0, 17, 0, 0, 20, 20)]),
            "train/a.png": make_image(1),
            "valid/_annotations.coco.json": coco([image(0, "a.png")], [box(0, 17, 20, 0, 20, 20)]),
            "valid/a.png": make_image(2),
        },
    )
    found = ingest_boxes("coco", root, tmp_path / "out")
    assert {name: (one.split, one.boxes) for name, one in found.items()} == {
        "train/a.png": ("train", [("cat", 0, 0, 0.5, 1)]),
        "valid/a.png": ("eval", [("cat", 0.5, 0, 1, 1)]),
    }
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        for path in sorted(root.rglob("*.*")):
            packed.write(path, path.relative_to(tmp_path))
    zipped = ingest_boxes("coco", tmp_path / "in.zip", tmp_path / "zipped")
    assert [one.boxes for one in zipped.values()] == [one.boxes for one in found.values()]


def test_odd_annotations(tmp_path: Path) -> None:
    images = [image(n, f"{n}.png") for n in range(1, 7)]
    images[1] |= {"width": 0}
    images[2].pop("height")
    images[3] |= {"width": 20, "height": 40}
    annotations = [
        box(1, 17, -5, -5, 15, 15),
        box(1, 17, 10, 5, 0, 10),
        box(1, 17, 40, 0, 5, 5),
        box(2, 17, 10, 5, 10, 10),
        box(3, 17, 10, 5, 10, 10),
        box(4, 17, 10, 5, 10, 10),
        {**box(5, 17), "id": 7},
        box(6, 17, 10, 5, 10, "wide"),
        {**box(77, 17, 1, 2, 3, 4), "id": 8},
    ]
    root = write_files(tmp_path / "in", {f"{n}.png": make_image(n) for n in range(1, 6)})
    write_files(root, {"list.json": coco(images, annotations)})
    found = ingest_boxes("coco", root, tmp_path / "out")
    quarter = [("cat", 0.25, 0.25, 0.5, 0.75)]
    assert {name: one.boxes for name, one in found.items()} == {
        "1.png": [("cat", 0.0, 0.0, 0.25, 0.5)],
        "2.png": quarter,
        "3.png": quarter,
    }
    said = read_rejects(tmp_path / "out")
    assert [(path, reason[:45]) for path, reason in said] == [
        ("1.png", "box 2 of 3 (cat): empty: xmin and xmax are bo"),
        ("1.png", "box 3 of 3 (cat): nothing of it is on the ima"),
        ("4.png", "its boxes are of an image of 20 x 40 pixels, "),
        ("5.png", "bbox: expected [x, y, width, height], found ["),
        ("6.png", "no such file (list.json, image 6)"),
        ("list.json, annotation 8", "its image_id 77 is not among the images"),
    ]
    assert said[3][1] == "bbox: expected [x, y, width, height], found [] (list.json, annotation 7)"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", DataRefusedError, r"list.json, line 1: the file is cut off"),
        ("[]", DataRefusedError, r"list.json, line 1: expected '\{', found '\['"),
        ('{"licenses": [\n1,\n{"id": ', DataRefusedError, r"line 3: the file is cut off"),
        ('{"licenses": [\n{"id": 1}\n{"id": 2}]}', DataRefusedError, r"line 3: expected '\]', found '\{'"),
        ('{"images": []} x', DataRefusedError, r"expected nothing after the object"),
        ('{"photos": 3}', UsageError, r"no COCO annotations: expected lists images, .* found photos"),
        (coco([image(1, "1.png")], [], [{"id": 1}]), DataRefusedError, r"expected a name, found None"),
        (coco([{"id": "x"}], []), DataRefusedError, r"image x: expected a whole number as id, found 'x'"),
        (coco([{"id": 1}], []), DataRefusedError, r"image 1: expected a file_name, found None"),
        (coco([3], []), DataRefusedError, r"image 3: expected a whole number as id"),
        (coco([image(1, "1.png")] * 2, []), DataRefusedError, r"image 1: its id is there twice"),
        (
            coco([image(1, "1.png")], [box(1, 99, 1, 2, 3, 4)]),
            DataRefusedError,
            r"annotation 1: category_id 99 is not among the categories, which are 17, 18, 90",
        ),
        (
            coco([image(1, "1.png")], [], [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]),
            DataRefusedError,
            r"the category 1 is 'b', and 'a' elsewhere",
        ),
        (
            coco(
                [image(1, "1.png")],
                [box(1, 1, 1, 2, 3, 4), box(1, 2, 1, 2, 3, 4)],
                [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}],
            ),
            DataRefusedError,
            r"'a': it is there twice",
        ),
        (coco([image(1, "1.png")], []), DataRefusedError, r"none of its images has a box"),
    ],
)
def test_lists_that_cannot_be_used(
    tmp_path: Path, content: str, error: type[Exception], message: str
) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image(), "list.json": content})
    with pytest.raises(error, match=message):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))
    assert not list((tmp_path / "out").glob("*-of-*"))


def test_folders_that_hold_no_list_or_several(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image()})
    with pytest.raises(UsageError, match=r"expected files like annotations/instances_train2017.json, fou"):
        ingest("coco", root, tmp_path / "out")
    write_files(root, {"a.json": "{}", "b.json": "{}"})
    with pytest.raises(UsageError, match=r"found 2 other .json files \(a.json, b.json\). Give the f"):
        ingest("coco", root, tmp_path / "out")


def test_ids_in_another_dress(tmp_path: Path) -> None:
    images = [image("3", "1.png", width="40", height=20.0), image(4.0, "2.png")]  # type: ignore[arg-type]
    annotations = [box(3, 17, 10, 5, 10, 10), box("4", 17.0, "10", "5", 10, 10)]  # type: ignore[arg-type]
    categories = [{"id": "17", "name": "cat"}]
    root = write_files(tmp_path / "in", {"1.png": make_image(1), "2.png": make_image(2)})
    write_files(root, {"list.json": coco(images, annotations, categories)})
    found = ingest_boxes("coco", root, tmp_path / "out")
    assert [one.boxes for one in found.values()] == [[("cat", 0.25, 0.25, 0.5, 0.75)]] * 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [True, 5, 10, 10]}, "bbox: expected a number, got True (list.json, annotation 9)"),
        ({"bbox": [[1], 5, 10, 10]}, "bbox: expected a number, got [1] (list.json, annotation 9)"),
        (
            {"bbox": {"x": 1}},
            "bbox: expected [x, y, width, height], found {'x': 1} (list.json, annotation 9)",
        ),
        ({"bbox": [float("nan"), 5, 10, 10]}, "bbox: expected a number, got nan (list.json, annotation 9)"),
        ({"bbox": [5, 5, float("inf"), 10]}, "bbox: expected a number, got inf (list.json, annotation 9)"),
        ({"iscrowd": []}, None),
        ({"iscrowd": "many"}, "expected a number, got 'many' (list.json, annotation 9)"),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, changes: dict[str, Any], reason: str | None) -> None:
    annotations = [box(1, 17, 10, 5, 10, 10), {**box(2, 17, 10, 5, 10, 10), "id": 9, **changes}]
    root = write_files(tmp_path / "in", {"1.png": make_image(1), "2.png": make_image(2)})
    write_files(root, {"list.json": coco([image(1, "1.png"), image(2, "2.png")], annotations)})
    found = ingest_boxes("coco", root, tmp_path / "out")
    assert read_rejects(tmp_path / "out") == ([("2.png", reason)] if reason else [])
    assert len(found) == (1 if reason else 2)


def test_a_width_that_is_no_number(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image(1), "2.png": make_image(2)})
    images = [image(1, "1.png"), image(2, "2.png", width=True)]
    write_files(root, {"list.json": coco(images, [box(1, 17, 10, 5, 10, 10)])})
    ingest_boxes("coco", root, tmp_path / "out")
    assert read_rejects(tmp_path / "out") == [
        ("2.png", "width: expected a number, got True (list.json, image 2)")
    ]


def test_names_of_another_machine(tmp_path: Path) -> None:
    names = {
        r"C:\data\1.png": "images/1.png",
        r"..\..\label-studio\data\media\upload\3\2.png": "images/2.png",
        "/home/me/set/cats/3.png": "images/cats/3.png",
        # Only folders that are not there are passed over: this one is missing.
        "dogs/3.png": None,
        "gone/5.png": None,
        "a/6.png": "images/6.png",
        "b/6.png": "images/6.png",
        "elsewhere/7.png": None,
    }
    root = write_files(tmp_path / "in", {
        **{f"images/{n}.png": make_image(n) for n in (1, 2, 6, 7)},
        "images/cats/3.png": make_image(3),
        "images/dogs/4.png": make_image(4),
        "images/dogs/7.png": make_image(5),
    })  # fmt: skip
    write_files(
        root,
        {"list.json": coco([image(n, name) for n, name in enumerate(names)], [box(0, 17, 10, 5, 10, 10)])},
    )
    found = ingest_boxes("coco", root, tmp_path / "out")
    assert set(found) == {"images/1.png", "images/2.png", "images/cats/3.png"}
    assert read_rejects(tmp_path / "out") == [
        (
            "dogs/3.png",
            "no such file; images/cats/3.png has its name and is in another folder (list.json, image 3)",
        ),
        (
            "elsewhere/7.png",
            "ambiguous: 2 files have this name, images/7.png and images/dogs/7.png among them (list.json, "
            "image 7)",
        ),
        ("gone/5.png", "no such file (list.json, image 4)"),
        ("images/6.png", "ambiguous: it may be a/6.png and b/6.png of the list (list.json, image 5)"),
        ("images/6.png", "ambiguous: it may be b/6.png and a/6.png of the list (list.json, image 6)"),
    ]


def _mask() -> Any:
    """A mask of 20 x 40 with a ring from (10, 5) to (20, 15)."""
    mask = np.zeros((20, 40), np.uint8, order="F")
    mask[5:15, 10:20] = 1
    mask[8:12, 12:18] = 0
    return mask


def _runs(mask: Any) -> list[int]:
    runs = [len(list(group)) for _, group in itertools.groupby(mask.ravel(order="F"))]
    return runs if not mask[0, 0] else [0, *runs]


def test_segments_without_a_box(tmp_path: Path) -> None:
    packed = masks.encode(_mask())
    segments: dict[int, Any] = {
        1: [[10, 5, 20, 5, 20, 15], [12, 6, 14, 6, 14, 8]],
        2: {"size": [20, 40], "counts": _runs(_mask())},
        3: {"size": [20, 40], "counts": packed["counts"].decode()},
        # pycocotools would read on behind the end of this one.
        4: {"size": [20, 40], "counts": "PP"},
        5: {"size": [20, 40], "counts": [10, 20]},
        6: [[1, 2, 3]],
        7: {"size": [0, 40], "counts": [0]},
        8: [],
        9: {"size": [20, 40], "counts": [800]},
        10: [[1, 2, 3, True, 5, 6]],
    }
    annotations = [
        {
            "id": 0,
            "image_id": n,
            "category_id": 17,
            "segmentation": value,
            **({"bbox": None} if n % 2 else {}),
        }
        for n, value in segments.items()
    ]
    root = write_files(tmp_path / "in", {f"{n:02}.png": make_image(n) for n in segments})
    write_files(root, {"list.json": coco([image(n, f"{n:02}.png") for n in segments], annotations)})
    found = ingest_boxes("coco", root, tmp_path / "out")
    quarter = [("cat", 0.25, 0.25, 0.5, 0.75)]
    assert {name: one.boxes for name, one in found.items()} == {f"0{n}.png": quarter for n in (1, 2, 3)}
    assert [(path, reason.partition(" (list")[0]) for path, reason in read_rejects(tmp_path / "out")] == [
        ("04.png", "segmentation: counts: expected runs or a compressed RLE, found 'PP'"),
        ("05.png", "segmentation: counts: expected runs that add up to 800, found [10, 20]"),
        (
            "06.png",
            "segmentation: expected polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or RLE {counts, size}, "
            "found [1, 2, 3]",
        ),
        ("07.png", "segmentation: size: expected [height, width] of 1 to 1048576, found [0, 40]"),
        ("08.png", "bbox: expected [x, y, width, height], found None"),
        ("09.png", "segmentation: counts: the mask is empty"),
        ("10.png", "segmentation: expected a number, got True"),
    ]


def test_a_box_that_is_there_wins_over_segments(tmp_path: Path) -> None:
    one = {**box(1, 17, 10, 5, 10, 10), "segmentation": "not looked at"}
    root = write_files(
        tmp_path / "in", {"1.png": make_image(), "list.json": coco([image(1, "1.png")], [one])}
    )
    assert ingest_boxes("coco", root, tmp_path / "out")["1.png"].boxes == [("cat", 0.25, 0.25, 0.5, 0.75)]


def test_a_rotated_box_of_cvat(tmp_path: Path) -> None:
    # A quarter turn about (15, 10) makes 10 x 4 pixels of 4 x 10.
    turned = box(1, 17, 13, 5, 4, 10, attributes={"occluded": False, "rotation": 270.0})
    straight = box(1, 18, 13, 5, 4, 10, attributes={"rotation": "left"})
    root = write_files(
        tmp_path / "in", {"1.png": make_image(), "list.json": coco([image(1, "1.png")], [turned, straight])}
    )
    assert ingest_boxes("coco", root, tmp_path / "out")["1.png"].boxes == [
        ("cat", 0.25, 0.4, 0.5, 0.6),
        ("dog", 0.325, 0.25, 0.425, 0.75),
    ]
    assert "1 object is not an upright box (1 rotated box)" in str(read_warnings(tmp_path / "out"))


def test_crowds(tmp_path: Path) -> None:
    boxes = [box(1, 17, x, 5, 5, 5, iscrowd=1) for x in (0, 10, 20)]
    root = write_files(tmp_path / "in", {"1.png": make_image()})
    write_files(root, {"list.json": coco([image(1, "1.png")], boxes)})
    with pytest.raises(
        DataRefusedError,
        match=r"in: expected boxes of single objects, got 3 boxes, all of them marked as dif",
    ):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))
    assert not list((tmp_path / "out").glob("*-of-*"))
    write_files(root, {"list.json": coco([image(1, "1.png")], [*boxes, box(1, 17, 30, 5, 5, 5)])})
    assert ingest_boxes("coco", root, tmp_path / "out")["1.png"].difficult == [1, 1, 1, 0]
    assert "3 boxes of 4 are marked as difficult (iscrowd in COCO): the evaluation does not" in str(
        read_warnings(tmp_path / "out")
    )


def test_names_of_an_export_of_label_studio(tmp_path: Path) -> None:
    names = {
        "/data/upload/3/0123abcd-1.png": "images/0123abcd-1.png",
        "images/0123abcd-2.png": "images/2.png",  # uploaded from here: the file has no prefix
        "/data/local-files/?d=cats/a%20b.png": "images/cats/a b.png",
        "https://host/images/4.png?token=x": "images/4.png",
        "images/100%25.png": "images/100%25.png",
        "0123abcd-5.png": None,
    }
    root = write_files(
        tmp_path / "in", {name: make_image(n) for n, name in enumerate(filter(None, names.values()))}
    )
    listed = [image(n, name) for n, name in enumerate(names)]
    write_files(root, {"result.json": coco(listed, [box(n, 17, 10, 5, 10, 10) for n in range(len(names))])})
    found = ingest_boxes("coco", root, tmp_path / "out")
    assert set(found) == set(filter(None, names.values()))
    assert read_rejects(tmp_path / "out") == [("0123abcd-5.png", "no such file (result.json, image 5)")]
    assert (
        "1 name of the list has the prefix of an upload to Label Studio, and was matched without it: "
        "'images/0123abcd-2.png' is images/2.png." in read_warnings(tmp_path / "out")
    )


def test_two_uploads_of_one_file_are_ambiguous(tmp_path: Path) -> None:
    listed = [image(n, f"/data/upload/3/0123abc{n}-1.png") for n in (1, 2)]
    root = write_files(tmp_path / "in", {"1.png": make_image(), "result.json": coco(listed, [])})
    with pytest.raises(DataRefusedError, match=r"1.png: several names of the list stand for it"):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))


def list_of(root: Path, boxes: list[list[float]], size: tuple[int, int] = (40, 20)) -> Path:
    """One box an image, all images of 40 x 20 pixels."""
    write_files(root, {f"{n}.png": make_image(n) for n in range(len(boxes))})
    images = [image(n, f"{n}.png", width=size[0], height=size[1]) for n in range(len(boxes))]
    return write_files(root, {"list.json": coco(images, [box(n, 17, *one) for n, one in enumerate(boxes)])})


# Where the boxes of a set of images lie: x, y, width, height in pixels of 40 x 20.
PLACES = [(x, y, 10, 8) for x in (2, 10, 18, 26) for y in (1, 5, 9)]


def test_corners_in_place_of_lengths(tmp_path: Path) -> None:
    root = list_of(tmp_path / "in", [[x, y, x + w, y + h] for x, y, w, h in PLACES])
    with pytest.raises(
        DataRefusedError,
        match=r"in: 8 of 12 boxes reach far beyond .* seem to be \[xmin, ymin, xmax, ymax\] where \[x, y, "
        r"width, height\] is expected",
    ):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))
    assert not list((tmp_path / "out").glob("*-of-*"))
    right = list_of(tmp_path / "right", [list(place) for place in PLACES])
    assert len(ingest_boxes("coco", right, tmp_path / "out2", max_reject_share=0.01)) == 12


def test_boxes_of_other_images(tmp_path: Path) -> None:
    root = list_of(tmp_path / "in", [[3 * x, 3 * y, 3 * w, 3 * h] for x, y, w, h in PLACES], size=(0, 0))
    with pytest.raises(
        DataRefusedError, match=r"12 of 12 boxes .* of other images than these, or of these in"
    ):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))


def test_shares_in_place_of_pixels(tmp_path: Path) -> None:
    root = list_of(tmp_path / "in", [[x / 40, y / 20, w / 40, h / 20] for x, y, w, h in PLACES])
    with pytest.raises(
        UsageError,
        match=r"12 of 12 boxes with no number outside of 0 .. 1: they seem to be shares; --box-units sh",
    ):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))
    found = ingest_boxes("coco", root, tmp_path / "out", box_units="shares")
    assert found["0.png"].boxes == [("cat", 0.05, 0.05, 0.3, 0.45)]
    # And the other way round, which is said by mistake.
    right = list_of(tmp_path / "right", [list(place) for place in PLACES])
    with pytest.raises(
        UsageError, match=r"in shares, got 12 of 12 boxes with numbers above 2: they seem to be pixels"
    ):
        ingest("coco", right, tmp_path / "out2", IngestConfig(workers=1, box_units="shares"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [\n{"id": ' + "9" * 5000 + "}]}", r"list.json, line 2: a number of 5,000 digits"),
        (
            '{"annotations": [{"bbox": [1, 2, 3, ' + "9" * 400 + "]}]}",
            r"list.json, line 1: a number of 400 digits",
        ),
        (
            coco([image(1, "\ud800.png")], []),
            r"list.json, image 1: expected a file_name, found '\\ud800.png'",
        ),
        (
            coco([image(1, "1.png")], [], [{"id": 1, "name": "\ud800"}]),
            r"category \\ud800: expected a name, found '\\ud800'",
        ),
        ('{"images": ' + "[" * 100_000, r"list.json, line 1: lists or objects in each other, deeper than"),
        (
            '{"images": [' + '{"a": ' * 100_000,
            r"list.json, line 1: lists or objects in each other, deeper than",
        ),
        ('{"images": ["' + "x" * (40 << 20) + '"]}', r"list.json, line 1: a value of more than 16 MiB"),
    ],
)
def test_hostile_lists(tmp_path: Path, content: str, message: str) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image(), "list.json": content})
    with pytest.raises(DataRefusedError, match=message):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))


def test_a_list_that_is_not_utf_8(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image(), "list.json": coco([], []).encode("utf-16")})
    with pytest.raises(DataRefusedError, match=r"list.json, line 1: not UTF-8"):
        ingest("coco", root, tmp_path / "out", IngestConfig(workers=1))


def test_long_texts_on_the_border_of_a_piece(tmp_path: Path) -> None:
    # A mask's runs are texts of some hundred letters, and a piece ends anywhere in them.
    value = {"a": [{"id": n, "counts": f"{n}" + "x" * 300} for n in range(6000)]}
    file = write_files(tmp_path, {"x.json": json.dumps(value)}) / "x.json"
    assert [element for _, element in read_object(file)] == value["a"]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_json_is_read_piece_by_piece(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK_CHARS", chunk)
    value = {"a": [1, 23, "x]", {"b": [1.5, None]}, []], "n": 1234, "e": [], "o": {"k": "v"}, "s": "\u00e9"}
    for indent in (None, 2):
        file = write_files(tmp_path, {"x.json": json.dumps(value, indent=indent)}) / "x.json"
        assert list(read_object(file)) == [
            *(("a", element) for element in value["a"]),
            ("n", 1234),
            ("o", {"k": "v"}),
            ("s", "\u00e9"),
        ]
    file.write_text(json.dumps(value, indent=2)[:-20])
    with pytest.raises(JsonError, match=r"line \d+: the file is cut off"):
        list(read_object(file))
    file.write_text('{"a": [\n1,\n\n oops, 2]}')
    with pytest.raises(JsonError, match=r"line 4: "):
        list(read_object(file))
    file.write_text('{"a": ' + "[" * 100_000)
    with pytest.raises(JsonError):
        list(read_object(file))


@pytest.mark.real_data
def test_asirra_as_coco_is_asirra_as_voc(tmp_path: Path, real_data_dir: Path) -> None:
    import defusedxml.ElementTree

    root = real_data_dir / "asirra_detection"
    images, annotations = [], []
    for key, file in enumerate(sorted((root / "test").glob("*.xml"))):
        tree = defusedxml.ElementTree.parse(file)
        size = {side: int(tree.findtext(f"size/{side}")) for side in ("width", "height")}
        images.append(image(key, f"{file.stem}.jpg", **size))
        for element in tree.findall("object"):
            xmin, ymin, xmax, ymax = (
                float(element.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            category = {"cat": 17, "dog": 18}[element.findtext("name")]
            annotations.append(box(key, category, xmin, ymin, xmax - xmin, ymax - ymin))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "instances.json").write_text(coco(images, annotations))
    (tmp_path / "in" / "test").symlink_to(root / "test")
    found = ingest_boxes("coco", tmp_path / "in", tmp_path / "coco")
    by_voc = ingest_boxes("voc", root / "test", tmp_path / "voc")
    assert len(found) == 85
    for name, one in by_voc.items():
        mine = found[f"test/{name}"].boxes
        assert [each[0] for each in mine] == [each[0] for each in one.boxes]
        assert [each[1:] for each in mine] == [pytest.approx(each[1:], abs=1e-4) for each in one.boxes]
