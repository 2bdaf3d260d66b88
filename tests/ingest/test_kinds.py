"""What a file is by its first bytes, and what is said of formats that are not read."""

from __future__ import annotations

import pytest

from components.ingest.kinds import sniff
from components.ingest.whole import RejectedImage

pytestmark = pytest.mark.stack_free


def media(*brands: bytes) -> bytes:
    body = b"ftyp" + brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return (len(body) + 4).to_bytes(4, "big") + body + b"\0\0\0\x08mdat"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (media(b"heic", b"mif1", b"heic"), "got HEIC: convert it to JPEG or PNG; an iPhone takes JPEG under"),
        (media(b"mif1", b"heic", b"miaf"), "got HEIC"),
        (media(b"msf1"), "got HEIC"),
        (media(b"isom", b"iso2", b"mp41"), "got a video: convert it"),
        (media(b"qt  "), "got a video"),
        (b"\xff\x0a\0\0", "got JPEG XL"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "got JPEG XL"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "got JPEG 2000"),
        (b"8BPS\0\1", "got a Photoshop file"),
        (b"%PDF-1.7", "got a PDF"),
        (b"<svg xmlns=", "got SVG"),
        (b"<!DOCTYPE html>", "not an image file (JPEG, PNG, GIF, WebP, AVIF, BMP, TIFF and PNM are read)"),
        (b"", "empty file"),
        (b"\0\0\0\x0cftyp", "got a video"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(head: bytes, said: str) -> None:
    with pytest.raises(RejectedImage) as caught:
        sniff(head)
    assert said in caught.value.reason


def test_avif_by_any_of_its_brands() -> None:
    assert sniff(media(b"avif", b"mif1")) == sniff(media(b"mif1", b"miaf", b"avif")) == "AVIF"
