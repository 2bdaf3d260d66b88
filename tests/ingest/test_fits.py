"""The guess of a source: every layout is known by its own, and messages name the source that fits."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from components.base.errors import UsageError
from components.base.example import serialize_example
from components.base.tfrecord import frame_record
from components.ingest import IngestConfig, check_input, ingest
from components.ingest.files import FileEntry
from components.ingest.fits import Fit, find_fits
from components.ingest.index import Index
from components.ingest.sources import SOURCES, cifar
from components.ingest.sources.context import SourceContext
from tests.make.boxes import make_image, make_xml, write_files
from tests.make.folders import encode_idx

pytestmark = pytest.mark.stack_free

_COCO = json.dumps({"info": {}, "images": [{"id": 1, "file_name": "1.png"}], "annotations": []})
_RECORD = frame_record(serialize_example({"image/encoded": make_image(), "image/class/text": b"cat"}))
_LAYOUTS: dict[str, tuple[dict[str, bytes | str], Fit]] = {
    "folders": ({"a/1.jpg": "", "b/2.jpg": ""}, Fit("folder", "images are in 2 folders: a, b")),
    "split folders": (
        {"x/train/a/1.jpg": "", "x/train/b/2.jpg": "", "x/test/a/3.jpg": ""},
        Fit("folder", "images are in 2 folders, in test, train: a, b"),
    ),
    "csv": (
        {"list.csv": "id,filename,label\n1,1.png,cat\n", "1.png": ""},
        Fit("csv", "list.csv has the columns filename, label"),
    ),
    "csv of boxes": (
        {"list.csv": "filename,class,xmin,ymin,xmax,ymax\n1.png,cat,1,1,2,2\n", "1.png": ""},
        Fit("csv", "list.csv has the columns filename, xmin, ymin, xmax, ymax, class"),
    ),
    "idx": (
        {"train-images-idx3-ubyte": encode_idx(1, 1, 1, data=b"0")},
        Fit("idx", "train-images-idx3-ubyte is called as MNIST's files are"),
    ),
    "cifar": (
        {"py/batches.meta": pickle.dumps({}), "py/data_batch_1": b"", "py/test_batch": b""},
        Fit("cifar", "it has py/batches.meta and 2 batches of it"),
    ),
    "tfrecord": (
        {"train-00000-of-00001": _RECORD},
        Fit("tfrecord", "train-00000-of-00001 is a TFRecord file"),
    ),
    "tfds": (
        {"dataset_info.json": "{}", "features.json": "{}"},
        Fit("tfds", "dataset_info.json is a file of tensorflow_datasets"),
    ),
    "voc": (
        {"JPEGImages/1.jpg": "", "Annotations/1.xml": make_xml((1, 1, 2, 2, "cat"))},
        Fit("voc", "Annotations/1.xml is an <annotation> of one image"),
    ),
    "coco": (
        {"train2017/1.png": "", "val2017/2.png": "", "annotations/instances_train2017.json": _COCO},
        Fit("coco", "annotations/instances_train2017.json lists images and their annotations"),
    ),
    "cvat": (
        {"annotations.xml": "<annotations>\n<version>1.1</version><meta></meta></annotations>", "1.png": ""},
        Fit("cvat", "annotations.xml has the annotations of an export of CVAT"),
    ),
    "label_studio": (
        {"export.json": '[{"id": 1, "annotations": [{"result": []}], "data": {}}]', "1.png": ""},
        Fit("label_studio", "export.json lists tasks and their annotations"),
    ),
    "labelme": (
        {"1.json": '{"shapes": [{"label": "cat", "points": [], "shape_type": "polygon"}]}', "1.png": ""},
        Fit("labelme", "1.json has the shapes of one image"),
    ),
    "yolo": (
        {"data.yaml": "train: a\nnames: [cat]\n", "train/images/1.jpg": "", "train/labels/1.txt": ""},
        Fit("yolo", "data.yaml names classes and splits"),
    ),
    "yolo without a yaml": (
        {"images/1.jpg": "", "labels/1.txt": "0 0.5 0.5 0.1 0.1\n"},
        Fit("yolo", "it has folders images and labels, with a text for each image"),
    ),
    "darknet": (
        {"obj.names": "cat\n", "obj_train_data/1.jpg": "", "obj_train_data/1.txt": "0 0.5 0.5 0.1 0.1\n"},
        Fit("yolo", "obj_train_data/1.txt has boxes of obj_train_data/1.jpg"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_a_layout_is_known_first_by_its_own_source(layout: str, tmp_path: Path) -> None:
    files, expected = _LAYOUTS[layout]
    assert find_fits(write_files(tmp_path, files))[0] == expected


def test_every_source_with_an_input_is_guessed_by_a_layout_above() -> None:
    guessed = {fit.source for _, fit in _LAYOUTS.values()}
    assert guessed == {name for name, source in SOURCES.items() if source.needs_input}


def test_what_no_source_reads_fits_none(tmp_path: Path) -> None:
    write_files(tmp_path, {"notes.txt": "a", "list.csv": "a,b\n1,2\n", "x.json": "{}", "a/x.xml": "<a/>"})
    assert find_fits(tmp_path) == []


def test_a_guess_opens_few_files_and_keeps_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may have an annotation for each of a million images."""
    write_files(tmp_path, {f"{at:04}.json": "{}" for at in range(200)} | {"0.json": "[]", "z.json": "[]"})
    opened: set[str] = set()
    monkeypatch.setattr(SourceContext, "read_head", lambda self, entry, size=0: opened.add(entry.path) or b"")
    assert find_fits(tmp_path) == []
    assert len(opened) <= 20
    opened.clear()
    find_fits(tmp_path, tmp_path / "z.json")
    assert opened == {"z.json"}
    index = Index(Path(":memory:"))
    index.files.add(FileEntry(f"{at:09}.jpg", b"", 1, 1) for at in range(5_000))
    context = SourceContext(tmp_path, "", None, index, tmp_path, IngestConfig())
    tracemalloc.start()
    assert cifar.fits(context) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_class_folders_with_a_list_may_be_either(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/1.jpg": "", "b/2.jpg": "", "list.csv": "filename,label\na/1.jpg,a\n"})
    assert [fit.source for fit in find_fits(tmp_path)] == ["csv", "folder"]


def test_a_file_is_asked_of_the_sources_that_read_such_files(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/list.csv": "filename,label\n1.jpg,a\n", "a/x.json": "[]"})
    assert [fit.source for fit in find_fits(tmp_path, tmp_path / "a" / "list.csv")] == ["csv"]
    assert find_fits(tmp_path, tmp_path / "a" / "x.json") == []


def _refused(source: str, root: Path) -> str:
    with pytest.raises(Exception, match="looks like data of the source") as refused:
        ingest(source, root, root.parent / "out", IngestConfig(workers=1))
    return str(refused.value)


@pytest.mark.usefixtures("inline_workers")
def test_a_message_names_the_source_that_fits(tmp_path: Path) -> None:
    voc = write_files(tmp_path / "voc", {"JPEGImages/1.png": make_image(), "Annotations/1.xml": make_xml()})
    told = "it looks like data of the source voc (Annotations/1.xml is an <annotation> of one image)"
    assert _refused("folder", voc).startswith(f"{voc}: expected two classes or more, got one; {told}")
    assert told in _refused("idx", voc)
    idx = write_files(tmp_path / "idx", {"train-images-idx3-ubyte": encode_idx(1, 1, 1, data=b"0")})
    assert "the source idx (train-images-idx3-ubyte is called as MNIST's files are)" in _refused(
        "folder", idx
    )


@pytest.mark.usefixtures("inline_workers")
def test_folders_of_another_layout_are_read_with_a_warning(tmp_path: Path) -> None:
    coco = write_files(
        tmp_path / "coco",
        {
            "train2017/1.png": make_image(1),
            "val2017/2.png": make_image(2),
            "annotations/instances_train2017.json": _COCO,
        },
    )
    done = ingest("folder", coco, tmp_path / "out", IngestConfig(workers=1, splits={"train": 1}))
    assert any("looks like data of the source coco" in warning for warning in done.warnings)


def test_a_file_of_another_source_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, {"list.csv": "filename,label\n"})
    with pytest.raises(UsageError, match="not this file; read it with the source csv"):
        check_input("folder", tmp_path / "list.csv")


def test_the_guess_of_pickled_batches_runs_none(tmp_path: Path) -> None:
    write_files(tmp_path, {"batches.meta": b"cos\nsystem\n(S'touch x'\ntR.", "data_batch_1": b"\x80"})
    assert [fit.source for fit in find_fits(tmp_path)] == ["cifar"]
    assert np.array_equal(sorted(p.name for p in tmp_path.iterdir()), ["batches.meta", "data_batch_1"])
