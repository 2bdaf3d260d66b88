"""Checks that an encoded image is whole: that nothing of it is missing, and nothing in it is damaged.

Decoders go far to show something of a damaged file. Pillow and TensorFlow fill what is missing of a JPEG with
grey and say nothing, and Pillow does not look at the checksums of a PNG. What libjpeg warns of while it
decodes, and the checksums, are the evidence here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# How the codestream of a JPEG 2000 begins, in a file of its own or in a box of one.
JPEG_2000_STREAM = b"\xff\x4f\xff\x51"

_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"
# Baseline, extended sequential and progressive, all with Huffman coding: what every libjpeg build decodes.
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
_APPLICATION_SEGMENTS = range(0xE0, 0xF0)
_COMMENT = 0xFE
_FILL_BYTE = 0xFF
_START_OF_TILE = b"\xff\x90"
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))


# Formats that Pillow calls otherwise than people do.
_NAMES = {"JPEG2000": "JPEG 2000", "HEIF": "HEIC", "PPM": "PNM"}


class RejectedImage(Exception):  # noqa: N818 - it is a verdict on an image, the caller decides whether it is an error
    """An image that cannot be used, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def undecodable(kind: str, error: Exception) -> str:
    """Return the reason of an image of the format `kind` that its decoder refused."""
    return f"truncated or damaged {_NAMES.get(kind, kind)}: {str(error) or type(error).__name__}"


def check_whole(encoded: bytes) -> None:
    """Check a JPEG or PNG for damage; let pass what is neither.

    Raises:
        RejectedImage: Something is missing or damaged.
    """
    if encoded.startswith(JPEG_MAGIC):
        is_plain_jpeg(encoded)
        check_jpeg(encoded)
    elif encoded.startswith(PNG_MAGIC):
        inspect_png(encoded)


def check_jpeg(encoded: bytes) -> bool:
    """Return whether all of a JPEG was read; see `read_small_jpeg`."""
    return read_small_jpeg(encoded) is not None


def read_small_jpeg(encoded: bytes, least_px: int = 1) -> npt.NDArray[np.uint8] | None:
    """Decode a JPEG at a fraction of its size, and take libjpeg's warnings for what they are.

    All of the compressed data is read, but few pixels are computed: it takes less than half the time that
    decoding does.

    Args:
        encoded: The file.
        least_px: The sides have at least this, if the image has; else they are an eighth.

    Returns:
        uint8 [height, width], grey; four channels of a CMYK image. None for a kind of JPEG that another
        decoder has to judge.

    Raises:
        RejectedImage: libjpeg found the data corrupt, or not all there.
    """
    read = _decode_small(encoded, least_px)
    # Only the first warning is known. It may not be about the pixels, but about an unknown revision of JFIF,
    # or bytes between the segments at the beginning.
    if isinstance(read, str) and (not _is_damage(read) or "extraneous bytes" in read):
        read = _decode_small(_without_remarks(encoded), least_px)
    if not isinstance(read, str):
        return read
    if _is_damage(read):
        raise RejectedImage(f"truncated or damaged JPEG: {read}")
    return None


def _is_damage(problem: str) -> bool:
    return problem.startswith(("Corrupt JPEG data", "Premature end"))


def _decode_small(encoded: bytes, least_px: int) -> npt.NDArray[np.uint8] | str:
    """Return the pixels, or libjpeg's first warning or error."""
    import simplejpeg

    try:
        colorspace = simplejpeg.decode_jpeg_header(encoded, strict=False)[2]
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            encoded,
            colorspace="CMYK" if colorspace in ("CMYK", "YCCK") else "GRAY",
            min_height=least_px,
            min_width=least_px,
            min_factor=1,
            strict=True,
        )
    except (ValueError, KeyError) as error:
        return str(error)
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def is_plain_jpeg(encoded: bytes) -> bool:
    """Return whether a JPEG is of a kind that every libjpeg build decodes.

    It has 8 bits per channel, 1 or 3 channels, Huffman coding.

    ITU-T T.81, annex B: markers up to the first scan.

    Raises:
        RejectedImage: The file has no end.
    """
    for marker, start, _ in _segments(encoded):
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            # Pillow is content with all rows; TensorFlow refuses a file that does not say that it ends.
            if encoded.rfind(_END_OF_IMAGE, start) < 0:  # near the end, as a rule
                raise RejectedImage("truncated or damaged JPEG: the file has no end-of-image marker")
            bits, channels = encoded[start + 4], encoded[start + 9]
            return marker in _HUFFMAN_FRAMES and bits == 8 and channels in (1, 3)
    return False


