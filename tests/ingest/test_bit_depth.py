"""Images with more than 8 bits per channel: which bits are kept, and the warnings."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from components.base.errors import UsageError
from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest import IngestConfig, ingest, read_manifest
from components.ingest.bit_depth import Depths, find_percentiles
from components.ingest.canonical import canonical_bytes
from components.ingest.rehearsal import rehearse
from components.ingest.whole import RejectedImage
from pipeline.commands.field_options import settings_from
from pipeline.data.examples import describe
from pipeline.inspection.look import Asked, see
from tests.make.images import encode_image, make_png

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

# Values of 12 bits, and one above.
VALUES = np.array([[0, 255, 256], [1000, 4095, 4096]], np.uint16)


def stored(data: bytes, rule: str) -> list[Any]:
    image = canonical_bytes(data, bit_depth=rule)
    return np.asarray(Image.open(io.BytesIO(image.encoded))).tolist()


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM", "JPEG2000"])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("16", [[0, 0, 1], [3, 15, 16]]),
        ("14", [[0, 3, 4], [15, 63, 64]]),
        ("12", [[0, 15, 16], [62, 255, 255]]),
        ("10", [[0, 63, 64], [250, 255, 255]]),
        ("8", [[0, 255, 255], [255, 255, 255]]),
        ("percentile", [[0, 15, 15], [62, 254, 255]]),
    ],
)
def test_which_bits_are_kept(image_format: str, rule: str, expected: list[list[int]]) -> None:
    data = encode_image(VALUES, image_format)
    assert stored(data, rule) == expected
    assert canonical_bytes(data, bit_depth=rule).largest == 4096


def test_percentiles_are_values_of_the_image() -> None:
    # Of 1,000 pixels the lowest five and the highest five may lie outside.
    values = np.concatenate([np.zeros(5), np.arange(100, 1090), np.full(5, 60000)]).astype(np.uint16)
    assert find_percentiles(values) == (0, 1089)
    assert find_percentiles(values[1:]) == (100, 60000)
    assert find_percentiles(np.concatenate([values, [100]])) == (100, 1089)
    # A few bright dots on black: all values count.
    assert find_percentiles(np.array([0] * 999 + [700], np.uint16)) == (0, 700)
    assert find_percentiles(np.full(9, 77, np.uint16)) == (77, 77)
    assert stored(encode_image(np.full((3, 3), 77, np.uint16)), "percentile") == [[0] * 3] * 3


def tiff_of_12_bits() -> bytes:
    """Two pixels, 4095 and 1000, in three bytes."""
    entries = [
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 12),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (278, 3, 1),
        (279, 4, 3),
    ]
    head = b"II*\0" + struct.pack("<I", 12) + bytes([0xFF, 0xF3, 0xE8, 0])
    rows = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in sorted(entries)
    )
    return head + struct.pack("<H", len(entries)) + rows + bytes(4)


@pytest.mark.parametrize("rule", ["16", "12", "8"])
def test_a_file_that_says_how_many_bits_it_has_is_read_by_that(rule: str) -> None:
    assert stored(tiff_of_12_bits(), rule) == [[255, 62]]
    graymap = b"P5 2 1 4095\n" + np.array([4095, 1000], ">u2").tobytes()
    assert stored(graymap, rule) == [[255, 62]]
    assert canonical_bytes(graymap).largest is None
    # Of 8 bits nothing is changed, however dark.
    plain = encode_image(np.full((2, 2), 9, np.uint8))
    assert canonical_bytes(plain, bit_depth=rule).encoded == plain


@pytest.mark.parametrize("rule", ["16", "12", "percentile"])
def test_a_tiff_whose_white_is_zero_is_inverted(rule: str) -> None:
    usual = stored(encode_image(VALUES, "TIFF"), rule)
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[262] = 0
    inverted = encode_image(VALUES, "TIFF", tiffinfo=directory)
    assert (255 - np.array(stored(inverted, rule))).tolist() == usual


@pytest.mark.parametrize("rule", ["16", "12", "percentile"])
def test_a_tiff_is_read_the_same_whatever_the_order_of_its_bytes(rule: str) -> None:
    """ImageJ writes the upper byte first."""
    buffer = io.BytesIO()
    Image.frombytes("I;16B", (3, 2), VALUES.astype(">u2").tobytes()).save(buffer, "TIFF")
    assert buffer.getvalue().startswith(b"MM")
    assert stored(buffer.getvalue(), rule) == stored(encode_image(VALUES, "TIFF"), rule)
    assert canonical_bytes(buffer.getvalue(), bit_depth=rule).largest == 4096


def colour_png(upper: int) -> bytes:
    """One pixel, red, green and blue of 16 bits."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + bytes([1, 17, 2, 255, upper, 1]))),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_16_bits_in_colour_are_read_by_their_upper_8_alone() -> None:
    # 15 * 256 + 255, the largest value that has these upper bits.
    assert canonical_bytes(colour_png(15)).largest == 4095
    assert stored(colour_png(200), "16") == [[[1, 2, 200]]]
    for rule in ("12", "percentile"):
        with pytest.raises(RejectedImage, match=f"several channels of 16 bits: with bit_depth {rule} only"):
            canonical_bytes(colour_png(200), bit_depth=rule)


