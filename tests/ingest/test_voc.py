"""The source voc: which image belongs to which XML file, what is in it, and what becomes of odd ones."""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from components.base.errors import DataRefusedError, UsageError
from components.ingest import IngestConfig, ingest, read_manifest, staging
from components.ingest.sources.voc_xml import MAX_BYTES
from tests.make.boxes import ingest_boxes, make_image, make_xml, read_boxes, read_rejects, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

CAT = (10, 5, 20, 15, "cat")
CAT_SHARES = ("cat", 0.25, 0.25, 0.5, 0.75)
DOG = (0, 0, 40, 20, "dog")
DOG_SHARES = ("dog", 0.0, 0.0, 1.0, 1.0)


def test_beside_the_images_in_folders_of_splits(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "train/1.png": make_image(1),
            "train/1.xml": make_xml(CAT, DOG, filename="1.png"),
            "train/2.jpg": make_image(2, image_format="JPEG"),
            "train/2.xml": make_xml(),  # nothing is to be found on it
            "test/3.png": make_image(3),
            "test/3.xml": make_xml((10.5, 5, 20.5, 15, "cat"), size=None),
            "object-detection.txt": "no image",
        },
    )
    out = tmp_path / "out"
    found = ingest_boxes("voc", root, out)
    assert {name: (one.split, one.boxes) for name, one in found.items()} == {
        "train/1.png": ("train", [CAT_SHARES, DOG_SHARES]),
        "train/2.jpg": ("train", []),
        "test/3.png": ("test", [("cat", 0.2625, 0.25, 0.5125, 0.75)]),
    }
    assert read_rejects(out) == []
    values = found["train/1.png"].values
    assert values["image/object/class/label"] == [1, 2]  # by name, from 1
    assert (values["image/encoded"], values["image/format"]) == ([make_image(1)], [b"png"])
    assert not [name for name in values if name.startswith("image/class/")]
    # Lists without a value are there all the same.
    assert found["train/2.jpg"].values["image/object/bbox/xmin"] == []
    manifest = read_manifest(out)
    assert manifest is not None
    assert (manifest.task, manifest.class_names, manifest.max_boxes) == ("detection", ["cat", "dog"], 2)
    assert manifest.splits["train"].images == 2
    assert manifest.splits["train"].class_counts == {"cat": 1, "dog": 1}
    assert manifest.splits["test"].box_counts == {"cat": 1, "dog": 0}
    assert "1 image without a box: kept, as background." in manifest.warnings


def test_the_flags_of_a_box(tmp_path: Path) -> None:
    marked = "<difficult>1</difficult><truncated>1</truncated><pose>Left</pose>"
    unmarked = "<difficult>0</difficult><truncated>Unspecified</truncated>"
    files = {"in/1.png": make_image(), "in/1.xml": make_xml(CAT, more=marked)}
    files |= {"in/2.png": make_image(2), "in/2.xml": make_xml(CAT, more=unmarked)}
    found = ingest_boxes("voc", write_files(tmp_path, files) / "in", tmp_path / "out")
    flags = {name: (one.difficult, one.values["image/object/truncated"]) for name, one in found.items()}
    assert flags == {"1.png": ([1], [1]), "2.png": ([0], [0])}


