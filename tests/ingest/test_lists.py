"""Lists of images in the layouts that people have: each is read, and what was guessed is reported."""

from __future__ import annotations

import io
import itertools
import json
import os
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, ingest
from components.ingest.file_table import FileTable
from components.ingest.files import FileEntry, walk
from components.ingest.fits import find_fits
from components.ingest.index import Index
from components.ingest.sources import yolo
from components.ingest.sources.context import SourceContext
from components.ingest.sources.csv_lines import CsvLines
from components.ingest.sources.json_lines import JsonLines
from components.ingest.sources.list_rows import RawList
from components.ingest.sources.lookup import Lookup
from components.ingest.sources.parquet_rows import ParquetRows
from pipeline.commands.main import main
from schemas import features
from tests.ingest.test_sources import LENIENT, found, left_out, rejects
from tests.make.boxes import ingest_boxes, make_image, read_warnings, write_files
from tests.make.folders import write_images

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

ALL_TRAIN: dict[str, Any] = {"splits": {"train": 1}}
CAT = ("cat", 0.25, 0.25, 0.5, 0.75)  # 10, 5, 20, 15 of 40 x 20 pixels


@pytest.mark.parametrize(
    ("lists", "images", "expected", "reported"),
    [
        pytest.param(
            {
                "train.csv": "id,label\n0a1b,cat\n0c2d,dog\n",
                "test.csv": "id\n9z9z\n",
                "sample_submission.csv": "id,label\n9z9z,cat\n",
            },
            ["train/0a1b.jpg", "train/0c2d.jpg", "test/9z9z.jpg", "test/0a1b.jpg"],
            {"train/0a1b.jpg": ("train", "cat"), "train/0c2d.jpg": ("train", "dog")},
            "train.csv is read with images in the column 'id', classes in 'label'; --image-column",
            id="kaggle",
        ),
        pytest.param(
            {"train.csv": "id_code,diagnosis\n0a1b,2\n0c2d,0\n", "test.csv": "id_code\n9z9z\n"},
            ["train_images/0a1b.png", "train_images/0c2d.png", "test_images/0a1b.png"],
            {"train_images/0a1b.png": ("train", "2"), "train_images/0c2d.png": ("train", "0")},
            "images in the column 'id_code', classes in 'diagnosis'",
            id="kaggle-aptos",
        ),
        pytest.param(
            {"train.csv": "image_id,label\n1.jpg,3\n2.jpg,1\n"},
            ["train_images/1.jpg", "train_images/2.jpg"],
            {"train_images/1.jpg": ("train", "3"), "train_images/2.jpg": ("train", "1")},
            "images in the column 'image_id'",
            id="kaggle-cassava",
        ),
        pytest.param(
            {"train.csv": "id,has_cactus\n1.jpg,1\n2.jpg,0\n"},
            ["train/1.jpg", "train/2.jpg"],
            {"train/1.jpg": ("train", "1"), "train/2.jpg": ("train", "0")},
            "images in the column 'id', classes in 'has_cactus', the only other column",
            id="only-other-column",
        ),
        pytest.param(
            {"m.csv": "lesion,image_id,dx,age\nL1,ISIC_1,nv,40\nL1,ISIC_2,mel,50\n"},
            ["part_1/ISIC_1.jpg", "part_2/ISIC_2.jpg"],
            {"part_1/ISIC_1.jpg": ("train", "nv"), "part_2/ISIC_2.jpg": ("train", "mel")},
            "images in the column 'image_id', classes in 'dx'",
            id="ham10000",
        ),
        pytest.param(
            {
                "train/_classes.csv": "filename, Cat, Dog\n1.jpg, 1, 0\n2.jpg, 0, 1\n",
                "valid/_classes.csv": "filename, Cat, Dog\n1.jpg, 0, 1\n",
            },
            ["train/1.jpg", "train/2.jpg", "valid/1.jpg"],
            {
                "train/1.jpg": ("train", "Cat"),
                "train/2.jpg": ("train", "Dog"),
                "valid/1.jpg": ("eval", "Dog"),
            },
            "_classes.csv is read with one class in each of 2 columns of 0 and 1",
            id="roboflow-one-hot",
        ),
        pytest.param(
            {
                "train-labels.csv": "ImageID,Source,LabelName,Confidence\n"
                "000a,verification,/m/01yrx,1\n000b,verification,/m/01yrx,0\n000b,verification,/m/0bt9lr,1\n",
                "class-descriptions.csv": "/m/01yrx,Cat\n/m/0bt9lr,Dog\n",
            },
            ["train/000a.jpg", "train/000b.jpg"],
            {"train/000a.jpg": ("train", "Cat"), "train/000b.jpg": ("train", "Dog")},
            "train-labels.csv is read as Open Images', with classes by their names",
            id="open-images",
        ),
        pytest.param(
            {
                "import.csv": "training,gs://bucket/flowers/1.jpg,daisy\nvalidation,gs://bucket/flowers/2.jpg,"
                "tulip\ngs://bucket/flowers/3.jpg,tulip\nTEST,gs://bucket/flowers/4.jpg,daisy\n"
                "UNASSIGNED,gs://bucket/flowers/5.jpg,daisy\n"
            },
            [f"flowers/{number}.jpg" for number in range(1, 6)],
            {
                "flowers/1.jpg": ("train", "daisy"),
                "flowers/2.jpg": ("eval", "tulip"),
                "flowers/3.jpg": ("train", "tulip"),
                "flowers/4.jpg": ("test", "daisy"),
                "flowers/5.jpg": ("train", "daisy"),
            },
            "import.csv is read as an import file of Vertex AI, split,address,class without names of "
            "columns, as its first line begins with a split and a file",
            id="vertex",
        ),
        pytest.param(
            {"list.csv": "a/1.jpg,cat\nb/2.jpg,dog\n"},
            ["a/1.jpg", "b/2.jpg"],
            {"a/1.jpg": ("train", "cat"), "b/2.jpg": ("train", "dog")},
            "list.csv is read without names of columns, as its first line is one of an image: images in "
            "column 1, classes in column 2",
            id="no-names",
        ),
        pytest.param(
            {"list.csv": "a/1.jpg,cat,train\nb/2.jpg,dog,val\n"},
            ["a/1.jpg", "b/2.jpg"],
            {"a/1.jpg": ("train", "cat"), "b/2.jpg": ("eval", "dog")},
            "images in column 1, classes in column 2, splits in column 3;",
            id="no-names-with-splits",
        ),
        pytest.param(
            {"list.tsv": "filename\tlabel\n1.jpg\tcat, black\n2.jpg\tdog\n"},
            ["1.jpg", "2.jpg"],
            {"1.jpg": ("train", "cat, black"), "2.jpg": ("train", "dog")},
            None,
            id="tsv",
        ),
        pytest.param(
            {"list.csv": ",filename,label\n0,1.jpg,cat\n1,2.jpg,dog\n"},
            ["1.jpg", "2.jpg"],
            {"1.jpg": ("train", "cat"), "2.jpg": ("train", "dog")},
            None,
            id="pandas-index",
        ),
        pytest.param(
            {"train.csv": "pic,kind\nC:\\data\\1.jpg,cat\nC:\\data\\2.jpg,dog\n"},
            ["1.jpg", "2.jpg"],
            {"1.jpg": ("train", "cat"), "2.jpg": ("train", "dog")},
            "images in the column 'pic', classes in 'kind', the only other column",
            id="cells-that-end-like-images",
        ),
    ],
)
def test_known_layouts(
    tmp_path: Path,
    lists: dict[str, str],
    images: list[str],
    expected: dict[str, tuple[str, str]],
    reported: str | None,
) -> None:
    root = write_files(write_images(tmp_path / "in", *images), lists)
    out = tmp_path / "out"
    assert found("csv", root, out, **ALL_TRAIN) == expected
    assert rejects(out) == {}
    about = [text for text in read_warnings(out) if " is read " in text]
    assert [reported in text for text in about] == [True] if reported and "_classes" not in lists else True
    assert len(about) <= max(1, len(lists) - 1)


