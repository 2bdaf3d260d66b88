"""Lists, class folders and archives as people have them: nothing is lost unseen, odd inputs are reported."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import subprocess
import tarfile
import tempfile
import unicodedata
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.base.disk_full import disk_full_error
from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.example import parse_example
from components.base.printable import printable
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, IngestResult, ingest, read_manifest
from components.ingest.class_names import about_names, sort_classes
from components.ingest.files import walk
from components.ingest.index import Index
from components.ingest.left_out import LITTER, litter_reason, no_image_reason
from components.ingest.workers import WorkerPool
from tests.fuzz.seeds import TARGETS
from tests.fuzz.try_inputs import write_files
from tests.ingest.test_hostile_inputs import MIRANTE
from tests.ingest.test_sources import LENIENT, found, left_out, make_archive, rejects
from tests.make.folders import encode_idx, write_images, write_mnist
from tests.make.images import make_png

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]


def strict(source: str, path: Path, output: Path, *, force: bool = False, **options: Any) -> IngestResult:
    """Ingests with the share of rejects that users have."""
    config = IngestConfig(workers=1, splits={"train": 1}, **options)
    return ingest(source, path, output, config, force=force)


def listed(root: Path, names: list[str], rows: list[str], header: str = "filename,label") -> Path:
    """Write a CSV of rows, and an image of each name next to it."""
    write_images(root, *names)
    (root / "list.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root / "list.csv"


def names_and_classes(names: list[str]) -> list[str]:
    return [f"{name},{'ab'[at % 2]}" for at, name in enumerate(names)]


def warnings_of(result: IngestResult, words: str) -> list[str]:
    return [text for text in result.warnings if words in text]


# --- lists


@pytest.mark.parametrize("closed_at", [None, 250])
def test_a_quote_that_opens_swallows_no_rows(tmp_path: Path, closed_at: int | None) -> None:
    names = [f"{number}.png" for number in range(300)]
    rows = names_and_classes(names)
    rows[200] = '"' + rows[200]
    if closed_at is not None:
        rows[closed_at] += '"'
    table = listed(tmp_path / "in", names, rows)
    with pytest.raises(
        DataRefusedError, match=r'list\.csv, line 202: a quote \("\) opens in this line and do'
    ):
        strict("csv", table, tmp_path / "out")


def test_rows_of_another_length_are_rejected_and_none_is_lost(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(6)]
    rows = [
        "0.png,Cat, black",
        '1.png,"Cat, black"',
        '2.png, "Cat, white"',
        "3.png",
        "4.png,Dog,,",
        "",
        "5.png,Dog",
    ]
    out = tmp_path / "out"
    assert found("csv", listed(tmp_path / "in", names, rows), out, splits={"train": 1}) == {
        "1.png": ("train", "Cat, black"),
        "2.png": ("train", "Cat, white"),
        "4.png": ("train", "Dog"),
        "5.png": ("train", "Dog"),
    }
    assert rejects(out) == {
        "0.png": "3 fields, and the first line names 2 columns: put a field that holds ',' in quotes "
        "(list.csv line 2)",
        "3.png": "1 fields, and the first line names 2 columns: add what is missing (list.csv line 5)",
    }


def test_a_row_of_a_box_with_a_comma_too_many_spoils_its_image(tmp_path: Path) -> None:
    header = "filename,class,xmin,ymin,xmax,ymax"
    rows = ["1.png,cat,0,0,2,2", "1.png,cat, black,0,0,2,2", "2.png,cat,0,0,2,2"]
    out = tmp_path / "out"
    table = listed(tmp_path / "in", ["1.png", "2.png"], rows, header)
    result = ingest("csv", table, out, IngestConfig(**LENIENT))
    assert sum(split.images for split in result.splits.values()) == 1
    assert rejects(out)["1.png"].startswith("7 fields, and the first line names 6 columns")


def test_names_are_compared_in_one_form_of_unicode(tmp_path: Path) -> None:
    names = [f"caf\u00e9{number}.png" for number in range(4)]
    on_disk = [f"ordner\u0308/{unicodedata.normalize('NFD', name)}" for name in names]
    rows = names_and_classes([f"ordn\u00ebr/{name}" for name in names])
    rows[0] = f"ordne\u0308r/{names[0]},a"
    write_images(tmp_path / "in", *(unicodedata.normalize("NFD", f"ordn\u00ebr/{name}") for name in names))
    table = listed(tmp_path / "in", [], rows)
    read = found("csv", table, tmp_path / "out", splits={"train": 1})
    assert sorted(read) == sorted(unicodedata.normalize("NFD", f"ordn\u00ebr/{name}") for name in names)
    assert not set(read) & set(on_disk)


def test_a_name_that_differs_in_case_is_taken_and_told(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(4)]
    table = listed(tmp_path / "in", names, names_and_classes([f"{number}.PNG" for number in range(4)]))
    result = strict("csv", table, tmp_path / "out")
    assert result.splits["train"].images == 4
    assert result.warnings[0] == (
        "4 names of the list differ from their files' in upper and lower case: '0.PNG' is 0.png, "
        "'1.PNG' is 1.png, '2.PNG' is 2.png, ...."
    )
    write_images(tmp_path / "in", "0.Png")
    out = tmp_path / "out2"
    assert len(found("csv", table, out)) == 3
    assert rejects(out)["0.PNG"] == (
        "ambiguous: 2 files have this name, 0.Png and 0.png among them (list.csv line 2)"
    )


def test_names_without_an_ending(tmp_path: Path) -> None:
    write_images(tmp_path / "in", "a/1.png", "a/2.jpg", "a/10.png")
    (tmp_path / "in" / "a" / "1.txt").write_text("a note")
    table = listed(tmp_path / "in", [], ["1,x", "2,y", "10,x"])
    out = tmp_path / "out"
    assert found("csv", table, out, splits={"train": 1}) == {
        "a/1.png": ("train", "x"),
        "a/2.jpg": ("train", "y"),
        "a/10.png": ("train", "x"),
    }
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.warnings[0].startswith("3 names of the list have no file ending: '1' is a/1.png, '10'")


def test_a_list_of_one_split_means_the_folder_of_that_split(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "train/1.png", "train/2.png", "test/1.png", "test/2.png")
    (root / "train.csv").write_text("filename,label\n1.png,a\n2.png,b\n")
    assert sorted(found("csv", root / "train.csv", tmp_path / "out")) == ["train/1.png", "train/2.png"]
    (root / "train.csv").rename(root / "labels.csv")
    with pytest.raises(DataRefusedError, match=r"ambiguous: 2 files have this name, test/1\.png and train/1"):
        strict("csv", root / "labels.csv", tmp_path / "out2")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{root}/train/1.png", "train/1.png"),
        ("{root}/./train/../test/1.png", "test/1.png"),
        ("/home/me/pets/train/1.png", "train/1.png"),
        ("C:\\pets\\test\\1.png", "test/1.png"),
        ("file:///home/me/pets/test/1.png", "test/1.png"),
        ("../pets/train/1.png", "train/1.png"),
        ("..\\..\\label-studio\\data\\media\\upload\\3\\only.png", "x/only.png"),
        ("lists/../train/1.png", "train/1.png"),
        ("/home/me/pets/1.png", None),  # fits both
        ("train/only.png", None),  # a folder that is here, and the file is not in it
        ("../../1.png", None),
    ],
)
def test_paths_of_the_same_and_of_another_machine(tmp_path: Path, given: str, expected: str | None) -> None:
    root = write_images(tmp_path / "in", "train/1.png", "test/1.png", "x/only.png", "x/other.png")
    row = f"{given.format(root=root)},a"
    table = listed(root, [], [row, "x/other.png,b"])
    read = found("csv", table, tmp_path / "out", splits={"train": 1})
    assert sorted(read) == sorted(filter(None, [expected, "x/other.png"]))


def test_two_names_that_would_be_one_file_are_refused(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "cats/1.png", "cats/2.png")
    table = listed(root, [], ["/data/cats/1.png,cat", "/data/dogs/1.png,dog", "/data/cats/2.png,cat"])
    with pytest.raises(
        DataRefusedError, match=r"cats/1\.png: several names of the list stand for it \(/data/c"
    ):
        strict("csv", table, tmp_path / "out")


def test_labels_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(12)]
    table = listed(tmp_path / "in", names, [f"{number}.png,{number}" for number in range(12)])
    out = tmp_path / "out"
    assert strict("csv", table, out).class_names == [str(number) for number in range(12)]
    assert sort_classes(["10", "9", "x"]) == ["10", "9", "x"]
    assert sort_classes(["10.0", "-1", "9.0", "0.5"]) == ["-1", "0.5", "9.0", "10.0"]
    assert sort_classes(["10", "9", "\u00b2"]) == ["10", "9", "\u00b2"]
    # Data that a release before this one numbered keep the numbers that their records have.
    manifest = json.loads((out / "manifest.json").read_text())
    by_name = sorted(manifest["class_names"])
    (out / "manifest.json").write_text(json.dumps({**manifest, "class_names": by_name}))
    (tmp_path / "in" / "0.png").write_bytes(make_png(777))
    assert strict("csv", table, out).class_names == by_name
    assert strict("csv", table, out, force=True).class_names == [str(number) for number in range(12)]


def test_classes_with_few_images_are_named_in_their_order(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(12)]
    result = ingest(
        "csv", listed(tmp_path, names, [f"{name},{name[:-4]}" for name in names]), tmp_path / "out"
    )
    assert any(
        "needs them elsewhere: 0 (1), 1 (1), 2 (1), 3 (1), 4 (1) and 7" in each for each in result.warnings
    )


def test_a_list_without_rows_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataRefusedError, match=r"no image found for the source csv\. Is it the right file\?"):
        ingest("csv", listed(tmp_path, [], []), tmp_path / "out")


def test_class_names_that_may_be_one_or_several_are_told(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(8)]
    labels = ["1", "1.0", "scab", "rust", "scab rust", "red  fox", "Red fox", "frog eye"]
    rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    result = strict("csv", listed(tmp_path / "in", names, rows), tmp_path / "out")
    assert warnings_of(result, "differ only in upper and lower case") == [
        "Classes whose names differ only in upper and lower case, spaces, or how a number is written: "
        f"{shown}."
        for shown in ("'1', '1.0'", "'Red fox', 'red  fox'")
    ]
    (hint,) = warnings_of(result, "several labels of one image")
    assert hint.startswith("1 class name is made of other classes' names ('scab rust'): are these")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["cat", "nan"], "1 class name usually means that a value is missing: 'nan'. Leave such images out"),
        (["None", "<NA>", "cat"], "2 class names usually mean that a value is missing: 'None', '<NA>'."),
        (
            ["1", "2.5", "cat"],
            "2 of 3 class names are numbers ('1', '2.5') and the other is not ('cat'), so",
        ),
        (["Edema|Mass", "Edema", "Hernia"], "1 class name is made of other classes' names ('Edema|Mass')"),
        (["a;b", "b;c", "x|y"], "2 class names are made of other classes' names ('a;b', 'b;c')"),
    ],
)
def test_class_names_that_are_odd(names: list[str], words: str) -> None:
    (said,) = about_names(names)
    assert said.startswith(words)


def test_class_names_that_are_not_odd() -> None:
    for names in (
        ["none", "some"],
        ["1", "2", "10"],
        ["Cat, black", "Cat, white"],
        ["x|y", "z"],
        ["a b", "a"],
    ):
        assert about_names(names) == []


# --- class folders


def test_notes_beside_the_images_are_left_out_and_listed(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", *(f"{name}/{number}.png" for name in "ab" for number in range(20)))
    notes = (
        "README.dataset.txt",
        "README",
        "classes.json",
        "a/IMG_1.AAE",
        "a/1.png:Zone.Identifier",
        "b/x.zip",
    )
    for note in notes:
        (root / note).write_text("made by an export")
    out = tmp_path / "out"
    result = strict("folder", root, out)
    assert (result.rejected, result.left_out) == (0, 6)
    assert sorted(left_out(out)) == sorted(notes)
    assert left_out(out)["classes.json"] == "no image by its name: JSON"
    assert left_out(out)["a/1.png:Zone.Identifier"] == "Windows' mark of a download"
    (told,) = warnings_of(result, "left out")
    assert told.startswith("4 files are no images by their name and left out (")
    assert ".zip 1" in told
    again = strict("folder", root, out)
    assert (again.unchanged, again.left_out) == (True, 6)
    for note in notes:
        (root / note).unlink()
    assert strict("folder", root, out).left_out == 0
    assert not (out / "left_out.csv").exists()


def test_what_systems_leave_behind_is_no_class(tmp_path: Path) -> None:
    litter = {
        "@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg": "@eaDir/",
        "a/@eaDir/1.jpg": "a/@eaDir/",
        "$RECYCLE.BIN/x.png": "$RECYCLE.BIN/",
        "System Volume Information/x.png": "System Volume Information/",
        ".ipynb_checkpoints/x.png": ".ipynb_checkpoints/",
        "__MACOSX/a/._1.png": "__MACOSX/",
        "a/Thumbs.db": "a/Thumbs.db",
        "a/.DS_Store": "a/.DS_Store",
        "a/Picasa.ini": "a/Picasa.ini",
    }
    root = write_images(tmp_path / "in", "a/1.png", "b/2.png", *litter)
    (root / "owls").mkdir()
    out = tmp_path / "out"
    result = strict("folder", root, out)
    assert result.class_names == ["a", "b"]
    assert sorted(left_out(out)) == sorted([*litter.values(), "owls/"])
    assert left_out(out)["@eaDir/"] == "thumbnails of a Synology NAS"
    assert warnings_of(result, "empty") == ["1 folder is empty: owls/."]


def test_the_tables_of_names() -> None:
    for name in ("1.jpg", "photo", "x.heic", "a.b.png", "5.JPEG", "20190101", "cats"):
        assert (litter_reason(name), no_image_reason(name)) == ("", ""), name
    for name in ("a.md", "A.HTML", "b.tar.gz", "c.sqlite", "notes.yml", "LICENSE", "x.pdf", "DICOMDIR"):
        assert no_image_reason(name).startswith("no image by its name: "), name


def example_of(row: str) -> str:
    """Return a name that a row of the table stands for."""
    return row.replace("*", "1.jpg" if row[0] == "*" else "1")


def test_no_row_of_the_table_becomes_a_class(tmp_path: Path) -> None:
    names = {example_of(row): why for row, why in LITTER.items()}
    root = write_images(tmp_path / "in", "a/1.png", "b/2.png", *(f"{name}/x.png" for name in names))
    out = tmp_path / "out"
    assert strict("folder", root, out).class_names == ["a", "b"]
    assert left_out(out) == {printable(f"{name}/"): why for name, why in names.items()}
    for name, why in names.items():
        spelled = name if any(map(str.isupper, name)) else name.upper()
        assert litter_reason(spelled) == why, name
    members = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    packed = make_archive(tmp_path / "in.tar.gz", members)
    assert strict("folder", packed, tmp_path / "out2").class_names == ["a", "b"]
    assert left_out(tmp_path / "out2") == left_out(out)


@pytest.mark.parametrize(
    "name",
    [
        "cache", "thumbs", "thumbnails", "originals", "recycle", "recycler", "recycled", "trash",
        "tmp", "temp", "backup", "lost", "found", "snapshot", "git", "dvc", "sync", "icon",
        "identifier", "capture", "cop", "capture one", "picasa", "canon", "xmp", "thm", "cos",
        "lock", "desktop", "system", "volume", "macosx", "dropbox", "previews", "settings",
        "1.thm.jpg", "~", "$", "#1", "@home", "v1.0", "St. Bernard",
    ],
)  # fmt: skip
def test_what_a_class_may_be_called(name: str) -> None:
    assert litter_reason(name) == ""


def test_folds_are_asked_about(tmp_path: Path) -> None:
    names = [f"fold{f}/{c}/{n}.png" for f in (1, 2) for c in ("cats", "dogs") for n in range(3)]
    root = write_images(tmp_path / "in", *names)
    result = strict("folder", root, tmp_path / "out", split_names={"fold9": "test"})
    assert result.class_names == ["fold1", "fold2"]
    assert warnings_of(result, "read as the classes") == [
        "fold1, fold2 are read as the classes, and each holds the folders cats, dogs, which then only sort "
        "their "
        "images. If cats, dogs are the classes, and fold1, fold2 parts of the data, say which split each of "
        "them "
        "is: --split-names fold1=train,fold2=train (or =eval, =test). If fold1, fold2 are the classes, all "
        "is "
        "well."
    ]
    assert warnings_of(result, "fold9") == [
        "split_names: nothing in the data is called fold9; correct the name, or leave it out."
    ]
    told = strict("folder", root, tmp_path / "out2", split_names={"fold1": "train", "fold2": "test"})
    assert told.class_names == ["cats", "dogs"]
    assert {name: split.images for name, split in told.splits.items()} == {"train": 6, "test": 6}
    assert not warnings_of(told, "read as the classes")


def test_classes_that_are_called_like_splits(tmp_path: Path) -> None:
    root = write_images(
        tmp_path / "in", *(f"{name}/{number}.png" for name in ("train", "test") for number in range(20))
    )
    with pytest.raises(DataRefusedError) as caught:
        strict("folder", root, tmp_path / "out")
    assert "its folders test, train are read as splits" in str(caught.value)
    assert "--split-names test=none,train=none" in str(caught.value)
    assert str(caught.value).count("train") < 10
    result = strict("folder", root, tmp_path / "out", split_names={"test": "none", "train": "none"})
    assert result.class_names == ["test", "train"]
    assert result.splits["train"].images == 40


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "cats/1.png", "dogs/2.png")
    (root / "owls").symlink_to("/mnt/not-mounted/owls")
    with pytest.raises(
        DataRefusedError, match=r"in/owls: broken link: a folder that cannot be read may hold"
    ):
        strict("folder", root, tmp_path / "out")
    (root / "owls").unlink()
    (root / "cats" / "2019").symlink_to(root / "nothing")
    with pytest.raises(DataRefusedError, match=r"in/cats/2019: broken link"):
        strict("folder", root, tmp_path / "out")
    (root / "cats" / "2019").unlink()
    (root / "cats" / "gone.jpg").symlink_to(root / "nothing")  # one image, by its name
    assert len(found("folder", root, tmp_path / "out")) == 2


def test_a_folder_without_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_images(Path(folder), "cats/1.png", "dogs/2.png", "owls/deep/3.png")
        root.chmod(0o755)
        (root / "owls" / "deep").chmod(0)
        is_root = os.geteuid() == 0
        if is_root:  # who reads everything
            os.seteuid(65534)
        try:
            with pytest.raises(
                DataRefusedError, match=r"owls/deep: the folder cannot be read: Permission denied"
            ):
                list(walk(root))
        finally:
            if is_root:
                os.seteuid(0)
            (root / "owls" / "deep").chmod(0o755)
        assert len(list(walk(root))) == 3


def test_counts_that_do_not_add_up_are_told(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    index.reject("1.png", "broken link")
    index.reject("2.png", "a box of it", is_box=True)
    index.leave_out("notes.txt", "no image", is_input=True)
    index.leave_out("@eaDir/", "thumbnails")
    index.check_counts(2)
    with pytest.raises(
        MiranteError, match="the input lists 3, and there are 0 images, 1 rejects and 1 left out"
    ):
        index.check_counts(3)
    index.close()


# --- IDX


@pytest.mark.parametrize("with_plain_files", [False, True])
def test_a_folder_round_each_idx_file_is_the_one_set(tmp_path: Path, with_plain_files: bool) -> None:
    root = write_mnist(tmp_path / "in", pack=False)
    for file in sorted(root.iterdir()):
        inner = root / f"{file.name}.folder"
        inner.mkdir()
        (inner / file.name).write_bytes(file.read_bytes())
        beside = root / file.name.replace("-idx", ".idx")
        file.rename(beside) if with_plain_files else file.unlink()
        inner.rename(root / file.name)
    read = found("idx", root, tmp_path / "out", splits={"train": 1})
    folder = (
        "train-images.idx3-ubyte" if with_plain_files else "train-images-idx3-ubyte/train-images-idx3-ubyte"
    )
    assert sorted(read) == sorted(
        f"{folder.replace('train', part)}#{row}" for part in ("train", "t10k") for row in range(3)
    )
    if with_plain_files:
        with (root / "train-labels.idx1-ubyte").open("ab") as file:
            file.write(b"x")
        with pytest.raises(DataRefusedError, match=r"are for the same, and differ"):
            strict("idx", root, tmp_path / "out2")


def idx_pixels(root: Path, output: Path, **options: Any) -> tuple[list[list[list[int]]], list[str]]:
    """Return the pixels of each training image, in the order of the file, and the warnings."""
    result = strict("idx", root, output, **options)
    found = {}
    for record in map(parse_example, read_records(output / "train-00000-of-00001")):
        with Image.open(io.BytesIO(record["image/encoded"][0])) as image:
            found[record["image/filename"][0].decode()] = np.asarray(image).tolist()
            assert (image.height, image.width) == (record["image/height"][0], record["image/width"][0])
    images = [pixels for path, pixels in sorted(found.items()) if "train" in path]
    return images, warnings_of(result, "EMNIST")


def write_on_their_sides(root: Path, prefix: str, *, pack: bool) -> Path:
    """Write two images of 2 rows and 3 columns."""
    root.mkdir()
    write, end = (gzip.compress, ".gz") if pack else (bytes, "")
    for part in ("train", "test"):
        images = encode_idx(2, 2, 3, data=bytes([1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]))
        (root / f"{prefix}{part}-images-idx3-ubyte{end}").write_bytes(write(images))
        labels = encode_idx(2, data=bytes([1, 2]))
        (root / f"{prefix}{part}-labels-idx1-ubyte{end}").write_bytes(write(labels))
    return root


AS_THEY_ARE = [[[1, 2, 3], [4, 5, 6]], [[11, 12, 13], [14, 15, 16]]]
UPRIGHT = [[[1, 4], [2, 5], [3, 6]], [[11, 14], [12, 15], [13, 16]]]


@pytest.mark.parametrize("pack", [True, False])
def test_emnist_is_set_upright_and_that_is_reported(tmp_path: Path, pack: bool) -> None:
    letters = write_on_their_sides(tmp_path / "letters", "emnist-letters-", pack=pack)
    found, warnings = idx_pixels(letters, tmp_path / "upright")
    assert found == UPRIGHT
    assert warnings == [
        "EMNIST's images are on their sides: rows and columns were exchanged, so that they are upright; "
        "--transpose no (data.transpose) keeps them as they are."
    ]
    found, warnings = idx_pixels(letters, tmp_path / "kept", transpose=False)
    assert found == AS_THEY_ARE
    assert "they were kept so, and a model that learns them has to be asked about such" in warnings[0]
    # MNIST, Fashion-MNIST and KMNIST stay as they are, and EMNIST under another name is the user's to tell.
    mnist = write_on_their_sides(tmp_path / "mnist", "", pack=pack)
    assert idx_pixels(mnist, tmp_path / "mnist-out") == (AS_THEY_ARE, [])
    assert idx_pixels(mnist, tmp_path / "renamed", transpose=True) == (UPRIGHT, [])


def test_other_sources_have_nothing_to_exchange(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "a/1.png", "b/2.png")
    with pytest.raises(
        UsageError, match=r"transpose: expected a source that reads it \(idx, tfds\), got folder"
    ):
        strict("folder", root, tmp_path / "out", transpose=True)


def test_idx_headers_of_images_without_an_end_are_refused(tmp_path: Path) -> None:
    root = write_mnist(tmp_path / "in", pack=False)
    for part in ("train", "t10k"):
        (root / f"{part}-images-idx3-ubyte").write_bytes(encode_idx(3, 0, 2, data=b""))
    with pytest.raises(DataRefusedError, match=r"its header tells of images of 0 x 2 pixels"):
        strict("idx", root, tmp_path / "out")
    many = gzip.compress(encode_idx(1 << 31, 1, 1, data=bytes(1000)))
    (root / "t10k-images-idx3-ubyte").unlink()
    (root / "t10k-images-idx3-ubyte.gz").write_bytes(many)
    with pytest.raises(
        DataRefusedError, match=r"its header tells of 2147483664 bytes, which \d+ bytes do not"
    ):
        strict("idx", root, tmp_path / "out")


# --- archives


def test_names_in_a_zip_that_are_utf8_without_saying_so(tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("caf\u00e9", "\u65e5\u672c"):
            file.writestr(f"{'?' * len(name.encode())}/1.png", make_png(len(name)))
        file.writestr("\u00e0/2.png", make_png(9))  # with the flag
    data = path.read_bytes()
    for name in ("\u65e5\u672c", "caf\u00e9"):  # the longer one first
        data = data.replace(b"?" * len(name.encode()) + b"/", name.encode() + b"/")
    path.write_bytes(data)
    assert strict("folder", path, tmp_path / "out").class_names == ["caf\u00e9", "\u00e0", "\u65e5\u672c"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_an_archive_holds_twice_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"in.{kind}"
    members = [
        ("a/1.png", make_png(1)),
        ("b/2.png", make_png(2)),
        ("a/1.png", make_png(3)),
        ("__MACOSX/a/._1.png", b"x"),
    ]
    if kind == "zip":
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as file:
            warnings.simplefilter("ignore")  # zipfile tells of a duplicate name
            for name, data in members:
                file.writestr(name, data)
    else:
        with tarfile.open(path, "w") as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    out = tmp_path / "out"
    assert sorted(found("folder", path, out)) == ["a/1.png", "b/2.png"]
    assert rejects(out) == {"a/1.png": "the archive holds this name several times: the last one was read"}
    assert left_out(out) == {"__MACOSX/": "left by macOS"}
    with pytest.raises(DataRefusedError, match=r"1 of 3 inputs was rejected"):
        strict("folder", path, tmp_path / "out2")


def test_headers_of_a_tar_that_are_larger_than_names_are_refused(tmp_path: Path) -> None:
    for number, kind in enumerate((tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE)):
        info = tarfile.TarInfo("./@LongLink")
        info.type, info.size = kind, 3 << 30
        path = tmp_path / f"{number}.tar"
        path.write_bytes(info.tobuf() + bytes(10_240))
        with pytest.raises(
            DataRefusedError, match=r"a header of 3221225472 bytes \(at most 1048576 are read\)"
        ):
            ingest("folder", path, tmp_path / "out")
    names = {f"a/{'long name ' * 20}{number}.png": make_png(number) for number in range(3)}
    assert len(found("folder", make_archive(tmp_path / "sound.tar.gz", names), tmp_path / "out2")) == 3


# --- where it is written to, and what is said


def mirante(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, result and standard error of `mirante ingest ... --json`."""
    done = subprocess.run(
        [MIRANTE, "ingest", *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}, done.stderr


@pytest.mark.slow
def test_a_failure_tells_of_no_earlier_run(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "a/1.png", "b/2.png", "c.png")
    out = tmp_path / "out"
    code, result, _ = mirante("folder", root, out, "--max-reject-share", "1")
    assert (code, result["rejected"]) == (0, 1)
    (root / "d").symlink_to(tmp_path / "nothing")
    code, result, _ = mirante("folder", root, out, "--max-reject-share", "1")
    assert (code, result["rejected"], result["rejects_file"]) == (3, None, None)
    (root / "d").unlink()
    write_images(root, "e.png")
    code, result, _ = mirante("folder", root, out)
    assert (code, result["rejected"], result["rejects_file"]) == (3, 2, str(out / "rejects.csv"))


@pytest.mark.slow
def test_names_with_control_characters_are_shown_escaped_and_counted_once(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", *(f"{name}/{number}.png" for name in "ab" for number in range(20)))
    (root / "a" / "x\ny\n\x1b[31mz.png").write_text("no image")
    code, result, said = mirante("folder", root, tmp_path / "out", "--max-reject-share", "0")
    assert (code, result["rejected"]) == (3, 1)
    assert r"a/x\ny\n\x1b[31mz.png: not an image file" in said
    assert "\x1b" not in said
    assert list(rejects(tmp_path / "out")) == [r"a/x\ny\n\x1b[31mz.png"]


@pytest.mark.parametrize("force", [False, True])
def test_shards_are_never_written_among_the_inputs(tmp_path: Path, force: bool) -> None:
    root = write_images(tmp_path / "in", "a/1.png", "b/2.png", "b/3.png")
    (root / "list.csv").write_text("filename,label\na/1.png,a\n")
    link = tmp_path / "link"
    link.symlink_to(root)
    before = sorted(root.rglob("*"))
    for source, given, output in (
        ("folder", root, root), ("folder", link, root), ("folder", root, link), ("folder", root, root / "b"),
        ("csv", root / "list.csv", root),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"OUTPUT .*(is the folder that is read|no ingest has put)"):
            strict(source, given, output, force=force)
    assert sorted(root.rglob("*")) == before
    inside = strict("folder", root, root / "out", force=force)  # holds nothing else
    assert inside.splits["train"].images == 3
    assert strict("folder", root, root / "out", force=force).splits["train"].images == 3


def test_an_output_without_permission_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    code, result, said = mirante("digits", "-", file / "out")
    assert (code, result["rejected"], result["rejects_file"]) == (1, None, None)
    assert f"mirante: {file}" in said
    assert "a part of the path is a file: give another folder" in said
    code, _, said = mirante("digits", "-", "/proc/mirante")  # nobody can make a folder there
    assert code == 1
    assert len(said.splitlines()) == 1
    assert "/proc/mirante" in said


def test_what_a_full_disk_was_short_of_is_measured_where_it_is_noticed(tmp_path: Path) -> None:
    first = disk_full_error(OSError(errno.ENOSPC, "No space left on device"), [tmp_path])
    assert first is not None
    wrapped = MiranteError("a worker failed")
    wrapped.__cause__ = first
    assert disk_full_error(wrapped, [Path("/")]) is first


@pytest.mark.slow
def test_a_worker_that_the_system_refuses_says_what_and_where(tmp_path: Path) -> None:
    with (
        WorkerPool(1) as pool,
        pytest.raises(MiranteError, match=r"nowhere/x: No such file or"),
    ):
        list(
            pool.map("tests.ingest.test_reading:read_nothing", [("key", (str(tmp_path / "nowhere" / "x"),))])
        )


def read_nothing(path: str, report: object) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.parametrize("source", ["voc", "tfrecord"])
def test_notes_beside_boxes_and_records_are_left_out(tmp_path: Path, source: str) -> None:
    files = TARGETS[source].files
    write_files(tmp_path / "in", {**files, "README": b"x", "a.zip": b"x", "classes.json": b"{}"})
    out = tmp_path / "out"
    ingest(source, tmp_path / "in", out, IngestConfig(**LENIENT))
    assert sorted(left_out(out)) == ["README", "a.zip", "classes.json"]
    assert not set(rejects(out)) & set(left_out(out))
