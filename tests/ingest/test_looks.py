"""Copies of one image in several formats: found by how they look, told, and kept in one split."""

from __future__ import annotations

import collections
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.base.example import parse_example
from components.base.limits import DEFAULT_MAX_PIXELS
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, ingest
from components.ingest.looks import alike, look_of

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


def look(content: bytes) -> bytes | None:
    return look_of(content, DEFAULT_MAX_PIXELS)


def test_copies_look_alike_and_others_do_not() -> None:
    contents = [
        encoded(image, **options)
        for seed in range(40)
        for image in [photo(seed)]
        for options in [*FORMATS.values(), {"format": "JPEG", "quality": 30}]
    ]
    contents += [encoded(photo(seed).resize((300, 202), Image.LANCZOS), format="PNG") for seed in range(40)]
    looks = [look(content) for content in contents]
    assert None not in looks
    pairs = set(alike(np.array([np.frombuffer(one or b"", np.uint8) for one in looks])))
    seed_of = [number // 5 if number < 200 else number - 200 for number in range(240)]
    expected = {
        (one, other) for one, other in itertools.combinations(range(240), 2) if seed_of[one] == seed_of[other]
    }
    assert {tuple(sorted(pair)) for pair in pairs} == expected


def test_what_has_too_little_in_it_has_no_look() -> None:
    assert look(encoded(photo(0, (63, 200)), format="PNG")) is None
    assert look(encoded(Image.new("RGB", (200, 200), (250, 250, 250)), format="PNG")) is None
    assert look(b"no image") is None
    assert look(encoded(photo(0), format="JPEG")[:300]) is None
    assert look_of(encoded(photo(0), format="PNG"), max_pixels=1000) is None
    assert len(look(encoded(photo(0), format="PNG")) or b"") == 256


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


def test_copies_in_several_formats_get_one_split(tmp_path: Path) -> None:
    make(tmp_path / "in", ["jpg", "png", "bmp"])
    result = ingest("folder", tmp_path / "in", tmp_path / "out")
    splits = splits_of(tmp_path / "out")
    assert len(splits) == 180
    by_photo = collections.defaultdict(set)
    for name, split in splits.items():
        by_photo[name.rpartition("/")[2].partition("-")[0]].add(split)
    assert all(len(found) == 1 for found in by_photo.values())
    assert set(splits.values()) == {"train", "eval", "test"}
    (told,) = (one for one in result.warnings if "look like another one" in one)
    assert told.startswith("180 images look like another one, in another format or size: ")
    # Another number of workers, and a second time: the same.
    ingest("folder", tmp_path / "in", tmp_path / "again", IngestConfig(workers=1))
    assert splits_of(tmp_path / "again") == splits
    assert ingest("folder", tmp_path / "in", tmp_path / "out").unchanged


@pytest.mark.parametrize("formats", [["jpg"], ["png"]])
def test_files_of_one_format_are_not_compared(tmp_path: Path, formats: list[str]) -> None:
    make(tmp_path / "in", formats, photos=20)
    copy = tmp_path / "in" / "class0" / f"copy.{formats[0]}"
    copy.write_bytes(encoded(photo(0).resize((140, 94)), **FORMATS[formats[0]]))
    phases = set()
    result = ingest(
        "folder", tmp_path / "in", tmp_path / "out", progress=lambda phase, done, total: phases.add(phase)
    )
    assert phases == {"find", "hash", "write"}
    assert not [one for one in result.warnings if "look like" in one]


def test_images_that_are_all_small_are_not_alike(tmp_path: Path) -> None:
    for number, ending in enumerate(["jpg", "png"] * 20):
        path = tmp_path / "in" / f"class{number % 4 // 2}" / f"{number}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(0, (40, 40)), **FORMATS[ending]))
    result = ingest("folder", tmp_path / "in", tmp_path / "out")
    assert not [one for one in result.warnings if "look like" in one]
