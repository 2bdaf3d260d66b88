"""Ingest from beginning to end: splits, shards, resume, refusal, what is published."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, ingest, is_manifest, published_completely, read_manifest
from components.ingest.config import OPTIONS
from components.ingest.manifest import read_inputs, write_inputs
from components.ingest.plan import count_shards
from components.ingest.splits import split_named, splitter
from pipeline.commands.field_options import settings_from
from pipeline.commands.ingest import ingest as ingest_command

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

ROOT = Path(__file__).resolve().parents[2]


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return buffer.getvalue()


def make_folder(root: Path, images: int = 60, first: int = 0) -> Path:
    for number in range(first, first + images):
        file = root / ("cats", "dogs", "mice")[number % 3] / f"{number:04d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(number))
    return root


def files(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.iterdir())}


def shards(output: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(output.glob("*-of-*"))}


def records(output: Path, split: str = "*") -> list[dict[str, list[Any]]]:
    paths = sorted(output.glob(f"{split}-*-of-*"))
    return [parse_example(record) for path in paths for record in read_records(path)]


def inodes(output: Path) -> dict[str, tuple[int, int]]:
    return {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in shards(output).items()}


def test_images_of_few_of_their_16_bits_are_counted(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=6)
    for number in range(3):
        values = np.full((4, 4), 4095 if number < 2 else 65535, np.uint16)
        Image.fromarray(values).save(root / "cats" / f"x-ray{number}.png")
    result = ingest("folder", root, tmp_path / "out", IngestConfig(splits={"train": 1.0}, shards=2))
    (warning,) = [text for text in result.warnings if "16 bits" in text]
    assert warning.startswith("2 images have 16 bits per channel and no value above a quarter of the range")
    assert warning.endswith("the first: cats/x-ray0.png).")
    # What was published is not looked at again, and the warning is not forgotten.
    (root / "dogs" / "0001.jpg").write_bytes(jpeg(77))
    again = ingest("folder", root, tmp_path / "out", IngestConfig(splits={"train": 1.0}, shards=2))
    assert warning in again.warnings


def test_how_large_an_image_may_be_is_an_option(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=6)
    Image.new("L", (30, 20)).save(root / "cats" / "large.png")
    options = IngestConfig(splits={"train": 1.0}, max_pixels=599, max_reject_share=0.5)
    assert ingest("folder", root, tmp_path / "out", options).rejected == 1
    assert "30 x 20 pixels, more than max_pixels = 599" in (tmp_path / "out/rejects.csv").read_text()
    options = options.model_copy(update={"max_pixels": 600})
    assert ingest("folder", root, tmp_path / "out", options).rejected == 0


def test_a_record_follows_the_contract(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=6)
    result = ingest("folder", root, tmp_path / "out", IngestConfig(splits={"train": 1.0}))
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        "inputs.csv.gz",
        "manifest.json",
        "rejects.csv",
        "train-00000-of-00001",
    ]
    assert result.class_names == ["cats", "dogs", "mice"]
    assert result.rejects_file == tmp_path / "out" / "rejects.csv"
    assert result.rejects_file.read_text() == "path,reason\n"
    assert dataclasses.asdict(result.splits["train"]) == {"images": 6, "shards": 1, "classes": 3}
    for record in records(tmp_path / "out"):
        name = record["image/filename"][0].decode()
        source = (root / name).read_bytes()
        assert record == {
            "image/encoded": [source],
            "image/format": [b"jpeg"],
            "image/height": [8],
            "image/width": [8],
            "image/filename": [name.encode()],
            "image/key/sha256": [hashlib.sha256(source).hexdigest().encode()],
            "image/class/label": [["cats", "dogs", "mice"].index(name.split("/")[0])],
            "image/class/text": [name.split("/")[0].encode()],
        }


def test_the_manifest_tells_what_was_published(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in")
    (root / "cats" / "bad.jpg").write_bytes(jpeg(1)[:-30])
    out = tmp_path / "out"
    result = ingest("folder", root, out, IngestConfig(shards=2, max_reject_share=0.05))
    manifest = read_manifest(out)
    assert manifest is not None
    assert (manifest.source, manifest.rejected, result.rejected) == ("folder", 1, 1)
    assert {name: split.images for name, split in manifest.splits.items()} == {
        name: len(records(out, name)) for name in ("train", "eval", "test")
    }
    assert sum(sum(split.class_counts.values()) for split in manifest.splits.values()) == 60
    for shard in manifest.shards():
        data = (out / shard.name).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert shard.records == len(list(read_records(out / shard.name)))
    assert "cats/bad.jpg,truncated or damaged JPEG" in result.rejects_file.read_text()
    inputs = {row.path: row.sha256 for row in read_inputs(out)}
    assert inputs["cats/0000.jpg"] == hashlib.sha256(jpeg(0)).hexdigest()
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"version": 1}', b'{"version": 99}', b"\xff\xfe{", None])
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "manifest.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert not is_manifest(tmp_path)
    assert not published_completely(tmp_path)
    with pytest.raises(DataRefusedError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_an_unreadable_manifest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert not is_manifest(tmp_path)
    with pytest.raises(DataRefusedError, match=r"manifest\.json: cannot be read: Permission denied"):
        read_manifest(tmp_path)


def test_what_is_published_completely(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not published_completely(out)
    ingest("folder", make_folder(tmp_path / "in", images=3), out, IngestConfig(splits={"train": 1}))
    assert is_manifest(out)
    assert published_completely(out)
    (out / ".ingest").mkdir()
    assert not published_completely(out)
    (out / ".ingest").rmdir()
    with shards(out)["train-00000-of-00001"].open("ab") as shard:
        shard.write(b"x")
    assert not published_completely(out)
    shards(out)["train-00000-of-00001"].unlink()
    assert not published_completely(out)


@pytest.mark.slow
@pytest.mark.usefixtures("worker_processes")
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=150)
    for workers in (1, 3):
        ingest("folder", root, tmp_path / str(workers), IngestConfig(workers=workers))
    assert files(tmp_path / "1") == files(tmp_path / "3")


def test_shards_are_shuffled_and_shared_out_by_content(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=90)
    ingest("folder", root, tmp_path / "out", IngestConfig(shards=3, splits={"train": 1}))
    assert list(shards(tmp_path / "out")) == [f"train-0000{n}-of-00003" for n in range(3)]
    for path in shards(tmp_path / "out").values():
        keys = [parse_example(record)["image/key/sha256"][0] for record in read_records(path)]
        assert keys == sorted(keys)
        assert len(keys) > 15


def test_copies_stay_together_and_are_kept(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=30)
    for number in range(30):
        (root / "cats" / f"copy{number}.jpg").write_bytes(jpeg(number))
    result = ingest("folder", root, tmp_path / "out", IngestConfig(splits={"train": 0.5, "test": 0.5}))
    assert sum(split.images for split in result.splits.values()) == 60
    by_split = [
        {record["image/key/sha256"][0] for record in records(tmp_path / "out", s)} for s in result.splits
    ]
    assert not by_split[0] & by_split[1]
    (conflicts,) = [text for text in result.warnings if "under more than one class" in text]
    assert conflicts.startswith(
        "20 images are there under more than one class, identical to the byte: cats/copy"
    )
    assert conflicts.count(" (cats) = ") == 5  # the first of them are named


def test_copies_within_a_class_are_counted(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=9)
    name = next(path for path in sorted((root / "cats").iterdir()))
    for number in (1, 2):
        (root / "cats" / f"{name.stem}-copy{number}.jpg").write_bytes(name.read_bytes())
    result = ingest("folder", root, tmp_path / "out", IngestConfig(splits={"train": 1}))
    assert result.warnings == [
        "2 images repeat another one of the same class and split, identical to the byte: each counts again "
        f"(for example cats/{name.stem}-copy1.jpg = cats/{name.name})."
    ]
    assert result.splits["train"].images == 11


def test_images_in_two_brought_splits_are_counted_and_warned_about(tmp_path: Path) -> None:
    make_folder(tmp_path / "in" / "train", images=9)
    make_folder(tmp_path / "in" / "test", images=6, first=6)
    result = ingest("folder", tmp_path / "in", tmp_path / "out", IngestConfig(splits={"train": 1}))
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.cross_split_duplicates == 3
    assert result.warnings[0].startswith("3 images are in more than one split")
    assert (result.splits["train"].images, result.splits["test"].images) == (9, 6)


def test_warnings_about_classes(tmp_path: Path) -> None:
    make_folder(tmp_path / "in" / "train", images=9)
    (tmp_path / "in" / "test" / "Cats").mkdir(parents=True)
    (tmp_path / "in" / "test" / "Cats" / "1.jpg").write_bytes(jpeg(99))
    result = ingest("folder", tmp_path / "in", tmp_path / "out", IngestConfig(splits={"train": 1}))
    assert "1 of 4 classes has no image in train: Cats." in result.warnings
    assert "3 of 4 classes have no image in test: cats, dogs, mice." in result.warnings
    assert (
        "Classes whose names differ only in upper and lower case, spaces, or how a number is written: "
        "'Cats', 'cats'." in result.warnings
    )
    shutil.rmtree(tmp_path / "in" / "test")
    for name in ("dogs", "mice"):
        shutil.rmtree(tmp_path / "in" / "train" / name)
    one = ingest("folder", tmp_path / "in", tmp_path / "one", IngestConfig())
    assert "There is only one class, 'cats': there is nothing to tell apart." in one.warnings


def test_what_is_missing_is_carved_out_of_train_in_proportion() -> None:
    shares = {"train": 0.8, "eval": 0.1, "test": 0.1}

    def at(place: float) -> bytes:
        return round(place * 2**64).to_bytes(8, "big") + bytes(24)

    nothing_brought = splitter(shares, set())
    assert [nothing_brought(None, at(place)) for place in (0.0999, 0.1001, 0.1999, 0.2001, 0.99)] == [
        "eval", "test", "test", "train", "train",
    ]  # fmt: skip
    test_brought = splitter(shares, {"train", "test"})
    assert test_brought("test", at(0)) == "test"
    assert [test_brought("train", at(place)) for place in (0.1110, 0.1112)] == ["eval", "train"]  # 1/9
    assert splitter({"train": 1.0}, set())(None, at(0)) == "train"
    assert splitter({"test": 1.0}, set())(None, at(0.999)) == "test"


def test_the_names_of_splits() -> None:
    names = ["val", "valid", "Validation", "DEV", "eval", "train", "Training", "test", "testing", "cats"]
    assert [split_named(name, {}) for name in names] == [*["eval"] * 5, *["train"] * 2, *["test"] * 2, None]
    assert split_named("Validation", {"validation": "test"}) == "test"
    assert split_named("fold1", {"fold1": "eval"}) == "eval"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"splits": {"train": 0.8, "eval": 0.1}},
            "expected shares that add up to 1, got train=0.8, eval=0.1, which add up to 0.9",
        ),
        (
            {"splits": {"train": 0.8, "val": 0.2}},
            "expected one of train, eval, test, got 'val'; did you mean eval\\?",
        ),
        ({"splits": {"train": 1.5, "test": -0.5}}, r"splits\.train\n.*less than or equal to 1"),
        ({"splits": {}}, "got none"),
        ({"split_names": {"a": "tset"}}, r"split_names\.a\n.*got 'tset'; did you mean test"),
        ({"shards": 0}, r"shards\n.*greater than or equal to 1"),
        ({"workers": -1}, r"workers\n.*greater than or equal to 1"),
        ({"shards": 100_000}, r"shards\n.*less than or equal to 99999"),
        ({"resize_px": 0}, r"resize_px\n.*greater than or equal to 1"),
        ({"resize_px": 99999999999999999999}, r"resize_px\n.*less than or equal to 65535"),
        ({"workers": 10**9}, r"workers\n.*less than or equal to 1024"),
        ({"max_reject_share": float("nan")}, r"max_reject_share\n.*finite number"),
        ({"split_names": {"fold1": "nothing"}}, "expected one of train, eval, test, none, got 'nothing'"),
        ({"max_reject_share": 2}, r"max_reject_share\n.*less than or equal to 1"),
        ({"max_pixels": 10**9}, r"max_pixels\n.*less than or equal to 178956970"),
        ({"box_units": "inches"}, r"box_units\n.*'pixels' or 'shares'"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        IngestConfig(**options)


def test_every_option_of_the_command_is_a_field_and_takes_what_the_field_takes() -> None:
    command = ingest_command
    made = {param.name: param for param in command.get_params(click.Context(command))}
    assert list(made)[3 : 3 + len(OPTIONS)] == list(OPTIONS)
    flags = {name: f"--{name.replace('_', '-')}" for name in OPTIONS} | {"resize_px": "--resize"}
    assert {name: made[name].opts for name in OPTIONS} == {name: [flag] for name, flag in flags.items()}
    ranges = {name: made[name].type.to_info_dict() for name in OPTIONS}
    assert {name: (kind["min"], kind["max"]) for name, kind in ranges.items() if "min" in kind} == {
        "shards": (1, 99999),
        "workers": (1, 1024),
        "max_reject_share": (0, 1),
        "max_pixels": (1, 178956970),
        "resize_px": (1, 65535),
    }
    assert made["splits"].default == "train=0.8,eval=0.1,test=0.1"
    assert (made["max_reject_share"].default, made["shards"].default) == (0.01, None)


def test_options_that_are_not_given_leave_the_defaults() -> None:
    assert settings_from(IngestConfig, {"splits": None, "shards": None}) == IngestConfig()
    given = {"splits": "train=0.5, test=0.5", "split_names": "fold1=none", "resize_px": 9}
    assert settings_from(IngestConfig, given) == IngestConfig(
        splits={"train": 0.5, "test": 0.5}, split_names={"fold1": "none"}, resize_px=9
    )
    with pytest.raises(UsageError, match=r"^splits: expected shares that add up to 1, got train=0.5"):
        settings_from(IngestConfig, {"splits": "train=0.5"})
    with pytest.raises(UsageError, match=r"^--split-names a: expected name=value,name=value, got 'a'"):
        settings_from(IngestConfig, {"split_names": "a"})
    # A variable of the shell that is not set.
    assert settings_from(IngestConfig, {"split_names": ""}) == IngestConfig()
    with pytest.raises(UsageError, match=r"^--splits : expected name=value,name=value, got ''"):
        settings_from(IngestConfig, {"splits": ""})


def test_a_second_run_does_nothing_and_a_change_rewrites_only_what_it_touches(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "in", images=120), tmp_path / "out"
    options = IngestConfig(shards=6)
    assert not ingest("folder", root, out, options).unchanged
    before = inodes(out)
    seen: list[str] = []
    again = ingest("folder", root, out, options, progress=lambda phase, done, total: seen.append(phase))
    assert again.unchanged
    assert seen == []
    assert again == dataclasses.replace(ingest("folder", root, out, options), unchanged=True)
    assert inodes(out) == before

    changed = records(out, "train")[0]["image/filename"][0].decode()
    (root / changed).write_bytes(jpeg(5000))
    result = ingest("folder", root, out, options)
    assert not result.unchanged
    touched = {name for name, was in before.items() if inodes(out)[name] != was}
    assert 1 <= len(touched) <= 2  # where it was, and where it is now
    fresh = tmp_path / "fresh"
    ingest("folder", root, fresh, options)
    assert files(out) == files(fresh)

    (root / changed).unlink()
    assert sum(split.images for split in ingest("folder", root, out, options).splits.values()) == 119
    fewer = ingest("folder", root, out, IngestConfig(shards=2))
    assert {path.split("-of-")[1] for path in shards(out)} == {"00002"}
    assert fewer.splits["train"].shards == 2
    shards(out)["train-00000-of-00002"].unlink()
    assert not ingest("folder", root, out, IngestConfig(shards=2)).unchanged
    assert not ingest("folder", root, out, IngestConfig(shards=2), force=True).unchanged


def test_an_output_inside_of_the_input_is_not_an_input(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=6)
    ingest("folder", root, root / "out", IngestConfig())
    assert ingest("folder", root, root / "out", IngestConfig()).unchanged
    (root / "run" / "pushed").mkdir(parents=True)
    (root / "run" / "pushed" / "model.jpg").write_bytes(jpeg(7))
    again = ingest("folder", root, root / "out", IngestConfig(), exclude=[root / "run", root / "none"])
    assert again.unchanged
    beside = ingest(
        "folder", root, root / "run" / "data", IngestConfig(), exclude=[root / "run", root / "out"]
    )
    assert sum(split.images for split in beside.splits.values()) == 6
    assert beside.class_names == ["cats", "dogs", "mice"]


def same_names_sizes_and_times(root: Path, other: Path) -> None:
    """Files of the same size and time as those below root, with the content of other images."""
    for path in [path for path in root.rglob("*") if path.is_file()]:
        copy = other / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        was = path.stat().st_mtime_ns
        encoded = path.read_bytes()
        density = encoded.index(b"JFIF") + 8
        copy.write_bytes(encoded[:density] + b"\x00\x48\x00\x48" + encoded[density + 4 :])
        os.utime(copy, ns=(was, was))


@pytest.mark.parametrize("is_folder", [False, True])
def test_files_that_change_places_are_seen(is_folder: bool, tmp_path: Path) -> None:
    """BMPs of one size and one time: after the exchange only ctime and inode are others."""
    cats, dogs, kept, out = (tmp_path / name for name in ("in/cats", "in/dogs", "kept", "out"))
    for number in range(12):
        path = (cats, dogs)[number % 2] / f"{number // 2}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        os.utime(path, ns=(10**18, 10**18))
    options = IngestConfig(splits={"train": 1.0})
    ingest("folder", tmp_path / "in", out, options)
    assert ingest("folder", tmp_path / "in", out, options).unchanged
    for cat, dog in [(cats, dogs)] if is_folder else zip(cats.iterdir(), dogs.iterdir(), strict=True):
        cat.rename(kept)
        dog.rename(cat)
        kept.rename(dog)
    before = {r["image/key/sha256"][0]: r["image/class/text"][0] for r in records(out)}
    assert not ingest("folder", tmp_path / "in", out, options).unchanged
    other = {b"cats": b"dogs", b"dogs": b"cats"}
    after = {r["image/key/sha256"][0]: r["image/class/text"][0] for r in records(out)}
    assert after == {key: other[label] for key, label in before.items()}


def test_what_other_code_ingested_is_read_again_and_told(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "in", images=30), tmp_path / "out"
    ingest("folder", root, out, IngestConfig())
    made = files(out)
    manifest = json.loads((out / "manifest.json").read_text())
    for code in ("0" * 64, None):
        manifest["code"] = code
        text = json.dumps({key: value for key, value in manifest.items() if value is not None})
        (out / "manifest.json").write_text(text)
        result = ingest("folder", root, out, IngestConfig())
        assert not result.unchanged
        assert [text for text in result.warnings if "by other code" in text] == result.warnings
        assert files(out) == made
        again = ingest("folder", root, out, IngestConfig())
        assert (again.unchanged, again.warnings) == (True, [])


def test_another_input_is_not_taken_for_the_former_one(tmp_path: Path) -> None:
    root, other, out = make_folder(tmp_path / "in", images=30), tmp_path / "other", tmp_path / "out"
    same_names_sizes_and_times(root, other)
    options = IngestConfig(max_reject_share=1)
    ingest("folder", root, out, options)
    assert not ingest("folder", other, out, options).unchanged
    ingest("folder", other, tmp_path / "fresh", options)
    assert files(out) == files(tmp_path / "fresh")
    # Only the manifest tells where the input lay.
    moved = tmp_path / "moved"
    other.rename(moved)
    before = inodes(out)
    assert not ingest("folder", moved, out, options).unchanged
    assert inodes(out) == before
    was, now = files(tmp_path / "fresh"), files(out)
    assert was.pop("manifest.json") != now.pop("manifest.json")
    assert was == now


def test_a_killed_ingest_of_another_input_lends_no_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other, out = make_folder(tmp_path / "in", images=30), tmp_path / "other", tmp_path / "out"
    same_names_sizes_and_times(root, other)
    options = IngestConfig(max_reject_share=1)
    with monkeypatch.context() as patch:
        patch.setattr(
            "components.ingest.publish.write_manifest", lambda *_: os.kill(os.getpid(), signal.SIGINT)
        )
        with pytest.raises(KeyboardInterrupt):
            ingest("folder", root, out, options)
    ingest("folder", other, out, options)
    ingest("folder", other, tmp_path / "fresh", options)
    assert files(out) == files(tmp_path / "fresh")


def test_files_that_changed_unseen_do_not_block_it_for_ever(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "in", images=30), tmp_path / "out"
    ingest("folder", root, out, IngestConfig(max_reject_share=1))
    # As on a file system whose inodes and times tell nothing.
    write_inputs(out, [row._replace(sha256="0" * 64) for row in read_inputs(out)])
    options = IngestConfig(max_reject_share=1, shards=2)
    with pytest.raises(MiranteError, match="changed while it was being ingested"):
        ingest("folder", root, out, options)
    ingest("folder", root, out, options)
    ingest("folder", root, tmp_path / "fresh", options)
    assert files(out) == files(tmp_path / "fresh")


def test_too_many_rejects_publish_nothing(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "in", images=58), tmp_path / "out"
    for number in range(2):
        (root / "cats" / f"bad{number}.jpg").write_bytes(jpeg(number)[:-30])
    with pytest.raises(DataRefusedError) as caught:
        ingest("folder", root, out, IngestConfig())
    message = str(caught.value)
    assert message.startswith("2 of 60 inputs were rejected (3.3%, allowed 1.0%), no shards were published.")
    assert "cats/bad0.jpg: truncated or damaged JPEG" in message
    assert str(out / "rejects.csv") in message
    assert "data.max_reject_share in a recipe, --max-reject-share of mirante ingest" in message
    assert caught.value.exit_code == 3
    assert os.listdir(out) == ["rejects.csv"]
    assert len((out / "rejects.csv").read_text().splitlines()) == 3
    # Once they are gone the same command succeeds; a refusal after that leaves what was published.
    for number in range(2):
        (root / "cats" / f"bad{number}.jpg").unlink()
    ingest("folder", root, out, IngestConfig())
    before = inodes(out)
    (root / "cats" / "bad").write_text("x")
    with pytest.raises(DataRefusedError, match="1 of 59"):
        ingest("folder", root, out, IngestConfig())
    assert inodes(out) == before
    (root / "cats" / "bad").unlink()
    ingest("folder", root, out, IngestConfig())
    assert (out / "rejects.csv").read_text() == "path,reason\n"
    assert inodes(out) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from components.ingest import IngestConfig, ingest

def progress(phase, done, total):
    finished = list((Path(sys.argv[2]) / ".ingest" / "shards").glob("*-of-*.json"))
    if len([path for path in finished if ".part" not in path.name]) >= 4:
        os.kill(os.getpid(), signal.SIGKILL)

ingest("folder", Path(sys.argv[1]), Path(sys.argv[2]), IngestConfig(shards=10, workers=1), progress)
"""


