"""The sources cifar and tfrecord, and archives of every source."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import resource
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example, serialize_example
from components.base.tfrecord import MAX_RECORD_BYTES, frame_record, masked_crc32c, read_records
from components.ingest import IngestConfig, ingest, source_names
from tests.ingest.test_sources import LENIENT, found, rejects
from tests.make.folders import write_images, write_mnist
from tests.make.images import make_png

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

CIFAR10_NAMES = ["airplane", "automobile", "bird"]


def batch(labels: list[int], seed: int, key: str = "labels") -> dict[bytes, Any]:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return {
        b"batch_label": b"a batch",
        key.encode(): labels,
        b"data": pixels,
        b"filenames": [f"picture_{seed}_{row}.png".encode() for row in range(len(labels))],
    }


def cifar10(root: Path, protocol: int = 2) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, labels, seed in (
        ("data_batch_1", [2, 0], 1),
        ("data_batch_2", [1], 2),
        ("test_batch", [1, 2], 3),
    ):
        (folder / name).write_bytes(pickle.dumps(batch(labels, seed), protocol))
    names = [name.encode() for name in CIFAR10_NAMES]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol))
    (folder / "readme.html").write_text("<html>")
    return root


def pixels_of(output: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {
        values["image/filename"][0].decode(): np.asarray(Image.open(io.BytesIO(values["image/encoded"][0])))
        for shard in sorted(output.glob("*-of-*"))
        for values in map(parse_example, read_records(shard))
    }


# Up to protocol 2 bytes are written by _codecs.encode.
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_cifar_10(tmp_path: Path, protocol: int) -> None:
    root = cifar10(tmp_path / "in", protocol)
    out = tmp_path / "out"
    assert found("cifar", root, out, splits={"train": 1}) == {
        "cifar-10-batches-py/data_batch_1/picture_1_0.png": ("train", "bird"),
        "cifar-10-batches-py/data_batch_1/picture_1_1.png": ("train", "airplane"),
        "cifar-10-batches-py/data_batch_2/picture_2_0.png": ("train", "automobile"),
        "cifar-10-batches-py/test_batch/picture_3_0.png": ("test", "automobile"),
        "cifar-10-batches-py/test_batch/picture_3_1.png": ("test", "bird"),
    }
    planes = batch([2, 0], 1)[b"data"][1].reshape(3, 32, 32)
    stored = pixels_of(out)["cifar-10-batches-py/data_batch_1/picture_1_1.png"]
    assert stored.shape == (32, 32, 3)
    assert (stored == np.stack(list(planes), axis=-1)).all()
    assert ingest("cifar", root, out, IngestConfig(**LENIENT, splits={"train": 1})).unchanged


def test_cifar_100_has_its_fine_labels_in_the_order_of_its_meta_file(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, labels in (("train", [1, 0]), ("test", [0])):
        values = batch(labels, len(labels), "fine_labels") | {b"coarse_labels": [0] * len(labels)}
        (folder / name).write_bytes(pickle.dumps(values, 2))
    # Not by name, and one without an image.
    names = [b"whale", b"apple", b"bear"]
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": names, b"coarse_label_names": [b"x"]}))
    result = ingest("cifar", folder, tmp_path / "out", IngestConfig(**LENIENT, splits={"train": 1}))
    assert result.class_names == ["whale", "apple", "bear"]
    assert {name: split.images for name, split in result.splits.items()} == {"train": 2, "test": 1}
    assert any("bear" in warning for warning in result.warnings)


class Runs:
    """Pickles to a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def array_of(shape: tuple[int, ...]) -> bytes:
    """A pickle of a call numpy.ndarray(shape), which takes memory for it."""
    return b"cnumpy\nndarray\n" + pickle.dumps((shape,), 0)[:-1] + b"R."


# Instructions: an empty tuple, then 60 times a pair of what is there (PUT 0, GET 0, TUPLE2).
NESTED = b")" + b"q\x00h\x00\x86" * 60