def test_the_folders_of_the_challenges(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit"
    names = ("a", "b", "c", "d", "e")
    write_files(
        root / "VOC2012", {f"JPEGImages/{n}.jpg": make_image(ord(n), image_format="JPEG") for n in names}
    )
    write_files(root / "VOC2012", {f"Annotations/{n}.xml": make_xml(CAT) for n in names})
    write_files(
        root / "VOC2012",
        {
            "ImageSets/Main/train.txt": "a\n",
            "ImageSets/Main/val.txt": "b\n\n",
            "ImageSets/Main/trainval.txt": "a\nb\nc\n",
            "ImageSets/Main/test.txt": "d\ngone\n",
            "ImageSets/Main/cat_train.txt": "a  1\ne -1\n",
            "ImageSets/Segmentation/train.txt": "e\n",
            "SegmentationClass/a.png": make_image(0),
        },
    )
    # Another year of the challenge next to it, with the same name.
    write_files(
        root / "VOC2007",
        {"JPEGImages/a.jpg": make_image(7, image_format="JPEG"), "Annotations/a.xml": make_xml(DOG)},
    )
    write_files(root / "VOC2007", {"ImageSets/Main/test.txt": "a\n"})
    found = ingest_boxes("voc", root, tmp_path / "out")
    assert {name: (one.split, one.boxes) for name, one in found.items()} == {
        "VOC2012/JPEGImages/a.jpg": ("train", [CAT_SHARES]),
        "VOC2012/JPEGImages/b.jpg": ("eval", [CAT_SHARES]),
        "VOC2012/JPEGImages/c.jpg": ("train", [CAT_SHARES]),
        "VOC2012/JPEGImages/d.jpg": ("test", [CAT_SHARES]),
        "VOC2007/JPEGImages/a.jpg": ("test", [DOG_SHARES]),
    }
    assert read_rejects(tmp_path / "out") == [
        (
            "VOC2012/Annotations/",
            "1 of its files are left out: they are in none of the lists in VOC2012/ImageSets/Main/",
        ),
        (
            "VOC2012/Annotations/gone.xml",
            "no such file, and a list in VOC2012/ImageSets/Main/ names it",
        ),
    ]


def test_a_name_in_two_lists_is_in_both_splits_and_warned_about(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "JPEGImages/a.png": make_image(),
            "Annotations/a.xml": make_xml(CAT),
            "ImageSets/Main/train.txt": "a",
            "ImageSets/Main/test.txt": "a",
        },
    )
    result = ingest("voc", root, tmp_path / "out", IngestConfig(workers=1, splits={"train": 1}))
    assert {name: split.images for name, split in result.splits.items()} == {"train": 1, "test": 1}
    assert any("more than one split" in warning for warning in result.warnings)


def test_annotations_in_a_folder_of_their_own(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "pets/images/1.png": make_image(1),
            "pets/annotations/xmls/1.xml": make_xml(CAT),
            # The nearest one of a name is meant.
            "train/images/1.png": make_image(2),
            "train/labels/1.xml": make_xml(DOG),
            # And none of another split.
            "test/images/5.png": make_image(5),
            "test/labels/5.xml": make_xml(CAT),
            "train/labels/5.xml": make_xml(DOG),
        },
    )
    found = ingest_boxes("voc", root, tmp_path / "out")
    assert {name: (one.split, one.boxes) for name, one in found.items()} == {
        "pets/images/1.png": ("train", [CAT_SHARES]),
        "train/images/1.png": ("train", [DOG_SHARES]),
        "test/images/5.png": ("test", [CAT_SHARES]),
    }
    assert read_rejects(tmp_path / "out") == [("train/labels/5.xml", "there is no image 5.*")]


def test_names_of_images(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "renamed.png": make_image(1),
            "renamed.xml": make_xml(CAT, filename="other.png"),  # they were renamed together
            "other.png": make_image(2),
            "other.xml": make_xml(DOG, filename="renamed.png"),
            "a.xml": make_xml(CAT, filename="C:\\photos\\called so.png"),
            "called so.png": make_image(3),
            "two.png": make_image(4),
            "two.jpg": make_image(5, image_format="JPEG"),
            "two.xml": make_xml(CAT, filename="two.jpg"),
            "either.png": make_image(6),
            "either.bmp": make_image(7, image_format="BMP"),
            "either.xml": make_xml(CAT),
            "missing.xml": make_xml(CAT, filename="gone.png"),
            "alone.png": make_image(8),
            "png named.jpg": make_image(9),
            "png named.xml": make_xml(CAT),
            "again/called so.xml": make_xml(CAT),
        },
    )
    out = tmp_path / "out"
    found = ingest_boxes("voc", root, out)
    assert {name: one.boxes[0] for name, one in found.items()} == {
        "renamed.png": CAT_SHARES,
        "other.png": DOG_SHARES,
        "called so.png": CAT_SHARES,
        "two.jpg": CAT_SHARES,
        "png named.jpg": CAT_SHARES,
    }
    unlabelled = "unlabelled: no .xml file belongs to it"
    assert read_rejects(out) == [
        (
            "again/called so.xml",
            "its image, called so.png, has the boxes of another .xml file already",
        ),
        ("alone.png", unlabelled),
        ("either.bmp", unlabelled),
        ("either.png", unlabelled),
        ("either.xml", "ambiguous: 2 files may be its image, either.bmp and either.png among them"),
        ("missing.xml", "there is no image missing.* and no gone.png"),
        ("two.png", unlabelled),
    ]


