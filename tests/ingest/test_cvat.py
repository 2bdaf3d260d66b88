"""The source cvat: shapes, splits, classes, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.ingest import IngestConfig, ingest, read_manifest
from components.ingest.sources import cvat_xml
from tests.make.boxes import ingest_boxes, make_image, read_rejects, read_warnings, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

META = (
    "<version>1.1</version><meta><task><id>7</id><name>pets</name><labels>"
    "<label><name>dog</name><attributes></attributes></label><label><name>owl</name></label>"
    "<label><name>cat</name></label></labels></task></meta>"
)
# A quarter of an image of 40 x 20.
CAT = '<box label="cat" source="manual" occluded="0" xtl="10.00" ytl="5.00" xbr="20.00" ybr="15.00"/>'
CAT_SHARES = ("cat", 0.25, 0.25, 0.5, 0.75)


def image(number: int, name: str, *shapes: str, more: str = 'width="40" height="20"') -> str:
    return f'<image id="{number}" name="{name}" {more}>\n{"".join(shapes)}\n</image>\n'


def cvat(*images: str, meta: str = META) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n{meta}\n{"".join(images)}</annotations>\n'


def test_an_export_with_its_images(tmp_path: Path) -> None:
    dog = '<box label="dog" xtl="0" ytl="0" xbr="40" ybr="20"><attribute name="age">3</attribute></box>'
    files: dict[str, bytes | str] = {
        "annotations.xml": cvat(image(0, "1.png", CAT, dog), image(1, "a/2.png"), image(2, "b/2.png", CAT)),
        "images/1.png": make_image(1),
        "images/a/2.png": make_image(2),
        "images/b/2.png": make_image(3),
        "images/9.png": make_image(9),  # not in the file: not part of the data
    }
    root = write_files(tmp_path / "in", files)
    found = ingest_boxes("cvat", root, tmp_path / "out", max_reject_share=0.0)
    assert {name: one.boxes for name, one in found.items()} == {
        "images/1.png": [CAT_SHARES, ("dog", 0, 0, 1, 1)],
        "images/a/2.png": [],
        "images/b/2.png": [CAT_SHARES],
    }
    # In the order of the file's labels; one without a box is not among them.
    assert found["images/1.png"].values["image/object/class/label"] == [2, 1]
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.class_names == ["dog", "cat"]
    by_file = ingest_boxes("cvat", root / "annotations.xml", tmp_path / "by_file")
    assert by_file.keys() == found.keys()
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        for name in files:
            packed.write(root / name, name)
    assert ingest_boxes("cvat", tmp_path / "in.zip", tmp_path / "zipped").keys() == found.keys()


def test_the_box_round_each_shape(tmp_path: Path) -> None:
    shapes = {
        # A quarter turn about (15, 10) makes 10 x 4 pixels of 4 x 10.
        '<box label="cat" xtl="13" ytl="5" xbr="17" ybr="15" rotation="90.00"/>': (0.25, 0.4, 0.5, 0.6),
        '<polygon label="cat" points="10.0,8.0;20.0,5.0;12.5,15.0"/>': (0.25, 0.25, 0.5, 0.75),
        '<ellipse label="cat" cx="15" cy="10" rx="5" ry="4"/>': (0.25, 0.3, 0.5, 0.7),
        '<mask label="cat" rle="1, 2" left="10" top="5" width="10" height="10"/>': (0.25, 0.25, 0.5, 0.75),
    }
    images = [image(n, f"{n}.png", shape) for n, shape in enumerate(shapes)]
    root = write_files(tmp_path / "in", {f"{n}.png": make_image(n) for n in range(len(shapes))})
    write_files(root, {"annotations.xml": cvat(*images)})
    found = ingest_boxes("cvat", root, tmp_path / "out")
    assert [one.boxes for _, one in sorted(found.items())] == [[("cat", *sides)] for sides in shapes.values()]
    assert (
        "4 objects are not an upright box (1 ellipse, 1 mask, 1 polygon, 1 rotated box): the box round each "
        "was read." in read_warnings(tmp_path / "out")
    )


def test_subsets_and_folders_are_splits(tmp_path: Path) -> None:
    sized = 'width="40" height="20" subset="{}"'.format
    images = [
        image(n, "1.png", CAT, more=sized(name)) for n, name in enumerate(("Train", "Validation", "default"))
    ]
    root = write_files(tmp_path / "in", {
        "annotations.xml": cvat(*images[:2], image(2, "3.png", CAT, more=sized("default"))),
        "images/Train/1.png": make_image(1), "images/Validation/1.png": make_image(2),
        "images/default/3.png": make_image(3),
    })  # fmt: skip
    found = ingest_boxes("cvat", root, tmp_path / "out")
    assert {name: one.split for name, one in found.items()} == {
        "images/Train/1.png": "train", "images/Validation/1.png": "eval", "images/default/3.png": "train",
    }  # fmt: skip
    two = write_files(tmp_path / "two", {
        "train/annotations.xml": cvat(image(0, "1.png", CAT)), "train/images/1.png": make_image(1),
        "test/annotations.xml": cvat(image(0, "1.png", CAT)), "test/images/1.png": make_image(2),
    })  # fmt: skip
    found = ingest_boxes("cvat", two, tmp_path / "two_out")
    assert {name: one.split for name, one in found.items()} == {
        "train/images/1.png": "train", "test/images/1.png": "test",
    }  # fmt: skip


def test_files_by_split(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {
        "train.xml": cvat(image(0, "1.png", CAT)), "val.xml": cvat(image(0, "2.png", CAT)),
        "other.xml": "<a/>",
        "images/1.png": make_image(1), "images/2.png": make_image(2),
    })  # fmt: skip
    found = ingest_boxes("cvat", root, tmp_path / "out")
    assert {name: one.split for name, one in found.items()} == {
        "images/1.png": "train", "images/2.png": "eval"
    }  # fmt: skip


def test_the_folder_of_an_image_is_its_split(tmp_path: Path) -> None:
    images = [image(0, "train/1.png", CAT), image(1, "test/1.png", CAT), image(2, "2.png", CAT)]
    names = ("images/train/1.png", "images/test/1.png", "images/2.png")
    root = write_files(tmp_path / "in", {name: make_image(n) for n, name in enumerate(names)})
    found = ingest_boxes("cvat", write_files(root, {"annotations.xml": cvat(*images)}), tmp_path / "out")
    assert {name: one.split for name, one in found.items()} == dict(
        zip(names, ("train", "test", "train"), strict=True)
    )


def test_what_cannot_be_used(tmp_path: Path) -> None:
    bad = {
        "01": '<polyline label="cat" points="1,2;3,4"/>',
        "02": '<points label="cat" points="1,2"/>',
        "03": f'{CAT}<box label="cat" xtl="1" ytl="2" xbr="wide" ybr="4"/>',
        "04": '<box label="cat" xtl="1" ytl="2" xbr="3"/>',
        "05": '<box xtl="1" ytl="2" xbr="3" ybr="4"/>',
        "06": '<polygon label="cat" points="1,2;3,4"/>',
        "07": '<polygon label="cat" points="1,2;3;5,6"/>',
        "08": '<box label="cat" xtl="nan" ytl="2" xbr="3" ybr="4"/>',
    }
    images = [image(int(name), f"{name}.png", shape) for name, shape in bad.items()]
    images += [image(9, "gone.png", CAT), image(10, "", CAT), image(11, "00.png", CAT, '<tag label="cat"/>')]
    root = write_files(tmp_path / "in", {f"{name}.png": make_image(int(name)) for name in ("00", *bad)})
    write_files(root, {"annotations.xml": cvat(*images)})
    found = ingest_boxes("cvat", root, tmp_path / "out")
    assert {name: one.boxes for name, one in found.items()} == {"00.png": [CAT_SHARES]}
    shape = "expected an object with an area (box, polygon, ellipse or mask); remove the shape, or draw a box"
    assert read_rejects(tmp_path / "out") == [
        ("01.png", f"polyline 1: {shape} (annotations.xml, image 1)"),
        ("02.png", f"points 1: {shape} (annotations.xml, image 2)"),
        ("03.png", "box 2: xbr: expected a number, got 'wide' (annotations.xml, image 3)"),
        ("04.png", "box 1: it has no ybr (annotations.xml, image 4)"),
        ("05.png", "box 1: unlabelled: it has no label (annotations.xml, image 5)"),
        ("06.png", "polygon 1: points: expected three or more, got '1,2;3,4' (annotations.xml, image 6)"),
        ("07.png", "polygon 1: points: expected x,y;x,y;..., got '1,2;3;5,6' (annotations.xml, image 7)"),
        ("08.png", "box 1: xtl: expected a number, got 'nan' (annotations.xml, image 8)"),
        ("annotations.xml, image 10", "no file name (annotations.xml, image 10)"),
        ("gone.png", "no such file (annotations.xml, image 9)"),
    ]
    assert "1 tag of whole images: not read; boxes are." in read_warnings(tmp_path / "out")


BOMB = '<!DOCTYPE a [<!ENTITY a "' + "x" * 1000 + '"><!ENTITY b "' + "&a;" * 1000 + '">]>'


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", DataRefusedError, r"annotations.xml, not well-formed XML: no element found: line 1"),
        (
            cvat(image(0, "1.png", CAT))[:-40],
            DataRefusedError,
            r"annotations.xml, not well-formed XML: .*line",
        ),
        (b"\xff\xfe<", DataRefusedError, r"annotations.xml, not well-formed XML"),
        ("<annotation/>", UsageError, r"no annotations of CVAT: it begins with <annotation>, expected <anno"),
        (
            f'<annotations>{META}<track id="0" label="cat"><box frame="0" xtl="1"/></track></annotations>',
            UsageError,
            r"expected images with their shapes, got the tracks of a video; export the task from CVAT as",
        ),
        (
            f"{BOMB}<annotations>&b;</annotations>",
            DataRefusedError,
            r"it has a document type or entities, which no export of CVAT needs",
        ),
        (
            f"<annotations>{'<a>' * 100_000}",
            DataRefusedError,
            r"elements in each other, more than 32 deep, as no export of CVAT has",
        ),
        (
            cvat(image(0, "1.png", f'<box label="cat" xtl="{"1" * 3000}"/>')),
            DataRefusedError,
            r"an element of more than 0 MiB",
        ),
        (cvat(image(0, "1.png")), DataRefusedError, r"none of its images has a box"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, content: Any, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "0 MiB" in message:
        monkeypatch.setattr(cvat_xml, "_MOST_BYTES", 1000)
    root = write_files(tmp_path / "in", {"1.png": make_image(), "annotations.xml": content})
    with pytest.raises(error, match=message):
        ingest("cvat", root, tmp_path / "out", IngestConfig(workers=1))
    assert not list((tmp_path / "out").glob("*-of-*"))


def test_folders_without_a_file_or_with_several(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image()})
    with pytest.raises(UsageError, match=r"expected annotations.xml of an export 'CVAT for images 1.1', fou"):
        ingest("cvat", root, tmp_path / "out")
    write_files(root, {"a.xml": "<annotation/>", "b.xml": "<a/>"})
    with pytest.raises(UsageError, match=r"found 2 other .xml files. Give the file"):
        ingest("cvat", root, tmp_path / "out")


def test_another_source_names_this_one(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in", {"annotations.xml": cvat(image(0, "1.png", CAT)), "1.png": make_image()}
    )
    with pytest.raises(
        DataRefusedError, match=r"looks like data of the source cvat \(annotations.xml has the"
    ):
        ingest("voc", root, tmp_path / "out", IngestConfig(workers=1))


def test_a_label_map_that_is_given(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in", {"annotations.xml": cvat(image(0, "1.png", CAT)), "1.png": make_image()}
    )
    given = write_files(tmp_path, {"list.txt": "owl\ncat\n"}) / "list.txt"
    found = ingest_boxes("cvat", root, tmp_path / "out", label_map=given)
    assert found["1.png"].values["image/object/class/label"] == [2]
    given.write_text("owl\n")
    with pytest.raises(
        DataRefusedError, match=r"annotations.xml, image 0: the class 'cat' is not in the label"
    ):
        ingest("cvat", root, tmp_path / "out2", IngestConfig(label_map=str(given)))
