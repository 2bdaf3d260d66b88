"""A window of spans: which spans it has, what is read anew, and that its records are those of the spans."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example, serialize_example
from components.base.table import read_table
from components.base.tfrecord import frame_record, read_records
from components.ingest.config import IngestConfig
from components.ingest.manifest import Manifest, Shard, Split, read_manifest, write_manifest
from components.ingest.spans import find_window
from components.ingest.truth import TRUTHS
from pipeline.data import prepare
from pipeline.data.window import check_window, join_spans
from pipeline.data.window_names import SpanNames, find_prefixes
from pipeline.recipe.load import load_recipe
from tests import failures
from tests.data.test_spans import folders, photos, prepared
from tests.make.boxes import make_image, make_xml, write_files
from tests.make.images import make_png

pytestmark = pytest.mark.usefixtures("inline_workers")


def read_labels(folder: Path) -> Counter[tuple[str, int, str]]:
    """Count the records of a folder by their digest, label and class."""
    found: Counter[tuple[str, int, str]] = Counter()
    for shard in folder.glob("*-of-*"):
        for record in read_records(shard):
            values = parse_example(record)
            digest, name = (values[key][0].decode() for key in ("image/key/sha256", "image/class/text"))
            found[digest, values["image/class/label"][0], name] += 1
    return found


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [
        (1, None, [7]),
        (2, None, [5, 7]),
        (3, None, [2, 5, 7]),
        (9, None, [2, 5, 7]),
        (2, 5, [2, 5]),
        (4, 2, [2]),
    ],
)
def test_a_window_ends_with_a_span_and_has_at_most_so_many(
    count: int, wanted: int | None, expected: list[int], tmp_path: Path
) -> None:
    folders(tmp_path, "2/v1 5/v1 5/v2 7/v1")
    found = find_window(f"{tmp_path}/{{SPAN}}/v{{VERSION}}", count, wanted)
    assert [span.number for span in found] == expected
    assert all(span.version == (2 if span.number == 5 else 1) for span in found)


def test_only_new_spans_are_ingested_and_those_out_of_the_window_go(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}"
    for span in (1, 2, 3):
        photos(tmp_path / "photos" / f"span-{span}", range(30 * span, 30 * span + 30))
    examples, said = prepared(root, path, window_spans=2)
    assert f"spans 2 to 3 of {path}" in said
    assert examples.folder == root / "data" / "window"
    assert (examples.span and examples.span.number, sum(examples.split_sizes.values())) == (3, 120)
    assert sorted(os.listdir(root / "data")) == ["span-2", "span-3", "window"]
    both = read_labels(root / "data" / "span-2") + read_labels(root / "data" / "span-3")
    assert read_labels(examples.folder) == both
    # The shards are those of the spans, under other names.
    assert all(shard.stat().st_nlink == 2 for shard in examples.folder.glob("*-of-*"))
    assert len(list(examples.folder.glob("train-*-of-00002"))) == 2
    state = {path: path.stat().st_ino for path in (root / "data").rglob("*-of-*")}
    again, said = prepared(root, path, window_spans=2)
    assert (again.content, said.count("unchanged")) == (examples.content, 2)
    assert {path: path.stat().st_ino for path in (root / "data").rglob("*-of-*")} == state
    photos(tmp_path / "photos" / "span-4", range(200, 240))
    moved, said = prepared(root, path, window_spans=2)
    assert (said.count("unchanged"), said.count("ingested in")) == (1, 1)
    assert sorted(os.listdir(root / "data")) == ["span-3", "span-4", "window"]
    assert sum(moved.split_sizes.values()) == 140
    # One that is taken back: the window has an older one again.
    shutil.rmtree(tmp_path / "photos" / "span-4")
    back, _ = prepared(root, path, window_spans=2)
    assert (back.content, sorted(os.listdir(root / "data"))) == (
        examples.content,
        ["span-2", "span-3", "window"],
    )
    # More than there are, and one alone.
    assert sum(prepared(root, path, window_spans=9)[0].split_sizes.values()) == 180
    alone, said = prepared(root, path, window_spans=1)
    assert (alone.folder.name, os.listdir(root / "data")) == ("span-3", ["span-3"])
    assert f"span 3 of {path}" in said


def test_a_span_with_other_classes_gets_the_labels_of_the_window(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}"
    photos(tmp_path / "photos" / "span-1", range(30), ("dogs", "猫"))
    photos(tmp_path / "photos" / "span-2", range(30), ("cats", "dogs"))
    examples, _ = prepared(root, path, window_spans=2)
    assert examples.class_names == ("cats", "dogs", "猫")
    found = read_labels(examples.folder)
    assert {(label, name) for _, label, name in found} == {(0, "cats"), (1, "dogs"), (2, "猫")}
    assert Counter(name for _, _, name in found.elements()) == {"cats": 30, "dogs": 60, "猫": 30}
    assert {
        name: sum(of[name] for of in examples.class_counts.values()) for name in examples.class_names
    } == {
        "cats": 30,
        "dogs": 60,
        "猫": 30,
    }
    # What is rewritten is rewritten once.
    shard = next(iter(sorted(examples.folder.glob("train-*"))))
    before = shard.stat().st_ino
    assert prepared(root, path, window_spans=2)[0].content == examples.content
    assert shard.stat().st_ino == before


def test_boxes_get_the_labels_of_the_window(tmp_path: Path) -> None:
    for span, name in ((1, "owl"), (2, "ant")):
        boxes = make_xml((1, 2, 30, 18, "cat"), (5, 5, 9, 9, name))
        files = {f"{n}.xml": boxes for n in range(20)} | {
            f"{n}.png": make_image(n + 20 * span) for n in range(20)
        }
        write_files(tmp_path / "data" / f"span-{span}", files)
    config = IngestConfig(source="voc", window_spans=2, path=f"{tmp_path}/data/span-{{SPAN}}")
    folder = prepare.prepare(config, tmp_path / "root").folder
    names: dict[int, str] = {}
    for shard in folder.glob("*-of-*"):
        for record in read_records(shard):
            values = parse_example(record)
            texts = [text.decode() for text in values["image/object/class/text"]]
            names |= dict(zip(values["image/object/class/label"], texts, strict=True))
    assert names == {1: "ant", 2: "cat", 3: "owl"}


def test_a_damaged_shard_of_a_window_is_made_anew(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}"
    for span in (1, 2):
        photos(tmp_path / "photos" / f"span-{span}", range(30 * span, 30 * span + 30))
    examples, _ = prepared(root, path, window_spans=2)
    shard = root / "data" / "span-1" / "train-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[20] ^= 1
    shard.write_bytes(content)  # also that of the window, which is the same file
    again, said = prepared(root, path, window_spans=2)
    assert again.content == examples.content
    assert said.count("damaged since they were written") == 2


def test_a_damaged_shard_of_an_old_span_is_made_anew_for_a_new_window(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}"
    for span in (1, 2):
        photos(tmp_path / "photos" / f"span-{span}", range(30 * span, 30 * span + 30))
    prepared(root, path)
    shard = root / "data" / "span-2" / "test-00000-of-00001"
    shard.write_bytes(bytes(shard.stat().st_size))
    examples, said = prepared(root, path, window_spans=2)
    assert f"{shard.parent}: damaged since they were written, and made anew: {shard.name}" in said
    assert sum(examples.split_sizes.values()) == 120


def test_a_damaged_span_of_the_users_own_is_named(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/data/{{SPAN}}"
    full: Splits = {"train": {"a": ["x"], "b": ["y"]}, "eval": {"c": ["x"]}, "test": {"d": ["y"]}}
    for span in (1, 2):
        write_records(tmp_path / "data" / str(span), "classification", full)
    examples, said = prepared(root, path, window_spans=2, min_test_images=0)
    assert sum(examples.split_sizes.values()) == 8
    assert said.count("TFRecords, read as they are") == 2
    shard = tmp_path / "data" / "1" / "train-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[20] ^= 1
    shard.unlink()
    shard.write_bytes(content)
    with pytest.raises(DataRefusedError, match=re.escape(f"{shard}: expected SHA-256 ")):
        prepared(root, path, window_spans=2)
    shard.unlink()
    with pytest.raises(DataRefusedError, match=rf"^{re.escape(str(shard.parent))}: the shards are not those"):
        prepared(root, path, window_spans=2)


def test_a_window_whose_join_was_killed_is_joined_anew(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}"
    for span in (1, 2):
        photos(tmp_path / "photos" / f"span-{span}", range(30 * span, 30 * span + 30))
    examples, _ = prepared(root, path, window_spans=2)
    expected = sorted(os.listdir(examples.folder))
    # As a join that is killed leaves it: the manifest is gone, shards of another window are there.
    (examples.folder / "manifest.json").unlink()
    for left in ("train-00000-of-00003", ".train-00001-of-00003.0123456789ab.tmp"):
        (examples.folder / left).write_bytes(b"x")
    assert prepared(root, path, window_spans=2)[0].content == examples.content
    assert sorted(os.listdir(examples.folder)) == expected
    # A shard that no manifest lists, and a manifest that is damaged.
    (examples.folder / "test-00000-of-00003").write_bytes(b"x")
    assert prepared(root, path, window_spans=2)[0].content == examples.content
    (examples.folder / "manifest.json").write_text("{")
    assert prepared(root, path, window_spans=2)[0].content == examples.content
    assert sorted(os.listdir(examples.folder)) == expected


def test_a_folder_of_somebody_else_is_not_taken_for_a_window(tmp_path: Path) -> None:
    root, path = tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}"
    photos(tmp_path / "photos" / "span-1", range(30))
    theirs = root / "data" / "window" / "notes.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(UsageError, match=r"data/window: expected what a run of this root has ingested"):
        prepared(root, path, window_spans=2)
    prepared(root, path)  # a run without a window removes no folder but its own
    assert theirs.read_text() == "mine"


def test_shards_behind_symbolic_links_are_joined(tmp_path: Path) -> None:
    for span in (1, 2):
        photos(tmp_path / "photos" / f"span-{span}", range(30 * span, 30 * span + 30))
    prepared(tmp_path / "root", f"{tmp_path}/photos/span-{{SPAN}}", window_spans=2)
    spans = [tmp_path / "root" / "data" / f"span-{span}" for span in (1, 2)]
    (tmp_path / "blobs").mkdir()
    for shard in [shard for span in spans for shard in span.glob("*-of-*")]:
        blob = tmp_path / "blobs" / f"{shard.parent.name}-{shard.name}"
        shard.rename(blob)
        shard.symlink_to(os.path.relpath(blob, shard.parent))
    target = tmp_path / "window"
    join_spans(spans, target)
    assert read_labels(target) == read_labels(spans[0]) + read_labels(spans[1])


def test_the_lists_of_a_window_have_paths_of_its_input(tmp_path: Path) -> None:
    days = [tmp_path / "photos" / day / "images" for day in ("2026-11-25", "2026-11-26")]
    for day in days:
        photos(day, range(60))
        (day / "cats" / "broken.png").write_bytes(make_png(1)[:60])
        (day / "cats" / "笔记.txt").write_text("a note")
        (day / "dogs" / "twin.png").write_bytes((day / "dogs" / "7.png").read_bytes())
    prepared(tmp_path / "root", f"{tmp_path}/photos/{{YYYY}}-{{MM}}-{{DD}}/images", window_spans=2)
    window = tmp_path / "root" / "data" / "window"
    manifest = read_manifest(window)
    assert manifest is not None
    assert (manifest.rejected, manifest.left_out, manifest.copies) == (2, 2, 4)
    lists = [
        read_table((window / f"{name}.csv").read_text(encoding="utf-8"))
        for name in ("rejects", "left_out", "copies")
    ]
    assert [len(rows) for rows in lists] == [2, 2, 4]
    paths = [row["path"] for rows in lists for row in rows]
    assert [path.rpartition("/")[2] for path in paths] == [
        *(2 * ["broken.png"] + 2 * ["笔记.txt"] + 2 * ["7.png", "twin.png"])
    ]
    assert all((Path(manifest.input) / path).is_file() for path in paths)
    assert [(row["group"], row["to"].rpartition("/")[2]) for row in lists[2]] == [
        ("1", ""),
        ("1", "7.png"),
        ("2", ""),
        ("2", "7.png"),
    ]
    # One span alone has its own paths.
    prepared(
        tmp_path / "root", f"{tmp_path}/photos/{{YYYY}}-{{MM}}-{{DD}}/images", window_spans=2, span=20782
    )
    assert "\ncats/broken.png," in (window / "rejects.csv").read_text()


# Images of a span by split: the letter of each, with its classes.
Splits = dict[str, dict[str, list[str]]]


def write_records(span: Path, task: str, splits: Splits, images: str = "") -> Path:
    """Write a span as ingest would, a shard for each split; other `images` have other bytes."""
    truth = TRUTHS[task]
    class_names = sorted({name for of in splits.values() for names in of.values() for name in names})
    found: dict[str, Split] = {}
    for split, of_split in splits.items():
        shard = span / f"{split}-00000-of-00001"
        span.mkdir(parents=True, exist_ok=True)
        with shard.open("wb") as file:
            for letter, names in of_split.items():
                values: dict[str, Any] = {
                    "image/key/sha256": hashlib.sha256(f"{images}{letter}".encode()).hexdigest().encode(),
                    "image/filename": f"{letter}.png".encode(),
                    truth.text: [name.encode() for name in names],
                    truth.label: [class_names.index(name) + truth.first_label for name in names],
                }
                file.write(frame_record(serialize_example(values)))
        shown = Counter(name for names in of_split.values() for name in set(names))
        boxes = Counter(name for names in of_split.values() for name in names) if task == "detection" else {}
        digest = hashlib.sha256(shard.read_bytes()).hexdigest()
        found[split] = Split(
            len(of_split),
            {name: shown[name] for name in class_names},
            (Shard(shard.name, len(of_split), shard.stat().st_size, digest, ""),),
            {name: boxes[name] for name in class_names} if boxes else {},
        )
    manifest = Manifest(3, "csv", {}, class_names, found, 0, "", 0, [], f"/photos/{span.name}", task)
    write_manifest(span, manifest)
    return span


def read_window(folder: Path, task: str) -> dict[str, str]:
    """Return the letters of a window's images by split; check the counts of its manifest."""
    manifest, truth = read_manifest(folder), TRUTHS[task]
    assert manifest is not None
    found: dict[str, str] = {}
    for name, split in manifest.splits.items():
        names: list[str] = []
        letters: list[str] = []
        shown: Counter[str] = Counter()
        for shard in split.shards:
            assert (folder / shard.name).stat().st_size == shard.bytes
            assert hashlib.sha256((folder / shard.name).read_bytes()).hexdigest() == shard.sha256
            records = [parse_example(record) for record in read_records(folder / shard.name)]
            assert len(records) == shard.records > 0
            for values in records:
                classes = [text.decode() for text in values[truth.text]]
                assert [
                    manifest.class_names[label - truth.first_label] for label in values[truth.label]
                ] == classes
                letters.append(values["image/filename"][0].decode().rpartition("/")[2][0])
                names += classes
                shown.update(set(classes))
        assert split.images == sum(shard.records for shard in split.shards) == len(letters)
        assert split.class_counts == {name: shown[name] for name in manifest.class_names}
        assert sum(split.box_counts.values()) == (len(names) if task == "detection" else 0)
        found[name] = "".join(sorted(letters))
    assert {path.name for path in folder.glob("*-of-*")} == {shard.name for shard in manifest.shards()}
    return found