@pytest.mark.slow
def test_a_killed_ingest_goes_on_with_the_unfinished_shards(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "in", images=300), tmp_path / "out"
    options = IngestConfig(shards=10, workers=2)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root), str(out)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(out) == [".ingest"]
    staged = out / ".ingest" / "shards"
    done = {
        path.name.split(".")[0]: path.stat()
        for path in staged.iterdir()
        if ".tmp" not in path.name and path.suffix != ".json"
    }
    assert 4 <= len(done) < 30
    phases: set[str] = set()
    ingest("folder", root, out, options, lambda phase, done, total: phases.add(phase))
    assert "hash" not in phases  # the hashes were kept
    after = {name: path.stat() for name, path in shards(out).items()}
    assert {name: (after[name].st_ino, after[name].st_mtime_ns) for name in done} == {
        name: (status.st_ino, status.st_mtime_ns) for name, status in done.items()
    }
    assert len(after) == 30
    ingest("folder", root, tmp_path / "fresh", options)
    assert files(out) == files(tmp_path / "fresh")


def test_a_crash_while_publishing_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = make_folder(tmp_path / "in", images=60), tmp_path / "out"
    ingest("folder", root, out, IngestConfig(shards=2))
    make_folder(root, images=30, first=60)
    with monkeypatch.context() as patch:
        patch.setattr(
            "components.ingest.publish.write_manifest", lambda *_: os.kill(os.getpid(), signal.SIGINT)
        )
        with pytest.raises(KeyboardInterrupt):
            ingest("folder", root, out, IngestConfig(shards=2))
    published = inodes(out)
    result = ingest("folder", root, out, IngestConfig(shards=2))
    assert sum(split.images for split in result.splits.values()) == 90
    assert inodes(out) == published  # all shards had been moved: none is written again
    ingest("folder", root, tmp_path / "fresh", IngestConfig(shards=2))
    assert files(out) == files(tmp_path / "fresh")