def turned(orientation: int, width: int, height: int) -> bytes:
    """A file of width x height pixels, to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 90, 10)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_images_that_exif_turns(tmp_path: Path) -> None:
    # Orientation 6: the file's 40 x 20 pixels are seen as 20 x 40, its upper left at the upper right.
    file = turned(6, 40, 20)
    root = write_files(
        tmp_path / "in",
        {
            "seen.jpg": file,
            "seen.xml": make_xml((10, 10, 20, 20, "cat"), size=(20, 40)),
            "file.jpg": file,
            "file.xml": make_xml((10, 0, 20, 10, "cat"), size=(40, 20)),
            "untold.jpg": file,
            "untold.xml": make_xml((10, 10, 20, 20, "cat"), size=(0, 0)),
        },
    )
    found = ingest_boxes("voc", root, tmp_path / "out")
    for name in ("seen.jpg", "file.jpg", "untold.jpg"):
        assert found[name].boxes == [("cat", 0.5, 0.25, 1.0, 0.5)]
        assert (found[name].values["image/width"], found[name].values["image/height"]) == ([20], [40])


def test_boxes_stay_where_they_are_on_an_image_that_is_scaled_down(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "1.png": make_image(),
            "1.xml": make_xml(CAT),
            "2.jpg": turned(6, 40, 20),
            "2.xml": make_xml((10, 0, 20, 10, "cat"), size=(40, 20)),
        },
    )
    found = ingest_boxes("voc", root, tmp_path / "out", resize_px=10)
    assert (found["1.png"].boxes, found["1.png"].values["image/width"]) == ([CAT_SHARES], [10])
    assert found["2.jpg"].boxes == [("cat", 0.5, 0.25, 1.0, 0.5)]


def test_boxes_that_cannot_be_used_are_listed_and_limited(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            "1.png": make_image(),
            "1.xml": make_xml(CAT, (30, 15, 50, 30, "cat"), (40, 0, 60, 20, "dog"), (10, 10, 10, 15, "dog")),
            "2.png": make_image(2),
            "2.xml": make_xml(CAT, size=(80, 40)),
            "3.png": make_image(3),
            "3.xml": make_xml(CAT, size=(20, 40)),
        },
    )
    out = tmp_path / "out"
    found = ingest_boxes("voc", root, out)
    assert found["1.png"].boxes == [CAT_SHARES, ("cat", 0.75, 0.75, 1.0, 1.0)]
    assert found["2.png"].boxes == [("cat", 0.125, 0.125, 0.25, 0.375)]
    outside = "nothing of it is on the image: xmin 40, ymin 0, xmax 60, ymax 20, of 40 x 20 pixels"
    assert read_rejects(out) == [
        ("1.png", f"box 3 of 4 (dog): {outside}"),
        ("1.png", "box 4 of 4 (dog): empty: xmin and xmax are both 10"),
        (
            "3.png",
            "its boxes are of an image of 20 x 40 pixels, and it has 40 x 20: it is not the image that "
            "was annotated",
        ),
    ]
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.rejected == 3
    assert manifest.warnings[-3:] == [
        "2 boxes were left out, and what is in there counts as background: the list of rejects has each.",
        "1 box reached beyond the edge of the image and ended there.",
        "1 image of another size than annotated, in the same shape: the boxes were scaled too.",
    ]
    (root / "3.xml").write_text(make_xml(CAT))
    with pytest.raises(
        DataRefusedError, match=r"^2 of 6 boxes cannot be used \(33.3%, allowed 1.0%\), no sh"
    ):
        ingest("voc", root, out, IngestConfig(workers=1))
    assert len(read_boxes(out)) == 2  # what was there before stays
    assert len(read_rejects(out)) == 2


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>' + make_xml(CAT).replace("cat", "&c;")
OTHER_FILE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + make_xml(CAT).replace("cat", "&b;")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not well-formed XML: no element found: line 1, column 0"),
        ("<annotation>\n<object>", "not well-formed XML: no element found: line 2, column 8"),
        ("<html></html>", "no VOC annotation: it begins with <html>, expected <annotation>"),
        (BOMB, "it has a document type or entities, which no VOC annotation needs"),
        (OTHER_FILE, "it has a document type or entities, which no VOC annotation needs"),
        (
            '<!DOCTYPE a SYSTEM "http://localhost/a.dtd">' + make_xml(CAT),
            "it has a document type or entities, which",
        ),
        ('<?xml version="1.0" encoding="no-such"?>' + make_xml(CAT), "not well-formed XML: unknown encoding"),
        (make_xml(CAT) + " " * MAX_BYTES, "larger than 4 MiB, which no annotation of one image is"),
        (make_xml((1, 2, "x", 4, "cat")), "object 1 (cat): xmax: expected a number, got 'x'"),
        (make_xml(CAT, (1, 2, "nan", 4, "cat")), "object 2 (cat): xmax: expected a number, got 'nan'"),
        (make_xml((1, 2, "", 4, "cat")), "object 1 (cat) has no xmax"),
        (make_xml(CAT, (1, 2, 3, 4, " ")), "unlabelled: object 2 has no name"),
        (make_xml((1, 2, 3, 4, "a\nb")), "the class name 'a\\nb' holds a control character"),
        (make_xml(CAT).replace("bndbox", "polygon"), "object 1 (cat) has no xmin"),
    ],
)
def test_xml_that_cannot_be_used(tmp_path: Path, content: str, reason: str) -> None:
    root = write_files(
        tmp_path / "in",
        {"1.png": make_image(1), "1.xml": make_xml(CAT), "2.png": make_image(2), "2.xml": content},
    )
    assert list(ingest_boxes("voc", root, tmp_path / "out")) == ["1.png"]
    ((path, said),) = read_rejects(tmp_path / "out")
    assert Path(path).stem == "2"
    assert said.startswith(reason)


def test_xml_that_is_only_unusual(tmp_path: Path) -> None:
    pretty = make_xml(CAT).replace("><", ">\n\t<").replace("cat", " cat ")
    root = write_files(
        tmp_path / "in",
        {
            "1.png": make_image(1),
            "1.xml": '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<!-- by hand -->' + pretty,
            "2.png": make_image(2),
            "2.xml": ('<?xml version="1.0" encoding="utf-16"?>' + make_xml(CAT)).encode("utf-16"),
            "3.png": make_image(3),
            "3.xml": make_xml(CAT).replace("40</width>", "many</width>"),
            "4.png": make_image(4),
            # A part of an object is an object of its own in another task.
            "4.xml": make_xml(CAT).replace("</object>", f"<part>{make_xml(DOG)[12:-13]}</part></object>"),
        },
    )
    found = ingest_boxes("voc", root, tmp_path / "out")
    assert {name: one.boxes for name, one in found.items()} == {f"{n}.png": [CAT_SHARES] for n in range(1, 5)}


@pytest.mark.slow
def test_deeply_nested_xml_ends_well(tmp_path: Path) -> None:
    content = "<annotation>" + "<a>" * 500_000 + "</a>" * 500_000 + "</annotation>"
    root = write_files(
        tmp_path / "in",
        {"1.png": make_image(1), "1.xml": content, "2.png": make_image(2), "2.xml": make_xml(CAT)},
    )
    assert set(ingest_boxes("voc", root, tmp_path / "out")) == {"1.png", "2.png"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives(tmp_path: Path, kind: str) -> None:
    files = {"in/train/1.png": make_image(1), "in/train/1.xml": make_xml(CAT)}
    files |= {"in/test/2.png": make_image(2), "in/test/2.xml": make_xml(DOG)}
    root = write_files(tmp_path, files)
    archive = tmp_path / f"boxes.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in files:
                packed.write(root / path, path)
    else:
        with tarfile.open(archive, "w:gz") as packed:
            for path in files:
                packed.add(root / path, path)
    found = ingest_boxes("voc", archive, tmp_path / "out")
    assert {name: (one.split, one.boxes) for name, one in found.items()} == {
        "in/train/1.png": ("train", [CAT_SHARES]),
        "in/test/2.png": ("test", [DOG_SHARES]),
    }


def many(root: Path, count: int = 90) -> Path:
    """Images with a box or two; a few images and a few boxes cannot be used."""
    for number in range(count):
        boxes = [(number % 30, 2, number % 30 + 9, 18, ("cat", "dog", "owl")[number % 3])]
        if number % 4 == 0:
            boxes.append(DOG)
        if number % 30 == 7:
            boxes.append((50, 2, 60, 18, "cat"))
        content = make_image(number) if number % 40 != 9 else make_image(number)[:60]
        write_files(root, {f"{number}.png": content, f"{number}.xml": make_xml(*boxes)})
    return root


def shards(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.iterdir()) if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("worker_processes")
def test_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    root = many(tmp_path / "in")
    options = {"max_reject_share": 0.1, "shards": 2}
    ingest("voc", root, tmp_path / "1", IngestConfig(workers=1, **options))
    ingest("voc", root, tmp_path / "3", IngestConfig(workers=3, **options))
    one = shards(tmp_path / "1")
    assert one == shards(tmp_path / "3")
    assert len(read_rejects(tmp_path / "1")) == 6
    again = ingest("voc", root, tmp_path / "1", IngestConfig(workers=1, **options))
    assert again.unchanged


def test_one_that_was_killed_goes_on_and_counts_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = many(tmp_path / "in")
    options = IngestConfig(workers=1, max_reject_share=0.1, shards=2)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(staging, "publish_shards", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest("voc", root, tmp_path / "1", options)
    assert len(list((tmp_path / "1" / ".ingest" / "shards").glob("*.json"))) == 6
    staged = {path.name: path.stat().st_ino for path in (tmp_path / "1/.ingest/shards").glob("*-of-*")}
    ingest("voc", root, tmp_path / "1", options)
    inodes = {path.stat().st_ino for path in (tmp_path / "1").glob("*-of-*")}
    assert inodes <= set(staged.values())  # none was written again
    ingest("voc", root, tmp_path / "2", options)
    assert shards(tmp_path / "1") == shards(tmp_path / "2")
    assert len(read_rejects(tmp_path / "1")) == 6


def test_another_box_writes_the_shard_anew_and_no_other(tmp_path: Path) -> None:
    root = many(tmp_path / "in")
    options = IngestConfig(workers=1, max_reject_share=0.1, shards=4)
    out = tmp_path / "out"
    ingest("voc", root, out, options)
    before = {path.name: path.stat().st_ino for path in out.glob("*-of-*")}
    boxes = read_boxes(out)["3.png"].boxes
    (root / "3.xml").write_text(make_xml((1, 2, 10, 18, "cat")))
    assert not ingest("voc", root, out, options).unchanged
    changed = [path.name for path in out.glob("*-of-*") if path.stat().st_ino != before[path.name]]
    assert len(changed) == 1
    assert read_boxes(out)["3.png"].boxes == [("cat", 0.025, 0.1, 0.25, 0.9)] != boxes
    manifest = read_manifest(out)
    assert manifest is not None
    # What the shards that were left alone hold is counted all the same.
    total = sum(sum(split.box_counts.values()) for split in manifest.splits.values())
    assert total == sum(len(one.boxes) for one in read_boxes(out).values())
    assert len(read_rejects(out)) == 6


def test_identical_images_with_other_boxes_are_warned_about(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {"1.png": make_image(), "1.xml": make_xml(CAT), "2.png": make_image(), "2.xml": make_xml(DOG)},
    )
    result = ingest("voc", root, tmp_path / "out", IngestConfig(workers=1))
    assert (
        "1 image is there with several sets of boxes, identical to the byte: 1.png = 2.png."
        in result.warnings
    )


def test_input_that_is_of_another_kind(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"cats/1.png": make_image()})
    with pytest.raises(
        UsageError, match=r"no \.xml file in it. The source voc reads images with a Pascal VOC"
    ):
        ingest("voc", root, tmp_path / "out")
    write_files(root, {"cats/1.xml": make_xml()})
    with pytest.raises(DataRefusedError, match="none of its images has a box"):
        ingest("voc", root, tmp_path / "out", IngestConfig(workers=1))


@pytest.mark.real_data
def test_asirra_by_voc_and_by_csv(tmp_path: Path, real_data_dir: Path) -> None:
    root = real_data_dir / "asirra_detection"
    found = ingest_boxes("voc", root, tmp_path / "voc")
    assert read_rejects(tmp_path / "voc") == []
    manifest = read_manifest(tmp_path / "voc")
    assert manifest is not None
    counts = {name: (split.class_counts, split.box_counts) for name, split in manifest.splits.items()}
    assert counts == {
        "train": ({"cat": 252, "dog": 265}, {"cat": 272, "dog": 280}),
        "test": ({"cat": 47, "dog": 38}, {"cat": 47, "dog": 43}),
    }
    left_out, copies = manifest.warnings
    assert "left out (.csv 2)" in left_out
    assert "train/dog.180.jpg and train/dog.74.jpg" in copies
    by_csv = ingest_boxes("csv", root, tmp_path / "csv")
    assert {name: (one.split, one.boxes) for name, one in by_csv.items()} == {
        name: (one.split, one.boxes) for name, one in found.items()
    }
    # Compared with the CSV itself, by the sizes in it.
    with (root / "test_labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            width, height = float(row["width"]), float(row["height"])
            xmin, ymin, xmax, ymax = (float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            shares = xmin / width, ymin / height, xmax / width, ymax / height
            boxes = found[f"test/{row['filename']}"].boxes
            assert any(box[0] == row["class"] and box[1:] == pytest.approx(shares, abs=1e-4) for box in boxes)


def test_each_object_twice(tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "in",
        {
            f"{n}.{kind}": make_xml(CAT, DOG, CAT, DOG) if kind == "xml" else make_image(n)
            for n in range(3)
            for kind in ("png", "xml")
        },
    )
    found = ingest_boxes("voc", root, tmp_path / "out", max_reject_share=0.0)
    assert {name: one.boxes for name, one in found.items()} == {
        f"{n}.png": [CAT_SHARES, DOG_SHARES] for n in range(3)
    }
    assert read_rejects(tmp_path / "out") == []
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.warnings == [
        "6 boxes of 12 repeated another box of the same image, with the same class and the same sides: "
        "each copy was dropped."
    ]


def test_x_and_y_swapped(tmp_path: Path) -> None:
    # On images of 40 x 20 pixels these are x from 2 to 30 and y from 1 to 8.
    boxes = [(1, x, 8, x + 8, "cat") for x in (2, 10, 18, 22, 26, 30)]
    files = {f"{n}.xml": make_xml(box) for n, box in enumerate(boxes)}
    root = write_files(tmp_path / "in", {**files, **{f"{n}.png": make_image(n) for n in range(len(boxes))}})
    with pytest.raises(
        DataRefusedError, match=r"4 of 6 boxes .* seem to be written with x and y swapped; swap xmin"
    ):
        ingest("voc", root, tmp_path / "out", IngestConfig(workers=1))


def test_shares_are_no_pixels(tmp_path: Path) -> None:
    files = {f"{n}.xml": make_xml((0.25, 0.25, 0.5, 0.75, "cat")) for n in range(3)}
    root = write_files(tmp_path / "in", {**files, **{f"{n}.png": make_image(n) for n in range(3)}})
    with pytest.raises(
        UsageError, match=r"expected boxes in pixels, got 3 of 3 .* seem to be shares; --box-units sh"
    ):
        ingest("voc", root, tmp_path / "out", IngestConfig(workers=1))
    found = ingest_boxes("voc", root, tmp_path / "out", box_units="shares")
    assert [one.boxes for one in found.values()] == [[CAT_SHARES]] * 3


def test_a_turn_that_nothing_decides_is_reported(tmp_path: Path) -> None:
    told, not_told = (
        make_xml((2, 2, 10, 10, "cat"), size=(40, 20)),
        make_xml((2, 2, 10, 10, "cat"), size=None),
    )
    root = write_files(tmp_path / "in", {
        "1.jpg": turned(6, 40, 20), "1.xml": told,
        "2.jpg": turned(6, 40, 20), "2.xml": not_told,
        "3.jpg": turned(3, 40, 20), "3.xml": told,
        "4.jpg": turned(3, 40, 20), "4.xml": make_xml(size=None),
    })  # fmt: skip
    ingest_boxes("voc", root, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert [one for one in manifest.warnings if "EXIF" in one] == [
        "2 images with boxes turned by EXIF, and nothing says whether the boxes are of the image as it is "
        "seen or as the file holds it: read as seen; compare some with their images."
    ]


@pytest.mark.parametrize(
    ("flag", "difficult"),
    [("1", 1), ("1.0", 1), ("true", 1), ("0", 0), ("0.0", 0), ("Unspecified", 0), ("", 0)],
)
def test_flags_in_another_dress(tmp_path: Path, flag: str, difficult: int) -> None:
    marked = make_xml(CAT, more=f"<difficult>{flag}</difficult>")
    root = write_files(tmp_path / "in", {"1.png": make_image(), "1.xml": marked})
    write_files(root, {"2.png": make_image(2), "2.xml": make_xml(CAT)})
    assert ingest_boxes("voc", root, tmp_path / "out")["1.png"].difficult == [difficult]


def test_a_rotated_box_of_cvat(tmp_path: Path) -> None:
    rotation = "<attributes><attribute><name>rotation</name><value>{}</value></attribute></attributes>"
    files: dict[str, bytes | str] = {}
    # A quarter turn about (15, 10) makes 10 x 4 pixels of 4 x 10.
    for name, degrees in (("1", "90.0"), ("2", "0.0"), ("3", "left")):
        xml = make_xml((13, 5, 17, 15, "cat"), more=rotation.format(degrees))
        files |= {f"{name}.png": make_image(int(name)), f"{name}.xml": xml}
    found = ingest_boxes("voc", write_files(tmp_path / "in", files), tmp_path / "out")
    upright = [("cat", 0.325, 0.25, 0.425, 0.75)]
    assert [one.boxes for _, one in sorted(found.items())] == [
        [("cat", 0.25, 0.4, 0.5, 0.6)],
        upright,
        upright,
    ]
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    said = "1 object is not an upright box (1 rotated box): the box round each was read."
    assert said in manifest.warnings


def test_polygons_of_the_first_labelme(tmp_path: Path) -> None:
    def polygon(name: str, *points: tuple[float, float], more: str = "") -> str:
        written = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
        return f"<object><name>{name}</name>{more}<polygon>{written}</polygon></object>"

    size = "<imagesize><nrows>20</nrows><ncols>40</ncols></imagesize>"
    objects = [
        polygon("cat", (10, 5), (20, 5), (20, 15), (10, 15)),
        polygon("dog", (10, 8), (20, 5), (12, 15)),
        polygon("owl", (1, 1), (2, 2), (3, 3), more="<deleted>1</deleted>"),
        # A quarter turn about (15, 10) makes 10 x 4 pixels of 4 x 10.
        polygon(
            "cat", (13, 5), (17, 5), (17, 15), (13, 15), more="<attributes>a=b, rotation=90.0</attributes>"
        ),
    ]
    files = {
        "Images/train/1.png": make_image(1),
        "Annotations/train/1.xml": f"<annotation>{size}{''.join(objects)}</annotation>",
        "Images/train/2.png": make_image(2),
        "Annotations/train/2.xml": f"<annotation>{size}{polygon('cat', (1, 2), (3, 4))}</annotation>",
    }
    found = ingest_boxes("voc", write_files(tmp_path / "in", files), tmp_path / "out")
    assert {name: one.boxes for name, one in found.items()} == {
        "Images/train/1.png": [CAT_SHARES, ("dog", *CAT_SHARES[1:]), ("cat", 0.25, 0.4, 0.5, 0.6)]
    }
    assert read_rejects(tmp_path / "out") == [
        ("Annotations/train/2.xml", "object 1 (cat): polygon: expected 3 points or more, got 2")
    ]
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    said = "2 objects are not an upright box (1 polygon, 1 rotated box): the box round each was read."
    assert said in manifest.warnings


OWL = (0, 0, 10, 10, "owl")


@pytest.mark.parametrize(
    ("files", "classes", "said"),
    [
        ({}, ["cat", "dog", "owl"], ""),
        # labelImg's own list, with classes that no box has.
        ({"predefined_classes.txt": "person\nowl\n\ndog\ncat\ntv\n"}, ["owl", "dog", "cat"], ""),
        (
            {"data/classes.txt": "owl\n"},
            ["owl", "cat", "dog"],
            "data/classes.txt does not list cat, dog: they follow its classes.",
        ),
        ({"labelmap.txt": "# label:color_rgb:parts\nbackground:0,0,0::\nowl:1,2,3::\ncat:4,5,6::\ndog:::"},
         ["owl", "cat", "dog"], ""),
        # Of something else.
        ({"labels.txt": "happy\nsad\n"}, ["cat", "dog", "owl"], ""),
        (
            {"a/classes.txt": "owl\ncat\ndog\n", "b/classes.txt": "dog\ncat\nowl\n"},
            ["cat", "dog", "owl"],
            "a/classes.txt, b/classes.txt have the classes in different orders: they are sorted by name",
        ),
        (
            {"classes.txt": "owl\nowl\n"},
            ["cat", "dog", "owl"],
            "classes.txt, line 2: 'owl' is in line 1 already. Expected the name of a class in each line: the",
        ),
    ],
)  # fmt: skip
def test_lists_of_classes(tmp_path: Path, files: dict[str, str], classes: list[str], said: str) -> None:
    root = write_files(tmp_path / "in", {"1.png": make_image(), "1.xml": make_xml(CAT, DOG, OWL), **files})
    ingest_boxes("voc", root, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.class_names == classes
    assert said in str(manifest.warnings)
    given = write_files(tmp_path, {"list.txt": "dog\nowl\ncat\n"}) / "list.txt"
    ingest_boxes("voc", root, tmp_path / "given", label_map=given)
    manifest = read_manifest(tmp_path / "given")
    assert manifest is not None
    assert manifest.class_names == ["dog", "owl", "cat"]


@pytest.mark.parametrize("side", ["nan", "inf", "True", "1_0", "9" * 400, "1e300"])
def test_sides_that_are_no_numbers(tmp_path: Path, side: str) -> None:
    bad = make_xml((side, 5, 20, 15, "cat"))  # type: ignore[arg-type]
    root = write_files(
        tmp_path / "in",
        {"1.png": make_image(1), "1.xml": bad, "2.png": make_image(2), "2.xml": make_xml(CAT)},
    )
    ingest_boxes("voc", root, tmp_path / "out")
    ((path, reason),) = read_rejects(tmp_path / "out")
    assert (path, reason[:45]) == ("1.xml", "object 1 (cat): xmin: expected a number, got ")