@pytest.mark.parametrize("task", ["classification", "multilabel", "detection"])
def test_an_image_that_another_span_tests_by_is_not_trained_on(task: str, tmp_path: Path) -> None:
    two = ["x", "y"] if task == "multilabel" else ["x", "x", "y"] if task == "detection" else ["x"]
    one: Splits = {
        "train": {"a": ["x"], "b": two, "c": ["y"], "d": ["x"]},
        "eval": {"e": ["y"], "f": two},
        "test": {"g": ["x"], "a": ["x"]},  # its own a in two splits: its ingest has warned
    }
    other: Splits = {
        "train": {"h": ["x"], "g": ["y"]},
        "eval": {"d": ["x"], "e": ["y"]},
        "test": {"b": ["y"], "f": two},
    }
    spans = [write_records(tmp_path / f"span-{n}", task, of) for n, of in enumerate((one, other), 1)]
    window = tmp_path / "window"
    (said,) = join_spans(spans, window)
    assert said == (
        "4 images are left out of train or eval, because another span of the window has them in eval or "
        "test; left_out.csv of the window lists them."
    )
    assert read_window(window, task) == {"train": "ach", "eval": "dee", "test": "abfg"}
    rows = read_table((window / "left_out.csv").read_text())
    assert [row["path"] for row in rows] == ["span-1/f.png", "span-1/b.png", "span-1/d.png", "span-2/g.png"]
    assert rows[0]["reason"] == "in eval, and in test of another span of the window"
    manifest = read_manifest(window)
    assert manifest is not None
    assert (manifest.left_out, manifest.warnings, manifest.cross_split_duplicates) == (4, [said], 0)
    assert join_spans(spans, window) == [said]  # of a window that is there


