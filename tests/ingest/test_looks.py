"""Copies of one image with other bytes: found by how they look, listed, told, and kept in one split."""

from __future__ import annotations

import collections
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, ingest, read_manifest
from components.ingest.canonical import canonical_bytes
from components.ingest.looks import DECODED_PX, DETAIL_PX, find_candidates, is_alike, make_look

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

FORMATS: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 90},
    "png": {"format": "PNG"},
    "bmp": {"format": "BMP"},
    "webp": {"format": "WEBP", "quality": 80},
}


def photo(seed: int, size: tuple[int, int] = (150, 101)) -> Image.Image:
    """A smooth image with some detail, another one for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize(size, Image.BICUBIC)
    noisy = np.asarray(coarse, np.int16) + rng.integers(-9, 10, (size[1], size[0], 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def find_copies(contents: list[bytes]) -> dict[tuple[int, int], bool]:
    """Find the pairs of images that are the same, and whether the second one is mirrored."""
    seen = [canonical_bytes(content, preview_px=DECODED_PX).preview for content in contents]
    candidates = find_candidates(b"".join(make_look(one) for one in seen if one is not None))
    close = [canonical_bytes(content, preview_px=DETAIL_PX) for content in contents]
    return {
        (one, other): mirrored
        for one, other, mirrored in reversed(candidates)
        if is_alike(close[one], close[other], mirrored=mirrored)
    }


def mirror(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def test_copies_look_alike_and_others_do_not() -> None:
    contents = [
        copy
        for seed in range(12)
        for image in [photo(seed)]
        for copy in [
            *(encoded(image, **options) for options in FORMATS.values()),
            encoded(image, format="JPEG", quality=30),
            encoded(image.resize((300, 202), Image.LANCZOS), format="PNG"),
            encoded(mirror(image), **FORMATS["jpg"]),
        ]
    ]
    found = find_copies(contents)
    assert {one // 7 == other // 7 for one, other in found} == {True}
    assert len(found) == 12 * 7 * 6 / 2
    assert {pair for pair, mirrored in found.items() if mirrored} == {
        pair for pair in found if pair[1] % 7 == 6
    }


def digit(number: int, size: tuple[int, int] = (28, 28)) -> Image.Image:
    image = Image.new("L", size)
    ImageDraw.Draw(image).text((8, 4), str(number), fill=255, font_size=20)
    return image


def frame(at: int) -> Image.Image:
    """A fixed scene with a small thing in another place for each frame."""
    image = photo(3, (320, 240))
    left, top = 20 + 23 * (at % 12), 30 + 40 * (at // 12)
    ImageDraw.Draw(image).ellipse((left, top, left + 10, top + 10), fill=(250, 250, 250))
    return image


def page(number: int) -> Image.Image:
    """A page of text, another one for each number."""
    image = Image.new("L", (310, 438), 255)
    draw = ImageDraw.Draw(image)
    words = np.random.default_rng(number).choice(["the", "same", "words", "in", "another", "order"], 200)
    for line in range(25):
        draw.text((20, 20 + 16 * line), " ".join(words[8 * line : 8 * line + 8]), fill=0)
    return image


@pytest.mark.slow
def test_different_images_of_simple_things_are_not_joined() -> None:
    assert not find_copies([encoded(digit(number), format="PNG") for number in range(10)])
    assert not find_copies([encoded(digit(n).resize((224, 224)), format="PNG") for n in range(10)])
    assert not find_copies([encoded(frame(at), format="JPEG", quality=88) for at in range(40)])
    assert not find_copies([encoded(page(number), format="JPEG", quality=88) for number in range(20)])
    plain = [encoded(Image.new("RGB", (99, 99), (200, 205, level)), format="PNG") for level in range(40)]
    assert not find_copies(plain)
    icons = [encoded(photo(seed, (16, 16)), format="PNG") for seed in range(60)]
    assert not find_copies(icons)
    assert find_copies([icons[0], encoded(photo(0, (16, 16)), format="BMP")]) == {(0, 1): False}


def test_a_thousand_images_that_look_alike_have_few_pairs() -> None:
    rng = np.random.default_rng(0)
    looks = np.clip(rng.normal(128, 1, (1000, 64)) + 40 * np.sin(np.arange(64)), 0, 255).astype(np.uint8)
    assert 1000 <= len(find_candidates(looks.tobytes())) <= 2 * 16 * 1000


def test_a_photo_that_exif_turns_is_its_upright_copy() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show it upright
    sideways = photo(0).transpose(Image.Transpose.ROTATE_90)
    turned, upright = encoded(sideways, format="JPEG", exif=exif), encoded(photo(0), format="PNG")
    assert find_copies([turned, upright]) == {(0, 1): False}


def make(root: Path, formats: list[str], photos: int = 60) -> None:
    for seed in range(photos):
        for ending in formats:
            path = root / f"class{seed % 2}" / f"{seed}-{ending}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(photo(seed), **FORMATS[ending]))


def splits_of(output: Path) -> dict[str, str]:
    return {
        parse_example(record)["image/filename"][0].decode(): path.name.split("-")[0]
        for path in output.glob("*-of-*")
        for record in read_records(path)
    }


@pytest.mark.slow
def test_copies_in_several_formats_get_one_split(tmp_path: Path) -> None:
    make(tmp_path / "in", ["jpg", "png", "bmp"], photos=40)
    result = ingest("folder", tmp_path / "in", tmp_path / "out")
    splits = splits_of(tmp_path / "out")
    assert len(splits) == 120
    by_photo = collections.defaultdict(set)
    for name, split in splits.items():
        by_photo[name.rpartition("/")[2].partition("-")[0]].add(split)
    assert all(len(found) == 1 for found in by_photo.values())
    assert set(splits.values()) == {"train", "eval", "test"}
    (told,) = (one for one in result.warnings if "like another one" in one)
    assert told.startswith("80 images look like another one though the bytes differ")
    # Another number of workers, and a second time: the same.
    ingest("folder", tmp_path / "in", tmp_path / "again", IngestConfig(workers=1))
    assert splits_of(tmp_path / "again") == splits
    assert (tmp_path / "again/copies.csv").read_bytes() == (tmp_path / "out/copies.csv").read_bytes()
    assert ingest("folder", tmp_path / "in", tmp_path / "out").unchanged


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "copies.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_copy_is_listed_with_what_it_is_like(tmp_path: Path) -> None:
    files = {
        "cats/a.jpg": encoded(photo(1), format="JPEG", quality=90),
        "cats/b.jpg": encoded(photo(1), format="JPEG", quality=90),
        "dogs/c.jpg": encoded(photo(1), format="JPEG", quality=60),
        "dogs/d.png": encoded(mirror(photo(1)), format="PNG"),
        "dogs/e.png": encoded(photo(2), format="PNG"),
        "dogs/f.bmp": encoded(photo(2), format="BMP"),
        "dogs/g.png": encoded(photo(3), format="PNG"),
    }
    for name, content in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    result = ingest("folder", tmp_path / "in", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [(row["group"], row["path"], row["labels"], row["alike"], row["to"]) for row in found] == [
        ("1", "cats/a.jpg", "cats", "", ""),
        ("1", "cats/b.jpg", "cats", "bytes", "cats/a.jpg"),
        ("1", "dogs/c.jpg", "dogs", "look", "cats/a.jpg"),
        ("1", "dogs/d.png", "dogs", "mirrored", "cats/a.jpg"),
        ("2", "dogs/e.png", "dogs", "", ""),
        ("2", "dogs/f.bmp", "dogs", "pixels", "dogs/e.png"),
    ]
    assert len({row["split"] for row in found[:4]}) == 1
    assert json.loads((tmp_path / "out/manifest.json").read_text())["copies"] == 6
    (torn,) = (one for one in result.warnings if "other labels" in one)
    assert torn.startswith(
        "2 images have other labels than an image that looks the same: "
        "cats/a.jpg (cats) and dogs/c.jpg (dogs); cats/a.jpg (cats) and dogs/d.png (dogs)"
    )
    # Without the comparison only equal bytes are copies; an empty list has no file.
    ingest("folder", tmp_path / "in", tmp_path / "out", IngestConfig(near_copies=False))
    assert [row["path"] for row in rows(tmp_path / "out")] == ["cats/a.jpg", "cats/b.jpg"]
    (tmp_path / "in/cats/b.jpg").unlink()
    ingest("folder", tmp_path / "in", tmp_path / "out", IngestConfig(near_copies=False))
    assert not (tmp_path / "out/copies.csv").exists()


def test_copies_in_two_splits_of_the_data_are_told(tmp_path: Path) -> None:
    for split, options in (("train", FORMATS["jpg"]), ("test", FORMATS["png"])):
        for seed in range(6):
            path = tmp_path / "in" / split / f"class{seed % 2}" / f"{seed}.{options['format'].lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(photo(seed if seed < 2 else seed + 100 * (split == "test")), **options))
    config = IngestConfig(splits={"train": 0.8, "test": 0.2})  # so that train stays as it is
    result = ingest("folder", tmp_path / "in", tmp_path / "out", config)
    (told,) = (one for one in result.warnings if "in another split" in one)
    assert told.startswith("2 images are in another split than an image that looks the same")
    assert "test/class0/0.png (test) and train/class0/0.jpeg (train)" in told


def test_what_is_known_of_files_is_used_again(tmp_path: Path) -> None:
    make(tmp_path / "in", ["jpg"], photos=30)
    phases: dict[str, int] = {}
    ingest("folder", tmp_path / "in", tmp_path / "out")
    # A mirrored copy of a file that is not read again, and a damaged file.
    copy = tmp_path / "in/class0/copy.png"
    copy.write_bytes(encoded(mirror(photo(0)), format="PNG"))
    (tmp_path / "in/class0/bad.jpg").write_bytes(encoded(photo(50), format="JPEG")[:900])
    options = IngestConfig(max_reject_share=0.1)
    result = ingest(
        "folder",
        tmp_path / "in",
        tmp_path / "out",
        options,
        progress=lambda phase, done, total: phases.update({phase: total}),
    )
    assert phases["hash"] == 2
    assert result.rejected == 1
    assert [(row["path"], row["alike"]) for row in rows(tmp_path / "out")] == [
        ("class0/0-jpg.jpg", ""),
        ("class0/copy.png", "mirrored"),
    ]
    # The same as all at once, apart from the time of the files' entries.
    ingest("folder", tmp_path / "in", tmp_path / "fresh", options)
    for name in ("copies.csv", "rejects.csv", "inputs.csv.gz"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    assert splits_of(tmp_path / "out") == splits_of(tmp_path / "fresh")
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert not any(shard.rejected for shard in manifest.shards())  # known before shards were planned
