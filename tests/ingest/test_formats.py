"""HEIC, JPEG 2000, AVIF, DICOM and TIFF: what is read, what is refused, and that nothing is turned twice."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, TiffImagePlugin
from pydicom import dcmread, uid
from pydicom.encaps import encapsulate

from components.base.example import parse_example, serialize_example
from components.base.extras import install_command
from components.base.tfrecord import frame_record, read_records
from components.ingest import IngestConfig, ingest
from components.ingest.canonical import CanonicalImage, canonical_bytes
from components.ingest.kinds import sniff
from components.ingest.whole import RejectedImage
from tests.ingest.test_looks import find_copies
from tests.make.dicom import make_dicom
from tests.make.images import encode_image

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

pillow_heif.register_heif_opener()  # to write HEIC

# White above, black below.
SCENE = np.repeat([255, 0], 20)[:, None, None].repeat(60, 1).repeat(3, 2).astype(np.uint8)
RAW_STREAM = {"no_jp2": True}
WRITTEN: list[tuple[str, dict[str, Any]]] = [
    ("JPEG2000", {}),
    ("JPEG2000", RAW_STREAM),
    ("HEIF", {}),
    ("AVIF", {}),
]


def pixels_of(image: CanonicalImage) -> np.ndarray[Any, Any]:
    assert image.format == "png"
    return np.asarray(Image.open(io.BytesIO(image.encoded)))


def rejection(data: bytes, **options: Any) -> str:
    with pytest.raises(RejectedImage) as caught:
        canonical_bytes(data, **options)
    return caught.value.reason


@pytest.mark.parametrize(("image_format", "options"), WRITTEN)
def test_a_format_is_read_and_cut_anywhere_it_is_rejected(image_format: str, options: dict[str, Any]) -> None:
    data = encode_image(SCENE, image_format, **options)
    assert sniff(data[:64]) == image_format
    image = canonical_bytes(data)
    assert (image.width, image.height, image.channels) == (60, 40, 3)
    assert np.abs(pixels_of(image).astype(int) - SCENE).mean() < 4
    for length in range(0, len(data), max(1, len(data) // 30)):
        assert rejection(data[:length])
    assert "60 x 40 pixels, more than max_pixels = 2399" in rejection(data, max_pixels=2399)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_grey_and_alpha_in_every_format(mode: str) -> None:
    clear = Image.new("RGBA", (16, 16), (10, 10, 10, 0)).convert(mode)
    for image_format in ("JPEG2000", "HEIF", "AVIF"):
        if (mode, image_format) == ("LA", "AVIF"):
            continue
        buffer = io.BytesIO()
        clear.save(buffer, image_format)
        image = canonical_bytes(buffer.getvalue())
        expected = 10 if mode == "L" else 255
        assert abs(int(pixels_of(image).min()) - expected) <= 2, image_format


@pytest.mark.parametrize("image_format", ["HEIF", "AVIF"])
def test_a_turned_image_is_turned_once(image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode_image(SCENE, image_format, exif=exif.tobytes())
    assert b"irot" in data
    image = canonical_bytes(data)
    assert (image.width, image.height, image.full_size) == (40, 60, (40, 60))
    # What was above is on the right.
    turned = pixels_of(image)
    assert (turned[:, :15].max(), turned[:, -15:].min()) < (5, 250)


def with_header(data: bytes, name: bytes, at: int, width: int, height: int) -> bytes:
    """Return a file with other numbers, `at` bytes behind a name."""
    changed, place = bytearray(data), data.find(name)
    assert place >= 0
    while place >= 0:
        changed[place + at : place + at + 8] = struct.pack(">II", width, height)
        place = data.find(name, place + 1)
    return bytes(changed)


def with_sides(dicom: bytes, side: int) -> bytes:
    """Return a DICOM file with other numbers of rows and columns."""
    for element in (b"\x28\0\x10\0US\2\0", b"\x28\0\x11\0US\2\0"):
        before, found, after = dicom.partition(element)
        assert found
        dicom = before + found + struct.pack("<H", side) + after[2:]
    return dicom


def rle_in_dicom() -> bytes:
    dataset = dcmread(io.BytesIO(make_dicom(SCENE[..., 0])))
    dataset.compress(uid.RLELossless)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("side", [9000, 50_000])
def test_headers_of_huge_images_are_refused_unread(side: int) -> None:
    stream = encode_image(SCENE, "JPEG2000", **RAW_STREAM)
    in_box = encode_image(SCENE, "JPEG2000")
    for data in (
        with_header(stream, b"\xff\x4f\xff\x51", 8, side, side),
        with_header(in_box, b"\xff\x4f\xff\x51", 8, side, side),
        with_header(in_box, b"ihdr", 4, side, side),
        with_header(encode_image(SCENE, "HEIF"), b"ispe", 8, side, side),
        # Up to the bound libavif scales what there is to the header's size.
        with_header(encode_image(SCENE, "AVIF"), b"ispe", 8, 50_000, side),
        make_dicom(np.zeros((2, 2), np.uint8), Rows=side, Columns=side),
        with_sides(rle_in_dicom(), side),
    ):
        assert rejection(data)


def test_without_the_extra_the_command_that_installs_it_is_told() -> None:
    code = (
        "import sys; sys.modules['pillow_heif'] = sys.modules['pydicom'] = None\n"
        "from components.ingest.kinds import sniff\n"
        "for head in (b'\\0\\0\\0\\x18ftypheic\\0\\0\\0\\0mif1heic', bytes(128) + b'DICM'):\n"
        "    try: sniff(head)\n"
        "    except Exception as e: print(e)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heic, dicom = told.splitlines()
    assert f"got HEIC; install what reads it, {install_command('heic')}, or convert it to JPEG" in heic
    assert "iPhone" in heic
    assert f"got DICOM; install what reads it, {install_command('dicom')}, or convert it" in dicom


VALUES = np.array([[0, 1000], [2000, 4095]], np.uint16)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        # Without a window all 4,096 values: 255 * 1000 / 4095 = 62.3.
        ({}, [[0, 62], [125, 255]]),
        ({"PhotometricInterpretation": "MONOCHROME1"}, [[255, 193], [130, 0]]),
        # 0 .. 2000 after the rescaling to -1000 .. 3095: 1000 is its black, 2000 its middle.
        (
            {
                "WindowCenter": [1000, 5],
                "WindowWidth": [2000, 7],
                "RescaleSlope": 1,
                "RescaleIntercept": -1000,
            },
            [[0, 0], [128, 255]],
        ),
        ({"WindowCenter": 2000, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"}, [[0, 0], [128, 255]]),
        # 1 / (1 + e^-(4 * -1000 / 2000)) = 0.119
        ({"WindowCenter": 2000, "WindowWidth": 2000, "VOILUTFunction": "SIGMOID"}, [[5, 30], [128, 251]]),
        ({"WindowCenter": 1000.5, "WindowWidth": 1}, [[0, 0], [255, 255]]),
    ],
)
def test_the_window_of_a_dicom_file(elements: dict[str, Any], expected: list[list[int]]) -> None:
    image = canonical_bytes(make_dicom(VALUES, BitsStored=12, **elements))
    assert pixels_of(image).tolist() == expected
    assert image.channels == 1
    assert b"Jane" not in image.encoded


def test_signed_values_and_percentiles_of_a_dicom_file() -> None:
    hounsfield = np.array([[-1000, 0], [40, 3000]], np.int16)
    data = make_dicom(hounsfield, WindowCenter=40, WindowWidth=400)
    assert pixels_of(canonical_bytes(data)).tolist() == [[0, 102], [128, 255]]
    # The least and the largest of four values; the other rules leave to the file what it says of itself.
    stretched = pixels_of(canonical_bytes(data, bit_depth="percentile"))
    assert stretched.tolist() == [[0, 64], [66, 255]]
    assert pixels_of(canonical_bytes(data, bit_depth="12")).tolist() == [[0, 102], [128, 255]]


def jpeg_in_dicom() -> bytes:
    grey = SCENE[..., 0]
    frames = encapsulate([encode_image(grey, "JPEG", quality=95)])
    return make_dicom(grey, uid.JPEGBaseline8Bit, PixelData=frames)


def jpeg_2000_in_dicom() -> bytes:
    grey = SCENE[..., 0]
    frames = encapsulate([encode_image(grey, "JPEG2000", **RAW_STREAM)])
    return make_dicom(grey, uid.JPEG2000Lossless, PixelData=frames)


@pytest.mark.parametrize("make", [jpeg_in_dicom, rle_in_dicom, jpeg_2000_in_dicom])
def test_compressed_dicom(make: Callable[[], bytes]) -> None:
    data = make()
    assert np.abs(pixels_of(canonical_bytes(data)).astype(int) - SCENE[..., 0]).max() <= 2
    for length in range(140, len(data), max(1, len(data) // 20)):
        assert rejection(data[:length])


def test_dicom_in_colour() -> None:
    colours = np.array([[[255, 0, 0], [0, 200, 9]]], np.uint8)
    image = canonical_bytes(make_dicom(colours))
    assert (image.channels, pixels_of(image).tolist()) == (3, colours.tolist())
    planes = make_dicom(colours, PlanarConfiguration=1, PixelData=colours.transpose(2, 0, 1).tobytes())
    assert pixels_of(canonical_bytes(planes)).tolist() == colours.tolist()


def test_dicom_that_is_not_read_says_why() -> None:
    grey = np.zeros((2, 2), np.uint8)
    assert "got 3 frames: write each one that is meant into a file" in rejection(
        make_dicom(grey, NumberOfFrames=3)
    )
    lossless = make_dicom(grey, uid.JPEGLosslessSV1, PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    assert "compressed as JPEG Lossless" in rejection(lossless)
    assert "decompress it first, for example with gdcmconv --raw" in rejection(lossless)
    assert "got one deflated" in rejection(make_dicom(grey, uid.DeflatedExplicitVRLittleEndian))
    report = dcmread(io.BytesIO(make_dicom(grey)))
    del report.PixelData
    buffer = io.BytesIO()
    report.save_as(buffer)
    assert "got a DICOM file without one, such as a report" in rejection(buffer.getvalue())
    assert "expected whole numbers of up to 16 bits" in rejection(make_dicom(grey.astype(np.uint32)))
    assert "DICOM without the letters DICM" in rejection(make_dicom(grey)[132:])


def test_a_jpeg_2000_without_some_of_its_tiles_is_rejected() -> None:
    data = encode_image(SCENE, "JPEG2000", tile_size=(32, 32), **RAW_STREAM)
    np.testing.assert_array_equal(pixels_of(canonical_bytes(data)), SCENE)
    second = data.find(b"\xff\x90", data.find(b"\xff\x90") + 2)
    first_tile_alone = data[:second] + b"\xff\xd9"
    assert rejection(first_tile_alone) == "truncated or damaged JPEG 2000: 1 of its 4 tiles are there"


def tiff(**tags: Any) -> bytes:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[int(name.removeprefix("t"))] = value
    return encode_image(SCENE, "TIFF", tiffinfo=directory)


def test_a_cameras_raw_image_is_not_taken_for_its_thumbnail() -> None:
    for data in (tiff(t50706=b"\1\4\0\0"), tiff(t254=1, t330=8)):
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (60, 40)  # Pillow reads the thumbnail
        assert "got a camera's raw image (DNG, NEF, ARW or the like), not a usual TIFF" in rejection(data)
    assert "first image is a thumbnail of another one" in rejection(tiff(t254=1))
    assert canonical_bytes(tiff(t254=0)).width == 60
    assert canonical_bytes(tiff(t254=2)).width == 60  # a page of several
    head = b"II*\0\x10\0\0\0CR\2\0"
    assert "got a camera's raw image (CR2); convert it to JPEG with" in rejection(head + bytes(200))


def bare_tiff(**tags: int) -> bytes:
    """Return a TIFF of 2 x 2 pixels of 8 bits, with tags of whole numbers."""
    usual = {256: 2, 257: 2, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: 4}
    entries = sorted(
        {**usual, **{int(name.removeprefix("t")): value for name, value in tags.items()}}.items()
    )
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return (
        b"II*\0"
        + struct.pack("<I", 12)
        + bytes([1, 2, 3, 4])
        + struct.pack("<H", len(entries))
        + rows
        + bytes(4)
    )


def test_tiffs_that_pillow_does_not_open_are_named() -> None:
    assert pixels_of(canonical_bytes(bare_tiff())).tolist() == [[1, 2], [3, 4]]
    assert "got a camera's raw image" in rejection(bare_tiff(t262=32803))
    assert "got a TIFF of 13 channels; write 1 or 3 of them as a TIFF or PNG" in rejection(bare_tiff(t277=13))
    assert "of a variant that cannot be read" in rejection(bare_tiff(t258=7))


def test_bigtiff_is_read() -> None:
    data = encode_image(SCENE, "TIFF", big_tiff=True)
    assert data[:4] == b"II+\0"
    np.testing.assert_array_equal(pixels_of(canonical_bytes(data)), SCENE)


def test_every_source_and_every_name(tmp_path: Path) -> None:
    files = {
        "scan/IM0001": make_dicom(VALUES, BitsStored=12),
        "scan/two.dcm": make_dicom(VALUES.T.copy(), BitsStored=12),
        "photo/IMG_1.HEIC": encode_image(SCENE, "HEIF"),
        "photo/a.jp2": encode_image(SCENE, "JPEG2000"),
        "photo/named.jpg": encode_image(SCENE, "AVIF"),
    }
    for path, data in files.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(data)
    (tmp_path / "in" / "DICOMDIR").write_bytes(b"no image")
    config = IngestConfig(workers=1, splits={"train": 1})
    ingest("folder", tmp_path / "in", tmp_path / "out", config)
    records = list(map(parse_example, read_records(tmp_path / "out" / "train-00000-of-00001")))
    assert sorted(record["image/filename"][0].decode() for record in records) == sorted(files)
    assert {record["image/format"][0] for record in records} == {b"png"}
    # The same files as they are in the records of somebody else.
    foreign = tmp_path / "foreign" / "train-00000-of-00001.tfrecord"
    foreign.parent.mkdir()
    foreign.write_bytes(
        b"".join(
            frame_record(
                serialize_example(
                    {
                        "image/encoded": data,
                        "image/format": b"",
                        "image/class/text": path.partition("/")[0].encode(),
                        "image/class/label": int(path < "r"),
                        "image/filename": path.encode(),
                    }
                )
            )
            for path, data in files.items()
        )
    )
    ingest("tfrecord", foreign.parent, tmp_path / "again", config)
    again = map(parse_example, read_records(tmp_path / "again" / "train-00000-of-00001"))
    assert {r["image/encoded"][0] for r in again} == {r["image/encoded"][0] for r in records}


def test_copies_in_the_new_formats_look_alike() -> None:
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    photo = np.asarray(coarse.resize((150, 101), Image.Resampling.BICUBIC))
    assert len(find_copies([encode_image(photo, kind) for kind in ("PNG", "HEIF", "AVIF", "JPEG2000")])) == 6
