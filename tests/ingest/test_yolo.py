"""The source yolo: layouts, data.yaml, label files."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.ingest import IngestConfig, ingest, read_manifest
from tests.make.boxes import ingest_boxes, make_image, read_rejects, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

# The box from (0.25, 0.25) to (0.5, 0.75) of an image, as class 0 and 1.
CAT, DOG = "0 0.375 0.5 0.25 0.5", "1 0.375 0.5 0.25 0.5"
CAT_SHARES, DOG_SHARES = ("cat", 0.25, 0.25, 0.5, 0.75), ("dog", 0.25, 0.25, 0.5, 0.75)
NAMES = "names: [cat, dog]\n"


def boxes_of(found: Mapping[str, Any]) -> dict[str, tuple[str, list[Any]]]:
    return {name: (one.split, one.boxes) for name, one in found.items()}


@pytest.mark.parametrize(
    ("yaml", "train", "val"),
    [
        (
            "path: ../datasets/pets\ntrain: images/train\nval: images/val\nnc: 2\n",
            "images/train",
            "images/val",
        ),
        ("train: ../train/images\nval: ../valid/images\nnc: 2\n", "train/images", "valid/images"),
        ("train: /home/me/pets/train\nval: C:\\\\pets\\\\valid\n", "train/images", "valid/images"),
        ("train: [images/a]\nval: [images/b, images/gone]\n", "images/a", "images/b"),
        # Nothing names splits: the folders do.
        ("nc: 2\n", "train/images", "dev/images"),
    ],
)
def test_layouts(tmp_path: Path, yaml: str, train: str, val: str) -> None:
    labels = {folder: folder.replace("images", "labels") for folder in (train, val)}
    root = write_files(
        tmp_path / "in",
        {
            "data.yaml": yaml + NAMES,
            f"{train}/1.png": make_image(1),
            f"{train}/2.png": make_image(2),
            f"{train}/3.png": make_image(3),
            f"{val}/1.png": make_image(4),
            f"{labels[train]}/1.txt": f"{CAT}\n\n{DOG}\n",
            f"{labels[train]}/2.txt": "",  # empty, as the one of 3.png is missing: background
            f"{labels[val]}/1.txt": DOG,
        },
    )
    found = ingest_boxes("yolo", root, tmp_path / "out", max_reject_share=0.0)
    assert boxes_of(found) == {
        f"{train}/1.png": ("train", [CAT_SHARES, DOG_SHARES]),
        f"{train}/2.png": ("train", []),
        f"{train}/3.png": ("train", []),
        f"{val}/1.png": ("eval", [DOG_SHARES]),
    }
    assert found[f"{val}/1.png"].values["image/object/class/label"] == [2]
    by_file = ingest_boxes("yolo", root / "data.yaml", tmp_path / "out2")
    assert boxes_of(by_file) == boxes_of(found)


def test_texts_beside_the_images_and_lists_of_images(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "obj.names": "cat\ndog\n",
            "obj.data": "classes = 2\ntrain = data/train.txt\n",
            "data.yaml": "train: data/train.txt\nval: valid.txt\n",
            "train.txt": "data/obj_train_data/1.png\n/home/me/obj_train_data/2.png\nobj_train_data/9.png\n",
            "valid.txt": "obj_train_data/3.png\n",
            **{f"obj_train_data/{n}.png": make_image(n) for n in range(1, 5)},
            **{f"obj_train_data/{n}.txt": CAT for n in range(1, 5)},
        },
    )
    found = ingest_boxes("yolo", root, tmp_path / "out")
    assert boxes_of(found) == {
        "obj_train_data/1.png": ("train", [CAT_SHARES]),
        "obj_train_data/2.png": ("train", [CAT_SHARES]),
        "obj_train_data/3.png": ("eval", [CAT_SHARES]),
    }
    # 9.png is named and missing; 4.png is there, and no list names it.
    assert read_rejects(tmp_path / "out") == [("obj_train_data/9.png", "no such file (train.txt line 3)")]
    assert (
        "obj_train_data/4.png,outside of what data.yaml names" in (tmp_path / "out/left_out.csv").read_text()
    )


def test_darknet(tmp_path: Path) -> None:
    # As CVAT exports it: "YOLO 1.1".
    root = write_files(
        tmp_path / "in",
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nbackup = backup/\n",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/1.png\n",
            "valid.txt": "data/obj_valid_data/2.png\n",
            "obj_train_data/1.png": make_image(1),
            "obj_train_data/1.txt": CAT,
            "obj_valid_data/2.png": make_image(2),
            "obj_valid_data/2.txt": DOG,
        },
    )
    found = ingest_boxes("yolo", root, tmp_path / "out", max_reject_share=0.0)
    assert boxes_of(found) == {
        "obj_train_data/1.png": ("train", [CAT_SHARES]),
        "obj_valid_data/2.png": ("eval", [DOG_SHARES]),
    }


def test_darknet_with_another_name_for_eval(tmp_path: Path) -> None:
    files = {
        "obj.data": "classes = 1\nval = data/val.txt\ntrain = data/train.txt\nnames = data/obj.names\n",
        "obj.names": "cat\n",
        "train.txt": "data/1.png\n",
        "val.txt": "data/2.png\n",
        **{f"{n}.png": make_image(n) for n in (1, 2)},
        **{f"{n}.txt": CAT for n in (1, 2)},
    }
    found = ingest_boxes("yolo", write_files(tmp_path / "in", files), tmp_path / "out", max_reject_share=0.0)
    assert boxes_of(found) == {"1.png": ("train", [CAT_SHARES]), "2.png": ("eval", [CAT_SHARES])}


def test_lists_of_ultralytics(tmp_path: Path) -> None:
    # coco.yaml: the lists are in `path`, and their lines count from there.
    yaml = (
        "path: ../datasets/coco\ntrain: train2017.txt # 118287 images\nval: val2017.txt\ntest:\n"
        "names:\n  0: cat\n  1: dog\ndownload: |\n  from ultralytics import x\n"
    )
    root = write_files(
        tmp_path / "in",
        {
            "coco/coco.yaml": yaml,
            "coco/train2017.txt": "./images/train2017/1.png\n./images/train2017/2.png\n",
            "coco/val2017.txt": "./images/val2017/1.png\n",
            "coco/images/train2017/1.png": make_image(1),
            "coco/images/train2017/2.png": make_image(2),
            "coco/images/val2017/1.png": make_image(3),
            "coco/labels/train2017/1.txt": f"{CAT}\n1 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75\n",
            "coco/labels/val2017/1.txt": DOG,
            "coco/labels/train2017.cache": b"\0",
        },
    )
    found = ingest_boxes("yolo", root, tmp_path / "out", max_reject_share=0.0)
    assert boxes_of(found) == {
        "coco/images/train2017/1.png": ("train", [CAT_SHARES, DOG_SHARES]),
        "coco/images/train2017/2.png": ("train", []),
        "coco/images/val2017/1.png": ("eval", [DOG_SHARES]),
    }


def test_an_image_in_the_lists_of_two_splits_is_told(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "data.yaml": "train: train.txt\nval: val.txt\nnames: [cat]\n",
            "train.txt": "images/1.png\nimages/2.png\nimages/2.png\n",
            "val.txt": "images/2.png\nimages/3.png\n",
            **{f"images/{at}.png": make_image(at) for at in (1, 2, 3)},
            **{f"labels/{at}.txt": CAT for at in (1, 2, 3)},
        },
    )
    found = ingest_boxes("yolo", root, tmp_path / "out", max_reject_share=0.0)
    assert {path: one.split for path, one in found.items()} == {
        "images/1.png": "train",
        "images/2.png": "train",
        "images/3.png": "eval",
    }
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert "1 image is in the lists of several splits: the first of these counts." in manifest.warnings


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("names:\n  0: cat\n  1: dog\n", ["cat", "dog"]),
        ("names: {1: dog, 0: cat, 7: owl}\n", ["cat", "dog"]),
        # In YAML these would be False and a number.
        ("names: [no, 1.0]\n", ["no", "1.0"]),
        ("nc: 2\n", ["0", "1"]),
    ],
)
def test_names(tmp_path: Path, names: str, classes: list[str]) -> None:
    root = write_files(
        tmp_path / "in", {"data.yaml": names, "images/1.png": make_image(), "labels/1.txt": f"{DOG}\n{CAT}"}
    )
    found = ingest_boxes("yolo", root, tmp_path / "out")["images/1.png"]
    assert found.values["image/object/class/label"] == [2, 1]
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.class_names == classes


def test_lists_of_classes(tmp_path: Path) -> None:
    files = {"images/1.png": make_image(), "labels/1.txt": DOG, "labels/classes.txt": "cat\ndog\n"}
    root = write_files(tmp_path / "in", files)
    assert ingest_boxes("yolo", root, tmp_path / "out")["images/1.png"].boxes == [DOG_SHARES]
    (root / "labels/classes.txt").unlink()
    given = write_files(tmp_path, {"list.txt": "cat\n dog \n\nowl\n"}) / "list.txt"
    assert ingest_boxes("yolo", root, tmp_path / "out2", label_map=given)["images/1.png"].boxes == [
        DOG_SHARES
    ]
    manifest = read_manifest(tmp_path / "out2")
    assert manifest is not None
    assert manifest.class_names == ["cat", "dog", "owl"]
    write_files(root, {"classes.txt": "cat\ndog\n", "labels/classes.txt": "dog\ncat\n"})
    with pytest.raises(
        UsageError, match=r"2 lists of classes that differ \(classes.txt, labels/classes.txt\)"
    ):
        ingest("yolo", root, tmp_path / "out3")


@pytest.mark.parametrize(
    ("line", "boxes"),
    [
        ("0.0 .375 5e-1 0.25 +0.5", [CAT_SHARES]),
        # Polygons, and a turned box by its corners.
        ("0 0.25 0.25 0.5 0.25 0.3 0.75", [CAT_SHARES]),
        ("0 0.25 0.5 0.3 0.25 0.5 0.4 0.4 0.75", [CAT_SHARES]),
        # Objects that are there twice, as in label files that were written two times.
        (f"{CAT}\n{CAT}\n{DOG}", [CAT_SHARES, DOG_SHARES]),
        ("\ufeff0\t0.375\t0.5\t0.25\t0.5\r\n", [CAT_SHARES]),
        # Beyond the edge: cut there.
        ("1 1.0 0.5 0.5 0.5", [("dog", 0.75, 0.25, 1.0, 0.75)]),
    ],
)
def test_lines(tmp_path: Path, line: str, boxes: list[Any]) -> None:
    root = write_files(
        tmp_path / "in", {"data.yaml": NAMES, "images/1.png": make_image(), "labels/1.txt": line}
    )
    assert ingest_boxes("yolo", root, tmp_path / "out")["images/1.png"].boxes == boxes


def test_polygons_are_counted(tmp_path: Path) -> None:
    lines = f"{CAT}\n1 0.25 0.25 0.5 0.25 0.3 0.75\n0 0.1 0.2 0.3 0.1 0.4 0.2 0.2 0.3\n"
    files = {"data.yaml": NAMES, "images/1.png": make_image(), "labels/1.txt": lines}
    ingest_boxes("yolo", write_files(tmp_path / "in", files), tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    said = "2 objects are not an upright box (2 polygons): the box round each was read."
    assert said in manifest.warnings


def test_key_points_are_passed_over(tmp_path: Path) -> None:
    lines = f"{CAT} 0.3 0.3 2 0.4 0.4 0"
    files = {"data.yaml": NAMES + "kpt_shape: [2, 3]\n", "images/1.png": make_image(), "labels/1.txt": lines}
    assert ingest_boxes("yolo", write_files(tmp_path / "in", files), tmp_path / "out")[
        "images/1.png"
    ].boxes == [CAT_SHARES]


def test_what_cannot_be_used(tmp_path: Path) -> None:
    bad: dict[str, bytes | str] = {
        "01": "cat 0.5 0.5 0.1 0.1",
        "02": "0 0.5 0.5 0.1",
        "03": f"{CAT}\n\n2 0.5 0.5 0.1 0.1",
        "04": "-1 0.5 0.5 0.1 0.1",
        "05": "0 nan 0.5 0.1 0.1",
        "06": "0 0.5 0.5 0.1 True",
        "07": "0 0.5 0.5 0.1 0.1 0.9",  # with a confidence: what a model found
        "08": b"\xff\xfe0\x00",
        "09": "0.5 0.5 0.5 0.1 0.1",
        "10": "0 " + "9" * 400 + " 0.5 0.1 0.1",
    }
    files: dict[str, bytes | str] = {
        "data.yaml": NAMES,
        "images/00.png": make_image(0),
        "images/00.jpg": make_image(50),
        "labels/00.txt": CAT,
        "labels/gone.txt": CAT,
        "preview.png": make_image(60),
        "README.md": "notes",
        "labels/train.cache": b"\x00",
        **{f"images/{name}.png": make_image(int(name)) for name in bad},
        **{f"labels/{name}.txt": text for name, text in bad.items()},
    }
    found = ingest_boxes("yolo", write_files(tmp_path / "in", files), tmp_path / "out")
    assert boxes_of(found) == {"images/00.jpg": ("train", [CAT_SHARES])}
    assert read_rejects(tmp_path / "out") == [
        ("images/00.png", "ambiguous: labels/00.txt is the label file of another image already"),
        ("images/01.png", "labels/01.txt: line 1: expected a whole number, got 'cat'"),
        (
            "images/02.png",
            "labels/02.txt: line 1: expected a class and four numbers, or the corners of a "
            "polygon, got a line "
            "of 4 fields",
        ),
        ("images/03.png", "labels/03.txt: line 3: expected a class of 0 .. 1, got '2'"),
        ("images/04.png", "labels/04.txt: line 1: expected a class of 0 .. 1, got '-1'"),
        ("images/05.png", "labels/05.txt: line 1: expected a number, got 'nan'"),
        ("images/06.png", "labels/06.txt: line 1: expected a number, got 'True'"),
        (
            "images/07.png",
            "labels/07.txt: line 1: expected a class and four numbers, or the corners of a "
            "polygon, got a line "
            "of 6 fields",
        ),
        ("images/08.png", "labels/08.txt: expected UTF-8, got other bytes"),
        ("images/09.png", "labels/09.txt: line 1: expected a whole number, got '0.5'"),
        ("images/10.png", "labels/10.txt: line 1: expected a number, got "
                          "'9999999999999999999...99999999999999999999'"),
        ("labels/gone.txt", "no image belongs to it"),
        ("preview.png", "unlabelled: lies outside every folder called images"),
    ]  # fmt: skip
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert (manifest.rejected, manifest.left_out) == (13, 2)  # the notes and the cache


def test_one_folder_for_two_splits(tmp_path: Path) -> None:
    yaml = "train: images/all\nval: images/all\n" + NAMES
    files = {"data.yaml": yaml, "images/all/1.png": make_image(), "labels/all/1.txt": CAT}
    found = ingest_boxes("yolo", write_files(tmp_path / "in", files), tmp_path / "out")
    assert boxes_of(found) == {"images/all/1.png": ("train", [CAT_SHARES])}
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert (
        "data.yaml names images/all/ as train and as val: its images are read as train alone."
        in manifest.warnings
    )


@pytest.mark.parametrize(
    ("yaml", "error", "message"),
    [
        (
            "names: [cat, dog]\nnc: 3\n",
            DataRefusedError,
            r"data.yaml: nc: expected 2, as many as names has, got 3",
        ),
        ("names: [cat, cat]\n", DataRefusedError, r"another name for each class, got 1: 'cat'"),
        ("names: {a: cat}\n", DataRefusedError, r"names: 'a': expected a whole number, got 'a'"),
        ("names: cat\n", DataRefusedError, r"names: expected a list or a mapping, got 'cat'"),
        ("names: [[cat]]\n", DataRefusedError, r"names: 0: expected a text, got \['cat'\]"),
        ("names: [cat\n", DataRefusedError, r"data.yaml, line 2: expected ',' or '\]'"),
        ("names: [cat]\nnc: many\n", DataRefusedError, r"nc: expected a whole number, got 'many'"),
        ("names: [cat]\ntrain: {a: b}\n", DataRefusedError, r"train: expected a text, got {'a': 'b'}"),
        ("names: [" + "[" * 1000 + "\n", DataRefusedError, r"lists in each other, deeper than can be read"),
        (
            "a: &a [x]\nb: &b [*a, *a]\nnames: *b\n",
            DataRefusedError,
            r"names: 0: expected a text, got \['x'\]",
        ),
        ("names: [cat, dog]\nx: !!python/object/apply:os.system [true]\n", None, ""),
        ("names: &a [*a]\n", DataRefusedError, r"data.yaml, line 1: found unconstructable recursive"),
        (
            "names: [a\0]\n",
            DataRefusedError,
            r"data.yaml.*: expected YAML, got letters that YAML does not have",
        ),
        (b"names: [\xff]\n", DataRefusedError, r"data.yaml: expected UTF-8, got other bytes"),
        (b"#" * (2 << 20), DataRefusedError, r"data.yaml: larger than 1 MiB"),
    ],
)
def test_descriptions_that_are_damaged(
    tmp_path: Path, yaml: Any, error: type[Exception] | None, message: str
) -> None:
    root = write_files(
        tmp_path / "in", {"data.yaml": yaml, "images/1.png": make_image(), "labels/1.txt": CAT}
    )
    if error is None:
        assert ingest_boxes("yolo", root, tmp_path / "out")["images/1.png"].boxes == [CAT_SHARES]
        return
    with pytest.raises(error, match=message):
        ingest("yolo", root, tmp_path / "out", IngestConfig(workers=1))


def test_what_is_no_yolo(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"cats/1.png": make_image(1), "dogs/2.png": make_image(2)})
    with pytest.raises(UsageError, match=r"expected images with a label file each, .* got 2 images and none"):
        ingest("yolo", root, tmp_path / "out", IngestConfig(workers=1))
    both = write_files(
        tmp_path / "both",
        {"a.yaml": NAMES, "b.yaml": NAMES, "images/1.png": make_image(), "labels/1.txt": CAT},
    )
    with pytest.raises(UsageError, match=r"2 files that describe YOLO data \(a.yaml, b.yaml\); give the one"):
        ingest("yolo", both, tmp_path / "out", IngestConfig(workers=1))
    found = ingest_boxes("yolo", both / "b.yaml", tmp_path / "out")
    assert found["images/1.png"].boxes == [CAT_SHARES]


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (
            [f"0 {x + 5} 10 10 8" for x in (2, 10, 18)],
            UsageError,
            r"in shares, got 3 of 3 boxes with numbers above",
        ),
        (
            [f"0 {x} {y} {x + 0.25} {y + 0.4}" for x in (0.05, 0.4, 0.7) for y in (0.25, 0.4, 0.55)],
            DataRefusedError,
            r"6 of 9 boxes .* xmin, ymin, xmax, ymax where x_center, y_center, width, height are expected",
        ),
    ],
)
def test_boxes_that_are_written_otherwise(
    tmp_path: Path, lines: list[str], error: type[Exception], message: str
) -> None:
    files: dict[str, bytes | str] = {"data.yaml": NAMES}
    for at, line in enumerate(lines):
        files |= {f"images/{at}.png": make_image(at), f"labels/{at}.txt": line}
    with pytest.raises(error, match=message):
        ingest("yolo", write_files(tmp_path / "in", files), tmp_path / "out", IngestConfig(workers=1))


def test_pixels_that_are_said_to_be(tmp_path: Path) -> None:
    files = {"data.yaml": NAMES, "images/1.png": make_image(), "labels/1.txt": "0 15 10 10 10"}
    found = ingest_boxes("yolo", write_files(tmp_path / "in", files), tmp_path / "out", box_units="pixels")
    assert found["images/1.png"].boxes == [CAT_SHARES]


def test_class_folders_say_that_it_is_yolo(tmp_path: Path) -> None:
    files = {"train/images/1.png": make_image(1), "train/labels/1.txt": CAT, "data.yaml": NAMES}
    with pytest.raises(UsageError, match=r"got the layout of YOLO .* mirante ingest yolo INPUT OUTPUT"):
        ingest("folder", write_files(tmp_path / "in", files), tmp_path / "out", IngestConfig(workers=1))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives(tmp_path: Path, kind: str) -> None:
    files = {
        "data.yaml": "train: ../train/images\nval: ../valid/images\n" + NAMES,
        "train/images/1.png": make_image(1),
        "train/labels/1.txt": f"{CAT}\n{DOG}\n",
        "valid/images/1.png": make_image(2),
    }
    folder = write_files(tmp_path / "in", files)
    archive = tmp_path / f"in.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name in files:
                packed.write(folder / name, f"pets/{name}")
    else:
        with tarfile.open(archive, "w:gz") as tar:
            for name in files:
                tar.add(folder / name, f"pets/{name}")
    assert boxes_of(ingest_boxes("yolo", archive, tmp_path / "out", max_reject_share=0.0)) == {
        "pets/train/images/1.png": ("train", [CAT_SHARES, DOG_SHARES]),
        "pets/valid/images/1.png": ("eval", []),
    }
