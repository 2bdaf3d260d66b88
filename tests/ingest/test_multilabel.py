"""Images with any number of classes: lists, folders, boxes and digits, as records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example, serialize_example
from components.base.tfrecord import frame_record, read_records
from components.ingest import IngestConfig, ingest, read_manifest
from components.ingest.truth import Label, Labels, truth_of
from components.ingest.truth.labels import read_labels
from pipeline.data.examples import describe
from pipeline.data.shards import look_into_shards
from tests.ingest.test_sources import LENIENT, rejects
from tests.make.boxes import make_image, make_xml, write_files
from tests.make.folders import write_images

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

SEVERAL: dict[str, Any] = {**LENIENT, "multilabel": True, "splits": {"train": 1}}


def found(source: str, path: Path | None, output: Path, **options: Any) -> dict[str, list[str]]:
    """File name -> classes, as the shards have them."""
    result = ingest(source, path, output, IngestConfig(**{**SEVERAL, **options}))
    read = {}
    for split in result.splits:
        for shard in sorted(output.glob(f"{split}-*")):
            for record in read_records(shard):
                values = parse_example(record)
                labels, texts = values["image/class/label"], values["image/class/text"]
                names = [text.decode() for text in texts]
                assert [result.class_names.index(name) for name in names] == labels == sorted(labels)
                read[values["image/filename"][0].decode()] = names
    return read


def write_list(here: Path, text: str, *images: str, name: str = "list.csv") -> Path:
    write_images(here, *images)
    (here / name).write_text(text, encoding="utf-8")
    return here / name


@pytest.mark.parametrize(
    ("cell", "separator", "names"),
    [
        ("dog|cat", "|", ("cat", "dog")),
        (" dog | cat |", "|", ("cat", "dog")),
        ("dog, cat", ",", ("cat", "dog")),
        ("dog|dog", "|", ("dog",)),
        ("hot dog", "|", ("hot dog",)),
        ('["dog", "a|b"]', "|", ("a|b", "dog")),
        ("['dog', 'cat']", "|", ("cat", "dog")),
        ("[]", "|", ()),
        ("", "|", ()),
        ("[1, 2]", "|", ("1", "2")),
        ("['sofa, bed', \"dog's\"]", "|", ("dog's", "sofa, bed")),
        ('["cat", null]', "|", ("cat",)),
        ("['cat', None]", "|", ("cat",)),
    ],
)
def test_classes_of_a_cell(cell: str, separator: str, names: tuple[str, ...]) -> None:
    assert read_labels(cell, separator) == Labels(names)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("['a' 'b']", "expected a list of classes as JSON or Python writes it"),
        ("['a' 'b', 'c']", "expected a list of classes as JSON or Python writes it"),
        ("['a\n 'b']", "expected a list of classes as JSON or Python writes it"),
        ("[cat, dog]", "expected a list of classes as JSON or Python writes it"),
        ("[" * 5000 + "]" * 5000, "expected a list of classes"),
        ('[{"label": "cat"}]', "expected a list of classes, got {'label': 'cat'} in"),
        ("[1.5]", "expected a list of classes, got 1.5 in"),
        ("[true, false]", "expected a list of classes, got True in"),
        ('["cat", ["dog"]]', r"expected a list of classes, got \['dog'\] in"),
    ],
)
def test_lists_that_are_none_of_classes(cell: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_labels(cell, "|")


def test_objects_in_a_list_are_refused(tmp_path: Path) -> None:
    rows = '{"file": "1.png", "label": {"cat": 1}}\n{"file": "2.png", "label": ["cat", "dog"]}\n'
    given = write_list(tmp_path / "in", rows, "1.png", "2.png", name="list.jsonl")
    assert found("csv", given, tmp_path / "out") == {"2.png": ["cat", "dog"]}
    assert "expected a class, got" in rejects(tmp_path / "out")["1.png"]


def test_labels_are_their_own_text() -> None:
    labels = Labels(("Wölfe [1]", "a|b", "a|b"))
    assert (labels.to_text(), Labels.from_text(labels.to_text())) == ('["Wölfe [1]", "a|b"]', labels)
    assert labels.record_features({"Wölfe [1]": 1, "a|b": 0}) == {
        "image/class/label": [0, 1],
        "image/class/text": [b"a|b", "Wölfe [1]".encode()],
    }


def test_records_of_one_class_are_records_of_several_where_these_are_asked_for() -> None:
    values = {"image/class/label": [0], "image/class/text": [b"cat"]}
    assert truth_of(values) is Label
    assert truth_of(values, "classification") is Label
    assert truth_of(values, "multilabel") is Labels


def test_a_list_with_a_separator(tmp_path: Path) -> None:
    given = write_list(
        tmp_path / "in",
        "filename,labels\n1.png,cat|dog\n2.png,\n3.png,dog\n4.png,none\n5.png,none|cat\n",
        "1.png", "2.png", "3.png", "4.png", "5.png",
    )  # fmt: skip
    output = tmp_path / "out"
    assert found("csv", given, output, no_class="none") == {
        "1.png": ["cat", "dog"],
        "2.png": [],
        "3.png": ["dog"],
        "4.png": [],
    }
    assert rejects(output) == {"5.png": "'none' stands for no class, and is listed with cat"}
    manifest = read_manifest(output)
    assert manifest is not None
    assert (manifest.task, manifest.options["multilabel"]) == ("multilabel", True)
    assert manifest.splits["train"].class_counts == {"cat": 1, "dog": 2}
    assert "2 of 4 images have no class: they are kept." in manifest.warnings


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param(
            "a.csv",
            "file,cat,dog\n1.png,1,1\n2.png,0,0\n",
            {"1.png": ["cat", "dog"], "2.png": []},
            id="columns",
        ),
        pytest.param(
            "b.csv",
            "file,label\n1.png,cat\n2.png,dog\n1.png,dog\n",
            {"1.png": ["cat", "dog"], "2.png": ["dog"]},
            id="rows",
        ),
        pytest.param(
            "c.jsonl",
            '{"file": "1.png", "labels": ["dog", "cat"]}\n{"file": "2.png", "labels": []}\n',
            {"1.png": ["cat", "dog"], "2.png": []},
            id="json-lines",
        ),
        pytest.param(
            "c.jsonl",
            '{"file": "1.png", "labels": ["a|dog"]}\n{"file": "2.png", "labels": [["x", "a|b"]]}\n',
            {"1.png": ["a|dog"], "2.png": ["a|b", "x"]},
            id="separator-in-a-list",
        ),
        pytest.param(
            "d.csv",
            "training,gs://b/1.png,dog,cat\ntraining,gs://b/2.png,dog\n",
            {"1.png": ["cat", "dog"], "2.png": ["dog"]},
            id="vertex",
        ),
    ],
)
def test_other_lists(tmp_path: Path, name: str, text: str, expected: dict[str, list[str]]) -> None:
    given = write_list(tmp_path / "in", text, "1.png", "2.png", name=name)
    assert found("csv", given, tmp_path / "out") == expected


def test_a_column_with_other_numbers_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"{n}.png,1,0\n" for n in range(25))
    given = write_list(tmp_path / "in", f"file,cat,dog\n{rows}x.png,-1,1\n", "x.png", "0.png")
    found("csv", given, tmp_path / "out")
    assert "expected 0 or 1 in the column cat, got '-1'" in rejects(tmp_path / "out")["x.png"]


def test_rows_of_one_image_are_joined_and_said(tmp_path: Path) -> None:
    given = write_list(tmp_path / "in", "file,label\n1.png,cat\n1.png,cat\n1.png,dog\n", "1.png")
    assert found("csv", given, tmp_path / "out") == {"1.png": ["cat", "dog"]}
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert "1 image has several rows: each has the classes of all its rows." in manifest.warnings


def test_folders_are_named_by_all_classes(tmp_path: Path) -> None:
    write_images(tmp_path / "in", "cat/1.png", "cat+dog/2.png", "none/3.png", "dog/4.png")
    assert found("folder", tmp_path / "in", tmp_path / "out", label_separator="+", no_class="none") == {
        "cat/1.png": ["cat"],
        "cat+dog/2.png": ["cat", "dog"],
        "none/3.png": [],
        "dog/4.png": ["dog"],
    }


def test_boxes_are_read_as_classes(tmp_path: Path) -> None:
    cat, dog = (1.0, 1.0, 20.0, 10.0, "cat"), (5.0, 5.0, 30.0, 19.0, "a|dog")
    files = {
        "1": make_xml(dog, cat, cat),
        "2": make_xml(),
        "3": make_xml(cat, more="<difficult>1</difficult>"),
    }
    for seed, (name, xml) in enumerate(files.items()):
        write_files(tmp_path / "in", {f"{name}.png": make_image(seed), f"{name}.xml": xml})
    assert found("voc", tmp_path / "in", tmp_path / "out") == {
        "1.png": ["a|dog", "cat"],
        "2.png": [],
        "3.png": ["cat"],
    }
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert (manifest.task, manifest.max_boxes) == ("multilabel", 0)


MIXED = "'Ödem frei' stands for no class, and is listed with cat"
# With other letters than the data have: an o and two dots, and spaces.
NO_CLASS = " O\u0308dem frei "


def class_names(output: Path) -> list[str]:
    manifest = read_manifest(output)
    assert manifest is not None
    return manifest.class_names


def test_no_class_of_records_with_lists(tmp_path: Path) -> None:
    lists = {"1": ["cat"], "2": ["Ödem frei"], "3": ["cat", "Ödem frei"], "4": []}
    known = ["Ödem frei", "cat"]
    records = b"".join(
        frame_record(
            serialize_example(
                {
                    "image/encoded": make_image(at),
                    "image/filename": f"{name}.png".encode(),
                    "image/class/label": [known.index(one) for one in names],
                    "image/class/text": [one.encode() for one in names],
                }
            )
        )
        for at, (name, names) in enumerate(lists.items())
    )
    write_files(tmp_path / "in", {"train.tfrecord": records})
    output = tmp_path / "out"
    assert found("tfrecord", tmp_path / "in", output, no_class=NO_CLASS) == {
        "1.png": ["cat"], "2.png": [], "4.png": []
    }  # fmt: skip
    assert rejects(output) == {"3.png": MIXED}
    assert class_names(output) == ["cat"]


def test_no_class_of_boxes(tmp_path: Path) -> None:
    names = ["1.png", "2.png", "3.png"]
    boxes = [(0, 1), (1, 2), (2, 1), (2, 2)]
    given = {
        "images": [{"id": at, "file_name": name, "width": 40, "height": 20} for at, name in enumerate(names)],
        "annotations": [
            {"id": at, "image_id": image, "category_id": category, "bbox": [0, 0, 9, 9]}
            for at, (image, category) in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "Ödem frei"}],
    }
    write_files(tmp_path / "in", {name: make_image(at) for at, name in enumerate(names)})
    write_files(tmp_path / "in", {"coco.json": json.dumps(given)})
    output = tmp_path / "out"
    assert found("coco", tmp_path / "in", output, no_class=NO_CLASS) == {"1.png": ["cat"], "2.png": []}
    assert rejects(output) == {"3.png": MIXED}
    assert class_names(output) == ["cat"]


def test_no_class_in_a_row_of_its_own(tmp_path: Path) -> None:
    given = write_list(
        tmp_path / "in",
        "file,label\n1.png,Ödem frei\n1.png,cat\n2.png,Ödem frei\n2.png,Ödem frei\n3.png,cat\n",
        "1.png", "2.png", "3.png",
    )  # fmt: skip
    output = tmp_path / "out"
    assert found("csv", given, output, no_class=NO_CLASS) == {"2.png": [], "3.png": ["cat"]}
    assert rejects(output) == {"1.png": MIXED}


def test_no_class_of_choices(tmp_path: Path) -> None:
    choices = {"1.png": ["cat", "Ödem frei"], "2.png": ["Ödem frei"], "3.png": ["cat"]}
    tasks = [
        {
            "id": at,
            "data": {"image": name},
            "annotations": [
                {
                    "id": at,
                    "result": [
                        {"type": "choices", "from_name": "x", "to_name": "y", "value": {"choices": said}}
                    ],
                }
            ],
        }
        for at, (name, said) in enumerate(choices.items())
    ]
    write_files(tmp_path / "in", {name: make_image(at) for at, name in enumerate(choices)})
    write_files(tmp_path / "in", {"export.json": json.dumps(tasks)})
    output = tmp_path / "out"
    assert found("label_studio", tmp_path / "in", output, no_class=NO_CLASS) == {
        "2.png": [], "3.png": ["cat"]
    }  # fmt: skip
    assert rejects(output) == {"1.png": MIXED}


def test_data_without_any_class_are_refused(tmp_path: Path) -> None:
    given = write_list(tmp_path / "in", "filename,labels\n1.png,\n", "1.png")
    with pytest.raises(DataRefusedError, match="none of its images has a class"):
        found("csv", given, tmp_path / "out")


@pytest.mark.slow
def test_digits_are_put_together_in_groups(tmp_path: Path) -> None:
    digits = found("digits", None, tmp_path / "out", splits={"train": 0.7, "eval": 0.15, "test": 0.15})
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.class_names == list("0123456789")
    assert {len(names) for names in digits.values()} == {0, 1, 2, 3}
    # No near copies, and no digit in two splits: a row of warnings for those without a class alone.
    assert [text for text in manifest.warnings if "no class" not in text] == []


@pytest.mark.parametrize("option", ["label_separator", "no_class"])
def test_options_of_several_classes_need_them(option: str) -> None:
    with pytest.raises(ValidationError, match=f"{option}: it is for images with several classes"):
        IngestConfig(**{option: "x"})


def test_sources_without_several_classes_are_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match="multilabel: expected a source that gives several classes"):
        ingest("idx", tmp_path / "in", tmp_path / "out", IngestConfig(**SEVERAL))


def test_shards_without_a_manifest(tmp_path: Path) -> None:
    given = write_list(
        tmp_path / "in",
        "filename,labels,split\n1.png,cat|dog,train\n2.png,,train\n3.png,cat|dog,eval\n4.png,cat|dog,test\n",
        "1.png", "2.png", "3.png", "4.png",
    )  # fmt: skip
    output = tmp_path / "out"
    found("csv", given, output)
    assert describe(output, IngestConfig(), "multilabel").class_counts["train"] == {"cat": 1, "dog": 1}
    with pytest.raises(
        UsageError, match="expected one class for each image for task: classification, got any"
    ):
        describe(output, IngestConfig())
    (output / "manifest.json").unlink()
    read = look_into_shards(output, "multilabel")
    assert (read.task, read.class_names, read.counts["train"]) == ("multilabel", ["cat", "dog"], [1, 1])
