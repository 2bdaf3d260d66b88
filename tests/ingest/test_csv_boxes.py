"""A CSV with a box in every row."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.ingest import IngestConfig, ingest, read_manifest
from tests.make.boxes import ingest_boxes, make_image, read_rejects, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
CAT_SHARES = ("cat", 0.25, 0.25, 0.5, 0.75)


def test_rows_of_an_image_need_not_stand_together(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "labels.csv": HEADER
            + "1.png,40,20,cat,10,5,20,15\n2.png,40,20,dog,0,0,40,20\n1.png,40,20, cat ,30.5,5,50,15\n"
            + "3.png,40,20,,,,,\n",
            **{f"images/{n}.png": make_image(n) for n in range(1, 5)},
        },
    )
    out = tmp_path / "out"
    found = ingest_boxes("csv", root / "labels.csv", out)
    assert {name: one.boxes for name, one in found.items()} == {
        "images/1.png": [CAT_SHARES, ("cat", 0.7625, 0.25, 1.0, 0.75)],
        "images/2.png": [("dog", 0, 0, 1, 1)],
        "images/3.png": [],
    }
    assert read_rejects(out) == []
    manifest = read_manifest(out)
    assert manifest is not None
    assert (manifest.task, manifest.class_names, manifest.max_boxes) == ("detection", ["cat", "dog"], 2)


def test_columns_in_any_order_and_without_sizes(tmp_path: Path) -> None:
    table = "Class;XMAX;xmin;ymin;ymax;difficult;truncated;Image;split\ncat;20;10;5;15;1;;1.png;val\n"
    table += "dog;20;10;5;15;0;;1.png;val\n"
    root = write_files(tmp_path / "in", {"boxes.csv": table, "1.png": make_image()})
    found = ingest_boxes("csv", root, tmp_path / "out")["1.png"]
    assert (found.split, found.boxes, found.difficult) == (
        "eval",
        [CAT_SHARES, ("dog", *CAT_SHARES[1:])],
        [1, 0],
    )
    assert found.values["image/object/truncated"] == [0, 0]


def test_a_csv_for_each_split(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "train_labels.csv": HEADER + "1.png,40,20,cat,10,5,20,15\n",
            "test_labels.csv": HEADER + "1.png,0,0,dog,0,0,40,20\n",
            # The same name in both: the one in the folder of the CSV's split is meant.
            "train/1.png": make_image(1),
            "test/1.png": make_image(2),
        },
    )
    found = ingest_boxes("csv", root, tmp_path / "out")
    assert {name: (one.split, one.boxes) for name, one in found.items()} == {
        "train/1.png": ("train", [CAT_SHARES]),
        "test/1.png": ("test", [("dog", 0, 0, 1, 1)]),
    }
    write_files(root, {"more.csv": HEADER + "1.png,40,20,cat,10,5,20,15\n"})
    with pytest.raises(UsageError, match=r"3 lists in it .* have their names begin with their splits"):
        ingest("csv", root, tmp_path / "out2")


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    rows = [
        "1.png,40,20,cat,10,5,20,15",
        "2.png,40,20,cat,10,5,20,15",
        "2.png,40,20,cat,10,5,wide,15",  # line 4: what it should tell would be background
        "3.png,40,20,,10,5,20,15",
        "gone.png,40,20,cat,10,5,20,15",
        "gone.png,40,20,cat,10,5,20,15",
        "4.png,40,20,cat,10,5,20,15",
        "4.png,80,40,cat,10,5,20,15",
        "5.png,40,20,cat,10,5,,15",
        "6.png,20,40,cat,10,5,20,15",
        ",40,20,cat,10,5,20,15",
        "7.png,40,20,cat,20,5,10,15",
        "8.png,40,20,cat,,,,",
    ]
    files = {f"{n}.png": make_image(n) for n in range(1, 9)}
    root = write_files(tmp_path / "in", {"l.csv": HEADER + "\n".join(rows), **files})
    found = ingest_boxes("csv", root, tmp_path / "out")
    assert {name: one.boxes for name, one in found.items()} == {"1.png": [CAT_SHARES], "7.png": []}
    assert read_rejects(tmp_path / "out") == [
        ("2.png", "xmax: expected a number, got 'wide' (l.csv line 4)"),
        ("3.png", "unlabelled: a box without a class (l.csv line 5)"),
        ("4.png", "l.csv line 9 gives another size than l.csv line 8"),
        ("5.png", "xmax: expected a number, got '' (l.csv line 10)"),
        (
            "6.png",
            "its boxes are of an image of 20 x 40 pixels, and it has 40 x 20: it is not the image that "
            "was annotated",
        ),
        ("7.png", "box 1 of 1 (cat): in the wrong order: xmin 20 is above xmax 10"),
        (
            "8.png",
            "a class without a box, 'cat', which has boxes in other rows: add its box, or leave the class "
            "empty if nothing is on the image (l.csv line 14)",
        ),
        ("gone.png", "no such file (l.csv line 6)"),
        ("l.csv line 12", "no file name (l.csv line 12)"),
    ]


@pytest.mark.parametrize(
    ("header", "boxes", "nothing", "shown"),
    [
        pytest.param(
            "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max",
            ["1,cat,0,R1,10,5,20,15", "1,No finding,14,R2,,,,", "2,cat,0,R2,10,5,20,15"],
            ["3,No finding,14,R1,,,,", "3,No finding,14,R2,,,,", "4,No finding,14,R3,nan,NaN,nan,nan"],
            "No finding 3",
            id="VinBigData",
        ),
        pytest.param(
            "patientId,x,y,width,height,Target",
            ["1,10.0,5.0,10.0,10.0,1", "2,10.0,5.0,10.0,10.0,1"],
            ["3,,,,,0", "4,0,0,0.0,0,0"],
            "0 2",
            id="RSNA",
        ),
    ],
)
def test_a_class_that_never_has_a_box_means_that_nothing_is_there(
    tmp_path: Path, header: str, boxes: list[str], nothing: list[str], shown: str
) -> None:
    files = {f"{n}.png": make_image(n) for n in range(1, 5)}
    root = write_files(tmp_path / "in", {"train.csv": "\n".join([header, *nothing, *boxes]), **files})
    found = ingest_boxes("csv", root, tmp_path / "out")
    assert [len(found[f"{n}.png"].boxes) for n in range(1, 5)] == [1, 1, 0, 0]
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.class_names == ["cat" if "cat" in boxes[0] else "1"]
    assert (
        f"Images are listed with a class and without a box ({shown}), and no row has a box of such a class: "
        "they are read as images without objects."
    ) in manifest.warnings
    assert read_rejects(tmp_path / "out") == []
    (root / "train.csv").write_text("\n".join([header, *nothing]))
    with pytest.raises(DataRefusedError, match="none of its images has a box"):
        ingest_boxes("csv", root, tmp_path / "none")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"a.csv": "filename,class,xmin,ymin\n1.png,cat,1,2\n"},
            "the columns xmin, ymin mean detection, which needs xmin, ymin, xmax, ymax, in pixels",
        ),
        (
            {"a.csv": "filename,xmin,ymin,xmax,ymax\n1.png,1,2,3,4\n"},
            "no column for the class: expected label, class or another usual name",
        ),
        (
            {"train.csv": HEADER + "1.png,40,20,cat,1,2,3,4\n", "test.csv": "filename,label\n1.png,cat\n"},
            r"train.csv has boxes \(xmin, ymin, xmax, ymax\) and test.csv has not",
        ),
        (
            {"a.csv": HEADER + "1.png,40,20,cat,0.1,0.2,0.3,0.4\n"},
            "got 1 of 1 box with no number outside of 0 .. 1: they seem to be shares; --box-units shares",
        ),
    ],
)
def test_tables_that_are_of_another_kind(tmp_path: Path, tables: dict[str, str], message: str) -> None:
    root = write_files(tmp_path / "in", {**tables, "1.png": make_image()})
    with pytest.raises(UsageError, match=message):
        ingest("csv", root, tmp_path / "out", IngestConfig(workers=1))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("header", "box"),
    [
        ("filename,x1,y1,x2,y2,class", "1.png,10,5,20,15,cat"),
        ("filename,x_min,y_min,x_max,y_max,label", "1.png,10,5,20,15,cat"),
        ("filename,left,top,right,bottom,label", "1.png,10,5,20,15,cat"),
        ("filename,x,y,w,h,class", "1.png,10,5,10,10,cat"),
        ("class,image,X,Y,Width,Height", "cat,1.png,10,5,10,10"),
        ("label,bbox_x,bbox_y,bbox_width,bbox_height,image_name,width,height", "cat,10,5,10,10,1.png,40,20"),
        # keras-retinanet's: no line names the columns.
        ("2.png,,,,,", "1.png,10,5,20,15,cat"),
        ("2.png,10,5,20,15,dog", "1.png,10,5,20,15,cat"),
        ("/home/me/set/2.png,10,5,20,15,dog", "/home/me/set/1.png,10,5,20,15,cat"),
    ],
)
def test_boxes_in_other_columns(tmp_path: Path, header: str, box: str) -> None:
    root = write_files(
        tmp_path / "in", {"boxes.csv": f"{header}\n{box}\n", "1.png": make_image(1), "2.png": make_image(2)}
    )
    found = ingest_boxes("csv", root, tmp_path / "out")
    assert found["1.png"].boxes == [CAT_SHARES]
    if "2.png" in header:
        assert found["2.png"].boxes == ([] if header.endswith(",") else [("dog", 0.25, 0.25, 0.5, 0.75)])
    else:
        assert len(found) == 1


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("filename,label,x1,y1", "the columns x1, y1 mean detection, which needs x1, y1, x2, y2"),
        ("filename,label,x_min", "the columns x_min mean detection, which needs x_min, y_min, x_max, y_max"),
        (
            "filename,label,boxes",
            "expected a box in four columns, .* got the column boxes; write its numbers",
        ),
        ("filename,label,region_shape_attributes", "got the column region_shape_attributes"),
        (
            "filename,label,x_center,y_center",
            "expected a box in four columns, .* got x_center, y_center; write",
        ),
        ("filename,label,CX,CY", "got cx, cy; write the corners into columns of these names"),
        ("filename,label,bbox_xmin,bbox_ymin", "got bbox_xmin, bbox_ymin; write"),
        ("filename,label,Xmin (px),Ymax (px)", r"got xmin \(px\), ymax \(px\); write"),
        ("filename,label,roi.x1,roi.y1", r"got roi\.x1, roi\.y1; write"),
    ],
)
def test_half_a_box_is_no_label(tmp_path: Path, header: str, message: str) -> None:
    root = write_files(tmp_path / "in", {"a.csv": f"{header}\n1.png,cat,3,4\n", "1.png": make_image()})
    with pytest.raises(UsageError, match=message):
        ingest("csv", root, tmp_path / "out", IngestConfig(workers=1))


def test_columns_that_only_look_like_boxes(tmp_path: Path) -> None:
    rows = "".join(f"{n}.png,{'cat' if n % 2 else 'dog'},1,2\n" for n in range(4))
    root = write_files(tmp_path / "in", {"a.csv": "filename,label,x1,x2\n" + rows})
    write_files(root, {f"{n}.png": make_image(n) for n in range(4)})
    ingest("csv", root, tmp_path / "out", IngestConfig(workers=1, max_reject_share=1.0))
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.task == "classification"


def test_lengths_in_place_of_corners(tmp_path: Path) -> None:
    rows = "".join(f"{n}.png,40,20,cat,{20 + n},{8 + n},10,6\n" for n in range(6))
    root = write_files(
        tmp_path / "in", {"a.csv": HEADER + rows, **{f"{n}.png": make_image(n) for n in range(6)}}
    )
    with pytest.raises(
        DataRefusedError,
        match=r"All boxes seem to be x, y, width, height "
        r"where xmin, ymin, xmax",
    ):
        ingest("csv", root, tmp_path / "out", IngestConfig(workers=1))
