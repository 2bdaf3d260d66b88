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
        (media(b"isom", b"iso2", b"mp41"), "got a video; write the frames that are meant as JPEG"),
        (media(b"qt  "), "got a video"),
        (
            media(b"crx ", b"isom"),
            "got a camera's raw image (CR3); convert it to JPEG with the camera maker's",
        ),
        (b"\0\0\0\x0cftyp", "got a video"),
        (b"\x1a\x45\xdf\xa3\x93", "got a video"),
        (b"RIFF\0\0\0\0AVI LIST", "got a video"),
        (b"\xff\x0a\0\0", "got JPEG XL; convert it to JPEG or PNG"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "got JPEG XL"),
        (b"\xff\xd8\0", "got a damaged JPEG; get the file again"),
        (b"II*\0\x10\0\0\0CR\2\0", "got a camera's raw image (CR2)"),
        (b"FUJIFILMCCD-RAW 0201", "got a camera's raw image (RAF)"),
        (b"IIU\0\x18\0", "got a camera's raw image (RW2)"),
        (b"IIRO\x08\0", "got a camera's raw image (ORF)"),
        (b"8BPS\0\1", "got a Photoshop file; save it as JPEG or PNG with the program that made it"),
        (b"gimp xcf v011", "got a GIMP file"),
        (b"%PDF-1.7", "got a PDF; write its images or pages as JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF", "got PostScript (EPS)"),
        (b"\xc5\xd0\xd3\xc6\x20", "got PostScript (EPS)"),
        (b"<svg xmlns=", "got SVG; draw it as PNG"),
        (b'<?xml version="1.0"?>\n<!-- a -->\n<svg width=', "got SVG"),
        (b"<!DOCTYPE html>", "got a web page; a download was answered with it: get the file again"),
        (b"\n<HTML lang=en>", "got a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "got a pointer of Git LFS, not the file; run git lfs",
        ),
        (b"DDS |\0\0\0", "got a texture (DDS)"),
        (b"#?RADIANCE\n", "got a Radiance image (HDR); map its tones to 8 bits"),
        (b"v/1\x01\2\0", "got OpenEXR"),
        (b"SIMPLE  =                    T", "got FITS; write each of its images as a PNG of 8 or 16 bits"),
        (b"\x5c\x01\0\0" + bytes(340) + b"n+1\0", "got NIfTI"),
        (b"\x93NUMPY\1\0", "got a NumPy array (.npy)"),
        (b"PK\x03\x04\x14", "got a zip (.npz, .docx and others are zips, too); unpack it"),
        (b"\x89HDF\r\n\x1a\n", "got HDF5"),
        (b"\x80\x04\x95", "got a pickle of Python"),
        (b"\x00\x05\x16\x07", "got what macOS keeps of a file next to it; leave it out"),
        (b"\x00\x00\x01\x00\1\0", "got an icon (ICO)"),
        (b"II\xbc\x01", "got JPEG XR"),
        (b"\x08\x00\x05\x00CS", "got DICOM without the letters DICM at byte 128"),
        (
            b"hello",
            "not an image file (JPEG, PNG, GIF, WebP, AVIF, JPEG 2000, BMP, TIFF, PNM, HEIC and DICOM",
        ),
        (b"", "empty file"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(head: bytes, said: str) -> None:
    with pytest.raises(RejectedImage) as caught:
        sniff(head)
    assert said in caught.value.reason


def test_heic_and_dicom_by_their_marks() -> None:
    for head in (media(b"heic", b"mif1", b"heic"), media(b"mif1", b"heic", b"miaf"), media(b"msf1")):
        assert sniff(head) == "HEIF"
    assert sniff(bytes(128) + b"DICM") == "DICOM"
    # Some begin as a TIFF does, so that both kinds of program read them.
    assert sniff(b"II*\0" + bytes(124) + b"DICM") == "TIFF"


def test_avif_by_any_of_its_brands() -> None:
    assert sniff(media(b"avif", b"mif1")) == sniff(media(b"mif1", b"miaf", b"avif")) == "AVIF"
