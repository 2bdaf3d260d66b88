"""Sources and archives: what is found in an input, and what is refused."""

from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.example import parse_example
from components.base.table import read_table
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, archive, ingest, read_manifest, source_names
from components.ingest.reference import PAGE, replace_table
from components.ingest.sources import SOURCES, sources_for
from pipeline.commands.main import main
from tests.make.folders import encode_idx, write_images, write_mnist
from tests.make.images import make_png

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

LENIENT: dict[str, Any] = {"max_reject_share": 1.0, "workers": 1}


def found(source: str, path: Path | None, output: Path, **options: Any) -> dict[str, tuple[str, str]]:
    """File name -> (split, class), as the shards tell it."""
    result = ingest(source, path, output, IngestConfig(**{**LENIENT, **options}))
    read = {}
    for split in result.splits:
        for shard in sorted(output.glob(f"{split}-*")):
            for record in read_records(shard):
                values = parse_example(record)
                read[values["image/filename"][0].decode()] = split, values["image/class/text"][0].decode()
    return read


def rejects(output: Path) -> dict[str, str]:
    rows = read_table((output / "rejects.csv").read_text(encoding="utf-8"))
    return {row["path"]: row["reason"] for row in rows}


def left_out(output: Path) -> dict[str, str]:
    rows = read_table((output / "left_out.csv").read_text(encoding="utf-8"))
    return {row["path"]: row["reason"] for row in rows}


def test_the_names_of_the_sources() -> None:
    assert source_names() == [
        "cifar", "coco", "csv", "cvat", "digits", "folder", "idx", "label_studio", "labelme", "tfds",
        "tfrecord", "voc", "yolo",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"^source: expected one of cifar, .* yolo, got 'foldr'; .*'folder'"):
        ingest("foldr", Path(), Path("nowhere"))


def test_the_page_and_the_help_are_what_the_rows_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert replace_table(page) == page, "run `make docs`"
    assert "| `yolo` |  | boxes as classes | data.yaml and labels/*.txt | `.yaml`, `.yml` |\n" in page
    said = "".join(CliRunner().invoke(main, ["ingest", "--help"]).output.split())  # lines break in words
    for name, source in SOURCES.items():
        for text in source.formats.values():
            assert f"{name}({text})".replace(" ", "") in said
    assert "Forboxes:coco(" in said
    assert "thefileitself(.json,.csv,.xml,.tfrecord,.yaml)." in said
    assert sources_for("detection") == [
        "coco", "csv", "cvat", "label_studio", "labelme", "tfrecord", "voc", "yolo",
    ]  # fmt: skip


def test_folder_without_splits(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "cats/1.png", "cats/2019/june/2.png", "train/3.png", "stray.png")
    write_images(root, ".hidden/x.png", "__MACOSX/cats/._1.png", "cats/Thumbs.db", "cats/.DS_Store")
    (root / "cats" / "notes").write_text("not an image")
    (root / "cats" / "gone.png").symlink_to(root / "nothing")
    out = tmp_path / "out"
    assert found("folder", root, out, splits={"train": 1}) == {
        "cats/1.png": ("train", "cats"),
        "cats/2019/june/2.png": ("train", "cats"),
        "train/3.png": ("train", "train"),
    }
    assert rejects(out) == {
        "cats/gone.png": "broken link",
        "cats/notes": (
            "not an image file (JPEG, PNG, GIF, WebP, AVIF, JPEG 2000, BMP, TIFF, PNM, HEIC and DICOM are "
            "read)"
        ),
        "stray.png": "unlabelled: lies outside every class folder",
    }


