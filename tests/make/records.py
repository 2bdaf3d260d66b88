"""Records of the data contract, and the shards that hold them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from schemas import features
from tests.make.images import make_coloured_png

CLASS_NAMES = ("bird", "cat", "dog")


def make_record(encoded: bytes, label: int, class_names: Sequence[str] = CLASS_NAMES) -> bytes:
    """Return a serialized tf.train.Example of the data contract."""
    import tensorflow as tf

    def of_bytes(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def of_int(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    with Image.open(io.BytesIO(encoded)) as image:
        width, height, image_format = image.width, image.height, (image.format or "").lower()
    digest = hashlib.sha256(encoded).hexdigest()
    values = {
        features.ENCODED: of_bytes(encoded),
        features.FORMAT: of_bytes(image_format.encode()),
        features.HEIGHT: of_int(height),
        features.WIDTH: of_int(width),
        features.FILENAME: of_bytes(f"{digest[:8]}.{image_format}".encode()),
        features.SHA256: of_bytes(digest.encode()),
        features.LABEL: of_int(label),
        features.LABEL_TEXT: of_bytes(class_names[label % len(class_names)].encode()),
    }
    example = tf.train.Example(features=tf.train.Features(feature=values))
    return example.SerializeToString(deterministic=True)


def write_split(folder: Path, records: Sequence[bytes], shards: int = 2) -> Path:
    """Writes gzipped TFRecord shards as ImportExampleGen does, and returns the folder."""
    import tensorflow as tf

    folder.mkdir(parents=True)
    for shard in range(shards):
        path = folder / f"data_tfrecord-{shard:05}-of-{shards:05}.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for item in records[shard::shards]:
                writer.write(item)
    return folder


COLOURS = ("blue", "green", "red")


def make_example(label: int, seed: int, **changes: Any) -> Any:
    """Return a tf.train.Example; `changes` replace features ("/" written "__"), None drops one."""
    import tensorflow as tf

    encoded = make_coloured_png(label, seed)
    values: dict[str, Any] = {
        "image/encoded": encoded,
        "image/format": b"png",
        "image/height": 12,
        "image/width": 12,
        "image/filename": f"{COLOURS[label]}/{seed}.png".encode(),
        "image/key/sha256": hashlib.sha256(encoded).hexdigest().encode(),
        "image/class/label": label,
        "image/class/text": COLOURS[label].encode(),
    }
    values.update({key.replace("__", "/"): value for key, value in changes.items()})
    feature = {
        key: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        if isinstance(value, int)
        else tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in values.items()
        if value is not None
    }
    return tf.train.Example(features=tf.train.Features(feature=feature))


def write_shards(folder: Path, splits: dict[str, Iterable[Any]]) -> Path:
    """Writes `<split>-00000-of-00001` for every split and returns the folder."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    for split, examples in splits.items():
        with tf.io.TFRecordWriter(str(folder / f"{split}-00000-of-00001")) as writer:
            for item in examples:
                writer.write(item.SerializeToString())
    return folder


def make_examples(count: int, first_seed: int) -> list[Any]:
    """Return `count` examples whose labels go 0, 1, 2, 0, ..."""
    return [make_example(index % 3, first_seed + index) for index in range(count)]
