"""TFRecord files without TensorFlow.

A file is a sequence of records
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details):

    uint64 length | uint32 masked CRC-32C of length | bytes data[length] | uint32 masked CRC-32C of data

all little endian. Files can be concatenated: the bytes of two files one after the other are a file of both's
records.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

from components.errors import DataRefusedError

_MASK_DELTA = 0xA282EAD8
_HEADER_BYTES = 12
_FOOTER_BYTES = 4


def masked_crc32c(data: bytes) -> int:
    """CRC-32C of data, rotated and shifted as TFRecord wants it, 0 .. 2**32 - 1."""
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """The data as one record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data)))
    )


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file (`.gz`: gzipped), in order, with both checksums checked.

    Raises DataRefusedError naming the file and the record that is cut off or damaged.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        number = 0
        while header := file.read(_HEADER_BYTES):
            where = f"{path}, record {number}"
            if len(header) < _HEADER_BYTES or _crc_of(header[8:]) != masked_crc32c(header[:8]):
                raise DataRefusedError(f"{where}: the record's length is damaged or cut off; ingest again.")
            (length,) = struct.unpack("<Q", header[:8])
            data = file.read(length)
            footer = file.read(_FOOTER_BYTES)
            if len(data) < length or len(footer) < _FOOTER_BYTES:
                raise DataRefusedError(
                    f"{where}: expected {length} bytes, the file ends before; ingest again."
                )
            if _crc_of(footer) != masked_crc32c(data):
                raise DataRefusedError(f"{where}: the data's checksum is wrong, it is damaged; ingest again.")
            yield data
            number += 1


def _crc_of(data: bytes) -> int:
    return int(struct.unpack("<I", data)[0])
