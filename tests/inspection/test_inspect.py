"""`mirante inspect`: what it finds out about data, and that it changes nothing."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from components.base.errors import DataRefusedError, UsageError
from components.ingest import IngestConfig, ingest
from components.ingest.plan import reader_code
from components.ingest.sources.list_table import Table
from pipeline.commands.main import main
from pipeline.inspection.advice import choose_command
from pipeline.inspection.facts import Facts, Sizes, Spread
from pipeline.inspection.groups import group_by_reason
from pipeline.inspection.inspect import inspect
from pipeline.inspection.look import Asked
from pipeline.inspection.measure import Task, measure
from pipeline.inspection.text import format_facts
from pipeline.recipe.load import load_recipe
from tests.make.boxes import make_xml, write_files
from tests.make.dicom import make_dicom
from tests.make.images import encode_image, make_noise
from tests.make.layouts import LAYOUTS

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `mirante` be on PATH, else commands are shown with its path."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)


def photo(seed: int, height: int = 60, width: int = 80, image_format: str = "JPEG") -> bytes:
    return encode_image(make_noise(seed, height, width), image_format)


def look(data: Path, **asked: Any) -> Facts:
    return inspect(Asked(str(data), **asked))


def flat(level: int, height: int = 60, width: int = 80) -> bytes:
    return encode_image(np.full((height, width, 3), level, np.uint8), "PNG")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty cats and ten dogs, two of them blank or dark, with a copy, a note and a broken file."""
    files: dict[str, bytes | str] = {f"cats/{n:02d}.jpg": photo(n) for n in range(28)}
    files |= {f"dogs/{n}.jpg": photo(100 + n) for n in range(10)}
    dark = make_noise(7, 60, 80) // 8
    files |= {"cats/blank.png": flat(255), "cats/dark.png": encode_image(dark), "cats/notes.txt": "x"}
    files |= {"dogs/small.jpg": photo(200, 16, 20), "dogs/wide.jpg": photo(201, 60, 320)}
    files |= {
        "dogs/copy.jpg": files["dogs/3.jpg"],
        "dogs/cat.jpg": files["cats/05.jpg"],
        "dogs/cut.jpg": b"\xff\xd8\xff",
    }
    return write_files(tmp_path / "my photos", files)


def _groups(groups: list[Any]) -> dict[str, list[str]]:
    return {group.what.partition(":")[0]: group.examples for group in groups}


def test_class_folders(photos: Path) -> None:
    facts = look(photos)
    assert (facts.source.source, facts.source.why) == ("folder", "images are in 2 folders: cats, dogs")
    assert [(one.name, one.images) for one in facts.classes] == [("cats", 30), ("dogs", 14)]
    assert (facts.images, facts.imbalance, facts.splits_brought) == (44, 2.1, [])
    assert sum(facts.splits.values()) == 44
    assert facts.sizes is not None
    assert facts.sizes.width == Spread(20, 80, 320)
    assert facts.sizes.height == Spread(16, 60, 60)
    assert facts.sizes.formats == {"JPEG": 42, "PNG": 2}
    assert facts.copies.identical == 2
    assert facts.copies.with_different_truth == 1
    assert facts.copies.examples["with_different_truth"] == [["cats/05.jpg", "dogs/cat.jpg"]]
    assert _groups(facts.suspicious) == {
        "blank": ["cats/blank.png"],
        "dark": ["cats/dark.png"],
        "tiny": ["dogs/small.jpg"],
        "odd aspect": ["dogs/wide.jpg"],
    }
    assert [(group.count, group.examples) for group in facts.rejects] == [(1, ["dogs/cut.jpg"])]
    assert [(group.count, group.examples) for group in facts.left_out] == [(1, ["cats/notes.txt"])]
    assert len(facts.refused) == 1
    assert facts.refused[0].startswith("1 of 45 inputs was rejected (2.2%, allowed 1.0%)")
    assert facts.looked_at == 44  # the damaged one is known before
    assert shlex.split(facts.command)[:5] == ["mirante", "run", "folder", "--data", str(photos)]


