"""Inputs that were once read wrongly: each is read rightly, or refused with the reason."""

import dataclasses
import functools
import io
import unicodedata
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.example import serialize_example
from components.base.tfrecord import frame_record
from components.ingest import IngestConfig, ingest, read_manifest
from tests.ingest.test_sources import left_out, rejects
from tests.make.boxes import write_files
from tests.make.images import encode_image, make_png

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

Files = dict[str, "bytes | str"]


@dataclasses.dataclass(frozen=True)
class Case:
    """An input and what becomes of it.

    Attributes:
        source: Which reads it.
        files: What is in the folder.
        path: What is given of it, the folder itself by default.
        options: Of the ingest.
        classes: The images of each class; empty if the input is refused.
        said: What the error says, or a warning.
        rejected: The beginnings of reasons by path.
        left_out: Paths that are left out.
        error: The kind of the error.
    """

    source: str
    files: Callable[[], Files]
    path: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    classes: dict[str, int] = dataclasses.field(default_factory=dict)
    said: str = ""
    rejected: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    error: type[MiranteError] = DataRefusedError


def folders(*names: str, each: int = 20) -> Files:
    """Return images of classes."""
    numbers = range(each)
    return {f"{name}/{n}.png": make_png(100 * at + n) for at, name in enumerate(names) for n in numbers}


def listed(rows: list[str], names: list[str]) -> Files:
    """Return a list with these rows, and images of these names."""
    images: Files = {name: make_png(at) for at, name in enumerate(names)}
    return {**images, "list.csv": "\n".join(["filename,label", *rows]) + "\n"}


def open_quote() -> Files:
    """Return a list with a quote that nobody closed: the rows after it were lost in one field."""
    rows = [f"{n}.png,{'ab'[n % 2]}" for n in range(30)]
    rows[20] = f'"{rows[20]}'
    return listed(rows, [f"{n}.png" for n in range(30)])


def damaged_jpeg(kind: str) -> Files:
    """Return class folders with half a JPEG, whose end marker is there."""
    pixels = np.random.default_rng(7).integers(0, 256, (60, 80, 3), np.uint8)
    whole = encode_image(pixels, "JPEG")
    half = len(whole) // 2
    damaged = {
        "cut": whole[:half] + b"\xff\xd9",
        "zeros to the end": whole[:half] + bytes(len(whole) - half - 2) + b"\xff\xd9",
        "zeros inside": whole[:half] + bytes(400) + whole[half + 400 :],
    }
    return {**folders("cats", "dogs"), "cats/damaged.jpg": damaged[kind]}


def utf8_zip() -> Files:
    """Return a zip with names in UTF-8 without the flag, as macOS writes them."""
    buffer = io.BytesIO()
    names = ("caf\u00e9", "\u65e5\u672c\u8a9e")
    with zipfile.ZipFile(buffer, "w") as archive:
        for at, name in enumerate(names):
            for n in range(20):
                archive.writestr(f"{'?' * len(name.encode())}{at}/{n}.png", make_png(100 * at + n))
    raw = buffer.getvalue()
    for at, name in enumerate(names):
        raw = raw.replace(b"?" * len(name.encode()) + str(at).encode(), name.encode() + str(at).encode())
    return {"in.zip": raw}


