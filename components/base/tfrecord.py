"""Reads and writes TFRecord files without TensorFlow.

A file is a sequence of records
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details):

    uint64 length | uint32 masked CRC-32C of length | bytes data[length] | uint32 masked CRC-32C of data

all little endian. Files can be concatenated: the bytes of two files in a row are a file with all records.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import google_crc32c

from components.base.errors import DataRefusedError

_MASK_DELTA = 0xA282EAD8
_HEADER_BYTES = 12
_FOOTER_BYTES = 4
# Bytes of a record around its data, and before them.
OVERHEAD_BYTES = _HEADER_BYTES + _FOOTER_BYTES
DATA_OFFSET_BYTES = _HEADER_BYTES
# A whole record is read into memory; one image is much smaller than this.
MAX_RECORD_BYTES = 1 << 28
GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C of data, rotated and shifted as TFRecord requires, 0 to 2**32 - 1."""
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame_record(data: bytes) -> bytes:
    """Return the data as one record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data)))
    )


def begins_like_records(head: bytes) -> bool:
    """Return whether the first bytes of a file, at least 12, are those of an uncompressed TFRecord file."""
    header = head[:_HEADER_BYTES]
    return len(header) == _HEADER_BYTES and _crc_of(header[8:]) == masked_crc32c(header[:8])


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file (`.gz`: gzipped), in order, and check both checksums.

    Raises:
        DataRefusedError: A record is cut off or damaged; names the file and the record.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from iterate_records(cast(BinaryIO, file), str(path))


def iterate_records(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the records of an open file as `read_records` does; messages call it `name`."""
    number = 0
    while True:
        where = f"{name}, record {number}"
        try:
            header = file.read(_HEADER_BYTES)
            if not header:
                return
            if not begins_like_records(header):
                raise DataRefusedError(f"{where}: its length is damaged or cut off; get the file again")
            (length,) = struct.unpack("<Q", header[:8])
            if length > MAX_RECORD_BYTES:
                raise DataRefusedError(
                    f"{where}: it has {length} bytes, more than the {MAX_RECORD_BYTES} of any image"
                )
            data = file.read(length)
            footer = file.read(_FOOTER_BYTES)
        except GZIP_ERRORS as error:
            raise DataRefusedError(f"{where}: cut off or damaged ({error}); get the file again") from error
        except OSError as error:
            raise DataRefusedError(
                f"{where}: cannot be read: {error.strerror}; get the file again"
            ) from error
        if len(data) < length or len(footer) < _FOOTER_BYTES:
            raise DataRefusedError(
                f"{where}: expected {length} bytes, but the file ends before; get the file again"
            )
        if _crc_of(footer) != masked_crc32c(data):
            raise DataRefusedError(
                f"{where}: the checksum of the data is wrong, so they are damaged; get the file again"
            )
        yield data
        number += 1


def _crc_of(data: bytes) -> int:
    return int(struct.unpack("<I", data)[0])
