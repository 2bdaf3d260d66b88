"""Reads the bytes of an image, which are a file or a part of one, and hashes them."""

import errno
import hashlib
import os

from components.ingest.item import shape_from, shape_text

# What is wrong with the machine, and so with all files.
NOT_THE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

# The file with many images that was read last, and its descriptor.
_open_file: dict[bytes, int] = {}


def read_source(file: bytes, offset: int | None, size: int) -> bytes:
    """Return the bytes of an image: a whole file's, or `size` bytes from an offset."""
    if offset is None:
        with open(file, "rb") as source:
            return source.read()
    return os.pread(_opened(file), size, offset)


def _opened(file: bytes) -> int:
    """Return the descriptor of a file with many images: it stays open until another one is asked for."""
    if file not in _open_file:
        while _open_file:
            os.close(_open_file.popitem()[1])
        _open_file[file] = os.open(file, os.O_RDONLY)
    return _open_file[file]


def hash_source(data: bytes, shape: str | None) -> bytes:
    """Return the SHA-256 of an encoded image's bytes, or of the shape and bytes of raw pixels."""
    if shape is None:
        return hashlib.sha256(data).digest()
    return hashlib.sha256(f"uint8 {shape_text(shape_from(shape))} ".encode() + data).digest()
