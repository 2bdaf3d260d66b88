"""Contract records for tests: small PNGs, one colour a class."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("blue", "green", "red")


def png(label: int, seed: int, size_px: int = 12) -> bytes:
    """A noisy picture whose brightest channel is the label's (0 blue, 1 green, 2 red)."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 60, (size_px, size_px, 3), dtype=np.uint8)
    pixels[..., 2 - label] += 150
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def example(label: int, seed: int, **changes: Any) -> Any:
    """A tf.train.Example of the contract; `changes` replace features ("/" written "__"), None drops one."""
    import tensorflow as tf

    encoded = png(label, seed)
    values: dict[str, Any] = {
        "image/encoded": encoded,
        "image/format": b"png",
        "image/height": 12,
        "image/width": 12,
        "image/filename": f"{CLASSES[label]}/{seed}.png".encode(),
        "image/key/sha256": hashlib.sha256(encoded).hexdigest().encode(),
        "image/class/label": label,
        "image/class/text": CLASSES[label].encode(),
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


def balanced(count: int, first_seed: int) -> list[Any]:
    """`count` records whose labels go 0, 1, 2, 0, ..."""
    return [example(index % 3, first_seed + index) for index in range(count)]
