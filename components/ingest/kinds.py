"""Which image formats are read, by their first bytes, and what to do with others.

They are few on purpose: every further decoder is one more that foreign bytes reach.
"""

from __future__ import annotations

from components.ingest.whole import JPEG_MAGIC, PNG_MAGIC, RejectedImage

# Bytes that `sniff` may need to see.
HEAD_BYTES = 64

# Pillow's names of the formats.
_MAGICS = (
    (JPEG_MAGIC, "JPEG"),
    (PNG_MAGIC, "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
# Pillow's plugin that reads PNM is called PPM.
_PNM_MAGICS = tuple(b"P%d%c" % (kind, space) for kind in range(1, 7) for space in b" \t\r\n")
# Brands of ISO media files: https://mp4ra.org/registered-types/brands
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
# What people take for photos, and what it begins with.
_OTHERS = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF-", "a PDF"),
    (b"<svg", "SVG"),
)
_HEIC_ADVICE = "; an iPhone takes JPEG under Settings > Camera > Formats > Most Compatible"


def sniff(encoded: bytes) -> str:
    """Return the image format (Pillow's name of it) that the first bytes tell.

    Raises:
        RejectedImage: The file is empty, or not one of the formats read here.
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
    if encoded[4:8] == b"ftyp":
        return _sniff_media(encoded)
    for magic, name in _OTHERS:
        if encoded.startswith(magic):
            raise _unread(name)
    raise RejectedImage("not an image file (JPEG, PNG, GIF, WebP, AVIF, BMP, TIFF and PNM are read)")


def _sniff_media(encoded: bytes) -> str:
    size = min(int.from_bytes(encoded[:4], "big"), HEAD_BYTES)
    # The main brand, four bytes of its version, the brands that it is compatible with.
    brands = [encoded[8:12], *(encoded[at : at + 4] for at in range(16, size - 3, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        from PIL import features

        if not features.check("avif"):
            raise _unread("AVIF", "; this Pillow was built without it")
        return "AVIF"
    if any(brand in _HEIC_BRANDS for brand in brands):
        raise _unread("HEIC", _HEIC_ADVICE)
    raise _unread("a video")


def _unread(name: str, more: str = "") -> RejectedImage:
    return RejectedImage(f"expected an image that is read here, got {name}: convert it to JPEG or PNG{more}")