def test_lists_without_classes_are_left_out_by_name(tmp_path: Path) -> None:
    root = write_files(
        write_images(tmp_path / "in", "train/1.jpg", "train/2.jpg"),
        {
            "train.csv": "id,breed\n1,cat\n2,dog\n",
            "test.csv": "id,width\n7,640\n",
            "sample_submission.csv": "id,breed\n7,cat\n",
            "notes.csv": "a,b,c\n1,2,3\n",
        },
    )
    out = tmp_path / "out"
    assert len(found("csv", root, out, **ALL_TRAIN)) == 2
    assert left_out(out) == {
        "notes.csv": "a list without images and classes",
        "sample_submission.csv": "a sample of answers, not labels",
        "test.csv": "a list without a column of the classes that the other lists have",
    }
    (said,) = [text for text in read_warnings(out) if text.startswith("Left out: ")]
    assert said.endswith("; train.csv is read.")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            "2.jpg,1,1,0",
            "several classes (Cat, Dog): each image has one class here; write a list with one class ",
        ),
        ("2.jpg,0,0,0", "unlabelled: all 3 columns of classes are 0 (_classes.csv line 3)"),
        ("2.jpg,0,7,0", "expected 0 or 1 in the column Dog, got '7' (_classes.csv line 3)"),
    ],
)
def test_rows_of_one_hot_columns_that_are_not_one_class(tmp_path: Path, row: str, reason: str) -> None:
    root = write_images(tmp_path / "in", *(f"{number}.jpg" for number in range(30)))
    rows = ["1.jpg,1,0,0", row, *(f"{number}.jpg,0,0,1" for number in range(3, 30))]
    # The row that is odd is beyond those that tell the layout.
    rows = rows[:1] + rows[2:] + rows[1:2] if "7" in row else rows
    (root / "_classes.csv").write_text("filename,Cat,Dog,Owl\n" + "\n".join(rows) + "\n")
    out = tmp_path / "out"
    assert len(found("csv", root, out, **ALL_TRAIN)) == 28
    assert rejects(out)["2.jpg"].startswith(reason.replace("line 3", "line 30" if "7" in row else "line 3"))