def read_names(folder: Path, split: str) -> list[str]:
    return [
        parse_example(record)["image/filename"][0].decode()
        for shard in sorted(folder.glob(f"{split}-*-of-*"))
        for record in read_records(shard)
    ]


def test_images_of_two_spans_with_one_name_get_different_ones(tmp_path: Path) -> None:
    one: Splits = {"train": {"ä": ["x"], "b": ["y"]}, "test": {"c": ["x"], "d": ["y"]}}
    # Other images: b is another one, and is in another split.
    other: Splits = {"train": {"e": ["x"], "f": ["y"]}, "test": {"b": ["x"], "ä": ["y"]}}
    spans = [
        write_records(tmp_path / f"span-{n}", "classification", of, images=str(n))
        for n, of in enumerate((one, other))
    ]
    assert join_spans(spans, tmp_path / "window") == []
    window = tmp_path / "window"
    assert read_window(window, "classification") == {"train": "befä", "test": "bcdä"}
    train = ["span-0/ä.png", "span-0/b.png", "span-1/e.png", "span-1/f.png"]
    test = ["span-0/c.png", "span-0/d.png", "span-1/b.png", "span-1/ä.png"]
    assert read_names(window, "train") == train
    assert read_names(window, "test") == test
    # Both were ingested from one folder, in turn, or one from a folder in the other's: their own folders
    # tell them apart.
    for last in ("/photos", "/photos/new"):
        for span, given in zip(spans, ("/photos", last), strict=True):
            manifest = read_manifest(span)
            assert manifest is not None
            write_manifest(span, dataclasses.replace(manifest, input=given))
        join_spans(spans, window)
        assert read_names(window, "test") == test
        assert read_names(window, "train") == train
    # A window of an earlier version is joined anew.
    joined = read_manifest(window)
    assert joined is not None
    digests = joined.options["named_spans"]
    write_manifest(window, dataclasses.replace(joined, options={"spans": digests}))
    join_spans(spans, window)
    assert read_manifest(window) == joined


