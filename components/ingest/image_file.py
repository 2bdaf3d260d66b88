"""Reads a file that should be an image: its kind, size and first bytes are looked at before the rest."""

import os
import stat

from components.ingest.kinds import HEAD_BYTES, sniff
from components.ingest.whole import RejectedImage

# No image that max_pixels lets through is larger: 179 million pixels of red, green and blue are half of it.
MAX_FILE_BYTES = 1 << 30
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_image_file(path: bytes | str) -> bytes:
    """Return what is in an image file. It never waits, and reads no more than an image can have.

    Raises:
        OSError: It cannot be read.
        RejectedImage: It is no file, or none that begins as an image does, or too large.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "something else")
        raise RejectedImage(f"not a regular file: expected an image file, got {kind}")
    if not status.st_size:
        raise RejectedImage("empty file")
    # Without waiting, should it have become a pipe meanwhile.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        head = file.read(HEAD_BYTES) or b""
        sniff(head)
        # As much as it has: to read at most a GiB takes a GiB, however small the file is.
        more_bytes = status.st_size + 1 - len(head) if status.st_size <= MAX_FILE_BYTES else 0
        data = head + file.read(more_bytes)
    if max(status.st_size, len(data)) > MAX_FILE_BYTES:
        raise RejectedImage(
            f"file too large: expected at most {MAX_FILE_BYTES >> 30} GiB, got {status.st_size:,} bytes"
        )
    return data
