"""One form for every image: what training reads and what a served model is sent are the same pixels.

An upright JPEG or PNG with 8 bits a channel and 1 or 3 channels keeps its bytes. Every other image is
rewritten, once, as an 8-bit PNG with 1 (grey) or 3 (red, green, blue) channels:

    turned by its EXIF orientation   turned upright
    CMYK, YCCK                       RGB; inverted where the JPEG has Adobe's marker
    palette                          RGB
    alpha, transparent colour        laid on white
    GIF, APNG, animated WebP         the first frame (AVIF too)
    more than 8 bits a channel       the upper 8 bits, or by `data.bit_depth` (components/ingest/bit_depth.py)
    DICOM                            by its window (components/ingest/dicom.py)
    1, 2 or 4 bits a channel         8 bits, full range
    JPEG with arithmetic coding      RGB or grey

Colour profiles are ignored, as TensorFlow ignores them. A broken EXIF block, or an unknown orientation, is
ignored. A file that does not decode to its end is rejected.

Which formats are read is said in components/ingest/kinds.py.
"""

from __future__ import annotations

import dataclasses
import io
import math
import warnings
from typing import TYPE_CHECKING

from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.ingest.bit_depth import (
    PERCENTILE,
    UPPER,
    check_colour,
    largest_in_colour,
    sample_bits,
    to_8_bits,
)
from components.ingest.kinds import check_first_image, check_unread_tiff, sniff
from components.ingest.preview import Preview, preview_of
from components.ingest.whole import (
    RejectedImage,
    check_jpeg_2000,
    inspect_png,
    is_plain_jpeg,
    read_small_jpeg,
    undecodable,
)

if TYPE_CHECKING:
    from PIL import Image as PillowImage

JPEG = "jpeg"
PNG = "png"

_EXIF_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class CanonicalImage:
    """An image in its canonical form.

    Attributes:
        encoded: A file of the format.
        format: "jpeg" or "png".
        height, width: In pixels.
        channels: 1 or 3.
        full_size: (width, height) before it was scaled down, upright.
        orientation: EXIF's, 1 .. 8, by which the source was turned.
        largest: The largest value of a source that has 16 bits per channel; None for any other source.
        only_upper: Whether it has several channels of 16 bits, which no rule but "16" reads.
        preview: Its pixels, if they were asked for.
    """

    encoded: bytes
    format: str
    height: int
    width: int
    channels: int
    full_size: tuple[int, int]
    orientation: int = 1
    largest: int | None = None
    only_upper: bool = False
    preview: Preview | None = dataclasses.field(default=None, compare=False, repr=False)


