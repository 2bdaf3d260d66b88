"""The two passes over the data that worker processes make: hash the sources, then write the shards."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from components.base.paths import replace_file
from components.ingest.bit_depth import Depths
from components.ingest.config import IngestConfig
from components.ingest.index import Index
from components.ingest.manifest import Shard
from components.ingest.plan import Plan, PlannedShard
from components.ingest.staging import shard_written, staged_path
from components.ingest.truth.counts import BoxCounts
from components.ingest.work import HashTask, PartResult, PartTask, write_note
from components.ingest.workers import WorkerPool

Progress = Callable[[str, int, int], None]

_HASH_BATCH = 512
# Fewer shards than this for every worker are written in parts, else the last ones keep one core busy and the
# others idle. The parts are put together: the shard's bytes do not depend on how many there were.
_TASKS_PER_WORKER = 6
_MIN_PART_RECORDS = 32
_COPY_BYTES = 1 << 20


def hash_all(index: Index, pool: WorkerPool, progress: Progress) -> None:
    """Give every item of the index its hash; takes out those that cannot be read or are no images."""
    (total,) = index.db.execute("SELECT count(*) FROM items WHERE hash IS NULL").fetchone()
    done = 0

    def batches() -> Iterator[tuple[str, tuple[list[HashTask]]]]:
        last = 0
        while True:
            batch: list[HashTask] = index.db.execute(
                "SELECT id, file, offset, size, shape FROM items WHERE id > ? AND hash IS NULL ORDER BY id "
                "LIMIT ?",
                (last, _HASH_BATCH),
            ).fetchall()
            if not batch:
                return
            last = batch[-1][0]
            yield f"hashing {os.fsdecode(batch[0][1])} and the files after it", (batch,)

    for _, answers in pool.map("components.ingest.work:hash_sources", batches()):
        index.set_hashes([(key, digest) for key, digest, _ in answers if digest is not None])
        for key, digest, reason in answers:
            if digest is None:
                index.drop_item(key, reason)
        index.db.commit()
        done += len(answers)
        progress("hash", done, total)


def look_at_all(index: Index, pool: WorkerPool, progress: Progress, max_pixels: int) -> None:
    """Find copies of one image in several formats, where the files have several."""
    if len(index.formats()) < 2:
        return
    import numpy as np

    from components.ingest.looks import alike

    images = index.db.execute(
        "SELECT hash, min(file) FROM items WHERE offset IS NULL AND shape IS NULL GROUP BY hash ORDER BY hash"
    ).fetchall()
    looks: list[tuple[bytes, bytes]] = []
    done = 0

    def batches() -> Iterator[tuple[str, tuple[list[tuple[bytes, bytes]], int]]]:
        for first in range(0, len(images), _HASH_BATCH):
            batch = images[first : first + _HASH_BATCH]
            yield f"looking at {os.fsdecode(batch[0][1])} and the files after it", (batch, max_pixels)

    for _, answers in pool.map("components.ingest.work:look_at", batches()):
        looks += [(digest, look) for digest, look in answers if look is not None]
        done += len(answers)
        progress("compare", done, len(images))
    if not looks:
        return
    # Workers answer in any order.
    looks.sort()
    pixels = np.frombuffer(b"".join(look for _, look in looks), np.uint8).reshape(len(looks), -1)
    index.set_alike((looks[one][0], looks[other][0]) for one, other in alike(pixels))


def write_all(
    index: Index,
    plan: Plan,
    finished: dict[str, Shard],
    staging: Path,
    config: IngestConfig,
    pool: WorkerPool,
    workers: int,
    progress: Progress,
) -> dict[str, Shard]:
    """Write the plan's shards that are not finished into the staging folder; returns all, by name."""
    pending = [shard for shard in plan.shards if shard.name not in finished]
    total = sum(shard.records for shard in plan.shards)
    done = total - sum(shard.records for shard in pending)
    progress("write", done, total)
    written = dict(finished)
    part_records = _part_records(pending, workers)
    parts_of: dict[str, dict[int, PartResult | None]] = {}
    shard_of_key: dict[str, tuple[PlannedShard, int]] = {}

    def tasks() -> Iterator[tuple[str, tuple[PartTask]]]:
        for shard in pending:
            firsts = range(0, max(1, shard.records), part_records)
            parts_of[shard.name] = dict.fromkeys(firsts)
            for first in firsts:
                target = staged_path(staging, shard)
                key = f"{shard.name}, record {first} and after"
                shard_of_key[key] = shard, first
                yield (
                    key,
                    (
                        PartTask(
                            index=str(index.path),
                            task=plan.truth.task,
                            split=shard.split,
                            shard=shard.number,
                            first=first,
                            count=part_records,
                            target=str(target if len(firsts) == 1 else _part_path(target, first)),
                            class_names=tuple(plan.class_names),
                            max_pixels=config.max_pixels,
                            resize_px=config.resize_px,
                            bit_depth=config.bit_depth,
                        ),
                    ),
                )

    def advance(images: int) -> None:
        nonlocal done
        done += images
        progress("write", done, total)

    for key, result in pool.map("components.ingest.work:write_part", tasks(), advance):
        shard, first = shard_of_key.pop(key)
        parts = parts_of[shard.name]
        parts[first] = result
        complete = [part for part in parts.values() if part is not None]
        if len(complete) == len(parts):
            target = staged_path(staging, shard)
            whole = complete[0] if len(parts) == 1 else _put_together(target, parts)
            written[shard.name] = shard_written(shard, whole)
            del parts_of[shard.name]
    return written


def _part_records(pending: list[PlannedShard], workers: int) -> int:
    """Return how many records a worker writes at a time."""
    largest = max((shard.records for shard in pending), default=1)
    if len(pending) >= _TASKS_PER_WORKER * workers:
        return max(1, largest)
    records = sum(shard.records for shard in pending)
    return max(_MIN_PART_RECORDS, -(-records // (_TASKS_PER_WORKER * workers)))


def _part_path(target: Path, first: int) -> Path:
    return target.with_name(f"{target.name}.part{first:010d}")


def _put_together(target: Path, parts: dict[int, PartResult | None]) -> PartResult:
    """Return one shard of its parts; see components.base.tfrecord: files of records can be concatenated."""
    digest, size, records = hashlib.sha256(), 0, 0
    rejected: list[tuple[str, ...]] = []
    with replace_file(target) as temporary, temporary.open("wb") as out:
        for first, part in parts.items():
            assert part is not None
            path = _part_path(target, first)
            with path.open("rb") as file:
                while data := file.read(_COPY_BYTES):
                    out.write(data)
                    digest.update(data)
            records, size = records + part.records, size + part.bytes
            rejected += part.rejected
            path.unlink()
            Path(f"{path}.json").unlink()
        out.flush()
        os.fsync(out.fileno())
        counted = [
            BoxCounts.from_json(part.boxes) for part in parts.values() if part and part.boxes is not None
        ]
        boxes = dataclasses.asdict(BoxCounts.total(counted)) if counted else None
        depths = Depths.total(Depths(**part.depths) for part in parts.values() if part)
        whole = PartResult(records, size, digest.hexdigest(), rejected, boxes, dataclasses.asdict(depths))
        write_note(target, whole)
    return whole
