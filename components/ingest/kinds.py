"""Which image formats are read, by their first bytes, and what to do with others.

They are few on purpose: every further decoder is one more that foreign bytes reach. HEIC and DICOM are read
if the extras `heic` and `dicom` are installed.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.base.extras import install_command
from components.ingest.whole import JPEG_2000_STREAM, JPEG_MAGIC, PNG_MAGIC, RejectedImage

if TYPE_CHECKING:
    from PIL import Image as PillowImage

# Bytes that `sniff` may need to see: NIfTI's name of itself ends there.
HEAD_BYTES = 348

# Pillow's names of the formats.
_MAGICS = (
    (JPEG_MAGIC, "JPEG"),
    (PNG_MAGIC, "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (JPEG_2000_STREAM, "JPEG2000"),
)
# Pillow's plugin that reads PNM is called PPM.
_PNM_MAGICS = tuple(b"P%d%c" % (kind, space) for kind in range(1, 7) for space in b" \t\r\n")
# Brands of ISO media files: https://mp4ra.org/registered-types/brands
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_DICOM_AT = 128
# The first element of a DICOM file that lacks the 132 bytes before it, by its number and kind.
_BARE_DICOM = (b"\x02\x00\x00\x00UL", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x00\x00")

_CONVERT = "convert it to JPEG or PNG"
_RAW = "convert it to JPEG with the camera maker's program, darktable or RawTherapee"
_SAVE = "save it as JPEG or PNG with the program that made it"
_ARRAY = "write each of its images as a PNG of 8 or 16 bits"
_AGAIN = "get the file again"
_FRAMES = "write the frames that are meant as JPEG"
_TONES = "map its tones to 8 bits and save it as PNG"
_UNPACK = "unpack it"
# What people take for images: where it is in the file, what it begins with, what it is, and what to do.
_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\xff\x0a", "JPEG XL", _CONVERT),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL", _CONVERT),
    (0, b"II\xbc", "JPEG XR", _CONVERT),
    (0, b"\xff\xd8", "a damaged JPEG", _AGAIN),
    (0, b"BPG\xfb", "BPG", _CONVERT),
    (0, b"qoif", "QOI", _CONVERT),
    (0, b"\x00\x00\x01\x00", "an icon (ICO)", _CONVERT),
    (0, b"icns", "an icon of macOS", _CONVERT),
    (0, b"DDS ", "a texture (DDS)", _CONVERT),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw image (RAF)", _RAW),
    (0, b"IIRO", "a camera's raw image (ORF)", _RAW),
    (0, b"IIRS", "a camera's raw image (ORF)", _RAW),
    (0, b"MMOR", "a camera's raw image (ORF)", _RAW),
    (0, b"IIU\x00", "a camera's raw image (RW2)", _RAW),
    (0, b"\x00MRM", "a camera's raw image (MRW)", _RAW),
    (0, b"FOVb", "a camera's raw image (X3F)", _RAW),
    (6, b"HEAPCCDR", "a camera's raw image (CRW)", _RAW),
    (0, b"8BPS", "a Photoshop file", _SAVE),
    (0, b"gimp xcf", "a GIMP file", _SAVE),
    (0, b"AT&TFORM", "DjVu", _CONVERT),
    (0, b"%PDF-", "a PDF", "write its images or pages as JPEG or PNG"),
    (0, b"%!PS", "PostScript (EPS)", _SAVE),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript (EPS)", _SAVE),
    (0, b"#?RADIANCE", "a Radiance image (HDR)", _TONES),
    (0, b"#?RGBE", "a Radiance image (HDR)", _TONES),
    (0, b"v/1\x01", "OpenEXR", _TONES),
    (0, b"SIMPLE  =", "FITS", _ARRAY),
    (344, b"n+1\x00", "NIfTI", _ARRAY),
    (344, b"ni1\x00", "NIfTI", _ARRAY),
    (0, b"\x93NUMPY", "a NumPy array (.npy)", _ARRAY),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", _ARRAY),
    (0, b"MATLAB 5.0", "a MATLAB file", _ARRAY),
    (0, b"\x80\x02", "a pickle of Python", _ARRAY),
    (0, b"\x80\x03", "a pickle of Python", _ARRAY),
    (0, b"\x80\x04", "a pickle of Python", _ARRAY),
    (0, b"\x80\x05", "a pickle of Python", _ARRAY),
    (0, b"PK\x03\x04", "a zip (.npz, .docx and others are zips, too)", _UNPACK),
    (0, b"\x1f\x8b", "a gzipped file", _UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (0, b"\x00\x05\x16\x07", "what macOS keeps of a file next to it", "leave it out"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file", "run git lfs pull"),
    (0, b"\x1a\x45\xdf\xa3", "a video", _FRAMES),
    (0, b"FLV\x01", "a video", _FRAMES),
    (0, b"\x00\x00\x01\xba", "a video", _FRAMES),
    (0, b"\x00\x00\x01\xb3", "a video", _FRAMES),
    (8, b"AVI ", "a video", _FRAMES),
)
_TEXTS = (
    (re.compile(rb"<svg\b", re.IGNORECASE), "SVG", "draw it as PNG, for example with rsvg-convert"),
    (
        re.compile(rb"\A\s*<(!doctype html|html|head|body)\b", re.IGNORECASE),
        "a web page",
        "a download was answered with it: get the file again",
    ),
)
_HEIC_ADVICE = "; an iPhone takes JPEG under Settings > Camera > Formats > Most Compatible"
_READ = "JPEG, PNG, GIF, WebP, AVIF, JPEG 2000, BMP, TIFF, PNM, HEIC and DICOM are read"

# Tags of the first directory of a TIFF, and values of theirs.
_SUBFILE_TYPE, _PHOTOMETRIC, _SAMPLES, _SUB_IFDS, _DNG_VERSION = 254, 262, 277, 330, 50706
_SENSOR_VALUES = (32803, 34892)


def sniff(encoded: bytes) -> str:
    """Return the image format (Pillow's name of it) that the first bytes tell; Pillow can then open it.

    Raises:
        RejectedImage: The file is empty, or not one of the formats read here.
    """
    if not encoded:
        raise RejectedImage("empty file")
    for magic, kind in _MAGICS:
        if encoded.startswith(magic):
            if kind == "TIFF" and encoded[8:10] == b"CR":
                raise _unread("a camera's raw image (CR2)", _RAW)
            return kind
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WEBP"
    if encoded.startswith(_PNM_MAGICS):
        return "PPM"
    if encoded[4:8] == b"ftyp":
        return _sniff_media(encoded)
    if encoded[_DICOM_AT : _DICOM_AT + 4] == b"DICM":
        if not _has_opener("DICOM"):
            raise _unread("DICOM", f"install what reads it, {_command('dicom')}, or {_CONVERT}")
        return "DICOM"
    for at, magic, name, advice in _OTHERS:
        if encoded.startswith(magic, at):
            raise _unread(name, advice)
    if encoded.startswith(_BARE_DICOM):
        raise _unread(
            "DICOM without the letters DICM at byte 128", "write it as a DICOM file, with its header"
        )
    for pattern, name, advice in _TEXTS:
        if pattern.search(encoded[:HEAD_BYTES]):
            raise _unread(name, advice)
    raise RejectedImage(f"not an image file ({_READ})")


def check_first_image(image: PillowImage.Image) -> None:
    """Refuse a TIFF whose first image is not the one that is meant.

    Args:
        image: A TIFF, opened.

    Raises:
        RejectedImage: It is such a file.
    """
    _check_tags(image.tag_v2)  # type: ignore[attr-defined]


def check_unread_tiff(encoded: bytes) -> None:
    """Refuse a TIFF that Pillow does not open, with the reason that its first directory gives, if any.

    Raises:
        RejectedImage: It is of a kind that is known.
    """
    from PIL import TiffImagePlugin

    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(encoded[:8])
        file = io.BytesIO(encoded)
        file.seek(tags.next)
        tags.load(file)
        channels = int(tags.get(_SAMPLES, 1))
    except Exception:  # noqa: BLE001 - decoders raise nearly anything on damaged files
        return
    _check_tags(tags)
    if channels not in (1, 3, 4):
        raise _unread(f"a TIFF of {channels} channels", "write 1 or 3 of them as a TIFF or PNG")


def _check_tags(tags: Mapping[int, Any]) -> None:
    """Refuse raw images of cameras: DNG, NEF and others have a thumbnail first, or what the sensor saw."""
    is_reduced = bool(int(tags.get(_SUBFILE_TYPE, 0)) & 1)
    if _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _SENSOR_VALUES or (is_reduced and _SUB_IFDS in tags):
        raise _unread("a camera's raw image (DNG, NEF, ARW or the like), not a usual TIFF", _RAW)
    if is_reduced:
        raise _unread("a TIFF whose first image is a thumbnail of another one", _SAVE)


def _sniff_media(encoded: bytes) -> str:
    size = min(int.from_bytes(encoded[:4], "big"), HEAD_BYTES)
    # The main brand, four bytes of its version, the brands that it is compatible with.
    brands = [encoded[8:12], *(encoded[at : at + 4] for at in range(16, size - 3, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        from PIL import features

        if not features.check("avif"):
            raise _unread("AVIF", f"{_CONVERT}; this Pillow was built without it")
        return "AVIF"
    if any(brand in _HEIC_BRANDS for brand in brands):
        if not _has_opener("HEIF"):
            advice = f"install what reads it, {_command('heic')}, or {_CONVERT}{_HEIC_ADVICE}"
            raise _unread("HEIC", advice)
        return "HEIF"
    if b"crx " in brands:
        raise _unread("a camera's raw image (CR3)", _RAW)
    raise _unread("a video", _FRAMES)


@functools.cache
def _has_opener(kind: str) -> bool:
    """Return whether the extra that reads a format is installed; Pillow can then open it."""
    try:
        if kind == "HEIF":
            import pillow_heif

            # Workers use all cores already.
            pillow_heif.register_heif_opener(
                thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
            )
        else:
            from components.ingest.dicom import register

            register()
    except ImportError:
        return False
    return True


_command = functools.cache(install_command)


def _unread(name: str, advice: str) -> RejectedImage:
    return RejectedImage(f"expected an image that is read here, got {name}; {advice}")
