"""What a served model makes of files: to the bit the pixels that ingest stores, or a refusal."""

from __future__ import annotations

import functools
import io
import itertools
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.ingest.canonical import canonical_bytes
from components.ingest.whole import RejectedImage
from components.transform import preprocessing_fn
from components.transform.canonical_graph import canonical, reason_of
from components.transform.config import TransformConfig
from components.transform.pixels import IMAGE, find_frames
from schemas import features
from tests.make.images import encode_image, make_noise

served_form = tf.function(canonical, input_signature=[tf.TensorSpec([None], tf.string)])
ADVICE = "; convert it to an RGB JPEG or PNG, or ask with `mirante predict`, which does"
ORIENTATION = 0x0112


def image(mode: str, height: int = 7, width: int = 11) -> Image.Image:
    """Noise: every turn and every wrong bit shows."""
    pixels = make_noise(len(mode), height, width, 4)
    if mode == "P":
        of_palette = Image.fromarray(pixels[..., 0] % 16, "L")
        of_palette.putpalette(make_noise(1, 16, 3, 1).tobytes())
        return of_palette
    if mode == "I;16":
        return Image.fromarray(pixels[..., :2].copy().view(np.uint16)[..., 0])
    if mode == "1":
        return Image.fromarray(pixels[..., 0] // 128 * 255).convert("1")
    bands = [Image.fromarray(pixels[..., band]) for band in range(4)]
    return Image.merge(mode, bands[: len(Image.new(mode, (1, 1)).getbands())])


def saved(of: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    of.save(buffer, image_format, **options)
    return buffer.getvalue()


def exif(orientation: int, endian: str = ">") -> bytes:
    block = Image.Exif()
    block.endian = endian
    block[0x010F] = "a maker whose name lies elsewhere in the block"
    block[ORIENTATION] = orientation
    return block.tobytes()


def tiff(*entries: bytes, head: bytes = b"MM\0*", count: int | None = None, rest: bytes = b"") -> bytes:
    """A block of EXIF, big endian."""
    number = len(entries) if count is None else count
    return b"".join([head, struct.pack(">IH", 8, number), *entries, b"\0\0\0\0", rest])


def entry(value: int, *, tag: int = ORIENTATION, kind: int = 3, count: int = 1) -> bytes:
    content = struct.pack(">HH", value, 0) if kind == 3 and count == 1 else struct.pack(">I", value)
    return struct.pack(">HHI", tag, kind, count) + content


def jpeg_with(*blocks: bytes, mark: bytes = b"Exif\0\0", before: bytes = b"") -> bytes:
    """A JPEG with segments APP1 after its first."""
    whole = saved(image("RGB"), "JPEG", quality=95)
    made = [struct.pack(">HH", 0xFFE1, len(mark + block) + 2) + mark + block for block in blocks]
    return b"".join([whole[:20], before, *made, whole[20:]])


def png(
    bits: int, colour: int, *extra: tuple[bytes, bytes], late: tuple[bytes, bytes] | None = None
) -> bytes:
    """A PNG of any kind, 6 x 5 pixels, with chunks before (and one after) its pixels."""
    random_bytes = random.Random(bits + colour).randbytes
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = (6 * samples * bits + 7) // 8
    rows = b"".join(b"\0" + random_bytes(row) for _ in range(5))
    palette = [(b"PLTE", random_bytes(3 * 2 ** min(bits, 8)))] if colour == 3 else []
    packed = zlib.compress(rows)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 6, 5, bits, colour, 0, 0, 0)),
        *palette,
        *extra,
        (b"IDAT", packed[:9]),
        (b"IDAT", packed[9:]),
        *([late] if late else []),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def pixels(encoded: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(encoded)))


def same(encoded: bytes) -> str:
    """Checks that the graph gives ingest's pixels; says whether it kept the file's bytes."""
    (made,) = served_form(tf.constant([encoded])).numpy()
    expected = canonical_bytes(encoded).encoded
    if expected == encoded:
        assert made == encoded
        return "kept"
    assert made != encoded
    np.testing.assert_array_equal(pixels(made), pixels(expected))
    return "rewritten"


