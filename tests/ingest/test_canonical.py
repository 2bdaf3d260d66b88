"""Pixels: what is kept, what is rewritten, what is rejected."""

from __future__ import annotations

import io
import resource
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.ingest.canonical import CanonicalImage, canonical_bytes, canonical_pixels
from components.ingest.whole import RejectedImage

# The odd images that are accepted; docs/ingest.md has the table of all, see tests/ingest/test_odd_images.py.
ODD_IMAGES = (
    "cmyk.jpg",
    "exif_broken.jpg",
    "exif_orientation_6_landscape.jpg",
    "exif_orientation_8_portrait.jpg",
    "exif_orientation_bad_value.jpg",
    "gif.gif",
    "grayscale.jpg",
    "png_alpha.png",
    "png_palette_named.jpg",
    "png_rgba_named.jpg",
    "webp.webp",
)


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def gradient(height: int = 6, width: int = 9, channels: int = 3) -> Image.Image:
    """Every pixel differs, so that a turn or flip shows."""
    values = (np.arange(height * width * channels) * 3 % 251).astype(np.uint8)
    return Image.fromarray(values.reshape((height, width, channels) if channels > 1 else (height, width)))


def pixels(image: CanonicalImage) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(image.encoded)))


def rejection(data: bytes, **options: Any) -> str:
    with pytest.raises(RejectedImage) as caught:
        canonical_bytes(data, **options)
    return caught.value.reason


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_plain_image_keeps_its_bytes(image_format: str, channels: int) -> None:
    data = encoded(gradient(channels=channels), image_format)
    assert canonical_bytes(data) == CanonicalImage(data, image_format.lower(), 6, 9, channels, (9, 6))


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 2}, {"keep_rgb": True}]
)
def test_jpeg_variants_that_every_decoder_reads_are_kept(options: dict[str, Any]) -> None:
    data = encoded(gradient(32, 48), "JPEG", **options)
    assert canonical_bytes(data).encoded == data


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_exif_orientation_is_turned_upright(image_format: str, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encoded(gradient(), image_format, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    image = canonical_bytes(data)
    assert image.format == "png"
    assert (image.height, image.width) == ((9, 6) if orientation >= 5 else (6, 9))
    np.testing.assert_array_equal(pixels(image), expected)


def test_an_orientation_of_no_meaning_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    data = encoded(gradient(), "JPEG", exif=exif)
    assert canonical_bytes(data).encoded == data
    broken = encoded(gradient(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert canonical_bytes(broken).encoded == broken


def test_alpha_is_laid_on_white() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(10, 20, 30, 255), (10, 20, 30, 0), (0, 0, 0, 51)])
    assert pixels(canonical_bytes(encoded(image, "PNG"))).tolist() == [
        [[10, 20, 30], [255, 255, 255], [204, 204, 204]]
    ]
    grey = Image.new("LA", (2, 1))
    grey.putdata([(100, 255), (100, 0)])
    assert pixels(canonical_bytes(encoded(grey, "PNG"))).tolist() == [[100, 255]]


def test_a_transparent_colour_and_a_palette_become_rgb_on_white() -> None:
    keyed = encoded(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert pixels(canonical_bytes(keyed)).tolist() == [[[255, 255, 255]] * 2] * 2
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert pixels(canonical_bytes(encoded(palette, "PNG"))).tolist() == [[[9, 8, 7]]]


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_give_the_upper_eight(image_format: str) -> None:
    values = np.array([[0, 255, 256], [511, 32768, 65535]], np.uint16)
    image = canonical_bytes(encoded(Image.fromarray(values), image_format))
    assert pixels(image).tolist() == [[0, 0, 1], [1, 128, 255]]
    assert image.channels == 1


def test_sixteen_bit_rgb_png_is_rewritten() -> None:
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = b"\x00" + bytes([200, 17, 100, 255, 0, 1])
    data = png((b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b""))
    image = canonical_bytes(data)
    assert image.encoded != data
    assert pixels(image).tolist() == [[[200, 100, 0]]]


def test_one_bit_has_the_full_range() -> None:
    image = Image.new("1", (2, 1))
    image.putdata([0, 255])
    assert pixels(canonical_bytes(encoded(image, "PNG"))).tolist() == [[0, 255]]


def test_32_bits_are_rejected() -> None:
    floats = Image.fromarray(np.ones((2, 2), np.float32))
    assert rejection(encoded(floats, "TIFF")).startswith("32 bits a channel")


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for image_format in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if image_format == "WEBP" else {}
        data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
        assert pixels(canonical_bytes(data)).tolist() == [[[255, 0, 0]] * 4] * 4, image_format


def test_cmyk_with_and_without_adobes_marker() -> None:
    with_marker = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    red = pixels(canonical_bytes(with_marker))[0, 0]
    np.testing.assert_allclose(red, [255, 0, 0], atol=3)
    at = with_marker.index(b"\xff\xee")
    length = int.from_bytes(with_marker[at + 2 : at + 4], "big")
    without_marker = with_marker[:at] + with_marker[at + 2 + length :]
    # The same numbers, now not inverted: C 255, M 0, Y 0, K 255 is black.
    np.testing.assert_allclose(pixels(canonical_bytes(without_marker))[0, 0], [0, 0, 0], atol=3)


def test_resizing_goes_down_only_and_keeps_the_aspect() -> None:
    jpeg = encoded(gradient(60, 90), "JPEG")
    small = canonical_bytes(jpeg, resize_px=30)
    assert (small.format, small.height, small.width) == ("jpeg", 20, 30)
    assert canonical_bytes(jpeg, resize_px=90).encoded == jpeg
    assert canonical_bytes(encoded(gradient(60, 90), "PNG"), resize_px=45).format == "png"
    assert canonical_bytes(encoded(gradient(1, 300), "PNG"), resize_px=10).height == 1
    assert canonical_pixels(bytes(28 * 28), 28, 28, 1, resize_px=14).width == 14


def test_what_is_rewritten_has_no_colour_profile_left() -> None:
    data = encoded(gradient().convert("RGBA"), "PNG", icc_profile=b"profile", dpi=(300, 300))
    assert "icc_profile" not in Image.open(io.BytesIO(canonical_bytes(data).encoded)).info


def test_cut_off_and_damaged_files_are_rejected() -> None:
    assert rejection(b"") == "empty file"
    assert rejection(b"a text").startswith("not an image file")
    for image_format in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"):
        data = encoded(gradient(40, 40), image_format)
        assert canonical_bytes(data).height == 40
        assert rejection(data[: len(data) * 2 // 3]), image_format
    data = encoded(gradient(), "PNG")
    assert "ends before its IEND" in rejection(data[:-12])
    jpeg = encoded(gradient(40, 40), "JPEG")
    assert "no end-of-image marker" in rejection(jpeg[:-2] + bytes(512))
    at = data.index(b"IDAT") + 10
    assert "wrong checksum" in rejection(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_a_jpeg_of_12_bits_is_rejected() -> None:
    data = encoded(gradient(), "JPEG")
    at = data.index(b"\xff\xc0") + 4
    assert "variant that cannot be read" in rejection(data[:at] + b"\x0c" + data[at + 1 :])


def test_a_bomb_is_rejected_by_its_header_alone() -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    rows = b"".join(packer.compress(block) for _ in range(64)) + packer.flush()
    bomb = png((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    assert "pixels" in rejection(bomb)
    assert time.monotonic() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB; the pixels are 7.5 GB
    assert "more than max_pixels = 53" in rejection(encoded(gradient(), "PNG"), max_pixels=53)
    assert canonical_bytes(encoded(gradient(), "PNG"), max_pixels=54).width == 9


def test_a_jpeg_above_the_bound_is_read_scaled_where_it_is_resized() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    scene = gradient(30, 60).resize((960, 480), Image.Resampling.BICUBIC)
    data = encoded(scene, "JPEG", quality=95)
    whole = canonical_bytes(data, resize_px=60)
    assert (whole.width, whole.height, whole.full_size) == (60, 30, (960, 480))
    assert (
        "960 x 480 pixels, more than max_pixels = 100000: scale it down, or give --max-pixels"
        in rejection(data, max_pixels=100_000)
    )
    small = canonical_bytes(data, max_pixels=100_000, resize_px=60)
    assert (small.format, small.width, small.height, small.full_size) == ("jpeg", 60, 30, (960, 480))
    assert np.abs(pixels(small).astype(int) - pixels(whole)).mean() < 8
    # An eighth of 960 is what was asked for: nothing is left to scale, and the file's own bytes are not kept.
    exact = canonical_bytes(data, max_pixels=100_000, resize_px=120)
    assert (exact.width, exact.height) == (120, 60)
    assert len(exact.encoded) < len(data)
    turned = canonical_bytes(encoded(scene, "JPEG", exif=exif), max_pixels=100_000, resize_px=60)
    assert (turned.width, turned.height, turned.full_size, turned.orientation) == (30, 60, (480, 960), 6)
    # A half is still too much for the bound, and a quarter less than what was asked for.
    assert "more than max_pixels" in rejection(data, max_pixels=100_000, resize_px=400)
    assert "more than max_pixels" in rejection(encoded(scene, "PNG"), max_pixels=100_000, resize_px=60)


def test_avif_is_read_and_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = canonical_bytes(encoded(gradient(6, 10), "AVIF", quality=100, exif=exif))
    assert (image.format, image.width, image.height) == ("png", 6, 10)
    assert canonical_bytes(encoded(gradient(6, 10).convert("RGBA"), "AVIF")).channels == 3
    whole = encoded(gradient(60, 80), "AVIF")
    assert rejection(whole[: len(whole) // 2])


@pytest.mark.real_data
def test_tensorflow_sees_the_pixels_that_pillow_sees(real_data_dir: Path) -> None:
    import tensorflow as tf

    files = [real_data_dir / "odd_images" / name for name in ODD_IMAGES]
    files += sorted((real_data_dir / "cats_vs_dogs/validation/cats").iterdir())[:20]
    for file in files:
        image = canonical_bytes(file.read_bytes())
        if image.format == "jpeg":
            decoded = tf.io.decode_jpeg(image.encoded, dct_method="INTEGER_ACCURATE").numpy()
        else:
            decoded = tf.io.decode_image(image.encoded, expand_animations=False).numpy()
        assert decoded.shape == (image.height, image.width, image.channels), file
        ours = pixels(image).reshape(decoded.shape)
        assert np.abs(ours.astype(int) - decoded).max() <= 1, file


@pytest.mark.real_data
def test_a_ycck_jpeg_has_the_colours_that_tensorflow_gives_it(real_data_dir: Path) -> None:
    import tensorflow as tf

    data = (real_data_dir / "odd_images/cmyk.jpg").read_bytes()
    decoded = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    assert np.abs(pixels(canonical_bytes(data)).astype(int) - decoded).max() <= 1


def test_what_an_image_was_before_it_was_turned_and_scaled_down() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(gradient(height=20, width=40), "JPEG", exif=exif)
    image = canonical_bytes(data, resize_px=10)
    assert (image.width, image.height) == (5, 10)
    assert (image.full_size, image.orientation) == ((20, 40), 6)
    image = canonical_bytes(encoded(gradient(height=20, width=40), "PNG"), resize_px=10)
    assert (image.full_size, image.orientation) == ((40, 20), 1)