@pytest.mark.parametrize(
    ("folders", "inputs", "names", "prefixes"),
    [
        # Of several inputs one is in another; a name is that of another span with its folder before it.
        ("a b c", "p/a p/a/b p/c", ("1 b/1", "1", "b/1"), "a/ b/ c/"),
        ("a b", "p/x p/y", ("1", "1 x/1"), "x/ y/"),
        ("a b", "p p/x", ("1 x/1", "1"), "a/ b/"),
        ("a b", "p p", ("1", "1"), "a/ b/"),
        ("a ab", "p/x p/xy", ("1", "1 y/1"), "x/ xy/"),
        # Also the folders of the spans are in one another.
        ("a a/b", "p p", ("1 b/1", "1"), "1/ 2/"),
        ("a", "p", ("1 a/1",), ""),
    ],
)
def test_names_of_a_window_are_different_wherever_its_spans_come_from(
    folders: str, inputs: str, names: tuple[str, ...], prefixes: str
) -> None:
    spans = [Path("/data", folder) for folder in folders.split()]
    manifests: list[Any] = [SimpleNamespace(input=f"/{given}") for given in inputs.split()]
    joined = os.path.commonpath([manifest.input for manifest in manifests])
    found = find_prefixes(spans, manifests, joined)
    assert found == prefixes.split(" ")
    of_window = [
        prefix + name for prefix, of_span in zip(found, names, strict=True) for name in of_span.split()
    ]
    assert len(set(of_window)) == len(of_window)