def test_near_copies_are_counted_with_their_labels_and_splits(tmp_path: Path) -> None:
    one = Image.fromarray(make_noise(1, 6, 8)).resize((240, 180), Image.Resampling.BICUBIC)
    other = encode_image(np.asarray(one.resize((120, 90))), "PNG")
    folders = itertools.product(("train", "eval", "test"), ("cat", "badger"), range(2))
    files: dict[str, bytes | str] = {
        f"{split}/{name}/{n}.jpg": photo(seed) for seed, (split, name, n) in enumerate(folders)
    }
    files |= {"train/cat/a.png": encode_image(np.asarray(one)), "test/badger/b.jpg": other}
    copies = look(write_files(tmp_path, files)).copies
    pair = [["test/badger/b.jpg", "train/cat/a.png"]]
    assert (copies.identical, copies.alike, copies.across_splits, copies.with_different_truth) == (0, 1, 1, 1)
    assert copies.examples == {"alike": pair, "across_splits": pair, "with_different_truth": pair}


def test_a_format_is_that_of_the_file_whatever_its_name(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{name}/{n}.png": photo(n + len(name)) for name in ("a", "bb") for n in (0, 9)
    }
    files |= {"a/1.png": photo(20, image_format="TIFF"), "bb/1.jpg": photo(21, image_format="BMP")}
    files |= {"a/2": make_dicom(make_noise(22, 60, 80, 1))}
    several = io.BytesIO()
    first = Image.fromarray(make_noise(23, 60, 80))
    first.save(several, "MPO", save_all=True, append_images=[first])
    files |= {"bb/2.jpg": several.getvalue()}
    sizes = look(write_files(tmp_path, files)).sizes
    assert sizes is not None
    assert sizes.formats == {"JPEG": 5, "BMP": 1, "DICOM": 1, "TIFF": 1}
    # Those of which only the header is read have the same names.
    tasks: list[Task] = [(at, os.fsencode(tmp_path / name), None, 0, None) for at, name in enumerate(files)]
    found = measure(tasks, 10_000, "16", False, lambda count: None)
    assert sorted(one.format for one in found) == ["BMP", "DICOM", *["JPEG"] * 5, "TIFF"]


def test_images_of_few_of_their_16_bits_are_told_before_an_ingest(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{name}/{n}.png": encode_image(make_noise(n, 20, 20, 1).astype(np.uint16) * 15)
        for n, name in enumerate("ab" * 6)
    }
    raw = write_files(tmp_path / "raw", files)
    said = "all values are at most 3,825: --bit-depth 12 keeps their range"
    assert any(said in warning for warning in look(raw).warnings)
    assert look(raw, config=IngestConfig(bit_depth="12")).warnings == []
    done = ingest("folder", raw, tmp_path / "data", IngestConfig())
    assert done.warnings == look(raw).warnings == look(tmp_path / "data").warnings


def test_splits_and_rejects_are_those_of_an_ingest(photos: Path, tmp_path: Path) -> None:
    facts = look(photos)
    done = ingest("folder", photos, tmp_path / "data", IngestConfig(max_reject_share=1.0))
    assert facts.splits == {name: split.images for name, split in done.splits.items()}
    assert sum(group.count for group in facts.rejects) == done.rejected
    again = look(tmp_path / "data")
    assert again.ingested
    assert again.left_out == []  # the files of the ingest itself
    assert (again.splits, again.images, again.source.source) == (facts.splits, facts.images, "tfrecord")
    assert [(one.name, one.by_split) for one in again.classes] == [
        (one.name, one.by_split) for one in facts.classes
    ]
    assert "data.source" not in again.command