def nested_as(key: bytes) -> bytes:
    """A batch of two images of which this list holds what has no end."""
    whole = pickle.dumps({name: value for name, value in batch([0, 1], 1).items() if name != key}, 2)
    entry = b"U" + bytes([len(key)]) + key + b"]" + b"(" + NESTED + NESTED + b"e"
    return whole[:-1] + entry + b"s."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(batch([0, 1], 1), 2)[:-700], "cut off or damaged, or no pickle"),
        (b"", "cut off or damaged, or no pickle"),
        (b"<!DOCTYPE html><html></html>", "a web page, not a pickle"),
        (pickle.dumps([1, 2]), "a pickled list, no batch of CIFAR"),
        (pickle.dumps({b"data": b"xyz", b"labels": []}), "'data' must be uint8"),
        (
            pickle.dumps(batch([0, 1], 1) | {b"data": np.zeros((2, 3072), object)}),
            "an array of other values than numbers",
        ),
        (pickle.dumps(batch([0, 1], 1) | {b"labels": [0]}), "2 images and 1 labels"),
        (pickle.dumps(batch([0, 3], 1)), "row 1: the label is 3, the meta file has 3 classes"),
        (pickle.dumps(batch([0, -1], 1)), "row 1: the label is -1"),
        # "put" into a slot of the memo: the unpickler written in C takes 32 GB for it.
        (b"\x80\x02}r\xff\xff\xff\x7f.", "'data' must be uint8"),
        (array_of((1 << 40,)), "calls what is not there to be called; it was not run"),
        # A key, a name and a label that are a tuple nested in itself 60 times: to hash it has no end.
        (b"\x80\x02}" + NESTED + b"K\x01s.", "a dict with a key of the kind tuple"),
        (nested_as(b"filenames"), "'filenames' must hold names"),
        (nested_as(b"labels"), "row 0: the label is of the kind tuple"),
        (b"\x80\x02\x8b\x00\x00\x00\x7f", r"no pickle \(instruction 0x8b\)"),
        (b"\x80\x02\x8a\xff", "a number of 255 bytes"),
        (b"I" + b"9" * 100_000 + b"\n.", "a number of 100000 letters"),
        (b"\x80\x02" + b"K\x010" * 800_000 + b".", "a pickle of more than 1500000 instructions"),
        (b"\x80\x05\x8e" + struct.pack("<Q", 1 << 50) + b"x", "cut off or damaged, or no pickle"),
    ],
)
def test_cifar_batches_that_are_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    root = cifar10(tmp_path / "in")
    (root / "cifar-10-batches-py/data_batch_1").write_bytes(content)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(DataRefusedError, match=message):
        ingest("cifar", root, tmp_path / "out", IngestConfig(**LENIENT))
    assert time.monotonic() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize(
    "program",
    [
        lambda marker: pickle.dumps(Runs(f"touch {marker}")),
        lambda marker: pickle.dumps(batch([0], 1) | {b"more": Runs(f"touch {marker}")}),
        lambda marker: f"cbuiltins\neval\n(V__import__('os').mkdir('{marker}')\ntR.".encode(),
        lambda marker: f"(ios\nmkdir\n(V{marker}\nti.".encode(),
        lambda marker: b"cnumpy.testing\nrundocs\n.",
        lambda marker: b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    ],
)
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, program: Callable[[Path], bytes]) -> None:
    root = cifar10(tmp_path / "in")
    marker = tmp_path / "marker"
    (root / "cifar-10-batches-py/test_batch").write_bytes(program(marker))
    with pytest.raises(DataRefusedError, match=r"test_batch: a pickle that wants to run .*It was not run"):
        ingest("cifar", root, tmp_path / "out", IngestConfig(**LENIENT))
    assert not marker.exists()


def test_cifar_inputs_that_are_not_one_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no CIFAR batches in it"):
        ingest("cifar", tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UsageError, match="get the python version"):
        ingest(
            "cifar", write_images(tmp_path / "bin", "cifar-10-batches-bin/data_batch_1.bin"), tmp_path / "out"
        )
    cifar10(tmp_path / "two")
    cifar10(tmp_path / "two" / "again")
    with pytest.raises(UsageError, match="more than one CIFAR set"):
        ingest("cifar", tmp_path / "two", tmp_path / "out")
    cifar10(tmp_path / "meta")
    (tmp_path / "meta/cifar-10-batches-py/batches.meta").unlink()
    with pytest.raises(DataRefusedError, match=r"batches\.meta, which names the classes"):
        ingest("cifar", tmp_path / "meta", tmp_path / "out")


def record(seed: int, **features: Any) -> bytes:
    values: dict[str, Any] = {
        "image/encoded": make_png(seed),
        "image/class/label": 0,
        "image/class/text": b"a",
    }
    values |= {name.replace("__", "/"): value for name, value in features.items()}
    return serialize_example({name: value for name, value in values.items() if value is not None})