def test_several_labels_of_vertex_are_rejected(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "1.jpg", "2.jpg")
    (root / "i.csv").write_text("training,gs://b/1.jpg,daisy\ntraining,gs://b/2.jpg,daisy,tulip\n")
    out = tmp_path / "out"
    assert list(found("csv", root, out, **ALL_TRAIN)) == ["1.jpg"]
    assert rejects(out)["i.csv line 2"].startswith("several classes (daisy, tulip): each image has one class")


def test_negatives_of_open_images_are_left_out_and_counted(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "a.jpg", "b.jpg")
    (root / "l.csv").write_text("ImageID,Source,LabelName,Confidence\na,v,/m/1,1\nb,v,/m/1,0\nb,v,/m/2,1\n")
    out = tmp_path / "out"
    assert found("csv", root / "l.csv", out, **ALL_TRAIN) == {
        "a.jpg": ("train", "/m/1"),
        "b.jpg": ("train", "/m/2"),
    }
    assert left_out(out) == {"b": "Confidence 0: the class is not on the image (l.csv line 3)"}


@pytest.mark.parametrize(
    ("rows", "reported"),
    [
        (
            "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n"
            "1,xclick,cat,1,0.25,0.5,0.25,0.75,0,-1,1\n2,xclick,dog,1,0,1,0,1,0,0,0\n",
            "boxes as shares and classes by identifiers",
        ),
        (
            "training,gs://b/1.png,cat,0.25,0.25,,,0.5,0.75,,\n"
            "training,gs://b/2.png,dog,0,0,1,0,1,1,0,1\nvalidation,gs://b/3.png,,,,,,,,,\n",
            "split,address,class and the corners of a box as shares",
        ),
        (
            'image,label,bbox\n1.png,cat,"[10.0, 5, 10, 10]"\n2.png,dog,[0 0 40 20]\n3.png,,\n',
            "'bbox' as [x, y",
        ),
        ("/x/1.png,10,5,20,15,cat\n/x/2.png,0,0,40,20,dog\n/x/3.png,,,,,\n", "keras-retinanet's list"),
        ("filename,x,y,w,h,class\n1.png,10,5,10,10,cat\n2.png,0,0,40,20,dog\n", None),
    ],
    ids=["open-images", "vertex", "bbox", "retinanet", "xywh"],
)
def test_layouts_of_boxes(tmp_path: Path, rows: str, reported: str | None) -> None:
    images = {f"{number}.png": make_image(number) for number in range(1, 4)}
    root = write_files(tmp_path / "in", {"boxes.csv": rows, **images})
    out = tmp_path / "out"
    read = ingest_boxes("csv", root, out)
    assert read["1.png"].boxes == [CAT]
    assert read["2.png"].boxes == [("dog", 0, 0, 1, 1)]
    assert "3.png" not in read or (read["3.png"].boxes == [] and "3.png" in rows)
    assert read["1.png"].difficult == [int("IsGroupOf" in rows)]
    assert rejects(out) == {}
    assert [
        text for text in read_warnings(out) if reported is not None and reported in text
    ] or reported is None


