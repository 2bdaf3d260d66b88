"""One form for every picture: what training reads and what a served model is sent are the same pixels.

An upright JPEG or PNG with 8 bits a channel and 1 or 3 channels keeps its bytes. Every other picture is
rewritten, once, as an 8-bit PNG with 1 (grey) or 3 (red, green, blue) channels:

    turned by its EXIF orientation   turned upright
    CMYK, YCCK                       RGB; inverted where the JPEG has Adobe's marker
    palette                          RGB
    alpha, transparent colour        laid on white
    GIF, APNG, animated WebP         the first frame
    16 bits a channel                the upper 8 bits, as libpng's png_set_strip_16 and TensorFlow do
    1, 2 or 4 bits a channel         8 bits, full range
    JPEG with arithmetic coding      RGB or grey

Colour profiles are ignored, as TensorFlow ignores them. A broken EXIF block, or an orientation that is none,
says nothing and is ignored. A file that does not decode to its end is rejected.

Readers: JPEG, PNG, GIF, WebP, BMP, TIFF, PNM. They are few on purpose: every further decoder is one more that
foreign bytes reach.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
import zlib
from typing import TYPE_CHECKING

from components.ingest.options import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image as PillowImage

JPEG = "jpeg"
PNG = "png"

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_MAGICS = (
    (b"\xff\xd8\xff", "JPEG"),
    (_PNG_MAGIC, "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
# Pillow's plugin that reads PNM is called PPM.
_PNM_MAGICS = tuple(b"P%d%c" % (kind, space) for kind in range(1, 7) for space in b" \t\r\n")

_EXIF_ORIENTATION = 0x0112
_JPEG_START_OF_SCAN = 0xDA
_JPEG_END_OF_IMAGE = b"\xff\xd9"
# Baseline, extended sequential and progressive, all with Huffman coding: what every libjpeg build decodes.
_JPEG_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_JPEG_NO_FRAMES = (0xC4, 0xC8, 0xCC)


class RejectedImage(Exception):  # noqa: N818 - it is a verdict on a picture, the caller decides whether it is an error
    """A picture that cannot be used, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class CanonicalImage:
    """encoded: a file of the format "jpeg" or "png"; height, width in pixels; channels 1 or 3.

    full_size: (width, height) before it was scaled down, upright. orientation: EXIF's, 1 .. 8, by which the
        source was turned.
    """

    encoded: bytes
    format: str
    height: int
    width: int
    channels: int
    full_size: tuple[int, int]
    orientation: int = 1


def sniff(encoded: bytes) -> str:
    """The image format (Pillow's name of it) that the first bytes tell.

    Raises RejectedImage for an empty file and for anything that is not one of the formats read here.
    """
    if not encoded:
        raise RejectedImage("empty file")
    for magic, kind in _MAGICS:
        if encoded.startswith(magic):
            return kind
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WEBP"
    if encoded.startswith(_PNM_MAGICS):
        return "PPM"
    raise RejectedImage("not an image file (JPEG, PNG, GIF, WebP, BMP, TIFF and PNM are read)")


def canonical_bytes(
    encoded: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, resize_px: int | None = None
) -> CanonicalImage:
    """The canonical form of an encoded image; see the module's docstring.

    max_pixels: a picture that has more, by its header, is rejected before any of it is decoded.
    resize_px: scale down until the longest side is at most this; a JPEG then becomes a JPEG of quality 95,
        anything else a PNG.

    Raises RejectedImage with the reason: no image, cut off, damaged, too large, no defined 8-bit form.
    """
    from PIL import Image, UnidentifiedImageError

    kind = sniff(encoded)
    png = _inspect_png(encoded) if kind == "PNG" else None
    # Pillow warns of broken EXIF blocks, odd palettes and sizes that the bound below judges better.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image: PillowImage.Image = Image.open(io.BytesIO(encoded), formats=(kind,))
        except Image.DecompressionBombError as error:
            raise RejectedImage(f"more than {max_pixels} pixels: {error}") from error
        except UnidentifiedImageError as error:
            raise RejectedImage(
                f"{kind} with a damaged header, or of a variant that cannot be read"
            ) from error
        except Exception as error:
            raise RejectedImage(_undecodable(kind, error)) from error
        if image.width * image.height > max_pixels:
            raise RejectedImage(f"{image.width} x {image.height} pixels, more than max_pixels = {max_pixels}")
        # Decoders raise nearly anything on damaged files (OSError, SyntaxError, struct.error, IndexError,
        # ...): all of it means that this picture cannot be read, none of it that the program is wrong.
        try:
            image.load()
            orientation = _orientation(image)
            if kind == "JPEG":
                plain = _is_plain_jpeg(encoded)
            else:
                plain = png is not None and png.plain and "transparency" not in image.info
            fits = resize_px is None or max(image.size) <= resize_px
            if plain and fits and orientation == 1 and image.mode in ("L", "RGB"):
                return _describe(image, encoded, PNG if png else JPEG)
            upright = _upright(_to_grey_or_rgb(image), orientation)
        except RejectedImage:
            raise
        except Exception as error:
            raise RejectedImage(_undecodable(kind, error)) from error
    scaled = _scaled_down(upright, resize_px)
    made = _encode(scaled, as_jpeg=kind == "JPEG" and scaled is not upright)
    return dataclasses.replace(made, full_size=upright.size, orientation=orientation)


