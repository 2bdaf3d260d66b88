"""Reading TFRecord files, gzipped or not."""

import os
from collections.abc import Iterable

import tensorflow as tf


def list_files(folder: str) -> list[str]:
    """Return the paths of the files in a folder, whatever its name: it is not taken for a pattern."""
    paths = (os.path.join(folder, name) for name in sorted(tf.io.gfile.listdir(folder)))
    return [path for path in paths if not tf.io.gfile.isdir(path)]


def record_dataset(files: Iterable[str]) -> tf.data.Dataset:
    """Return the serialized records, string [], of `files` by name, four at a time in a fixed order.

    The first file's name decides for all of them: `.gz` is gzip.
    """
    names = sorted(files)
    compression = "GZIP" if names and names[0].endswith(".gz") else ""
    return tf.data.TFRecordDataset(tf.constant(names, tf.string), compression, num_parallel_reads=4)