def refusal(encoded: bytes) -> str:
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        served_form(tf.constant([encoded]))
    return reason_of(caught.value)


# --- every kind of file that is accepted

TURNED = [
    saved(image(mode), image_format, exif=exif(orientation, endian))
    for mode, image_format in itertools.product(("L", "RGB", "RGBA", "LA", "P", "1", "I;16"), ("JPEG", "PNG"))
    if image_format == "PNG" or mode in ("L", "RGB", "1")
    for orientation, endian in itertools.product(range(10), "<>")
]


@pytest.mark.slow
def test_every_orientation_of_every_kind_has_the_pixels_of_ingest() -> None:
    assert len(TURNED) == 200
    for encoded in TURNED:
        same(encoded)
    kept = {
        orientation: same(saved(image("RGB"), kind, exif=exif(orientation)))
        for kind in ("JPEG", "PNG")
        for orientation in range(10)
    }
    assert [orientation for orientation, what in kept.items() if what == "kept"] == [0, 1, 9]


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["bilinear", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_behind_transform_they_are_the_same_to_the_bit(channels: int, resize: str) -> None:
    config = TransformConfig(height_px=9, width_px=8, channels=channels, resize=resize)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def transformed(encoded: tf.Tensor) -> tf.Tensor:
        inputs = {features.ENCODED: encoded, features.LABEL: tf.zeros(tf.shape(encoded), tf.int64)}
        return preprocessing_fn(inputs, {"task": "classification", "transform": config.model_dump()})[IMAGE]

    images = [*TURNED[::3], *(png(bits, 6) for bits in (8, 16))]
    stored = [canonical_bytes(encoded).encoded for encoded in images]
    served, trained = transformed(served_form(tf.constant(images))), transformed(tf.constant(stored))
    assert served.shape == (len(images), 9, 8, channels)
    assert served.numpy().tobytes() == trained.numpy().tobytes()
    frames_of = tf.function(functools.partial(find_frames, target=(9, 8)), reduce_retracing=True)
    # The place of a padded image, and so of a detector's boxes, is that of the upright image.
    served_frames, trained_frames = (
        frames_of(encoded) for encoded in (served_form(tf.constant(images)), tf.constant(stored))
    )
    assert served_frames.numpy().tobytes() == trained_frames.numpy().tobytes()
    assert len({frame.tobytes() for frame in served_frames.numpy()}) > 1


KINDS = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3)]
KINDS += [(8, 4), (16, 4), (8, 6), (16, 6)]


@pytest.mark.parametrize(("bits", "colour"), KINDS)
def test_pngs_of_all_kinds(bits: int, colour: int) -> None:
    assert same(png(bits, colour)) == ("kept" if (bits, colour) in ((8, 0), (8, 2)) else "rewritten")
    assert same(png(bits, colour, (b"eXIf", tiff(entry(6))))) == "rewritten"
    assert same(png(bits, colour, late=(b"eXIf", tiff(entry(3))))) == "rewritten"


@pytest.mark.parametrize(
    ("bits", "colour", "transparency"),
    [
        (8, 0, b"\0\x10"),
        (16, 0, b"\x10\x10"),  # Pillow does not look at it
        (8, 2, b"\0\x10\0\x20\0\x30"),
        (1, 3, b"\0"),
        (4, 3, b"\xff\0"),
        (8, 3, bytes(range(200))),
    ],
)
def test_transparent_colours(bits: int, colour: int, transparency: bytes) -> None:
    assert same(png(bits, colour, (b"tRNS", transparency))) == "rewritten"


def test_the_transparent_colour_is_white() -> None:
    keyed = Image.new("RGB", (2, 1), (1, 2, 3))
    keyed.putpixel((1, 0), (1, 2, 4))
    encoded = saved(keyed, "PNG", transparency=(1, 2, 3))
    assert same(encoded) == "rewritten"
    (made,) = served_form(tf.constant([encoded])).numpy()
    assert pixels(made).tolist() == [[[255, 255, 255], [1, 2, 4]]]