@pytest.mark.parametrize(
    ("largest", "rule", "dark", "above"),
    [
        (4095, "16", 1, 0),
        (16383, "16", 1, 0),
        (16384, "16", 0, 0),
        (0, "16", 0, 0),  # black whatever is kept
        (4095, "12", 0, 0),
        (4096, "12", 0, 1),
        (65535, "percentile", 0, 0),
    ],
)
def test_what_is_counted(largest: int, rule: str, dark: int, above: int) -> None:
    counted = Depths.of("b", largest, rule)
    assert (counted.images, counted.largest, counted.dark, counted.above) == (1, largest, dark, above)
    total = Depths.total([counted, Depths(), Depths.of("a", largest, rule)])
    assert (total.images, total.dark, total.above) == (2, 2 * dark, 2 * above)
    assert (total.first_dark, total.first_above) == ("a" * dark, "a" * above)


def folder_of(root: Path, *largest: int) -> Path:
    """Write a class of 16-bit images with these values, and one of 8-bit images."""
    for name in ("x-ray", "photo"):
        (root / name).mkdir(parents=True)
    for number, value in enumerate(largest):
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(root / "x-ray" / f"{number}.png")
        (root / "photo" / f"{number}.png").write_bytes(make_png(number))
    return root


def about_bits(root: Path, output: Path, rule: str = "16") -> list[str]:
    config = IngestConfig(splits={"train": 1.0}, shards=2, bit_depth=rule)
    return [text for text in ingest("folder", root, output, config).warnings if "bit" in text]


def test_the_warning_says_which_depth_fits(tmp_path: Path) -> None:
    root, output = folder_of(tmp_path / "in", 300, 4095, 1023), tmp_path / "out"
    (warning,) = about_bits(root, output)
    assert warning == (
        "3 images have 16 bits per channel and no value above a quarter of the range: the upper 8 bits, "
        "which are kept, are nearly black; all values are at most 4,095: --bit-depth 12 keeps their range "
        "(in a recipe data.bit_depth; the first: x-ray/0.png)."
    )
    # Another rule makes other shards, and photos of 8 bits stay what they are.
    assert about_bits(root, output, "12") == []
    manifest = read_manifest(output)
    assert manifest is not None
    assert manifest.options["bit_depth"] == "12"
    records = [parse_example(record) for shard in output.glob("train-*") for record in read_records(shard)]
    images = {record["image/filename"][0].decode(): record["image/encoded"][0] for record in records}
    levels = [np.asarray(Image.open(io.BytesIO(images[f"x-ray/{n}.png"]))).max() for n in range(3)]
    assert levels == [18, 255, 63]
    assert images["photo/2.png"] == make_png(2)
    assert about_bits(root, output, "10") == [
        "1 image has values above 1,023, which become white with bit_depth 10; the largest value is 4,095: "
        "--bit-depth 12 keeps their range (the first: x-ray/1.png)."
    ]


def test_images_of_several_depths_are_told(tmp_path: Path) -> None:
    (warning,) = about_bits(folder_of(tmp_path / "in", 4095, 60000), tmp_path / "out")
    assert warning.endswith(
        "nearly black; other images have values up to 60,000: see --bit-depth percentile (in a recipe "
        "data.bit_depth; the first: x-ray/0.png)."
    )


def test_a_rule_that_changes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "1.png").write_bytes(make_png(1))
    assert about_bits(tmp_path / "in", tmp_path / "out", "12") == [
        "bit_depth 12 changes nothing: no image has 16 bits per channel."
    ]


def told(root: Path, output: Path, rule: str = "auto", **options: Any) -> tuple[list[str], list[int]]:
    """Ingest; return the warnings about bits, and how many images each pass looked at."""
    totals: list[int] = []

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "hash" and done == total:
            totals.append(total)

    config = IngestConfig(splits={"train": 1.0}, shards=2, bit_depth=rule, **options)
    result = ingest("folder", root, output, config, progress)
    return [text for text in result.warnings if "bit" in text], totals


def contents(output: Path) -> dict[str, bytes]:
    """Return the published files apart from the manifest, which has the option as it was given."""
    return {path.name: path.read_bytes() for path in output.iterdir() if path.name != "manifest.json"}


def test_auto_is_the_least_number_that_holds_the_largest_value(tmp_path: Path) -> None:
    root, output = folder_of(tmp_path / "in", 300, 4007, 1023), tmp_path / "out"
    # All six images, then the three with 16 bits by the number that was found.
    assert told(root, output) == (
        ["bit_depth auto: 12, the largest value is 4,007 (x-ray/1.png)."],
        [6, 3],
    )
    told(root, tmp_path / "twelve", "12")
    # inputs.csv.gz has the looks that copies are found by.
    assert contents(output) == contents(tmp_path / "twelve")
    manifest, twelve = read_manifest(output), read_manifest(tmp_path / "twelve")
    assert manifest is not None
    assert twelve is not None
    assert (manifest.options["bit_depth"], manifest.bit_depth, twelve.bit_depth) == ("auto", "12", "12")
    before = contents(output)
    assert ingest(
        "folder", root, output, IngestConfig(splits={"train": 1.0}, shards=2, bit_depth="auto")
    ).unchanged
    assert contents(output) == before