def canonical_pixels(
    pixels: bytes, height: int, width: int, channels: int, *, resize_px: int | None = None
) -> CanonicalImage:
    """The PNG of raw uint8 pixels [height, width, channels], rows from the top, 1 or 3 channels."""
    from PIL import Image

    image = Image.frombytes("L" if channels == 1 else "RGB", (width, height), pixels)
    return _encode(_scaled_down(image, resize_px), as_jpeg=False)


def _undecodable(kind: str, error: Exception) -> str:
    return f"truncated or damaged {kind}: {str(error) or type(error).__name__}"


def _describe(image: PillowImage.Image, encoded: bytes, image_format: str) -> CanonicalImage:
    channels = len(image.getbands())
    return CanonicalImage(encoded, image_format, image.height, image.width, channels, image.size)


def _encode(image: PillowImage.Image, *, as_jpeg: bool) -> CanonicalImage:
    image.info = {}  # else Pillow copies the colour profile and the transparent colour into the new file
    buffer = io.BytesIO()
    if as_jpeg:
        image.save(buffer, format="JPEG", quality=95)
        return _describe(image, buffer.getvalue(), JPEG)
    image.save(buffer, format="PNG")
    return _describe(image, buffer.getvalue(), PNG)


def _scaled_down(image: PillowImage.Image, longest_px: int | None) -> PillowImage.Image:
    from PIL import Image

    longest = max(image.size)
    if longest_px is None or longest <= longest_px:
        return image
    width, height = (max(1, round(side * longest_px / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _orientation(image: PillowImage.Image) -> int:
    """EXIF orientation, 1 .. 8; 1 (upright) where there is none that makes sense.

    Not image.getexif(): that one also believes an orientation in XMP, which no browser does. TIFF keeps its
    orientation elsewhere, and Pillow has turned the picture already.
    """
    from PIL import Image

    block = image.info.get("exif")
    if not block:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        orientation = exif.get(_EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - whatever parsing it raises, a broken block says nothing of the picture
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _upright(image: PillowImage.Image, orientation: int) -> PillowImage.Image:
    from PIL import Image

    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


def _to_grey_or_rgb(image: PillowImage.Image) -> PillowImage.Image:
    """The image as mode L or RGB, 8 bits a channel."""
    from PIL import Image, ImageChops

    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):
        # Pillow scales every PNM of more than 8 bits to 0 .. 65535.
        return _upper_bytes(image)
    if mode in ("I", "F"):
        raise RejectedImage(
            "32 bits a channel: nothing says which value is white; convert it to 8 or 16 bits"
        )
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        grey = mode in ("L", "LA", "La", "1")
        straight = image if mode == "RGBA" else image.convert("RGBA")
        on_white = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), straight)
        return on_white.convert("L" if grey else "RGB")
    if mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for an inverted one of Adobe's; without that marker it is not.
        image = ImageChops.invert(image)
    if mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _upper_bytes(image: PillowImage.Image) -> PillowImage.Image:
    from PIL import Image

    sixteen = image if image.mode.startswith("I;16") else image.convert("I;16")
    return Image.frombytes("L", image.size, sixteen.tobytes("raw", "I;16B")[::2])


def _is_plain_jpeg(encoded: bytes) -> bool:
    """Whether it has 8 bits a channel, 1 or 3 channels, Huffman coding: all libjpeg builds decode that.

    ITU-T T.81, annex B: markers up to the first scan.
    """
    position = 2
    while position + 10 <= len(encoded):
        if encoded[position] != 0xFF:
            return False
        marker = encoded[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker == _JPEG_START_OF_SCAN:
            return False
        elif 0xC0 <= marker <= 0xCF and marker not in _JPEG_NO_FRAMES:
            # Pillow is content with all rows; TensorFlow refuses a file that does not say that it ends.
            if encoded.find(_JPEG_END_OF_IMAGE, position) < 0:
                raise RejectedImage("truncated or damaged JPEG: the file has no end-of-image marker")
            bits, channels = encoded[position + 4], encoded[position + 9]
            return marker in _JPEG_HUFFMAN_FRAMES and bits == 8 and channels in (1, 3)
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
        else:
            position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    return False


@dataclasses.dataclass(frozen=True)
class _PngHeader:
    plain: bool


def _inspect_png(encoded: bytes) -> _PngHeader:
    """Whether a PNG is grey or RGB with 8 bits and one frame.

    Checks what Pillow does not: the checksums of IDAT, and that the file has an end. libpng, and so
    TensorFlow, refuses a wrong checksum of a critical chunk. https://www.w3.org/TR/png-3/#5DataRep
    """
    view = memoryview(encoded)
    position = len(_PNG_MAGIC)
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
            return _PngHeader(plain)
        position = end + 4