def test_folder_with_splits_and_their_names(tmp_path: Path) -> None:
    root = write_images(
        tmp_path / "in", "Train/a/1.png", "validation/a/2.png", "test/b/3.png", "test/4.png", "more/5.png"
    )
    out = tmp_path / "out"
    assert found("folder", root, out) == {
        "Train/a/1.png": ("train", "a"),
        "validation/a/2.png": ("eval", "a"),
        "test/b/3.png": ("test", "b"),
    }
    assert rejects(out)["test/4.png"] == "unlabelled: lies outside every class folder"
    assert rejects(out)["more/5.png"].startswith(
        "unlabelled: lies outside the split folders Train, test, valid"
    )
    renamed = found("folder", root, tmp_path / "2", split_names={"validation": "test"}, splits={"train": 1})
    assert renamed["validation/a/2.png"] == ("test", "a")


def test_folder_wrapped_in_another_and_flat_split_folders(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "PetImages/Cat/1.png", "PetImages/Dog/2.png", "readme.txt")
    assert {label for _, label in found("folder", root, tmp_path / "out").values()} == {"Cat", "Dog"}
    assert rejects(tmp_path / "out") == {}
    assert left_out(tmp_path / "out") == {"readme.txt": "no image by its name: text"}
    flat = write_images(tmp_path / "flat", "train/1.png", "train/2.png")
    with pytest.raises(DataRefusedError, match=r"its folders train are read as splits"):
        ingest("folder", flat, tmp_path / "out2", IngestConfig(workers=1))


def test_accents_of_macos_are_one_class(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "train/e\u0301te\u0301/1.png", "test/\u00e9t\u00e9/2.png")
    result = ingest("folder", root, tmp_path / "out", IngestConfig(**LENIENT))
    assert result.class_names == ["\u00e9t\u00e9"]


def test_folders_that_differ_in_spaces_are_one_class_and_that_is_said(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "cat/1.png", "cat /2.png", "dog/3.png")
    out = tmp_path / "out"
    assert found("folder", root, out) == {
        "cat/1.png": ("train", "cat"),
        "cat /2.png": ("train", "cat"),
        "dog/3.png": ("train", "dog"),
    }
    said = "The folders 'cat', 'cat ' are read as one class, 'cat': spaces around a name do not count."
    assert said in read_manifest(out).warnings  # type: ignore[union-attr]


def test_names_that_are_no_utf8_can_be_ingested(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "a/1.png")
    with open(os.fsencode(root) + b"/a/caf\xe9.png", "wb") as file:
        file.write(make_png(5))
    assert sorted(found("folder", root, tmp_path / "out")) == ["a/1.png", "a/caf\\xe9.png"]


def test_csv_looks_beside_then_below(tmp_path: Path) -> None:
    root = write_images(
        tmp_path / "in", "1.png", "train/1.png", "train/2.png", "x/3.png", "y/3.png", "x/4.png"
    )
    table = root / "labels.csv"
    table.write_text(
        "File;CLASS;split\n1.png;a;train\n2.png;b;validation\n3.png;a;\ny/3.png;a;test\nx\\4.png;;\n5.png;a;\n"
        "../6.png;a;\n2.png;b;val\n;a;\n",
        encoding="utf-8-sig",
    )
    out = tmp_path / "out"
    assert found("csv", table, out) == {
        "1.png": ("train", "a"),
        "train/2.png": ("eval", "b"),
        "y/3.png": ("test", "a"),
    }
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.splits["eval"].images == 2  # rows that repeat others are kept
    assert rejects(out) == {
        "3.png": "ambiguous: 2 files have this name, x/3.png and y/3.png among them (labels.csv line 4)",
        "x/4.png": "unlabelled: no class (labels.csv line 6)",
        "5.png": "no such file (labels.csv line 7)",
        "../6.png": "the name leads out of the folder of its list, and no file in that has this name "
        "(labels.csv line 8)",
        "labels.csv line 10": "no file name (labels.csv line 10)",
    }


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_csv_of_excel_names_its_separator(tmp_path: Path, first: str) -> None:
    root = write_images(tmp_path / "in", "1.png", "2.png")
    table = root / "labels.csv"
    table.write_text(f"{first}\nfilename;label;split\n1.png;a,b;train\n2.png;c;train\n9.png;c;train\n")
    out = tmp_path / "out"
    assert found("csv", table, out) == {"1.png": ("train", "a,b"), "2.png": ("train", "c")}
    assert rejects(out) == {"9.png": "no such file (labels.csv line 5)"}


