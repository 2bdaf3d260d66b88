"""Reads and writes files on a disk or in a bucket. Imports TensorFlow only for a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from components.base.paths import is_remote, write_atomically


def list_below(folder: str) -> list[str]:
    """Return the paths of all files below a folder, sorted; empty if the folder does not exist."""
    if not is_remote(folder):
        return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())
    return sorted(_walk(folder))


def list_names(folder: str) -> list[str]:
    """Return the names of the files and folders in a folder, sorted; empty if it does not exist."""
    if not exists(folder):
        return []
    if not is_remote(folder):
        return sorted(os.listdir(folder))
    import tensorflow as tf

    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))


def _walk(folder: str) -> Iterator[str]:
    import tensorflow as tf

    for inner, _, names in tf.io.gfile.walk(folder):
        for name in names:
            yield os.path.join(inner, name)


def open_binary(path: str) -> BinaryIO:
    """Open a file to read bytes."""
    if not is_remote(path):
        return open(path, "rb")
    import tensorflow as tf

    remote: Any = tf.io.gfile.GFile(path, "rb")
    return cast(BinaryIO, remote)


def read_bytes(path: str) -> bytes:
    """Return the content of a file."""
    with open_binary(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """Return the content of a text file, in UTF-8."""
    return read_bytes(path).decode("utf-8")


def exists(path: str) -> bool:
    """Return whether a file or folder exists."""
    if not is_remote(path):
        return os.path.exists(path)
    import tensorflow as tf

    return bool(tf.io.gfile.exists(path))


def write_text(path: str, text: str) -> None:
    """Write a text file in UTF-8, all of it or nothing; creates its folder."""
    if not is_remote(path):
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text)
        return
    import tensorflow as tf

    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)
