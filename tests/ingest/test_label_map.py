"""Label maps: which number a class of boxes has."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.ingest import IngestConfig, ingest, read_manifest
from components.ingest.label_map import read_label_map
from tests.make.boxes import ingest_boxes, make_image, make_xml, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

MAP = """
item {  # the gap in the numbers is meant
  id: 7
  name: "dog"
}
item { name: '/m/01yrx', id: 3, display_name: 'cat' keypoints { id: 1 label: 'nose' } }
"""
FILES = {"1.png": make_image(), "1.xml": make_xml((10, 5, 20, 15, "cat"), (0, 0, 40, 20, "dog"))}


def written(tmp_path: Path, text: str) -> Path:
    return write_files(tmp_path, {"map.pbtxt": text}) / "map.pbtxt"


def test_a_label_map_is_read(tmp_path: Path) -> None:
    read = read_label_map(written(tmp_path, MAP))
    assert (read.names, read.class_names()) == ({3: "cat", 7: "dog"}, ["cat", "dog"])
    assert [read.named(text, "x") for text in ("cat", "/m/01yrx", "dog")] == ["cat", "cat", "dog"]
    assert read.numbered(7, "x") == "dog"
    with pytest.raises(DataRefusedError, match=r"1.xml: the class 'wolf' is not in the label map .*pbtxt"):
        read.named("wolf", "1.xml")
    with pytest.raises(DataRefusedError, match=r"a#0: the class 1 is not in the label map .*: it has 3, 7"):
        read.numbered(1, "a#0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item {\n id: 1\n nam: 'cat'\n}", r"map.pbtxt, line 3: .*no field named .nam."),
        ("item {\n id: 1\n name: 'cat\n}", r"map.pbtxt, line 3: .*missing ending quote"),
        ("item {\n id: one\n}", r"map.pbtxt, line 2: "),
        ("item {\n id: 1 name: 'cat'", r"map.pbtxt, line 2: "),
        ("feature { name: 'image/encoded' }", r"line 1: .*no field named .feature."),
        ("", r"it has no items. Expected items like: item \{ id: 1 name: 'cat' \}"),
        ("item { id: 0 name: 'background' }", r"item 1 \(background\): its id is 0; 0 is the background"),
        ("item { id: 1 }", r"item 1: it has no name"),
        ("item { name: 'cat' }", r"item 1: it has no id"),
        ("item { id: 1 name: 'cat' } item { id: 1 name: 'dog' }", r"item 2 \(dog\): the id 1 is 'cat' alr"),
        (
            "item { id: 1 name: 'a' } item { id: 2 name: 'b' display_name: 'a' }",
            r"'a' stands for two classes",
        ),
    ],
)
def test_one_that_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_label_map(written(tmp_path, text))


def labels(tmp_path: Path, source: Path, **options: object) -> tuple[list[int], list[str]]:
    """The labels of 1.png (cat, then dog), and all classes."""
    found = ingest_boxes("voc", source, tmp_path / "out", **options)
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    return found["1.png"].values["image/object/class/label"], manifest.class_names


def test_one_beside_the_data_or_given_numbers_the_classes(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", FILES)
    assert labels(tmp_path, root) == ([1, 2], ["cat", "dog"])
    given = (
        write_files(tmp_path, {"my.pbtxt": "item { id: 5 name: 'cat' } item { id: 2 name: 'dog' }"})
        / "my.pbtxt"
    )
    assert labels(tmp_path, root, label_map=given) == ([2, 1], ["dog", "cat"])
    more = "item { id: 1 name: 'owl' } item { id: 2 name: 'dog' } item { id: 4 name: 'cat' }"
    write_files(root, {"classes.pbtxt": more})
    assert labels(tmp_path, root) == ([3, 2], ["owl", "dog", "cat"])
    # What is given wins.
    assert labels(tmp_path, root, label_map=given) == ([2, 1], ["dog", "cat"])
    given.write_text("item { id: 1 name: 'cat' } item { id: 2 name: 'dog' }")
    assert labels(tmp_path, root, label_map=given) == ([1, 2], ["cat", "dog"])
    write_files(root, {"other.pbtxt": more})
    with pytest.raises(UsageError, match=r"2 label maps in it \(classes.pbtxt, other.pbtxt\): say which"):
        ingest("voc", root, tmp_path / "out", IngestConfig(workers=1))


def test_what_it_does_not_name_is_refused(tmp_path: Path) -> None:
    root = write_files(tmp_path / "in", {**FILES, "m.pbtxt": "item { id: 1 name: 'cat' }"})
    with pytest.raises(DataRefusedError, match=r"1.xml: the class 'dog' is not in the label map .* has cat"):
        ingest("voc", root, tmp_path / "out", IngestConfig(workers=1))


def test_it_is_of_no_use_without_boxes(tmp_path: Path) -> None:
    given = written(tmp_path, MAP)
    root = write_files(tmp_path / "in", {"cats/1.png": make_image()})
    with pytest.raises(UsageError, match=r"it numbers the classes of boxes, and .* has one class an image"):
        ingest("folder", root, tmp_path / "out", IngestConfig(workers=1, label_map=str(given)))
    with pytest.raises(
        UsageError, match=r"box_units pixels: it says what boxes count in, and .* has one cla"
    ):
        ingest("folder", root, tmp_path / "out", IngestConfig(workers=1, box_units="pixels"))
    config = IngestConfig(label_map=str(tmp_path / "gone.pbtxt"))
    with pytest.raises(UsageError, match=r"label_map .*gone.pbtxt: no such file"):
        ingest("voc", root, tmp_path / "out", config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"list of classes .*a.txt: it is empty. Expected the name of a class in each line"),
        (b"cat\ndog\ncat\n", r"a.txt, line 3: 'cat' is in line 1 already"),
        (b"cat\n\x00\x01\n", r"a.txt, line 2: the class name .* holds a control character"),
        (b"\xff\xfec\x00a\x00", r"a.txt: cannot be read: not UTF-8"),
        (b"x" * (17 << 20), r"a.txt: larger than 16 MiB, as no list of classes is"),
    ],
)
def test_lists_of_classes_that_cannot_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_label_map(write_files(tmp_path, {"a.txt": content}) / "a.txt")


def test_a_list_of_classes_is_a_label_map(tmp_path: Path) -> None:
    file = write_files(tmp_path, {"a.txt": "\ufeffcat\n\n  caf\u00e9 \n"}) / "a.txt"
    assert read_label_map(file).names == {1: "cat", 2: "caf\u00e9"}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"\x00" * 100,
        b"item { id: 1 name: 'a\\x' }",
        b"item { id: 99999999999999999999 name: 'a' }",
        b"item {" * 5000,
        b"item { id: 1 name: '\\377' }",
        b"item { id: -1 name: 'a' }",
    ],
)
def test_damaged_maps_give_one_clear_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match=r"map.pbtxt") as raised:
        read_label_map(write_files(tmp_path, {"map.pbtxt": content}) / "map.pbtxt")
    assert "codec" not in str(raised.value)
    assert "Expected items like" in str(raised.value)