def test_every_level_with_every_alpha() -> None:
    level, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    encoded = encode_image(np.stack([level, 255 - level, level // 2, alpha], axis=-1))
    assert same(encoded) == "rewritten"
    (made,) = served_form(tf.constant([encoded])).numpy()
    # 255 of alpha leaves a level, 0 gives white, 51 (a fifth) leaves a fifth of the way: 255 - 0.2 x 255.
    assert pixels(made)[[255, 0, 51], 0, 0].tolist() == [0, 255, 204]


# --- EXIF that is not as it should be

SHORT_6 = entry(6)
BLOCKS = {
    "nothing": b"",
    "no TIFF": b"nothing of the kind",
    "odd head": tiff(SHORT_6, head=b"MM*\0"),
    "half a big TIFF": tiff(SHORT_6, head=b"MM\0+"),
    "twice": tiff(SHORT_6, entry(3)),
    "mark twice": b"Exif\0\0" + tiff(SHORT_6),
    "more entries than there are": tiff(SHORT_6, count=60000),
    "fewer entries than there are": tiff(entry(8, tag=0x0100), SHORT_6, count=1),
    "cut off": tiff(SHORT_6)[:18],
    "a long": tiff(entry(6, kind=4)),
    "a signed short": tiff(entry(6 << 16, kind=8)),
    "a byte": tiff(entry(6 << 24, kind=1)),
    "a signed byte": tiff(entry(6 << 24, kind=6)),
    "a text": tiff(entry(ord("6") << 24, kind=2)),
    "an unknown type": tiff(entry(6, kind=99), SHORT_6),
    "no value": tiff(SHORT_6, entry(3, count=0)),
    "two values": tiff(struct.pack(">HHIHH", ORIENTATION, 3, 2, 6, 3)),
    "values elsewhere": tiff(entry(26, count=4), rest=struct.pack(">4H", 5, 6, 7, 8)),
    "values beyond the end": tiff(SHORT_6, entry(5000, count=4)),
    "behind what leads out": tiff(entry(5000, tag=0x010F, kind=2, count=9), SHORT_6),
    "a fraction": tiff(entry(26, kind=5), rest=struct.pack(">II", 6, 1)),
    "0": tiff(entry(0)),
    "9": tiff(entry(9)),
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_odd_exif_means_what_it_means_to_ingest(block: bytes) -> None:
    assert same(jpeg_with(block)) == same(png(8, 2, (b"eXIf", block)))


def test_what_some_of_it_means() -> None:
    turned = {name for name, block in BLOCKS.items() if same(jpeg_with(block)) == "rewritten"}
    assert {"twice", "mark twice", "a long", "two values", "values elsewhere", "no value"} <= turned
    assert not {"nothing", "no TIFF", "cut off", "a byte", "behind what leads out", "0", "9"} & turned


def test_segments_of_a_jpeg() -> None:
    block = tiff(SHORT_6)
    assert same(jpeg_with(block[:20], block[20:])) == "rewritten"  # one block in two segments
    assert same(jpeg_with(b"Exif\0\0" + block, mark=b"http://ns.adobe.com/xap/1.0/\0")) == "kept"
    assert same(jpeg_with(block, before=b"\xff\xfe\0\4hi")) == "rewritten"
    assert same(jpeg_with(block, before=b"\xff\xff")) == "rewritten"  # fill bytes
    assert same(jpeg_with(b"") + b"Exif\0\0" + block) == "kept"  # after the end
    assert refusal(jpeg_with(block, before=b"junk")).startswith("image: a JPEG's segments do not follow")


def test_random_exif() -> None:
    pick = random.Random(0)
    turned = 0
    for _ in range(150):
        entries = [
            struct.pack(
                ">HHIHH",
                pick.choice([ORIENTATION, ORIENTATION, 0x010F]),
                pick.choice([3] * 6 + list(range(14)) + [16, 17]),
                pick.choice([1] * 6 + [0, 2, 3, 8, 100000]),
                pick.choice([6, 8, 3, 0, 9, 30]),
                pick.choice([0, 6, 20, 5000]),
            )
            for _ in range(pick.randrange(5))
        ]
        block = tiff(*entries, rest=pick.randbytes(40))
        turned += same(jpeg_with(block[: pick.choice([len(block), pick.randrange(len(block))])])) != "kept"
    assert turned >= 9


# --- what is refused


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_other_formats_are_refused(image_format: str) -> None:
    encoded = saved(image("RGB"), image_format)
    assert refusal(encoded) == f"image: expected a JPEG or PNG, got another format{ADVICE}"
    assert canonical_bytes(encoded).format == "png"  # predict does it


def test_what_only_ingest_does_right_is_refused() -> None:
    assert refusal(saved(image("CMYK"), "JPEG")) == f"image: expected 1 or 3 channels, got CMYK{ADVICE}"
    animated = saved(image("RGB"), "PNG", save_all=True, append_images=[image("L").convert("RGB")])
    assert refusal(animated).startswith(
        "image: got an animated PNG, or one with an unusual transparent colour"
    )
    for odd in (
        png(2, 0, (b"tRNS", b"\0\1")),
        png(16, 2, (b"tRNS", b"\0\1" * 3)),
        png(8, 2, (b"tRNS", b"\0\1" * 2)),
        png(8, 2, (b"tRNS", b"\1\1" * 3)),
        png(8, 2, late=(b"tRNS", b"\0\1" * 3)),
        png(1, 3, (b"tRNS", b"\0\1\2")),
    ):
        assert refusal(odd).startswith(
            "image: got an animated PNG, or one with an unusual transparent colour"
        )


@pytest.mark.slow
def test_16_bits_are_refused_where_training_saw_another_range_of_them() -> None:
    said = "expected 8 bits per channel for a model with data.bit_depth 12, got 16"
    graph = tf.function(lambda images: canonical(images, "12"))
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        graph(tf.constant([png(16, 0)]))
    assert reason_of(caught.value) == f"image: {said}{ADVICE}"
    assert graph(tf.constant([png(8, 2)])).numpy().tolist() == [png(8, 2)]


@pytest.mark.parametrize("encoded", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"no image at all"])
def test_what_is_no_image_is_refused(encoded: bytes) -> None:
    assert refusal(encoded)
    with pytest.raises(RejectedImage):
        canonical_bytes(encoded)


def test_one_bad_image_refuses_the_batch_and_order_is_kept() -> None:
    good = [jpeg_with(tiff(SHORT_6)), png(8, 2), jpeg_with()]
    first, second, third = served_form(tf.constant(good)).numpy()
    assert pixels(first).shape == (11, 7, 3)
    assert (second, third) == (good[1], good[2])
    assert "another format" in refusal(b"GIF89a")
    with pytest.raises(tf.errors.InvalidArgumentError):
        served_form(tf.constant([*good, b"GIF89a"]))
    assert served_form(tf.constant([], tf.string)).shape == (0,)


@pytest.mark.real_data
def test_the_odd_images(real_data_dir: Path) -> None:
    found: dict[str, str] = {}
    for file in (real_data_dir / "odd_images").iterdir():
        if file.suffix in (".jpg", ".png"):
            try:
                found[file.name] = same(file.read_bytes())
            except tf.errors.InvalidArgumentError as e:
                found[file.name] = reason_of(e).partition(";")[0]
            except RejectedImage:
                found[file.name] = "rejected"
    assert found == {
        "cmyk.jpg": "image: expected 1 or 3 channels, got CMYK",
        "exif_broken.jpg": "kept",
        "exif_orientation_6_landscape.jpg": "rewritten",
        "exif_orientation_8_portrait.jpg": "rewritten",
        "exif_orientation_bad_value.jpg": "kept",
        "grayscale.jpg": "kept",
        "png_alpha.png": "rewritten",
        "png_palette_named.jpg": "rewritten",
        "png_rgba_named.jpg": "rewritten",
        "truncated.jpg": "rejected",
    }