def write(path: Path, records: Iterable[bytes], pack: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(map(frame_record, records))
    path.write_bytes(gzip.compress(data) if pack else data)
    return path


@pytest.mark.parametrize("pack", [False, True])
def test_tfrecords_are_written_anew(tmp_path: Path, pack: bool) -> None:
    root = tmp_path / "in"
    # ImageNet's way: labels from 1, `validation`, and an order of labels that is not that of the names.
    cat = {"image__class__label": 1, "image__class__text": b"tabby cat", "image__format": b"JPEG"}
    ant = {"image__class__label": 2, "image__class__text": b"ant"}
    write(
        root / "train-00000-of-00002",
        [record(1, **cat, image__filename=b"n1.JPEG"), record(2, **ant)],
        pack,
    )
    write(root / "train-00001-of-00002", [], False)
    write(root / "validation-00000-of-00001", [record(3, **ant, image__object__bbox__xmin=[0.5])], pack)
    write(root / "test" / f"x.tfrec{'.gz' if pack else ''}", [record(4, **cat)], pack)
    (root / "labels.txt").write_text("1 tabby cat")
    out = tmp_path / "out"
    assert found("tfrecord", root, out, splits={"train": 1}) == {
        "n1.JPEG": ("train", "tabby cat"),
        "train-00000-of-00002#1": ("train", "ant"),
        "validation-00000-of-00001#0": ("eval", "ant"),
        f"test/x.tfrec{'.gz' if pack else ''}#0": ("test", "tabby cat"),
    }
    values = {
        parsed["image/filename"][0]: parsed
        for shard in out.glob("*-of-*")
        for parsed in map(parse_example, read_records(shard))
    }
    assert values[b"n1.JPEG"]["image/class/label"] == [0]
    assert values[b"n1.JPEG"]["image/encoded"] == [make_png(1)]
    assert values[b"n1.JPEG"]["image/format"] == [b"png"]  # what it is, not what it was called
    assert values[b"train-00000-of-00002#1"]["image/class/label"] == [1]
    again = ingest("tfrecord", root, out, IngestConfig(**LENIENT, splits={"train": 1}))
    assert again.unchanged
    assert again.class_names == ["tabby cat", "ant"]


def test_tfrecords_that_ingest_wrote_come_back(tmp_path: Path) -> None:
    pictures = write_images(tmp_path / "in", *(f"{split}/{label}/{n}.png" for split in ("train", "test")
                                      for label in "ba" for n in range(5)))  # fmt: skip
    first = found("folder", pictures, tmp_path / "1", splits={"train": 1})
    assert found("tfrecord", tmp_path / "1", tmp_path / "2", splits={"train": 1}, shards=3) == first
    one = tmp_path / "1" / "test-00000-of-00001"
    single = found("tfrecord", write(tmp_path / "one.tfrecord", read_records(one)), tmp_path / "3")
    assert set(single) == {name for name, (split, _) in first.items() if split == "test"}


def test_records_that_cannot_be_used_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write(
        root / "train.tfrecord",
        [
            record(1),
            record(2, image__encoded=None),
            record(3, image__class__text=None),
            record(4, image__class__text=None, image__class__label=None),
            b"no Example",
            record(6, image__encoded=[make_png(6), make_png(7)]),
        ],
    )
    (root / "stray.png").write_bytes(make_png(1))
    out = tmp_path / "out"
    assert list(found("tfrecord", root, out, splits={"train": 1})) == ["train.tfrecord#0"]
    assert rejects(out) == {
        "stray.png": "not a TFRecord file",
        "train.tfrecord#1": "no image/encoded",
        "train.tfrecord#2": "unlabelled: no image/class/text, which other records have",
        "train.tfrecord#3": "unlabelled: neither image/class/text nor image/class/label",
        "train.tfrecord#4": "not a tf.train.Example",
        "train.tfrecord#5": "no image/encoded",
    }


def test_two_images_of_one_name_are_told_apart(tmp_path: Path) -> None:
    named = {"image__filename": b"1.png"}
    records = [record(1, **named), record(2, **named, image__encoded=make_png(2)[:-20]), record(3, **named)]
    write(tmp_path / "in/train.tfrecord", records)
    result = ingest(
        "tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(**LENIENT, splits={"train": 1})
    )
    assert (result.splits["train"].images, result.rejected) == (2, 1)


def test_classes_without_a_text_are_called_by_their_number(tmp_path: Path) -> None:
    records = [
        record(n, image__class__text=None, image__class__label=label) for n, label in enumerate((10, 2))
    ]
    write(tmp_path / "in/train.tfrecord", records)
    result = ingest(
        "tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(**LENIENT, splits={"train": 1})
    )
    assert result.class_names == ["2", "10"]


def huge_record() -> bytes:
    length = struct.pack("<Q", MAX_RECORD_BYTES + 1)
    return length + struct.pack("<I", masked_crc32c(length)) + bytes(1 << 20)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (
            frame_record(record(1)) + frame_record(record(2))[:-5],
            DataRefusedError,
            "record 1: expected .* ends before",
        ),
        (frame_record(record(1)) + b"\0" * 40, DataRefusedError, "record 1: its length is damaged"),
        (
            frame_record(record(1))[:-2] + b"xx",
            DataRefusedError,
            "record 0: the checksum of the data is wrong",
        ),
        (
            gzip.compress(frame_record(record(1)), mtime=0)[:-30],
            DataRefusedError,
            "does not unpack to its end",
        ),
        (huge_record(), DataRefusedError, "more than the 268435456 of any image"),
        (b"<html>no</html>", UsageError, "no TFRecord file in it"),
        (gzip.compress(b"<html>no</html>", mtime=0), UsageError, "no TFRecord file in it"),
        (
            frame_record(record(1)) + frame_record(record(2, image__class__text=b"b")),
            DataRefusedError,
            "label 0 stands for both 'a' and 'b'",
        ),
        (
            frame_record(record(1)) + frame_record(record(2, image__class__label=1)),
            DataRefusedError,
            "'a' has both image/class/label 0 and 1",
        ),
    ],
)
def test_tfrecords_that_are_damaged(
    tmp_path: Path, content: bytes, error: type[Exception], message: str
) -> None:
    path = tmp_path / "in" / "train-00000-of-00001"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        ingest("tfrecord", tmp_path / "in", tmp_path / "out", IngestConfig(**LENIENT))