def test_several_classes_of_an_image_are_named(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", *(f"{number}.png" for number in range(8)))
    rows = [f"{number}.png,{label}" for number in range(6) for label in ("owl", "cat", "owl")]
    (root / "l.csv").write_text(
        "filename,label\n" + "\n".join(rows) + "\n6.png,\"['cat', 'owl']\"\n7.png,['cat']\n"
    )
    out = tmp_path / "out"
    assert found("csv", root, out, **ALL_TRAIN)["7.png"] == ("train", "cat")
    assert rejects(out)["6.png"].startswith(
        "several classes (cat, owl): each image has one class here; write"
    )
    (said,) = [text for text in read_warnings(out) if "listed with several classes" in text]
    assert said.startswith(
        "6 images are listed with several classes: 0.png (cat and owl), 1.png (cat and owl), "
    )
    assert "4.png (cat and owl) and 1 more. Are these several labels of one image?" in said


# --- options


def test_columns_by_their_names(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", *(f"{number}.png" for number in range(4)))
    (root / "l.csv").write_text("a,B,c,label\n" + "".join(f"{n},{'xy'[n % 2]},dev,z\n" for n in range(4)))
    chosen = {"image_column": "a", "label_column": "b", "split_column": "c"}
    read = found("csv", root, tmp_path / "out", **chosen)
    assert read == {f"{n}.png": ("eval", "xy"[n % 2]) for n in range(4)}
    with pytest.raises(
        UsageError, match=r"label_column: expected a column of .*l\.csv \(a, B, c, label\), got"
    ):
        ingest("csv", root, tmp_path / "out2", IngestConfig(image_column="a", label_column="labl", **LENIENT))


def test_a_split_that_is_none(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "1.png", "2.png")
    (root / "l.csv").write_text("filename,label,set\n1.png,a,Extra\n2.png,b,test\n")
    with pytest.raises(
        UsageError, match=r"line 2: unknown split 'Extra'.*--split-names Extra=test, or =none"
    ):
        ingest("csv", root, tmp_path / "out")
    read = found("csv", root, tmp_path / "out", split_names={"extra": "none"})
    assert read == {"1.png": ("train", "a"), "2.png": ("test", "b")}


def test_options_of_the_command(tmp_path: Path) -> None:
    root = write_images(tmp_path / "photos", "1.png", "2.png")
    table = write_files(tmp_path / "in", {"l.csv": "40,cat,1\n50,dog,2\n"}) / "l.csv"
    given = ["--no-header", "--image-column", "3", "--label-column", "2", "--images", str(root)]
    done = CliRunner().invoke(main, ["ingest", "csv", str(table), str(tmp_path / "out"), *given])
    assert (done.exit_code, "2 classes, 0 rejected" in done.output) == (0, True), done.output


def test_columns_by_their_numbers(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "1.png", "2.png")
    (root / "l.csv").write_text("40,cat,1\n50,dog,2\n")
    columns = {"no_header": True, "image_column": "3", "label_column": 2}
    assert found("csv", root, tmp_path / "out", **ALL_TRAIN, **columns) == {
        "1.png": ("train", "cat"),
        "2.png": ("train", "dog"),
    }
    with pytest.raises(UsageError, match=r"expected the number of the column with the classes.*40, cat, 1"):
        ingest("csv", root, tmp_path / "out2", IngestConfig(no_header=True))


def test_columns_of_lists_that_have_a_form_of_their_own(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "a.jpg", "b.jpg")
    (root / "l.csv").write_text("ImageID,LabelName,Confidence,Subset\na,/m/1,1,validation\nb,/m/2,1,test\n")
    read = found("csv", root, tmp_path / "out", split_column="Subset")
    assert read == {"a.jpg": ("eval", "/m/1"), "b.jpg": ("test", "/m/2")}
    (root / "l.csv").write_text("train,gs://b/a.jpg,x\ntest,gs://b/b.jpg,y\n")
    read = found("csv", root, tmp_path / "out2", split_column="1", label_column="3")
    assert read == {"a.jpg": ("train", "x"), "b.jpg": ("test", "y")}
    write_parquet(root / "l.parquet", {"image": ["a.jpg"], "label": ["x"]})
    with pytest.raises(
        UsageError, match=r"no_header: expected a CSV, got .*l\.parquet, which names its columns"
    ):
        ingest("csv", root / "l.parquet", tmp_path / "out3", IngestConfig(no_header=True))


def test_images_in_another_folder(tmp_path: Path) -> None:
    images = write_images(tmp_path / "photos", "a/1.png", "2.png")
    table = write_files(tmp_path / "lists", {"l.csv": "filename,label\na/1.png,cat\n2.png,dog\n"}) / "l.csv"
    out = tmp_path / "out"
    chosen: dict[str, Any] = {**ALL_TRAIN, "images": str(images)}
    assert found("csv", table, out, **chosen) == {"a/1.png": ("train", "cat"), "2.png": ("train", "dog")}
    with pytest.raises(DataRefusedError, match=r"If the images are in another folder, give it: --images DIR"):
        ingest("csv", table, tmp_path / "out2")
    config = IngestConfig(**{**LENIENT, **chosen})
    assert ingest("csv", table, out, config).unchanged
    table.write_text("filename,label\na/1.png,cat\n2.png,cow\n")
    assert ingest("csv", table, out, config).class_names == ["cat", "cow"]
    with pytest.raises(UsageError, match=r"images: expected a list as INPUT \(\.csv, .*give the file itself"):
        ingest("csv", tmp_path / "lists", out, config)
    with pytest.raises(UsageError, match=r"images .*gone: no such folder"):
        ingest("csv", table, out, IngestConfig(images=str(tmp_path / "gone")))


def test_images_of_another_folder_are_read_though_names_sizes_and_times_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of two folders of a bucket, whose times alone tell whether a file changed."""
    table = write_files(tmp_path, {"l.csv": "filename,label\n1.pgm,cat\n2.pgm,dog\n"}) / "l.csv"
    for place, value in (("one", b"\x10"), ("other", b"\x90")):
        files = {f"{n}.pgm": b"P5 8 8 255\n" + value * 63 + bytes([n]) for n in (1, 2)}
        for name in files:
            os.utime(write_files(tmp_path / place / "images", files) / name, (1e9, 1e9))
    options: dict[str, Any] = {**LENIENT, **ALL_TRAIN, "images": "images"}
    for place, value in (("one", 0x10), ("other", 0x90)):
        monkeypatch.chdir(tmp_path / place)
        result = ingest("csv", table, tmp_path / "out", IngestConfig(**options), trust_times=True)
        assert not result.unchanged
        (shard,) = (tmp_path / "out").glob("train-*")
        encoded = parse_example(next(iter(read_records(shard))))[features.ENCODED][0]
        assert Image.open(io.BytesIO(encoded)).getpixel((0, 0)) == value
    again = ingest("csv", table, tmp_path / "out", IngestConfig(**options), trust_times=True)
    assert again.unchanged


def test_options_of_lists_are_refused_where_nothing_reads_them(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "a/1.png", "b/2.png")
    with pytest.raises(
        UsageError, match=r"label_column: expected a source that reads it \(csv\), got folder"
    ):
        ingest("folder", root, tmp_path / "out", IngestConfig(label_column="x"))


# --- JSON Lines and Parquet


def write_parquet(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def test_json_lines(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", *(f"{number}.png" for number in range(6)))
    rows = [
        '{"file_name": "0.png", "label": "cat"}',
        '{"label": 7, "file_name": "1.png", "more": null}',
        '{"file_name": "2.png", "label": ["cat"]}',
        "",
        '{"file_name": "3.png", "label": "dog"',
        '{"file_name": "4.png", "label": null}',
        "[1, 2]",
        '{"file_name": "5.png", "label": "\\ud800"}',
    ]
    (root / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    assert found("csv", root, out, **ALL_TRAIN) == {
        "0.png": ("train", "cat"),
        "1.png": ("train", "7"),
        "2.png": ("train", "cat"),
    }
    assert rejects(out) == {
        "metadata.jsonl line 5": "not JSON: Expecting ',' delimiter at letter 38 (metadata.jsonl line 5)",
        "4.png": "unlabelled: no class (metadata.jsonl line 6)",
        "metadata.jsonl line 7": "expected an object, got [1, 2] (metadata.jsonl line 7)",
        "metadata.jsonl line 8": "expected a text, got '\\ud800' (metadata.jsonl line 8)",
    }


def test_objects_are_no_classes(tmp_path: Path) -> None:
    """Hugging Face's folders of images have the boxes of an image in one object."""
    rows = '{"file_name": "1.png", "objects": {"bbox": [[1, 2, 3, 4]], "categories": [0]}}\n'
    root = write_files(tmp_path / "in", {"metadata.jsonl": rows, "1.png": make_image(1)})
    with pytest.raises(UsageError, match=r"no column for the class: .* got file_name, objects; name it by"):
        ingest("csv", root, tmp_path / "out")
    with pytest.raises(DataRefusedError, match=r"1\.png: expected a class, got .*bbox.* line 1\)"):
        ingest("csv", root, tmp_path / "out", IngestConfig(label_column="objects"))


def test_a_split_that_only_later_objects_have_is_not_passed_over(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", *(f"{number}.png" for number in range(22)))
    rows = [{"file_name": f"{number}.png", "label": "ab"[number % 2]} for number in range(22)]
    rows[20]["split"], rows[21]["set"] = "test", ""
    (root / "l.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    out = tmp_path / "out"
    assert len(found("csv", root, out, **ALL_TRAIN)) == 21
    assert rejects(out) == {
        "l.jsonl line 21": "it has the key 'split', which none of the first 20 objects has: add it to the "
        "first one, as null if that has no split (l.jsonl line 21)"
    }


def test_boxes_in_json_lines(tmp_path: Path) -> None:
    rows = '{"image": "1.png", "bbox": [10, 5.0, 10, 10], "label": "cat"}\n'
    root = write_files(tmp_path / "in", {"l.ndjson": rows, "1.png": make_image(1)})
    assert ingest_boxes("csv", root / "l.ndjson", tmp_path / "out")["1.png"].boxes == [CAT]


def test_a_parquet_that_names_files(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "a/1.png", "a/2.png", "a/3.png")
    columns = {"Path": ["1.png", "2.png", "9.png", "3.png"], "label": [10, 9, 9, None], "set": ["val"] * 4}
    write_parquet(root / "l.parquet", columns)
    out = tmp_path / "out"
    assert found("csv", root, out) == {"a/1.png": ("eval", "10"), "a/2.png": ("eval", "9")}
    assert rejects(out) == {
        "9.png": "no such file (l.parquet row 3)",
        "a/3.png": "unlabelled: no class (l.parquet row 4)",
    }
    with pytest.raises(
        UsageError, match=r"label_column: expected a column of .*\(Path, label, set\), got 'lbl'"
    ):
        ingest("csv", root, tmp_path / "out2", IngestConfig(label_column="lbl"))


def test_a_parquet_of_objects_alone_is_no_list(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "in" / "l.parquet", {"image": [{"uri": "1.png"}] * 3})
    with pytest.raises(UsageError, match=r"l\.parquet: no column for the file's name: .* got none"):
        ingest("csv", path, tmp_path / "out")


def test_parts_of_a_split_may_have_a_digest_in_their_names(tmp_path: Path) -> None:
    for part in range(2):
        images = [{"bytes": make_image(2 * part + at), "path": None} for at in range(2)]
        path = tmp_path / "in" / "data" / f"train-0000{part}-of-00002-b42a775f407cee4{part}.parquet"
        write_parquet(path, {"image": images, "label": ["cat", "dog"]})
    result = ingest("csv", tmp_path / "in", tmp_path / "out", IngestConfig(splits={"train": 1}))
    assert (result.splits["train"].images, result.rejected) == (4, 0)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_there_may_be_more_lists_than_files_that_can_be_open(tmp_path: Path, ending: str) -> None:
    root = write_images(tmp_path / "in", "1.png", "2.png")
    for part in range(28):
        path = root / f"train-{part:05d}-of-00028.{ending}"
        if ending == "parquet":
            write_parquet(path, {"file": ["1.png"] * 21, "label": ["cat"] * 21})
        else:
            row = '{"file": "1.png", "label": "cat"}\n' if ending == "jsonl" else "1.png,cat\n"
            path.write_text(("file,label\n" if ending == "csv" else "") + 21 * row)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = set(map(int, os.listdir("/proc/self/fd")))
    most = next(most for most in itertools.count(1) if len(set(range(most)) - used) == 25)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        result = ingest("csv", root, tmp_path / "out", IngestConfig(**LENIENT, splits={"train": 1}))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert result.splits["train"].images == 28 * 21


def test_a_parquet_that_holds_the_images(tmp_path: Path) -> None:
    """Data sets of Hugging Face are in several files per split, and name their classes in the metadata."""
    classes = {"label": {"names": ["zebra", "ant", "cow"], "_type": "ClassLabel"}}
    for name, labels in (("train-00000-of-00002", [0, 1, 9]), ("train-00001-of-00002", [1]), ("test-0", [0])):
        images = [{"bytes": make_image(at + len(name)), "path": f"{at}.png"} for at in range(len(labels))]
        write_parquet(
            tmp_path / "in" / "data" / f"{name}.parquet", {"image": images, "label": labels}, classes
        )
    out = tmp_path / "out"
    result = ingest("csv", tmp_path / "in", out, IngestConfig(**LENIENT, splits={"train": 1}))
    assert result.class_names == ["zebra", "ant", "cow"]
    assert {name: split.images for name, split in result.splits.items()} == {"train": 3, "test": 1}
    reason = "label: expected a class of 0 to 2, got 9 (train-00000-of-00002.parquet row 3)"
    assert rejects(out) == {"train-00000-of-00002.parquet row 3": reason}
    (record,) = read_records(out / "test-00000-of-00001")
    values = parse_example(record)
    assert values["image/encoded"] == [make_image(len("test-0"))]
    assert (values["image/filename"], values["image/class/text"]) == ([b"0.png"], [b"zebra"])
    damaged = (tmp_path / "in" / "data" / "test-0.parquet").read_bytes()[:-40]
    (tmp_path / "in" / "data" / "test-0.parquet").write_bytes(damaged)
    with pytest.raises(DataRefusedError, match=r"test-0\.parquet: damaged, or not Parquet"):
        ingest("csv", tmp_path / "in", out, IngestConfig(**LENIENT))


# --- rows


@pytest.mark.slow
def test_a_long_list_is_read_line_by_line(tmp_path: Path) -> None:
    """Every line is counted, and what is wrong is named by its line."""
    root = write_images(tmp_path / "in", "1.png", "2.png")
    rows = [f"{1 + at % 2}.png,{'ab'[at % 2]}" for at in range(2_000)]
    rows[1_500] = "1.png,a,b"
    (root / "l.csv").write_text("\r\n".join(["filename,label", *rows]) + "\r\n")
    out = tmp_path / "out"
    result = ingest("csv", root, out, IngestConfig(**LENIENT, **ALL_TRAIN))
    assert (result.splits["train"].images, result.rejected) == (1_999, 1)
    assert rejects(out)["1.png"].endswith("put a field that holds ',' in quotes (l.csv line 1502)")
    (root / "l.csv").write_bytes(("\n".join(["filename,label", *rows]) + "\n1.png,caf").encode() + b"\xe9\n")
    with pytest.raises(DataRefusedError, match=r"line 2002: not UTF-8"):
        ingest("csv", root, out, IngestConfig(**LENIENT, **ALL_TRAIN))


@pytest.mark.slow
@pytest.mark.parametrize("reader", [CsvLines, JsonLines])
def test_memory_does_not_grow_with_a_list(tmp_path: Path, reader: Callable[[Path], RawList]) -> None:
    path = tmp_path / "list"
    path.write_text('{"a":1}\n' * 20_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in reader(path).rows()) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 300_000  # bytes; one object per line would take 1 MB
    finally:
        tracemalloc.stop()


def list_context(root: Path) -> SourceContext:
    """Return the context of a list in a folder."""
    index = Index(Path(":memory:"))
    index.files.add(walk(root, ()))
    return SourceContext(root, "", None, index, root, IngestConfig())


def test_files_of_one_name_are_found_without_a_look_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a hundred thousand folders have a file of one name, each look at all would take as long."""
    folders = [f"train/patient{number}/study" for number in range(200)]
    root = write_files(tmp_path / "in", {f"{folder}/view.jpg": "" for folder in folders})
    context = list_context(root)
    lookup = Lookup(context, root / "l.csv")
    find, seen = FileTable.find, []

    def count(*args: Any, **options: Any) -> Iterator[FileEntry]:
        for entry in find(*args, **options):
            seen.append(entry.path)
            yield entry

    monkeypatch.setattr(FileTable, "find", count)
    spellings = {
        "{0}/view.jpg": "exact", "./{0}/view.jpg": "exact", f"{root}/{{0}}/view.jpg": "exact",
        "CheXpert/{0}/view.jpg": "elsewhere", "C:\\{0}\\view": "ending", "/x/{0}/VIEW.jpg": "case",
    }  # fmt: skip
    for spelling in spellings:
        for folder in folders:
            entry = lookup.find(spelling.format(folder))
            assert isinstance(entry, FileEntry), (spelling, entry)
            assert entry.path == f"{folder}/view.jpg"
    assert len(seen) <= 2 * len(spellings) * len(folders)
    seen.clear()
    # Files that fit none of the folders are looked at once for all rows.
    expected = "ambiguous: 200 files have this name, train/patient0/study/view.jpg and "
    for _ in folders:
        for name in ("view.jpg", "study/view.jpg", "D:/study/view.jpg"):
            assert str(lookup.find(name)).startswith(expected)
        assert "no such file; train/patient0/study/view.jpg has" in str(lookup.find("other/view.jpg"))
    assert len(seen) <= 5 * len(folders)
    found = dict(context.index.db.execute("SELECT name, how FROM looked_up WHERE path = ?", (entry.path,)))
    assert found == {spelling.format(folders[-1]): how for spelling, how in spellings.items()}


def test_a_name_with_more_folders_than_any_file(tmp_path: Path) -> None:
    """Each of its folders is not tried in turn."""
    root = write_files(tmp_path / "in", {"a/b/1.jpg": "", "c/1.jpg": "", "a/b/1.txt": ""})
    context = list_context(root)
    entry = Lookup(context, root / "l.csv").find("C:/" + "x/" * 50_000 + "a/b/1.jpg")
    assert isinstance(entry, FileEntry)
    assert entry.path == "a/b/1.jpg"
    label_file = yolo._label_file(context.index, "a/b/1.jpg")
    assert label_file is not None
    assert label_file.path == "a/b/1.txt"


def test_memory_does_not_grow_with_a_row_group_of_images(tmp_path: Path) -> None:
    """A row group of 16 MB, in pages of 8 images of 64 KB."""
    rows, size = 256, 1 << 16
    table = pa.table({"image": [os.urandom(size) for _ in range(rows)], "label": ["a"] * rows})
    pq.write_table(table, tmp_path / "l.parquet", row_group_size=rows, write_batch_size=8)
    del table
    before, most, read = pa.total_allocated_bytes(), 0, 0
    for _, cells, _ in ParquetRows(tmp_path / "l.parquet").rows():
        read += len(getattr(cells[0], "encoded", b""))
        most = max(most, pa.total_allocated_bytes() - before)
    assert read == rows * size
    assert most < 8 << 20


def test_pixels_in_a_list_are_named(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {"train.csv": "label,pixel0,pixel1\n3,0,255\n"})
    with pytest.raises(
        UsageError, match=r"expected names of image files, got the pixels themselves \(pixel0"
    ):
        ingest("csv", root, tmp_path / "out")


def assert_one_split_each(splits: dict[str, str]) -> None:
    """Check that the images of each patient are in one split, and that no split is empty."""
    found = [{splits[f"{4 * patient + n}.png"] for n in range(4)} for patient in range(10)]
    assert [len(patient) for patient in found] == [1] * 10
    assert set().union(*found) == {"train", "eval", "test"}


def test_groups_are_a_column(tmp_path: Path) -> None:
    """Images of one patient get one split, for classes and for boxes."""
    rows = [f"{number}.png,{number // 4},{'ab'[number % 2]}" for number in range(40)]
    files = {f"{number}.png": make_image(number) for number in range(40)}
    root = write_files(tmp_path / "in", {"l.csv": "filename,Patient,label\n" + "\n".join(rows), **files})
    read = found("csv", root, tmp_path / "out", group_by="patient")
    assert_one_split_each({name: split for name, (split, _) in read.items()})
    boxes = [f"{row},0,0,9,9" for row in rows]
    header = "filename,Patient,label,xmin,ymin,xmax,ymax\n"
    (root / "l.csv").write_text(header + "\n".join(boxes) + "\n")
    shares = {"train": 0.8, "eval": 0.1, "test": 0.1}
    with_boxes = ingest_boxes("csv", root, tmp_path / "out2", group_by="Patient", splits=shares)
    assert_one_split_each({name: one.split for name, one in with_boxes.items()})
    with pytest.raises(
        UsageError, match=r"group_by: expected a column of .*l\.csv \(filename, Patient, .*'pat'"
    ):
        ingest("csv", root, tmp_path / "out3", IngestConfig(group_by="pat", **LENIENT))


def test_a_list_fits_if_it_names_images_that_are_here(tmp_path: Path) -> None:
    root = write_files(
        write_images(tmp_path / "in", "train/1.jpg"),
        {"train.csv": "id,breed\n0,cat\n1,dog\n", "test.csv": "id\n9\n"},
    )
    assert [(fit.source, fit.why) for fit in find_fits(root)] == [
        ("csv", "train.csv has the columns id, breed")
    ]
    (root / "train.csv").write_text("id,breed\n7,cat\n8,dog\n")
    assert find_fits(root) == []