def test_names_are_shared_between_spans_and_not_within_one() -> None:
    names = SpanNames()
    assert not names.are_shared()
    for span, name in ((0, "ä"), (0, "ä"), (1, "b"), (2, "c")):
        names.add(span, name.encode())
        assert not names.are_shared()
    names.add(2, "ä".encode())
    assert names.are_shared()


def test_a_shard_of_which_nothing_is_left_is_left_out(tmp_path: Path) -> None:
    one: Splits = {"train": {"a": ["x"], "b": ["y"]}, "eval": {"c": ["x"]}, "test": {"d": ["y"]}}
    other: Splits = {"train": {"d": ["y"]}, "test": {"c": ["x"]}}
    spans = [write_records(tmp_path / f"span-{n}", "classification", of) for n, of in enumerate((one, other))]
    join_spans(spans, tmp_path / "window")
    assert read_window(tmp_path / "window", "classification") == {"train": "ab", "test": "cd"}
    # What is as in its span is linked.
    shard = tmp_path / "window" / "train-00000-of-00001"
    assert shard.samefile(tmp_path / "span-0" / shard.name)


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    for span in ("1", "2"):
        failures.shards(tmp_path)
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "shards").rename(tmp_path / "data" / span)
        (tmp_path / "data" / span / "manifest.json").unlink(missing_ok=True)
    with pytest.raises(UsageError, match=r"data.window_spans: expected spans that ingest has written"):
        prepared(tmp_path / "root", f"{tmp_path}/data/{{SPAN}}", window_spans=2)
    with pytest.raises(UsageError, match=r"data.window_spans: 2, and the path has no \{SPAN\}"):
        load_recipe("folder", ["data.path=photos", "data.window_spans=2"], elsewhere=True)
    with pytest.raises(UsageError, match=r"data.window_spans: expected 1 or more, got 0"):
        load_recipe("folder", ["data.window_spans=0"], elsewhere=True)
    in_bucket: dict[str, Any] = {"path": "s3://bucket/{SPAN}", "window_spans": 2}
    with pytest.raises(UsageError, match=r"data.window_spans: expected 1 with s3://bucket/\{SPAN\} in a"):
        check_window(IngestConfig.model_validate(in_bucket), "/mnt/runs")
    check_window(IngestConfig(path="/mnt/{SPAN}", window_spans=2), "/mnt/runs")


