"""Reads the bytes of an image, which are a file or a part of one, and hashes them."""

import errno
import hashlib
import os
import threading

from components.ingest.item import shape_from, shape_text

# What is wrong with the machine, and so with all files.
NOT_THE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class _Descriptor:
    """An open file, closed when nobody has it any more."""

    def __init__(self, file: bytes) -> None:
        self.number = os.open(file, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class _Kept(threading.local):
    """The file with many images that a thread has read last: Beam's workers may be threads of one process."""

    file: bytes | None = None
    descriptor: _Descriptor


_kept = _Kept()


def read_source(file: bytes, offset: int | None, size: int) -> bytes:
    """Return the bytes of an image: a whole file's, or `size` bytes from an offset."""
    if offset is None:
        with open(file, "rb") as source:
            return source.read()
    # It stays open until another one is asked for.
    if _kept.file != file:
        _kept.descriptor, _kept.file = _Descriptor(file), file
    return os.pread(_kept.descriptor.number, size, offset)


def hash_source(data: bytes, shape: str | None) -> bytes:
    """Return the SHA-256 of an encoded image's bytes, or of the shape and bytes of raw pixels."""
    if shape is None:
        return hashlib.sha256(data).digest()
    return hashlib.sha256(f"uint8 {shape_text(shape_from(shape))} ".encode() + data).digest()