def test_two_csvs_beside_the_same_images(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "1.png")
    for name in ("a", "b"):
        (root / f"{name}.csv").write_text(f"filename,label\n1.png,{name}\n")
    for name in ("a", "b"):
        read = found("csv", root / f"{name}.csv", tmp_path / "out", splits={"train": 1})
        assert read == {"1.png": ("train", name)}


def test_class_names_with_control_characters_are_rejected(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "1.png", "2.png", "3.png")
    (root / "l.csv").write_text(
        'filename,label\n1.png,"a\tb"\n2.png,ok\n3.png,"a\u2028b"\n', encoding="utf-8"
    )
    assert found("csv", root, tmp_path / "out", splits={"train": 1}) == {"2.png": ("train", "ok")}
    reasons = rejects(tmp_path / "out")
    assert list(reasons) == ["1.png", "3.png"]
    assert reasons["1.png"].startswith(r"the class name 'a\tb' holds a control character")
    root = write_images(tmp_path / "folders", "cat\x07s/1.png", "dogs/2.png")
    assert list(found("folder", root, tmp_path / "out2")) == ["dogs/2.png"]


def test_csv_that_is_not_one(tmp_path: Path) -> None:
    root = write_images(tmp_path / "in", "1.png")
    with pytest.raises(UsageError, match=r"no list in it \(\.csv, "):
        ingest("csv", root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (root / "a.csv").write_text("name,kind\n1,a\n")
    with pytest.raises(
        UsageError, match=r"no column for the file's name: expected filename or .* got name, kind"
    ):
        ingest("csv", root, tmp_path / "out")
    (root / "a.csv").write_text("filename,label,split\n1.png,a,holdout\n")
    with pytest.raises(UsageError, match=r"line 2: unknown split 'holdout'.*--split-names holdout=test"):
        ingest("csv", root, tmp_path / "out")
    (root / "a.csv").write_bytes(b"filename,label\n1.png,caf\xe9\n")
    with pytest.raises(DataRefusedError, match="line 2: not UTF-8"):
        ingest("csv", root, tmp_path / "out")
    for name in ("a", "b"):
        (root / f"{name}.csv").write_text("filename,label\n1.png,a\n")
    with pytest.raises(UsageError, match=r"2 lists in it \(a\.csv, b\.csv\)"):
        ingest("csv", root, tmp_path / "out")


@pytest.mark.parametrize("pack", [True, False])
def test_idx_packed_or_not(tmp_path: Path, pack: bool) -> None:
    root = write_mnist(tmp_path / "in", prefix="emnist-digits-", pack=pack)
    out = tmp_path / "out"
    read = found("idx", root, out, splits={"train": 1})
    end = ".gz" if pack else ""
    assert read[f"emnist-digits-train-images-idx3-ubyte{end}#0"] == ("train", "10")
    assert read[f"emnist-digits-t10k-images-idx3-ubyte{end}#2"] == ("test", "2")
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.class_names == ["2", "10"]
    (record,) = (
        values
        for values in map(parse_example, read_records(out / "train-00000-of-00001"))
        if values["image/filename"][0].endswith(b"#1")
    )
    assert list(Image.open(io.BytesIO(record["image/encoded"][0])).tobytes()) == [4, 6, 5, 7]
    assert (record["image/height"], record["image/class/label"]) == ([2], [0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            gzip.compress(encode_idx(3, 2, 2, data=bytes(12)), mtime=0)[:-9],
            "cut off or damaged, it does not unpack to its end",
        ),
        (b"<!DOCTYPE html><html>404</html>", "a web page, not an IDX file"),
        (b"\n  <html>", "a web page"),
        (b"PK\x03\x04 something", "not gzipped though it is called .gz"),
        (gzip.compress(encode_idx(3, data=bytes(3)), mtime=0), "begins with 0x00000801, expected 0x00000803"),
        (
            gzip.compress(encode_idx(3, 2, 2, data=bytes(11)), mtime=0),
            r"3 x 2 x 2 values, so 28 bytes, it has only 27",
        ),
        (gzip.compress(encode_idx(3, 2, 2, data=bytes(10**7)), mtime=0), r"so 28 bytes, it has more than 28"),
        (gzip.compress(encode_idx(2, 2, 2, data=bytes(8)), mtime=0), r"has 2 images, .* has 3 labels"),
        (b"", "an empty file"),
    ],
)
def test_idx_files_that_are_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    root = write_mnist(tmp_path / "in")
    (root / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataRefusedError, match=message) as caught:
        ingest("idx", root, tmp_path / "out")
    assert "train-images-idx3-ubyte.gz" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_idx_inputs_that_are_not_one_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no IDX files in it"):
        ingest("idx", write_images(tmp_path / "none", "a/1.png"), tmp_path / "out")
    both = write_mnist(write_mnist(tmp_path / "both", prefix="emnist-letters-"), prefix="emnist-digits-")
    with pytest.raises(UsageError, match="more than one IDX set in it"):
        ingest("idx", both, tmp_path / "out")
    root = write_mnist(tmp_path / "in")
    (root / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataRefusedError, match=r"expected train-labels-idx1-ubyte.gz next to it"):
        ingest("idx", root, tmp_path / "out")