@pytest.mark.slow
@pytest.mark.usefixtures("worker_processes")
def test_a_dead_worker_is_an_error_that_says_so(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=300)

    def kill_a_worker(phase: str, done: int, total: int) -> None:
        if phase == "write":
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            for child in children:
                if "components.ingest" in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(int(child), signal.SIGKILL)

    with pytest.raises(MiranteError, match=r"Worker process \d+ was killed \(signal 9\)"):
        ingest("folder", root, tmp_path / "out", IngestConfig(workers=2), kill_a_worker)
    assert sum(split.images for split in ingest("folder", root, tmp_path / "out").splits.values()) == 300


def test_a_second_ingest_into_the_same_output_is_told(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "in", images=3), tmp_path / "out"
    (out / ".ingest").mkdir(parents=True)
    with (out / ".ingest" / "lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MiranteError, match=r"Another ingest into .* is running \(process 4711\)"):
            ingest("folder", root, out)
    assert ingest("folder", root, out).splits["train"].images


def test_an_output_with_other_files_is_refused_unless_forced(tmp_path: Path) -> None:
    root, out = make_folder(tmp_path / "in", images=12), tmp_path / "out"
    out.mkdir()
    (out / "thesis.doc").write_text("mine")
    (out / "train-00007-of-00008").write_text("not of this data")
    with pytest.raises(UsageError, match=r"thesis\.doc, train-00007-of-00008.*--force"):
        ingest("folder", root, out)
    # It would be read as data, and is not ours to remove.
    with pytest.raises(UsageError, match="holds train-00007-of-00008, named like shards"):
        ingest("folder", root, out, force=True)
    (out / "train-00007-of-00008").rename(out / "mine")
    ingest("folder", root, out, force=True)
    assert (out / "thesis.doc").read_text() == "mine"
    assert (out / "mine").read_text() == "not of this data"
    ingest("folder", root, out, IngestConfig(shards=3), force=True)
    assert {name[-5:] for name in shards(out)} == {"00003"}


def test_resizing_and_json(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in", images=3)
    ingest("folder", root, tmp_path / "out", IngestConfig(resize_px=4, splits={"train": 1}))
    assert {record["image/width"][0] for record in records(tmp_path / "out")} == {4}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["options"]["resize_px"] == 4


@pytest.mark.real_data
def test_real_data_sets(tmp_path: Path, real_data_dir: Path) -> None:
    cats = ingest("folder", real_data_dir / "cats_vs_dogs", tmp_path / "cats")
    assert cats.class_names == ["cats", "dogs"]
    assert cats.splits["eval"].images == 300  # its `validation`
    assert cats.splits["train"].images + cats.splits["test"].images == 1200
    assert 100 < cats.splits["test"].images < 170  # 1/9 of train
    butterflies = ingest("csv", real_data_dir / "butterflies", tmp_path / "butterflies")
    assert (len(butterflies.class_names), butterflies.rejected) == (12, 0)
    assert sum(split.images for split in butterflies.splits.values()) == 720
    renamed = ingest(
        "folder",
        real_data_dir / "cats_vs_dogs",
        tmp_path / "renamed",
        IngestConfig(split_names={"validation": "test"}),
    )
    assert renamed.splits["test"].images == 300


@pytest.mark.real_data
def test_mnist(tmp_path: Path, real_data_dir: Path) -> None:
    result = ingest("idx", real_data_dir / "mnist", tmp_path / "mnist", IngestConfig(shards=4))
    assert result.class_names == [str(digit) for digit in range(10)]
    assert result.splits["train"].images + result.splits["eval"].images == 60_000
    assert result.splits["test"].images == 10_000
    manifest = read_manifest(tmp_path / "mnist")
    assert manifest is not None
    assert manifest.splits["test"].class_counts["1"] == 1135
    first = next(
        record
        for record in records(tmp_path / "mnist", "test")
        if record["image/filename"][0].endswith(b".gz#0")
    )
    assert first["image/class/text"] == [b"7"]
    folder = tmp_path / "cut"
    folder.mkdir()
    cut = real_data_dir / "odd_images/truncated_download-t10k-images-idx3-ubyte.gz"
    shutil.copy(cut, folder / "t10k-images-idx3-ubyte.gz")
    shutil.copy(real_data_dir / "mnist/t10k-labels-idx1-ubyte.gz", folder)
    with pytest.raises(DataRefusedError, match="cut off or damaged"):
        ingest("idx", folder, tmp_path / "cut-out")


def test_a_split_has_no_more_shards_than_their_names_can_tell() -> None:
    mib = 1 << 20
    sizes = (0, 1, 128 * mib, 128 * mib + 1, 99_999 * 128 * mib, 10**15)
    assert [count_shards(size) for size in sizes] == [1, 1, 1, 2, 99_999, 99_999]
