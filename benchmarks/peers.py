"""What Mirante's ingest and input are compared with. Prints the seconds that one of them takes.

    PEERS/bin/python benchmarks/peers.py NAME SOURCE OUT

Runs in an environment of its own (`make bench-peers`), so it imports nothing of Mirante. SOURCE is a folder
with JPEG files in a folder for each class, at any depth. Imports are not counted.

bare loop     decodes each file whole with simplejpeg on all cores, hashes it, and writes it as TFRecords
tf.io         writes the files as TFRecords, decodes nothing, one process
webdataset    its ShardWriter, decodes nothing, one process
tfds          a builder of tensorflow_datasets that writes the files as they are, one process
img2dataset   its resizer, to 224 px, on all cores; writes TFRecords
grain         reads the files, decodes and scales them to 224 px on all cores, in batches of 32
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SIDE_PX = 224
BATCH = 32
_CHUNK = 25


def list_images(source: Path) -> list[tuple[str, int]]:
    """Return the files with their labels."""
    paths = sorted(source.rglob("*.jpg"))
    labels = {name: label for label, name in enumerate(sorted({path.parent.name for path in paths}))}
    return [(str(path), labels[path.parent.name]) for path in paths]


def write_record(file: Any, content: bytes) -> None:
    """Write a record's length and bytes, with room for the two checksums."""
    file.write(struct.pack("<QI", len(content), 0) + content + b"\0\0\0\0")


def decode_chunk(given: tuple[list[tuple[str, int]], str]) -> int:
    """Decode, hash and write some files; return how many could be decoded."""
    import simplejpeg

    paths, out = given
    done = 0
    with open(f"{out}/{os.getpid()}", "ab") as file:
        for path, _ in paths:
            content = Path(path).read_bytes()
            try:
                simplejpeg.decode_jpeg(content)
            except ValueError:
                continue
            done += 1
            hashlib.sha256(content).hexdigest()
            write_record(file, content)
    return done


def resize_chunk(given: tuple[list[tuple[str, int]], str]) -> int:
    """Resize and write some files as img2dataset does; return how many could be decoded."""
    from img2dataset.resizer import Resizer  # type: ignore[import-not-found]

    resizer = Resizer(image_size=SIDE_PX, resize_mode="keep_ratio", resize_only_if_bigger=True)
    paths, out = given
    done = 0
    with open(f"{out}/{os.getpid()}", "ab") as file:
        for path, _ in paths:
            content, *_, error = resizer(io.BytesIO(Path(path).read_bytes()))
            if error is None:
                write_record(file, content)
                done += 1
    return done


def on_all_cores(
    work: Callable[[tuple[list[tuple[str, int]], str]], int], images: list[tuple[str, int]], out: Path
) -> int:
    chunks = [(images[start : start + _CHUNK], str(out)) for start in range(0, len(images), _CHUNK)]
    with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
        return sum(pool.imap_unordered(work, chunks))


def write_tf_io(images: list[tuple[str, int]], out: Path) -> int:
    import tensorflow as tf

    def feature(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    with tf.io.TFRecordWriter(str(out / "images")) as writer:
        for path, label in images:
            features = {"image": feature(Path(path).read_bytes()), "label": feature(b"%d" % label)}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return len(images)


def write_webdataset(images: list[tuple[str, int]], out: Path) -> int:
    import webdataset  # type: ignore[import-not-found]

    with webdataset.ShardWriter(str(out / "images-%05d.tar"), verbose=0) as writer:
        for number, (path, label) in enumerate(images):
            writer.write({"__key__": f"{number:08}", "jpg": Path(path).read_bytes(), "cls": label})
    return len(images)


def write_tfds(images: list[tuple[str, int]], out: Path) -> int:
    import tensorflow_datasets as tfds

    class Photos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = out

        def _info(self) -> Any:
            labels = tfds.features.ClassLabel(num_classes=1 + max(label for _, label in images))
            features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": labels})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
            for path, label in images:
                yield path, {"image": path, "label": label}

    Photos(data_dir=str(out)).download_and_prepare()
    return len(images)


def read_grain(images: list[tuple[str, int]], out: Path) -> int:
    import grain  # type: ignore[import-not-found]
    import numpy as np
    import simplejpeg
    from PIL import Image

    def decode(given: tuple[str, int]) -> Any:
        content = Path(given[0]).read_bytes()
        pixels = Image.fromarray(simplejpeg.decode_jpeg(content)).resize(
            (SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR
        )
        return np.asarray(pixels, np.float32) / 127.5 - 1

    options = grain.ReadOptions(num_threads=2 * len(os.sched_getaffinity(0)))
    batches = grain.MapDataset.source(images).map(decode).batch(BATCH).to_iter_dataset(options)
    return sum(len(batch) for batch in batches)


PEERS: dict[str, Callable[[list[tuple[str, int]], Path], int]] = {
    "bare loop": lambda images, out: on_all_cores(decode_chunk, images, out),
    "tf.io": write_tf_io,
    "webdataset": write_webdataset,
    "tfds": write_tfds,
    "img2dataset": lambda images, out: on_all_cores(resize_chunk, images, out),
    "grain": read_grain,
}
# What each needs imported before its time counts.
_IMPORTS = {
    "bare loop": "simplejpeg",
    "tf.io": "tensorflow",
    "webdataset": "webdataset",
    "tfds": "tensorflow_datasets",
    "img2dataset": "img2dataset.resizer",
    "grain": "grain",
}


def main() -> None:
    """Run one and print its seconds."""
    name, source, out = sys.argv[1:]
    __import__(_IMPORTS[name])
    images = list_images(Path(source))
    began = time.monotonic()
    done = PEERS[name](images, Path(out))
    seconds = time.monotonic() - began
    if done < 0.99 * len(images) or not images:
        raise SystemExit(f"{name}: {done} of {len(images)} images")
    print(seconds)


if __name__ == "__main__":
    main()
