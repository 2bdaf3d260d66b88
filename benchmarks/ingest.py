"""Ingest and the Trainer's input of photos, against a bare loop, tools of others, and pixels kept on disk.

    python -m benchmarks.ingest [--rounds N]

Each candidate works in turn, in several rounds, on 1,500 photos of cats and dogs of about 500 px:

1. Ingest with one worker and on all cores, against a bare loop that decodes, hashes and writes, and
   against writers of others, which decode nothing and check nothing (benchmarks/peers.py).
2. Ingest that scales photos to 224 px, against img2dataset's resizer.
3. The Trainer's input: 600 photos decoded anew through the Transform graph, against reading back the pixels
   that Transform would have materialised (gzipped TFRecord, as TFX writes them), and against grain.

Needs the real image sets (MIRANTE_TEST_DATA, default ../shared/data) and `make bench-peers`; a peer that does
not run has a row that says so.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import Row, format_table, note_row

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
PEERS = Path(os.environ.get("MIRANTE_BENCH_PEERS") or REPOSITORY / ".bench-peers")
SOURCE = DATA / "cats_vs_dogs"
PHOTOS = 1500
READ = 600
SIDE_PX = 224
# Goals: two workers by one, ingest by the bare loop, scaling by the fastest peer.
TWO_WORKERS, BARE_LOOP, RESIZER = 1.9, 0.85, 1.0
_PEER_SECS = 300
# What a peer does less than Mirante, for the table.
_SHOWN = {name: f"{name}, decodes nothing" for name in ("tf.io", "webdataset", "tfds")}
Candidate = Callable[[], float]


def take_turns(candidates: dict[str, Candidate], images: int, rounds: int) -> dict[str, list[float] | str]:
    """Return the images/s of each candidate in each round; of one that failed the reason."""
    found: dict[str, list[float] | str] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, candidate in candidates.items():
            rates = found[name]
            if isinstance(rates, str):
                continue
            try:
                secs = candidate()
            except Exception as e:  # noqa: BLE001 - whatever it is, the row says it
                found[name] = (str(e).strip().splitlines() or [type(e).__name__])[-1]
                continue
            if number:  # the first round warms up
                rates.append(images / secs)
    return found


def compare(what: str, ours: str, goals: dict[str, float | None], found: dict[str, Any]) -> None:
    """Note and print a row for each peer, with its goal."""
    for peer, goal in goals.items():
        failed = "; ".join(f"{name}: {found[name]}" for name in (ours, peer) if isinstance(found[name], str))
        values = ((), ()) if failed else (found[ours], found[peer])
        row = Row(
            f"{what}, {ours}", "images/s", values[0], _SHOWN.get(peer, peer), values[1], goal, True, failed
        )
        note_row(row)
        print(format_table({"ingest": [row]}).splitlines()[-1], flush=True)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def run_peer(name: str) -> float:
    """Return the seconds that a program of others takes."""
    with tempfile.TemporaryDirectory() as out:
        command = [str(PEERS / "bin" / "python"), str(REPOSITORY / "benchmarks" / "peers.py"), name]
        done = subprocess.run(
            [*command, str(SOURCE), out],
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=_PEER_SECS,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout.split()[-1])


def ingest_photos(folder: Path, **options: Any) -> float:
    """Return the seconds of an ingest from scratch."""
    from components.ingest import IngestConfig, ingest

    return timed(lambda: ingest("folder", SOURCE, folder, IngestConfig(**options), force=True))


def bench_ingest(folder: Path, rounds: int) -> None:
    """Copy the photos with validation."""
    cores = len(os.sched_getaffinity(0))
    peers = ("bare loop", "tf.io", "webdataset", "tfds")
    candidates: dict[str, Candidate] = {
        "1 worker": lambda: ingest_photos(folder / "one", workers=1),
        "all cores": lambda: ingest_photos(folder / "all", workers=cores),
        **{name: functools.partial(run_peer, name) for name in peers},
    }
    found = take_turns(candidates, PHOTOS, rounds)
    # With more than two cores the goal for two workers says little.
    goals = {"1 worker": TWO_WORKERS if cores == 2 else None, "bare loop": BARE_LOOP}
    compare("copy with checks", "all cores", {**goals, **dict.fromkeys(peers[1:])}, found)


def bench_resize(folder: Path, rounds: int) -> None:
    """Scale the photos."""
    candidates: dict[str, Candidate] = {
        "all cores": lambda: ingest_photos(folder / "scaled", resize_px=SIDE_PX),
        "img2dataset": lambda: run_peer("img2dataset"),
    }
    found = take_turns(candidates, PHOTOS, rounds)
    compare(f"to {SIDE_PX} px", "all cores", {"img2dataset": RESIZER}, found)


def bench_input(folder: Path, rounds: int) -> None:
    """Read the first photos of train, at 224 px."""
    import tensorflow as tf

    from components.transform.config import TransformConfig
    from components.transform.pixels import decode, normalize, resize
    from schemas import features

    config = TransformConfig(normalization="minus_one_one")
    shards = sorted(str(path) for path in (folder / "one").glob("train-*-of-*"))
    records = folder / "photos.tfrecord"
    with tf.io.TFRecordWriter(str(records)) as writer:
        for record in tf.data.TFRecordDataset(shards).take(READ):
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
    sizes = records.stat().st_size / READ, materialized.stat().st_size / READ
    print(f"input: an encoded photo takes {sizes[0] / 1e3:.0f} kB, its pixels {sizes[1] / 1e3:.0f} kB")

    def read_pixels(serialized: tf.Tensor) -> tf.Tensor:
        spec = {"image": tf.io.FixedLenFeature([config.height_px, config.width_px, 3], tf.float32)}
        return tf.io.parse_single_example(serialized, spec)["image"]

    def drain(path: Path, compression: str, function: Callable[[tf.Tensor], tf.Tensor]) -> None:
        dataset = tf.data.TFRecordDataset(str(path), compression)
        for _ in dataset.map(function, tf.data.AUTOTUNE).batch(32).prefetch(tf.data.AUTOTUNE):
            pass

    candidates: dict[str, Candidate] = {
        "decoded anew": lambda: timed(lambda: drain(records, "", pixels)),
        "pixels read back": lambda: timed(lambda: drain(materialized, "GZIP", read_pixels)),
        "grain": lambda: run_peer("grain") * READ / PHOTOS,
    }
    found = take_turns(candidates, READ, rounds)
    compare("input of a training", "decoded anew", {"pixels read back": None, "grain": None}, found)


def main(argv: Sequence[str]) -> int:
    """Run all three."""
    parser = argparse.ArgumentParser(description="Ingest and input of photos, against what others do.")
    parser.add_argument("--rounds", type=int, default=5, help="medians are compared")
    rounds = parser.parse_args(argv).rounds
    if not SOURCE.is_dir():
        print(f"{DATA}: no cats_vs_dogs there: set MIRANTE_TEST_DATA", file=sys.stderr)
        return 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory(prefix="mirante-bench-") as name:
        bench_ingest(Path(name), rounds)
        bench_resize(Path(name), rounds)
        bench_input(Path(name), rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
