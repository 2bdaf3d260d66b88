"""Copies of shards, as ImportExampleGen writes them. Imports no TensorFlow for files on a disk."""

import gzip
import os
from collections.abc import Collection
from typing import BinaryIO, cast

from components.base import files
from components.base.tfrecord import frame_record, iterate_records

# Encoded images do not get smaller; most of the rest does at the lowest level too.
_GZIP_LEVEL = 1


def copy_shard(source: str, target: str) -> None:
    """Copy the records of a TFRecord file (`.gz`: gzipped) to a gzipped one, in their order.

    Equal records give equal bytes. The file appears whole, so another worker may do the same again.

    Raises:
        DataRefusedError: A record is cut off or damaged.
    """
    with files.open_binary(source) as file, files.replacing(target) as path, open(path, "wb") as written:
        read = gzip.GzipFile(fileobj=file) if source.endswith(".gz") else file
        # Without name and time.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, written, mtime=0) as packed:
            for record in iterate_records(cast(BinaryIO, read), source):
                packed.write(frame_record(record))


def remove_unfinished(copies: Collection[str]) -> None:
    """Remove what a killed worker has left next to the copies, because readers take all files of a folder."""
    names: dict[str, set[str]] = {}
    for path in copies:
        folder, name = os.path.split(path)
        names.setdefault(folder, set()).add(name)
    for folder, whole in names.items():
        for path in files.list_below(folder):
            if os.path.basename(path) not in whole:
                files.remove(path)