def name_twice_zip() -> Files:
    """Return a zip that holds one name twice, with different images."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")
        for name, data in [*folders("cats", "dogs").items(), ("cats/0.png", make_png(9999))]:
            archive.writestr(name, data)
    return {"in.zip": buffer.getvalue()}


def records(changes: dict[str, Any]) -> Files:
    """Return TFRecords of boxes with these features changed; None leaves one out."""
    data = b""
    for n in range(4):
        values: dict[str, Any] = {
            "image/encoded": make_png(n), "image/format": b"png", "image/filename": f"{n}.png".encode(),
            "image/height": 3, "image/width": 4,
            "image/object/class/text": [b"cat" if n % 2 else b"dog"], "image/object/class/label": [1 + n % 2],
            **dict(zip(SIDES, ([0.1], [0.1], [0.5], [0.9]), strict=True)), **changes,
        }  # fmt: skip
        data += frame_record(serialize_example({k: v for k, v in values.items() if v is not None}))
    return {"train.tfrecord": data}


SIDES = [f"image/object/bbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax")]
PIXELS = dict(zip(SIDES, ([0.0], [0.0], [3.0], [3.0]), strict=True))
FILES = [f"{n}.png" for n in range(20)]
NAMES = [f"caf\u00e9{n}.png" for n in range(20)]
SPOILED = [f"{name},Cat, black" for name in FILES]
NOTES = ("README.dataset.txt", "README.export.txt", "classes.json")
ALL_RECORDS = tuple(f"train.tfrecord#{n}" for n in range(4))

CASES = {
    "a quote that nobody closed": Case(
        "csv", open_quote, "list.csv", said=r'line 22: a quote \("\) opens in this line and does not close'
    ),
    "a comma in a label": Case(
        "csv",
        lambda: listed(SPOILED, FILES),
        "list.csv",
        said=r"20 of 20 inputs were rejected",
        rejected=dict.fromkeys(FILES, "3 fields, and the first line names 2 columns: put a field"),
    ),
    "names composed in the list and decomposed on the disk": Case(
        "csv",
        lambda: listed(
            [f"{name},{'ab'[n % 2]}" for n, name in enumerate(NAMES)],
            [unicodedata.normalize("NFD", name) for name in NAMES],
        ),
        "list.csv",
        classes={"a": 10, "b": 10},
    ),
    "names in another case": Case(
        "csv",
        lambda: listed([f"{n}.PNG,{'ab'[n % 2]}" for n in range(20)], FILES),
        "list.csv",
        classes={"a": 10, "b": 10},
        said="20 names of the list differ from their files' in upper and lower case: '0.PNG' is 0.png",
    ),
    **{
        f"a JPEG with its end and {kind}": Case(
            "folder",
            functools.partial(damaged_jpeg, kind),
            said=r"1 of 41 inputs was rejected \(2.4%, allowed 1.0%\)",
            rejected={"cats/damaged.jpg": "truncated or damaged JPEG: "},
        )
        for kind in ("cut", "zeros to the end", "zeros inside")
    },
    "notes next to the class folders": Case(
        "folder",
        lambda: {**folders("cats", "dogs"), **dict.fromkeys(NOTES, "made by an export")},
        classes={"cats": 20, "dogs": 20},
        said="3 files are no images by their name and left out",
        left_out=NOTES,
    ),
    "a zip in UTF-8 without the flag": Case(
        "folder", utf8_zip, "in.zip", classes={"caf\u00e90": 20, "\u65e5\u672c\u8a9e1": 20}
    ),
    "folds": Case(
        "folder",
        lambda: folders("fold1/cats", "fold1/dogs", "fold2/cats", "fold2/dogs", each=5),
        classes={"fold1": 10, "fold2": 10},
        said="fold1, fold2 are read as the classes, and each holds the folders cats, dogs",
    ),
    "folds that are said to be splits": Case(
        "folder",
        lambda: folders("fold1/cats", "fold1/dogs", "fold2/cats", "fold2/dogs", each=5),
        options={"split_names": {"fold1": "train", "fold2": "test"}},
        classes={"cats": 10, "dogs": 10},
    ),
    "a name twice in a zip": Case(
        "folder",
        name_twice_zip,
        "in.zip",
        said=r"1 of 41 inputs was rejected",
        rejected={"cats/0.png": "the archive holds this name several times: the last one was read"},
    ),
    "classes that are called train and test": Case(
        "folder", lambda: folders("train", "test"), said=r"--split-names test=none,train=none"
    ),
    "classes that are called train and test, said to be classes": Case(
        "folder",
        lambda: folders("train", "test"),
        options={"split_names": {"train": "none", "test": "none"}},
        classes={"test": 20, "train": 20},
    ),
    "a line break in a name": Case(
        "folder",
        lambda: {**folders("cats", "dogs"), "cats/a\nb\nc.png": "no image"},
        said=r"1 of 41 inputs was rejected[^\n]*\n  cats/a\\nb\\nc\.png: not an image file",
        rejected={r"cats/a\nb\nc.png": "not an image file"},
    ),
    "a width as bytes": Case(
        "tfrecord",
        lambda: records({"image/width": b"4"}),
        said=r"4 of 4 inputs were rejected",
        rejected=dict.fromkeys(ALL_RECORDS, "image/width: expected int64, got bytes"),
    ),
    "a class's text as a number": Case(
        "tfrecord",
        lambda: records({"image/object/class/text": [1]}),
        said=r"4 of 4 inputs were rejected",
        rejected=dict.fromkeys(ALL_RECORDS, "image/object/class/text: expected bytes, got int64"),
    ),
    "a class's number as bytes": Case(
        "tfrecord",
        lambda: records({"image/object/class/label": [b"1"], "image/object/class/text": None}),
        said=r"4 of 4 inputs were rejected",
        rejected=dict.fromkeys(ALL_RECORDS, "image/object/class/label: expected int64, got bytes"),
    ),
    "boxes in pixels": Case(
        "tfrecord",
        lambda: records(PIXELS),
        said=r"got 4 of 4 boxes with numbers above 2: they seem to be pixels; --box-units pixels",
        error=UsageError,
    ),
    "boxes in pixels that are said to be": Case(
        "tfrecord", lambda: records(PIXELS), options={"box_units": "pixels"}, classes={"dog": 2, "cat": 2}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_input_that_was_misread(name: str, tmp_path: Path) -> None:
    case, root, out = CASES[name], tmp_path / "in", tmp_path / "out"
    path = write_files(root, case.files()) / case.path
    config = IngestConfig(workers=1, **case.options)
    if not case.classes:
        with pytest.raises(case.error, match=case.said):
            ingest(case.source, path, out, config)
        assert not (out / "manifest.json").exists()
    else:
        result = ingest(case.source, path, out, config)
        manifest = read_manifest(out)
        assert manifest is not None
        counts = dict.fromkeys(result.class_names, 0)
        for split in manifest.splits.values():
            for one, images in split.class_counts.items():
                counts[one] += images
        assert counts == case.classes
        assert [one for one in result.warnings if case.said in one] or not (case.said or result.warnings)
        assert set(left_out(out) if case.left_out else ()) == set(case.left_out)
        assert result.left_out == len(case.left_out)
    found = rejects(out) if (out / "rejects.csv").exists() else {}
    assert found.keys() == case.rejected.keys()
    assert [path for path, reason in case.rejected.items() if not found[path].startswith(reason)] == []
