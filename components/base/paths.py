"""Paths: whether one is in a bucket, and files that appear whole or not at all. Imports no TensorFlow.

The containers of Vertex AI find gs://bucket/file at /gcs/bucket/file.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

GCS = "gs://"
# The folder that holds gcs/ and s3/; the root of the file system if it is not set.
FOLDER_VARIABLE = "MIRANTE_BUCKETS"
# A file's name has at most 255 bytes, of which a character takes up to four.
_STEM_CHARS = 40


def is_remote(path: str) -> bool:
    """Return whether a path is an address, such as gs://bucket/file."""
    return "://" in path


def is_in_bucket(path: str) -> bool:
    """Return whether a path is in a bucket, by its address, mount or copy: nothing there can be renamed."""
    base = os.environ.get(FOLDER_VARIABLE) or "/"
    return is_remote(path) or path.startswith(tuple(os.path.join(base, kind, "") for kind in ("gcs", "s3")))


def gcs_mount() -> str:
    """Return the folder with all buckets of Google Cloud Storage, with a slash at its end."""
    return os.path.join(os.environ.get(FOLDER_VARIABLE) or "/", "gcs", "")


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Replace a file by what is written to another one in its folder, all of it or nothing.

    Several processes may do so at once, also on several machines: the last one to end wins. A process that is
    killed leaves a hidden file with `.tmp` in its name.

    Args:
        path: The file; its folder must exist.

    Yields:
        The path to write to; it has the suffix of `path`. If an error is raised, it is removed, and `path`
        stays as it was.
    """
    temporary = path.with_name(f".{path.stem[:_STEM_CHARS]}.{uuid.uuid4().hex[:12]}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes, *, sync: bool = False) -> None:
    """Write a file that has its old content, or all of the new one.

    Args:
        path: The file; its folder must exist.
        content: A text is written as UTF-8.
        sync: Whether that also holds if the machine stops; otherwise only if the process does.

    Raises:
        OSError: The file cannot be written; an existing one stays as it was.
    """
    with replace_file(path) as temporary, temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if sync:
            file.flush()
            os.fsync(file.fileno())