def test_boxes(tmp_path: Path) -> None:
    boxes = make_xml(
        (10, 10, 40, 40, "cat"), (10, 10, 40, 40, "cat"), (20, 20, 999, 50, "dog"), (30, 3, 30, 9, "dog"),
        (0, 0, 1, 1, "dog"), size=(80, 60),
    )  # fmt: skip
    files: dict[str, bytes | str] = {f"JPEGImages/{n}.jpg": photo(n) for n in range(10)}
    files |= {f"Annotations/{n}.xml": boxes if n else make_xml(size=(80, 60)) for n in range(10)}
    facts = look(write_files(tmp_path / "voc", files), draw=tmp_path / "drawn")
    assert facts.boxes is not None
    assert (facts.task, facts.source.source) == ("detection", "voc")
    assert [(one.name, one.images, one.boxes) for one in facts.classes] == [("cat", 9, 9), ("dog", 9, 18)]
    found = facts.boxes
    assert (found.boxes, found.empty_images, found.beyond, found.copies, found.small) == (27, 1, 9, 9, 9)
    assert found.width_px == Spread(1, 30, 60)
    assert [(group.what, group.count) for group in found.unusable] == [
        ("empty: xmin and xmax are both 30", 9)
    ]
    assert facts.command.startswith(f"mirante run asirra_detection --data {tmp_path}/voc")
    assert "--set data.source=voc" not in facts.command
    assert len(facts.drawn) == 10
    assert {Path(path).name for path in facts.drawn} == {f"{n}.boxes.jpg" for n in range(10)}


def test_ingested_boxes_are_those_of_the_raw_data(tmp_path: Path) -> None:
    raw = LAYOUTS["COCO"].write(tmp_path / "raw")
    ingest("coco", raw, tmp_path / "data", IngestConfig())
    one, other = look(raw), look(tmp_path / "data", draw=tmp_path / "drawn")
    assert other.boxes is not None
    assert (other.boxes.boxes, other.boxes.share) == (56, one.boxes and one.boxes.share)
    assert (other.classes, other.splits, len(other.drawn)) == (one.classes, one.splits, 12)
    assert other.command == one.command.replace(" --set data.source=coco", "").replace("/raw", "/data")


def test_classes_are_drawn_in_grids(photos: Path, tmp_path: Path) -> None:
    facts = look(photos, draw=tmp_path / "drawn")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "class-00-cats.png", "class-01-dogs.png", "suspicious-blank.png", "suspicious-dark.png",
        "suspicious-odd-aspect.png", "suspicious-tiny.png",
    ]  # fmt: skip
    assert len(facts.drawn) == 6


def test_it_writes_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code_was_read = reader_code.cache_info()
    look(photos)
    assert reader_code.cache_info() == code_was_read  # what is not written needs no digest of the code
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_a_run_would_refuse_is_said(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{split}/cats/{n}.jpg": photo(n) for n, split in enumerate(["train", "val", "test"])
    }
    files |= {f"train/dogs/{n}.jpg": photo(9 + n) for n in range(3)}
    facts = look(write_files(tmp_path, files))
    assert facts.splits_brought == ["train", "eval", "test"]
    assert any("has no image in split test and cannot be judged (dogs)" in said for said in facts.refused)


def test_the_options_given_are_in_the_command(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{s}/{c}/{s}{n}.jpg": photo(n + 9 * len(s) + len(c))
        for s in ("a", "bb")
        for c in ("x", "yyy")
        for n in range(4)
    }
    write_files(tmp_path / "d", files)
    shown = CliRunner().invoke(
        main, ["inspect", str(tmp_path / "d"), "--split-names", "a=train,bb=test"], catch_exceptions=False
    )
    last = shlex.split(shown.output.splitlines()[-1])
    assert 'data.split_names={"a": "train", "bb": "test"}' in last
    sets = [word for before, word in itertools.pairwise(last) if before == "--set"]
    assert load_recipe(last[2], sets, str(tmp_path / "d")).data.split_names == {"a": "train", "bb": "test"}