def _segments(encoded: bytes, *, skip_garbage: bool = False) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment up to the first scan, which is the rest of the file.

    What is no segment ends it, or is left out (as libjpeg does) if it is to be skipped.
    """
    position = 2
    while position + 10 <= len(encoded):
        if encoded[position] != _FILL_BYTE:
            if not skip_garbage:
                return
            position += 1
            continue
        marker = encoded[position + 1]
        if marker == _FILL_BYTE:
            position += 1
        elif marker == _START_OF_SCAN:
            yield marker, position, len(encoded)
            return
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            end = position + 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
            yield marker, position, end
            position = end


def _without_remarks(encoded: bytes) -> bytes:
    """Return a JPEG without the segments that say nothing of the pixels, and what stands between segments."""
    kept = [
        encoded[start:end]
        for marker, start, end in _segments(encoded, skip_garbage=True)
        if marker not in _APPLICATION_SEGMENTS and marker != _COMMENT
    ]
    return b"".join([encoded[:2], *kept])


def inspect_png(encoded: bytes) -> bool:
    """Return whether a PNG is grey or RGB with 8 bits and one frame.

    Checks what Pillow does not: the checksums of IDAT, and that the file has an end. libpng, and so
    TensorFlow, refuses a wrong checksum of a critical chunk. https://www.w3.org/TR/png-3/#5DataRep

    Raises:
        RejectedImage: The file is cut off, or a checksum is wrong.
    """
    view = memoryview(encoded)
    position = len(PNG_MAGIC)
    plain = False
    while True:
        if position + 12 > len(encoded):
            raise RejectedImage("truncated or damaged PNG: the file ends before its IEND chunk")
        length = int.from_bytes(view[position : position + 4], "big")
        name = bytes(view[position + 4 : position + 8])
        end = position + 8 + length
        if end + 4 > len(encoded):
            raise RejectedImage(f"truncated or damaged PNG: the file ends within its {name!r} chunk")
        is_critical = not name[0] & 0x20
        if is_critical and zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise RejectedImage(f"truncated or damaged PNG: wrong checksum of its {name!r} chunk")
        if name == b"IHDR" and length == 13:
            bits, colour_type = view[position + 16], view[position + 17]
            plain = bits == 8 and colour_type in (0, 2)
        elif name == b"acTL":
            plain = False
        elif name == b"IEND":
            return plain
        position = end + 4


def check_jpeg_2000(encoded: bytes) -> None:
    """Check that a JPEG 2000 has all tiles that its header tells of: OpenJPEG leaves out missing ones.

    ISO 15444-1, annex A: the segments up to the first tile-part, then tile-parts with their lengths.

    Raises:
        RejectedImage: Tiles are missing, or it has no codestream.
    """
    start = encoded.find(JPEG_2000_STREAM)
    if start < 0 or start + 40 > len(encoded):
        raise RejectedImage("truncated or damaged JPEG 2000: it has no image")
    right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", encoded, start + 8)
    if not width or not height:
        raise RejectedImage("truncated or damaged JPEG 2000: its tiles have no pixels")
    tiles = -((left - right) // width) * -((top - bottom) // height)
    position = start + 2
    while position + 4 <= len(encoded) and encoded[position : position + 2] != _START_OF_TILE:
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    found = set()
    while position + 10 <= len(encoded) and encoded[position : position + 2] == _START_OF_TILE:
        index, length = struct.unpack_from(">HI", encoded, position + 4)
        found.add(index)
        position += length or len(encoded)  # 0: the rest of the file
        if length and length < 14:
            break
    if len(found) < tiles:
        raise RejectedImage(f"truncated or damaged JPEG 2000: {len(found)} of its {tiles} tiles are there")