def test_idx_test_files_alone_succeed_with_a_warning(tmp_path: Path) -> None:
    root = write_mnist(tmp_path / "in")
    for path in root.glob("train-*"):
        path.unlink()
    result = ingest("idx", root, tmp_path / "out", IngestConfig(workers=1))
    assert list(result.splits) == ["test"]
    assert "There is no train split: nothing can be trained on this data." in result.warnings


def make_archive(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                file.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["in.zip", "in.tar.gz"])
def test_archives(tmp_path: Path, name: str) -> None:
    members = {"pets/cat/1.png": make_png(1), "pets\\dog\\2.png": make_png(2), "__MACOSX/pets/._1.png": b"x"}
    path = make_archive(tmp_path / name, members)
    out = tmp_path / "out"
    assert found("folder", path, out, splits={"train": 1}) == {
        "pets/cat/1.png": ("train", "cat"),
        "pets/dog/2.png": ("train", "dog"),
    }
    assert not (out / ".ingest").exists()
    again = ingest("folder", path, out, IngestConfig(**LENIENT, splits={"train": 1}))
    assert again.unchanged
    table = make_archive(
        tmp_path / f"csv-{name}", {"d/l.csv": b"filename,label\n1.png,a\n", "d/e/1.png": make_png(1)}
    )
    assert found("csv", table, tmp_path / "out2", splits={"train": 1}) == {"d/e/1.png": ("train", "a")}


@pytest.mark.parametrize(
    "member", ["../evil.png", "a/../../evil.png", "/evil.png", "C:\\evil.png", "..\\evil.png"]
)
@pytest.mark.parametrize("name", ["in.zip", "in.tar.gz"])
def test_members_that_would_land_outside_are_refused(tmp_path: Path, name: str, member: str) -> None:
    path = make_archive(tmp_path / name, {"a/1.png": make_png(1), member: make_png(2)})
    with pytest.raises(DataRefusedError, match="would land outside the folder"):
        ingest("folder", path, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_archives_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "in.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("a/1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataRefusedError, match="is a link or a device"):
        ingest("folder", path, tmp_path / "out")


def test_links_in_a_zip_are_refused_and_so_is_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("a/1.png")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataRefusedError, match="is a link or a device"):
        ingest("folder", path, tmp_path / "out")
    damaged = make_archive(tmp_path / "damaged.zip", {"a/1.png": make_png(1) * 50})
    data = bytearray(damaged.read_bytes())
    data[60] ^= 0xFF
    damaged.write_bytes(data)
    with pytest.raises(DataRefusedError, match=r"damaged or cut off .* get it again"):
        ingest("folder", damaged, tmp_path / "out")
    cut = make_archive(tmp_path / "cut.tar.gz", {"a/1.png": os.urandom(50_000)})
    cut.write_bytes(cut.read_bytes()[:30_000])
    with pytest.raises(DataRefusedError, match=r"damaged or cut off"):
        ingest("folder", cut, tmp_path / "out")