def write_spans(folder: Path, *settings: dict[str, Any]) -> list[Path]:
    """Write a manifest without shards for each span, with these settings."""
    empty = Manifest(3, "csv", {}, [], {}, 0, "", 0, [])
    for number, changed in enumerate(settings, 1):
        (folder / f"span-{number}").mkdir(parents=True, exist_ok=True)
        write_manifest(folder / f"span-{number}", dataclasses.replace(empty, **changed))
    return [folder / f"span-{number}" for number in range(1, len(settings) + 1)]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"bit_depth": "12"}, {}, r"expected images of one bit depth, got 12 in .*set data.bit"),
        (
            {"task": "detection", "input": "/photos/1"},
            {"input": "/photos/2"},
            r"expected spans for one task, got .*box.* in /photos/1 and .* in /photos/2; ingest all of them",
        ),
        ({}, {"task": "multilabel"}, r"expected spans for one task, got .* in csv and .* in csv"),
    ],
)
def test_spans_of_different_kinds_are_refused(
    one: dict[str, Any], other: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataRefusedError, match=said):
        join_spans(write_spans(tmp_path, one, other), tmp_path / "window")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (("/a/1", "/a/2"), "/a"),
        (("/a/1", ""), ""),
        (("", "/a/2"), ""),
        (("mnist", "/a/2"), ""),
        (("/a/1.zip", "/b/2.zip"), "/"),
    ],
)
def test_the_input_of_a_window_is_the_folder_of_all_its_spans(
    inputs: tuple[str, str], expected: str, tmp_path: Path
) -> None:
    join_spans(write_spans(tmp_path, *({"input": given} for given in inputs)), tmp_path / "window")
    manifest = read_manifest(tmp_path / "window")
    assert manifest is not None
    assert manifest.input == expected


