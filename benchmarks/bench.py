"""Throughput, side by side in one run: medians of several rounds, and their ratios.

    python benchmarks/bench.py        (`make bench`)

1. Ingest of photos with one worker and with two.
2. The Trainer's input: photos decoded anew through the Transform graph, against reading back the pixels that
   Transform would have materialised (gzipped TFRecord, as TFX writes them).

Needs the real image sets: MIRANTE_TEST_DATA (default ../shared/data).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
ROUNDS = 5
PHOTOS = 600


def compare(what: str, images: int, candidates: dict[str, Callable[[], object]]) -> None:
    """Times every candidate in turn, `ROUNDS` times, and prints images/s and the ratio to the first one."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, candidate in candidates.items():
            began = time.monotonic()
            candidate()
            seconds[name].append(time.monotonic() - began)
    first = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"{what}: {name:34}{images / median:8.0f} images/s (median of {ROUNDS}; "
            f"{images / max(values):.0f} to {images / min(values):.0f}), ratio {first / median:.2f}",
            flush=True,
        )


def bench_ingest(folder: Path) -> None:
    """Cats and dogs, 1,500 photos of about 500 px."""
    from components.ingest import IngestConfig, ingest

    source = DATA / "cats_vs_dogs"

    def with_workers(workers: int) -> None:
        options = IngestConfig(workers=workers)
        ingest("folder", source, folder / f"workers-{workers}", options, force=True)

    compare("ingest", 1500, {"1 worker": lambda: with_workers(1), "2 workers": lambda: with_workers(2)})


def bench_materialize(folder: Path) -> None:
    """The first 600 photos of train, at 224 px."""
    import tensorflow as tf

    from components.transform.config import TransformConfig
    from components.transform.pixels import decode, normalize, resize
    from schemas import features

    config = TransformConfig(normalization="minus_one_one")
    shards = sorted(str(path) for path in (folder / "workers-1").glob("train-*-of-*"))
    records = folder / "photos.tfrecord"
    with tf.io.TFRecordWriter(str(records)) as writer:
        for record in tf.data.TFRecordDataset(shards).take(PHOTOS):
            writer.write(record.numpy())

    def pixels(serialized: tf.Tensor) -> tf.Tensor:
        encoded = tf.io.parse_single_example(
            serialized, {features.ENCODED: tf.io.FixedLenFeature([], tf.string)}
        )[features.ENCODED]
        return normalize(resize(decode(encoded, 3), config)[tf.newaxis], config)[0]

    materialized = folder / "pixels.tfrecord.gz"
    with tf.io.TFRecordWriter(str(materialized), "GZIP") as gzip_writer:
        for image in tf.data.TFRecordDataset(str(records)).map(pixels):
            values = tf.train.FloatList(value=image.numpy().ravel())
            feature = {"image": tf.train.Feature(float_list=values)}
            gzip_writer.write(
                tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            )
    sizes = records.stat().st_size / PHOTOS, materialized.stat().st_size / PHOTOS
    print(f"input: an encoded photo takes {sizes[0] / 1e3:.0f} kB, its pixels {sizes[1] / 1e3:.0f} kB")

    def read_pixels(serialized: tf.Tensor) -> tf.Tensor:
        spec = {"image": tf.io.FixedLenFeature([config.height_px, config.width_px, 3], tf.float32)}
        return tf.io.parse_single_example(serialized, spec)["image"]

    def drain(path: Path, compression: str, function: Callable[[tf.Tensor], tf.Tensor]) -> None:
        dataset = tf.data.TFRecordDataset(str(path), compression)
        for _ in dataset.map(function, tf.data.AUTOTUNE).batch(32).prefetch(tf.data.AUTOTUNE):
            pass

    compare(
        "input",
        PHOTOS,
        {
            "materialised pixels read back": lambda: drain(materialized, "GZIP", read_pixels),
            "photos decoded anew": lambda: drain(records, "", pixels),
        },
    )


if __name__ == "__main__":
    if not (DATA / "cats_vs_dogs").is_dir():
        sys.exit(f"{DATA}: no cats_vs_dogs there: set MIRANTE_TEST_DATA to the folder of the real image sets")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory(prefix="mirante-bench-") as name:
        bench_ingest(Path(name))
        bench_materialize(Path(name))