def test_archives_that_cannot_be_unpacked_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_archive(tmp_path / "whole.tar.gz", {"a/1.png": os.urandom(3_000)}).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[:60])
    with pytest.raises(DataRefusedError, match="damaged or cut off"):
        ingest("folder", tmp_path / "cut.tar.gz", tmp_path / "out")
    long = make_archive(tmp_path / "long.zip", {f"a/{'x' * 300}.png": make_png(1)})
    with pytest.raises(DataRefusedError, match=r"cannot be unpacked here .*too long"):
        ingest("folder", long, tmp_path / "out")

    sound = make_archive(tmp_path / "sound.zip", {"a/1.png": make_png(1)})
    for error, expected in (
        (gzip.BadGzipFile("CRC check failed"), r"damaged or cut off \(CRC"),
        (OSError("Invalid data stream"), r"damaged or cut off \(Invalid"),
    ):
        monkeypatch.setattr(archive, "_members", lambda path, limit, error=error: iter_failing(error))
        with pytest.raises(DataRefusedError, match=expected):
            ingest("folder", sound, tmp_path / "out")
    monkeypatch.setattr(
        archive, "_members", lambda path, limit: iter_failing(OSError(errno.ENOSPC, "No space left"))
    )
    with pytest.raises(MiranteError, match="No space left") as caught:
        ingest("folder", sound, tmp_path / "out")
    assert not isinstance(caught.value, DataRefusedError)


def iter_failing(error: OSError) -> Iterator[tuple[str, int, None]]:
    yield "a", 0, None
    raise error


@pytest.mark.parametrize("name", ["in.zip", "in.tar.gz"])
def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MIN_EXPANDED_BYTES", 1 << 20)
    path = make_archive(tmp_path / name, {"a/1.png": bytes(30 << 20)})
    with pytest.raises(DataRefusedError, match=r"unpacks to more than \d+ bytes from \d+"):
        ingest("folder", path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_that_is_cut_off_is_told_as_such(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "in.zip", {"a/1.png": make_png(1), "b/2.png": make_png(2)})
    path.write_bytes(path.read_bytes()[:-30])  # in its table of contents
    with pytest.raises(DataRefusedError, match=r"in\.zip: damaged or cut off \(.*\); get it again"):
        ingest("folder", path, tmp_path / "out")


def test_an_input_that_makes_no_sense(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(make_png(1))
    with pytest.raises(UsageError, match=r"reads a folder, a \.zip or a \.tar\(\.gz\), not this file"):
        ingest("folder", file, tmp_path / "out")
    with pytest.raises(UsageError, match="does not exist"):
        ingest("folder", tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(UsageError, match="needs an INPUT"):
        ingest("idx", None, tmp_path / "out")
    with pytest.raises(UsageError, match=r"digits brings its own data and reads no INPUT.*give - as INPUT"):
        ingest("digits", tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="is a file"):
        ingest("digits", None, file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataRefusedError, match="no image found"):
        ingest("folder", tmp_path / "empty", tmp_path / "out")


def test_digits(tmp_path: Path) -> None:
    result = ingest("digits", None, tmp_path / "out", IngestConfig(workers=1))
    assert result.class_names == [str(digit) for digit in range(10)]
    assert sum(split.images for split in result.splits.values()) == 1797
    values = next(map(parse_example, read_records(tmp_path / "out" / "train-00000-of-00001")))
    pixels = Image.open(io.BytesIO(values["image/encoded"][0]))
    assert (pixels.size, pixels.mode, pixels.getextrema()) == ((8, 8), "L", (0, 255))
    assert ingest("digits", None, tmp_path / "out", IngestConfig(workers=1)).unchanged
