"""Damage: found in what libjpeg warns of and in checksums, and nothing whole is taken for damaged."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.ingest.canonical import canonical_bytes
from components.ingest.whole import RejectedImage, check_jpeg, check_whole, is_plain_jpeg

pytestmark = pytest.mark.stack_free

END = b"\xff\xd9"
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "grey": {},
    "cmyk": {},
    "4:4:4": {"subsampling": 0},
}


def scene(seed: int, size: int = 160) -> Image.Image:
    """Smooth areas with edges, as photos have them."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    return coarse.resize((size, size), Image.Resampling.BICUBIC)


def jpeg(kind: str, seed: int = 0) -> bytes:
    image = scene(seed).convert({"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB"))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **KINDS[kind])
    return buffer.getvalue()


def first_scan(encoded: bytes) -> int:
    return encoded.index(b"\xff\xda") + 14


def cut(encoded: bytes) -> bytes:
    return encoded[: (first_scan(encoded) + len(encoded)) // 2] + END


def zeros_to_the_end(encoded: bytes) -> bytes:
    half = (first_scan(encoded) + len(encoded)) // 2
    return encoded[:half] + bytes(len(encoded) - half - 2) + END


def lost_in_the_middle(encoded: bytes) -> bytes:
    half = (first_scan(encoded) + len(encoded)) // 2
    return encoded[:half] + encoded[half + 600 :]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_whole_passes(kind: str) -> None:
    assert check_jpeg(jpeg(kind))


@pytest.mark.parametrize("damage", [cut, zeros_to_the_end, lost_in_the_middle])
@pytest.mark.parametrize("kind", KINDS)
def test_half_a_jpeg_with_an_end_is_rejected(kind: str, damage: Callable[[bytes], bytes]) -> None:
    damaged = damage(jpeg(kind))
    with Image.open(io.BytesIO(damaged)) as image:
        image.load()  # Pillow takes it for whole
    with pytest.raises(RejectedImage, match=r"^truncated or damaged JPEG: (Corrupt JPEG data|Premature end)"):
        canonical_bytes(damaged)
    with pytest.raises(RejectedImage):
        check_whole(damaged)


def test_nearly_all_zeroed_stretches_are_found() -> None:
    random_place = random.Random(0)
    found = 0
    for seed in range(60):
        encoded = bytearray(jpeg(("baseline", "progressive")[seed % 2], seed))
        place = random_place.randrange(first_scan(encoded), len(encoded) - 402)
        encoded[place : place + 400] = bytes(400)
        try:
            check_jpeg(bytes(encoded))
        except RejectedImage:
            found += 1
    assert found >= 54


def test_a_turned_a_resized_and_a_cmyk_jpeg_are_checked_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    scene(0).save(buffer, "JPEG", quality=90, exif=exif)
    for encoded, options in ((buffer.getvalue(), {}), (jpeg("baseline"), {"resize_px": 20})):
        assert canonical_bytes(encoded, **options).height
        with pytest.raises(RejectedImage, match="Corrupt JPEG data"):
            canonical_bytes(cut(encoded), **options)


def test_remarks_that_say_nothing_of_the_pixels_are_no_damage() -> None:
    whole = jpeg("baseline")
    at = whole.index(b"JFIF\0") + 5
    odd_revision = whole[:at] + b"\0" + whole[at + 1 :]
    between_segments = whole[:20] + bytes(10) + whole[20:]
    for encoded in (odd_revision, between_segments):
        assert check_jpeg(encoded)
        with pytest.raises(RejectedImage):  # and they hide no damage
            check_jpeg(cut(encoded))
    # After the end anything may stand: further images, a phone's video.
    assert canonical_bytes(whole + bytes(1000)).encoded == whole + bytes(1000)
    with pytest.raises(RejectedImage, match="extraneous bytes before marker 0xd9"):
        check_jpeg(whole[:-2] + bytes(100) + END)


def test_a_jpeg_of_unusual_sampling_is_left_to_pillow() -> None:
    encoded = bytearray(jpeg("4:4:4"))
    frame = encoded.index(b"\xff\xc0")
    encoded[frame + 11] = 0x31  # three times as many columns of light as of colour
    assert not check_jpeg(bytes(encoded))
    assert is_plain_jpeg(bytes(encoded))


def test_pngs_are_checked_and_other_formats_pass() -> None:
    buffer = io.BytesIO()
    scene(0).save(buffer, "PNG")
    whole = buffer.getvalue()
    check_whole(whole)
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:200] + b"\0" + whole[201:]):
        with pytest.raises(RejectedImage, match="truncated or damaged PNG"):
            check_whole(damaged)
    check_whole(b"neither")


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "BMP", "TIFF", "PPM", "PNG"])
def test_what_is_cut_off_is_rejected_in_every_format(image_format: str) -> None:
    buffer = io.BytesIO()
    scene(0).save(buffer, image_format)
    whole = buffer.getvalue()
    assert canonical_bytes(whole).width == 160
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(RejectedImage):
            canonical_bytes(whole[: int(len(whole) * share)])


@pytest.mark.real_data
def test_no_real_photo_is_taken_for_damaged(real_data_dir: Path) -> None:
    checked = 0
    for file in real_data_dir.rglob("*.jpg"):
        encoded = file.read_bytes()
        if encoded.startswith(b"\xff\xd8") and file.name != "truncated.jpg":
            assert check_jpeg(encoded), file
            checked += 1
    assert checked > 2000