def folder_of(root: Path) -> Path:
    return write_images(root, "pets/cat/1.png", "pets/dog/2.png")


def csv_of(root: Path) -> Path:
    write_images(root, "1.png", "2.png")
    (root / "labels.csv").write_text("filename,label\n1.png,a\n2.png,b\n")
    return root


def tfrecord_of(root: Path) -> Path:
    write(root / "train.tfrec", [record(1), record(2)])
    return root


INPUTS = {"cifar": cifar10, "csv": csv_of, "folder": folder_of, "idx": write_mnist, "tfrecord": tfrecord_of}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
@pytest.mark.parametrize("source", sorted(INPUTS))
def test_every_source_reads_archives(tmp_path: Path, source: str, kind: str) -> None:
    folder = INPUTS[source](tmp_path / "in")
    archive = tmp_path / f"in.{kind}"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in files:
                packed.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, f"w:{kind.partition('.')[2]}") as tar:
            for path in files:
                tar.add(path, path.relative_to(folder))
    from_folder = found(source, folder, tmp_path / "1")
    assert from_folder
    assert found(source, archive, tmp_path / "2") == from_folder
    shards = sorted(path.name for path in (tmp_path / "1").glob("*-of-*"))
    for name in shards:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_the_sources_that_read_folders_are_all_tried_with_archives() -> None:
    own_tests = {"coco", "cvat", "label_studio", "labelme", "tfds", "voc", "yolo"}
    assert set(INPUTS) == set(source_names()) - {"digits"} - own_tests


@pytest.mark.real_data
def test_cifar_is_the_very_images(tmp_path: Path, real_data_dir: Path) -> None:
    batches = real_data_dir / "cifar10" / "cifar-10-batches-py"
    result = ingest("cifar", batches, tmp_path / "1", IngestConfig(splits={"train": 1}))
    assert {name: split.images for name, split in result.splits.items()} == {"train": 6000, "test": 1000}
    archive = real_data_dir / "cifar10" / "cifar10_png.zip"
    pngs = ingest("folder", archive, tmp_path / "2", IngestConfig(splits={"train": 1}))
    assert pngs.class_names == result.class_names
    assert pngs.splits == result.splits
    by_name = {Path(name).name: pixels for name, pixels in pixels_of(tmp_path / "2").items()}
    of_batches = pixels_of(tmp_path / "1")
    assert len(of_batches) == 7000
    for name, pixels in of_batches.items():
        assert (by_name[Path(name).name] == pixels).all(), name