@pytest.mark.parametrize(
    ("of_spans", "expected"),
    [
        ("0,1,2,9 0,1,2,9,10", "0,1,2,9,10"),
        ("0,1,10 2,10", "0,1,2,10"),
        ("dogs,猫 cats,dogs", "cats,dogs,猫"),
        ("dogs cats", "cats,dogs"),
        # The order of a label map.
        ("small,large small,medium,large", "small,medium,large"),
        ("small,large small,large,huge", "small,large,huge"),
        ("small,large large,small", "large,small"),
    ],
)
def test_the_classes_of_a_window_are_in_the_order_of_its_spans(
    of_spans: str, expected: str, tmp_path: Path
) -> None:
    spans = write_spans(tmp_path, *({"class_names": names.split(",")} for names in of_spans.split()))
    join_spans(spans, tmp_path / "window")
    manifest = read_manifest(tmp_path / "window")
    assert manifest is not None
    assert ",".join(manifest.class_names) == expected


def test_several_classes_of_an_image_stay_in_the_order_of_their_labels(tmp_path: Path) -> None:
    image: dict[str, Any] = {
        "image/class/text": [b"b", b"a"],
        "image/class/label": [0, 1],
        "image/key/sha256": b"00",
    }
    settings: list[dict[str, Any]] = []
    for span, names in enumerate((["b", "a"], ["a", "b"]), 1):
        shard = tmp_path / f"span-{span}" / "train-00000-of-00001"
        shard.parent.mkdir()
        shard.write_bytes(frame_record(serialize_example(image)))
        split = Split(1, dict.fromkeys(names, 1), (Shard(shard.name, 1, shard.stat().st_size, "", ""),))
        settings.append({"task": "multilabel", "class_names": names, "splits": {"train": split}})
    join_spans(write_spans(tmp_path, *settings), tmp_path / "window")
    (record,) = read_records(tmp_path / "window" / "train-00000-of-00002")
    values = parse_example(record)
    assert (values["image/class/text"], values["image/class/label"]) == ([b"a", b"b"], [0, 1])