def test_auto_chooses_anew_for_more_images_and_tells(tmp_path: Path) -> None:
    root, output = folder_of(tmp_path / "in", 300, 4007), tmp_path / "out"
    told(root, output)
    Image.fromarray(np.full((4, 4), 700, np.uint16)).save(root / "x-ray" / "dark.png")
    # Of the others it is remembered what they are.
    line = "bit_depth auto: 12, the largest value is 4,007 (x-ray/1.png)."
    assert told(root, output) == ([line], [1, 1])
    Image.fromarray(np.full((4, 4), 9000, np.uint16)).save(root / "x-ray" / "bright.png")
    warnings, totals = told(root, output)
    assert totals == [1, 4]
    assert warnings == [
        "bit_depth auto: 14, the largest value is 9,000 (x-ray/bright.png).",
        "bit_depth auto: 14, and 12 in the former ingest: images with 16 bits per channel have other pixels "
        "than those that earlier models were trained on; such a model keeps its own rule, and a new one "
        "needs a new training",
    ]
    told(root, tmp_path / "fourteen", "14")
    assert contents(output) == contents(tmp_path / "fourteen")


def test_auto_resumes_between_its_two_looks(tmp_path: Path) -> None:
    root, output = folder_of(tmp_path / "in", 300, 4007), tmp_path / "out"
    config = IngestConfig(splits={"train": 1.0}, shards=2, bit_depth="auto")

    def stop(phase: str, done: int, total: int) -> None:
        if (phase, done, total) == ("hash", 4, 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest("folder", root, output, config, stop)
    warnings, totals = told(root, output)
    assert warnings == ["bit_depth auto: 12, the largest value is 4,007 (x-ray/1.png)."]
    assert totals == [2]
    told(root, tmp_path / "twelve", "12")
    assert contents(output) == contents(tmp_path / "twelve")


def test_no_depth_is_advised_that_would_reject_images(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "in", 300, 4095)
    (root / "photo" / "colour.png").write_bytes(colour_png(200))
    (warning,) = about_bits(root, tmp_path / "out")
    assert warning == (
        "2 images have 16 bits per channel and no value above a quarter of the range: the upper 8 bits, "
        "which are kept, are nearly black; convert them to 8 bits before, as --bit-depth rejects images with "
        "several channels of 16 bits, such as photo/colour.png (the first: x-ray/0.png)."
    )


def test_auto_is_16_for_colours_of_16_bits(tmp_path: Path) -> None:
    root, output = folder_of(tmp_path / "in", 40000), tmp_path / "out"
    (root / "photo" / "colour.png").write_bytes(colour_png(200))
    (line,), _ = told(root, output, near_copies=False, max_reject_share=0.0)
    assert line == (
        "bit_depth auto: 16, photo/colour.png has several channels of 16 bits, which no other number reads."
    )
    told(root, tmp_path / "sixteen", "16", near_copies=False)
    shards = {name: data for name, data in contents(output).items() if name.startswith("train-")}
    assert shards.items() <= contents(tmp_path / "sixteen").items()


def test_auto_changes_nothing_without_16_bits(tmp_path: Path) -> None:
    root, output = folder_of(tmp_path / "in"), tmp_path / "out"
    for name in ("x-ray", "photo"):
        (root / name / "8.png").write_bytes(make_png(len(name)))
    assert told(root, output) == (["bit_depth auto: 16, no image has 16 bits per channel."], [2])
    told(root, tmp_path / "usual", "16")
    assert contents(output) == contents(tmp_path / "usual")


def test_readers_of_the_data_get_the_number(tmp_path: Path) -> None:
    root, output = folder_of(tmp_path / "in", *range(500, 532)), tmp_path / "out"
    config = IngestConfig(bit_depth="auto", near_copies=False)
    ingest("folder", root, output, config)
    assert describe(output, config).bit_depth == "10"
    with rehearse("folder", root, config, tmp_path / "rehearsal") as rehearsal:
        assert see(Asked(str(root), config=config), rehearsal, lambda *_: None).config.bit_depth == "10"
    # 65,535 is the default, which a model need not remember.
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(root / "x-ray" / "white.png")
    ingest("folder", root, output, config)
    assert describe(output, config).bit_depth is None


def test_the_option_takes_numbers_and_texts() -> None:
    assert IngestConfig(bit_depth=12) == settings_from(IngestConfig, {"bit_depth": "12"})
    assert "bit_depth" not in IngestConfig().content_settings()
    for wrong in (True, 11, "automatic", 12.5):
        with pytest.raises(UsageError, match="bit_depth"):
            settings_from(IngestConfig, {"bit_depth": wrong})