def canonical_bytes(
    encoded: bytes,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    resize_px: int | None = None,
    bit_depth: str = UPPER,
    preview_px: int = 0,
) -> CanonicalImage:
    """Return the canonical form of an encoded image; see the module's docstring.

    Args:
        encoded: The file.
        max_pixels: An image that has more, by its header, is rejected before any of it is decoded.
        resize_px: Scale down until the longest side is at most this; a JPEG then becomes a JPEG of quality
            95, anything else a PNG. A JPEG of more than max_pixels is then decoded at a half, quarter or
            eighth of its size, if that is not less than resize_px.
        bit_depth: One of components.ingest.bit_depth.RULES.
        preview_px: Instead of making a new file, only check the image and return its pixels as `preview`: a
            JPEG's at a fraction of its size, with sides of at least this. `encoded` is empty for an image
            that does not keep its bytes.

    Raises:
        RejectedImage: It is no image, cut off, damaged, too large, or has no defined 8-bit form.
    """
    from PIL import Image, UnidentifiedImageError

    kind = sniff(encoded)
    is_plain_png = kind == "PNG" and inspect_png(encoded)
    # Pillow warns of broken EXIF blocks, odd palettes and sizes that the bound below judges better.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image: PillowImage.Image = Image.open(io.BytesIO(encoded), formats=(kind,))
        except Image.DecompressionBombError as error:
            raise RejectedImage(f"more than {PILLOW_MAX_PIXELS} pixels: {error}") from error
        except RejectedImage:
            raise
        except UnidentifiedImageError as error:
            if kind == "TIFF":
                check_unread_tiff(encoded)
            raise RejectedImage(
                f"{kind} with a damaged header, or of a variant that cannot be read"
            ) from error
        except Exception as error:
            raise RejectedImage(undecodable(kind, error)) from error
        full_size, is_scaled, small = image.size, False, None
        if math.prod(image.size) > max_pixels and kind == "JPEG" and resize_px is not None:
            # libjpeg's own scaling. Smaller images never come here: their records stay what they are.
            is_scaled = image.draft(None, _size_within(image.size, resize_px)) is not None
        if math.prod(image.size) > max_pixels:
            raise RejectedImage(
                f"{full_size[0]} x {full_size[1]} pixels, more than max_pixels = {max_pixels}: scale it "
                "down, or give --max-pixels (in a recipe data.max_pixels)"
            )
        # Decoders raise nearly anything on damaged files (OSError, SyntaxError, struct.error, IndexError,
        # ...): all of it means that this image cannot be read, none of it that the program is wrong.
        try:
            if kind == "JPEG":
                plain = is_plain_jpeg(encoded)
                small = read_small_jpeg(encoded, preview_px or 1)
                if small is None:
                    image.load()
                bits = 8
            else:
                if kind == "TIFF":
                    check_first_image(image)
                elif kind == "JPEG2000":
                    check_jpeg_2000(encoded)
                bits = sample_bits(image, encoded)
                if kind == "DICOM":
                    image.use_percentiles = bit_depth == PERCENTILE  # type: ignore[attr-defined]
                image.load()
                plain = is_plain_png and "transparency" not in image.info
            orientation = orientation_of(image)
            fits = resize_px is None or bool(preview_px) or max(full_size) <= resize_px
            if plain and fits and orientation == 1 and image.mode in ("L", "RGB"):
                kept = _describe(image, encoded, JPEG if kind == "JPEG" else PNG)
                return dataclasses.replace(kept, preview=preview_of(image, small)) if preview_px else kept
            image.load()
            eight_bits, largest = _to_grey_or_rgb(image, bits, bit_depth)
            only_upper = largest is not None and not image.mode.startswith("I")
            upright = _upright(eight_bits, orientation)
        except RejectedImage:
            raise
        except Exception as error:
            raise RejectedImage(undecodable(kind, error)) from error
    if preview_px:
        return dataclasses.replace(
            _describe(upright, b"", PNG), largest=largest, only_upper=only_upper, preview=Preview(upright)
        )
    scaled = _scaled_down(upright, resize_px)
    if not is_scaled:
        full_size = upright.size
    elif orientation >= 5:
        full_size = full_size[::-1]
    made = _encode(scaled, as_jpeg=kind == "JPEG" and scaled.size != full_size)
    return dataclasses.replace(
        made, full_size=full_size, orientation=orientation, largest=largest, only_upper=only_upper
    )


def canonical_pixels(
    pixels: bytes, height: int, width: int, channels: int, *, resize_px: int | None = None
) -> CanonicalImage:
    """Return the PNG of raw uint8 pixels [height, width, channels], rows from the top, 1 or 3 channels."""
    from PIL import Image

    image = Image.frombytes("L" if channels == 1 else "RGB", (width, height), pixels)
    return _encode(_scaled_down(image, resize_px), as_jpeg=False)


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

    if longest_px is None or max(image.size) <= longest_px:
        return image
    return image.resize(_size_within(image.size, longest_px), Image.Resampling.LANCZOS)


def _size_within(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Return width and height scaled down, in the same shape, until the longest is `longest_px`."""
    width, height = (max(1, round(side * longest_px / max(size))) for side in size)
    return width, height


def orientation_of(image: PillowImage.Image) -> int:
    """Return EXIF's orientation, 1 .. 8; 1 (upright) where there is none that makes sense.

    Not image.getexif(): that one also believes an orientation in XMP, which no browser does. TIFF keeps its
    orientation elsewhere, and Pillow has turned the image already.
    """
    from PIL import Image

    block = image.info.get("exif")
    if not block:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        orientation = exif.get(_EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - whatever parsing it raises, a broken block says nothing of the image
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


def _to_grey_or_rgb(
    image: PillowImage.Image, bits: int, bit_depth: str
) -> tuple[PillowImage.Image, int | None]:
    """Return the image as mode L or RGB, 8 bits a channel, and the largest value of 16 bits a channel."""
    # Pillow scales every PNM of more than 8 bits to 0 .. 65535.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return to_8_bits(image, bits, bit_depth)
    if image.mode in ("I", "F"):
        raise RejectedImage(
            "32 bits a channel: nothing says which value is white; convert it to 8 or 16 bits"
        )
    check_colour(bits, bit_depth)
    converted = _drop_alpha(image)
    return converted, largest_in_colour(converted) if bits == 16 else None


def _drop_alpha(image: PillowImage.Image) -> PillowImage.Image:
    """Return an image with 8 bits a channel as mode L or RGB."""
    from PIL import Image, ImageChops

    mode = image.mode
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