def test_the_source_that_was_asked_for(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{c}/{n}.jpg": photo(n + 9 * len(c)) for c in ("x", "yy") for n in range(5)
    }
    rows = "".join(f"{path},{path[0]}\n" for path in files)
    write_files(tmp_path, {**files, "list.csv": f"filename,label\n{rows}"})
    facts = look(tmp_path)
    assert (facts.source.source, [one.source for one in facts.other_sources]) == ("csv", ["folder"])
    assert facts.command.startswith("mirante run csv --data ")
    assert "data.source" not in facts.command
    other = look(tmp_path, source="folder")
    assert (other.source.source, [one.source for one in other.other_sources]) == ("folder", ["csv"])
    assert "data.source" not in other.command
    assert facts.splits == other.splits


def test_a_list_is_known_by_the_columns_that_are_given(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{n}.jpg": photo(n) for n in range(6)}
    rows = "".join(f"{path},{n},{'ab'[n % 2]}\n" for n, path in enumerate(files))
    write_files(tmp_path, {**files, "list.csv": f"photo,weight,animal\n{rows}"})
    assert look(tmp_path).source.source == "folder"
    config = IngestConfig(image_column="photo", label_column="animal")
    facts = look(tmp_path, config=config, options=("image_column", "label_column"))
    assert (facts.source.source, [one.name for one in facts.classes]) == ("csv", ["a", "b"])
    assert facts.command.endswith("--set data.image_column=photo --set data.label_column=animal")


def test_not_every_one_of_many_lists_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a table for each image is no list, and a list in many files is."""
    files = {f"{kind}/{n}.jpg": photo(n + 9 * len(kind)) for kind in ("x", "yy") for n in range(2)}
    write_files(tmp_path, {**files, **{f"x/notes {n}.csv": "time,value\n1,2\n" for n in range(120)}})
    monkeypatch.setattr(Table, "__init__", None)
    assert look(tmp_path).source.source == "folder"
    with pytest.raises(UsageError, match="120 lists in it, and at most 100 are looked at; give the one to"):
        ingest("csv", tmp_path, tmp_path / "out")


def test_data_that_no_source_reads(tmp_path: Path) -> None:
    write_files(tmp_path, {"notes.txt": "x"})
    with pytest.raises(UsageError, match="expected data that one of the sources reads"):
        look(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        look(tmp_path / "nowhere")


def test_images_without_class_folders_are_explained(tmp_path: Path) -> None:
    facts = look(write_files(tmp_path / "loose", {f"{n}.jpg": photo(n) for n in range(3)}))
    assert [(group.what, group.count) for group in facts.rejects] == [
        ("unlabelled: lies outside every class folder", 3)
    ]
    assert len(facts.refused) == 1
    assert facts.refused[0].startswith("3 of 3 inputs were rejected (100.0%, allowed 1.0%): correct or")
    assert facts.command == f"mirante run folder --data {tmp_path / 'loose'}"
    with pytest.raises(DataRefusedError, match="folders test, train are read as splits"):
        look(write_files(tmp_path / "parts", {"train/1.jpg": photo(1), "test/2.jpg": photo(2)}))


def test_text_fits_80_columns_and_ends_with_the_command(photos: Path) -> None:
    facts = look(photos)
    *lines, last = format_facts(facts).splitlines()
    assert last == facts.command
    assert [line for line in lines if len(line) > 80 and str(photos) not in line] == []
    assert "Once that is corrected:" in lines


def test_the_command(photos: Path) -> None:
    shown = CliRunner().invoke(main, ["inspect", str(photos), "--json"], catch_exceptions=False)
    assert shown.exit_code == 3
    read = json.loads(shown.output.splitlines()[-1])
    assert read["images"] == 44
    page = (Path(__file__).parents[2] / "docs" / "inspect.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(read)


def _sizes(side_px: float, channels: dict[str, int]) -> Sizes:
    spread = Spread(side_px, side_px, side_px)
    return Sizes(1, spread, spread, Spread(1, 1, 1), {"PNG": 1}, channels)


@pytest.mark.parametrize("side_px", [8, 28, 32, 40, 64, 100, 150, 190, 300])
@pytest.mark.parametrize("channels", [{"1": 1}, {"3": 1}])
@pytest.mark.parametrize(
    ("source", "task"), [("folder", "classification"), ("idx", "classification"), ("coco", "detection")]
)
def test_every_command_is_a_valid_recipe(
    side_px: int, channels: dict[str, int], source: str, task: str
) -> None:
    sizes = _sizes(side_px, channels)
    command = shlex.split(
        choose_command("my data", source, task, 500, sizes, IngestConfig(), (), ingested=False)
    )
    assert command[3:5] == ["--data", "my data"]
    loaded = load_recipe(command[2], command[6::2])
    assert (loaded.data.source, loaded.task) == (source, task)


@pytest.mark.parametrize("given", [r"[^/]+/(p\d+)_", "{a}", "12", "null", "patient", r"(\d+)_: #"])
def test_texts_of_options_are_the_same_in_the_command(given: str) -> None:
    config = IngestConfig(group_by=given)
    sizes = _sizes(300, {"3": 1})
    command = choose_command(
        "d", "folder", "classification", 500, sizes, config, ("group_by",), ingested=False
    )
    assert load_recipe("digits", shlex.split(command)[-1:]).data.group_by == given


def test_known_sets_have_their_own_recipes() -> None:
    for source, side_px, recipe in (("idx", 28, "mnist"), ("cifar", 32, "cifar10")):
        command = choose_command(
            "d", source, "classification", 9, _sizes(side_px, {"1": 1}), IngestConfig(), (), ingested=False
        )
        assert command == f"mirante run {recipe} --data d --set 'evaluation.thresholds={{\"accuracy\": 0.5}}'"


def test_reasons_that_differ_in_numbers_are_one_group() -> None:
    rows = [
        ("b", "12 x 3 pixels (list.csv line 4)"),
        ("a", "9 x 1 pixels (list.csv line 5)"),
        ("c", "empty file"),
    ]
    assert [(group.what, group.count, group.examples) for group in group_by_reason(rows)] == [
        ("12 x 3 pixels (list.csv line 4)", 2, ["a", "b"]),
        ("empty file", 1, ["c"]),
    ]


def test_a_sample_is_said(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.inspection import look as module

    monkeypatch.setattr(module, "MOST_IMAGES", 10)
    facts = look(photos)
    assert (facts.looked_at, facts.images) == (10, facts.images)
    assert "the pixels of 10 of" in format_facts(facts)
    assert facts.sizes is not None
    assert facts.sizes.images == facts.images
    assert look(photos, all_images=True).looked_at == 44


def test_an_archive(photos: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", photos)
    facts, expected = look(Path(archive)), look(photos)
    assert (facts.splits, facts.suspicious) == (expected.splits, expected.suspicious)


def test_damaged_data_have_an_error_as_json(tmp_path: Path) -> None:
    write_files(tmp_path, {"train-images-idx3-ubyte": b"\0\0\x08\x03\0"})
    shown = CliRunner().invoke(main, ["inspect", str(tmp_path), "--json"])
    assert shown.exit_code == 3
    assert "its labels file is missing" in json.loads(shown.stdout.splitlines()[-1])["error"]


def test_facts_are_json(photos: Path) -> None:
    facts = look(photos)
    assert json.loads(json.dumps(facts.to_json(), allow_nan=False)) == dataclasses.asdict(facts)


@pytest.mark.slow
def test_it_imports_no_tensorflow(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{name}/{n}.jpg": photo(n) for name in ("a", "b") for n in range(2)})
    script = (
        "import sys; from pipeline.commands.main import main\n"
        f"try: main(['inspect', {str(tmp_path)!r}])\n"
        "finally: print('HEAVY', [name for name in ('tensorflow', 'tfx', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr
    assert "mirante run folder" in done.stdout
