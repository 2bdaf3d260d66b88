"""DICOM, the format of clinics, as a format of Pillow's: one 8-bit image, grey or RGB, for each file.

    grey                stored value -> modality (slope and intercept, or a table) -> window -> 0 .. 255
    window              the file's first VOI table, else its first window (PS3.3 C.11.2), else all values that
                        its bits can store; with `use_percentiles` the image's own percentiles instead
    MONOCHROME1         inverted: its least value is white
    RGB, YBR, palette   RGB, the upper 8 bits of those stored

It reads uncompressed pixels, RLE, JPEG with 8 bits, and JPEG 2000: what pydicom decodes by NumPy and Pillow.
Files of several frames are rejected: nothing says which one is meant. Nothing but the pixels gets into a
record: no name and no date of a patient. It needs the extra `dicom`; importing this module imports pydicom.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageFile
from pydicom import uid
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

from components.base.arrays import Array
from components.ingest.bit_depth import find_percentiles
from components.ingest.whole import RejectedImage

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

FORMAT = "DICOM"
_READ = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless,
    uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEG2000Lossless, uid.JPEG2000,
)  # fmt: skip
# pydicom inflates these as a whole before anything is known of them, and without a limit.
_DEFLATED = bytes(uid.DeflatedExplicitVRLittleEndian, "ascii")
_GREY = ("MONOCHROME1", "MONOCHROME2")
# Two bytes of RLE give up to 128: an image of more pixels could fill the memory.
_MOST_RLE_PIXELS = 1 << 24


class DicomImageFile(ImageFile.ImageFile):
    """A DICOM file that Pillow opens; its pixels are decoded when it is loaded.

    Attributes:
        use_percentiles: Whether to stretch a grey image between its percentiles instead of its window.
    """

    format = FORMAT
    format_description = "DICOM"
    use_percentiles = False

    def _open(self) -> None:
        assert self.fp is not None
        encoded = self.fp.read()
        if encoded[128:132] != b"DICM":
            raise SyntaxError("not a DICOM file")
        if _DEFLATED in encoded:
            raise _unread("deflated")
        dataset = pydicom.dcmread(io.BytesIO(encoded))
        if "PixelData" not in dataset:
            raise RejectedImage(
                "expected an image, got a DICOM file without one, such as a report or DICOMDIR; leave it out"
            )
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax not in _READ:
            raise _unread(f"compressed as {syntax.name}")
        frames = int(dataset.get("NumberOfFrames") or 1)
        if frames > 1:
            raise RejectedImage(
                f"expected one image in a DICOM file, got {frames} frames: write each one that is meant into "
                "a file of its own"
            )
        self._size = int(dataset.Columns), int(dataset.Rows)
        if syntax == uid.RLELossless and self.width * self.height > _MOST_RLE_PIXELS:
            raise _unread(f"{self.width} x {self.height} pixels with RLE")
        self._mode = "L" if dataset.PhotometricInterpretation in _GREY else "RGB"
        self._dataset: FileDataset | None = dataset
        self.tile = []

    def load(self) -> Any:
        """Decode the pixels, once."""
        if self._dataset is not None:
            dataset, self._dataset = self._dataset, None
            pixels = (_decode_grey if self._mode == "L" else _decode_colour)(dataset, self.use_percentiles)
            self.im = Image.fromarray(pixels).im
        return super().load()


def register() -> None:
    """Tell Pillow of the format."""
    Image.register_open(FORMAT, DicomImageFile)


def _unread(what: str) -> RejectedImage:
    return RejectedImage(
        f"expected a DICOM file that is read here, got one {what}: decompress it first, for example with "
        "gdcmconv --raw or dcmdjpeg"
    )


def _decode_grey(dataset: FileDataset, use_percentiles: bool) -> npt.NDArray[np.uint8]:
    stored = dataset.pixel_array
    if stored.ndim != 2 or stored.dtype.kind not in "iu" or dataset.BitsStored > 16:
        raise RejectedImage(f"DICOM of {stored.dtype.name} pixels: expected whole numbers of up to 16 bits")
    bits, is_signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    least = -(1 << (bits - 1)) if is_signed else 0
    # Every value that can be stored is mapped once, and the pixels are looked up.
    places = np.clip(stored.astype(np.int32) - least, 0, (1 << bits) - 1)
    values = apply_modality_lut(np.arange(least, least + (1 << bits), dtype=np.int32), dataset)
    if use_percentiles:
        low, high = sorted(float(values[place]) for place in find_percentiles(places))
        shares = (values - low) / (high - low) if high > low else np.zeros(len(values))
    else:
        shares = _apply_window(values, dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1.0 - np.clip(shares, 0, 1)
    levels: npt.NDArray[np.uint8] = np.floor(np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8)
    return levels[places]


def _apply_window(values: Array, dataset: FileDataset) -> npt.NDArray[np.float64]:
    """Return the share of white, from 0 to 1 where it is within the window, of each modality value."""
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return apply_voi(np.rint(values).astype(np.int64), dataset) / float((1 << bits) - 1)
    if "WindowCenter" in dataset and "WindowWidth" in dataset:
        centre, width = (_first(dataset[name].value) for name in ("WindowCenter", "WindowWidth"))
        kind = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        if width <= 0:
            raise RejectedImage(f"DICOM with a window of width {width:g}: expected more than 0")
        if kind == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -500, 500)))
        if kind == "LINEAR_EXACT":
            return (values - centre) / width + 0.5
        if width <= 1:
            return (values > centre - 0.5).astype(np.float64)
        return (values - (centre - 0.5)) / (width - 1) + 0.5
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-9)


def _first(value: Any) -> float:
    """Return the first of the numbers of an element, which may have one."""
    return float(value) if isinstance(value, (int, float, str)) else float(value[0])


def _decode_colour(dataset: FileDataset, use_percentiles: bool) -> npt.NDArray[np.uint8]:
    pixels, bits = dataset.pixel_array, int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        bits = 8 * pixels.dtype.itemsize
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.kind != "u":
        raise RejectedImage(
            f"DICOM of {dataset.PhotometricInterpretation} pixels: expected MONOCHROME1, MONOCHROME2, RGB, "
            "YBR_FULL or PALETTE COLOR"
        )
    return np.ascontiguousarray(pixels >> max(bits - 8, 0), dtype=np.uint8)
