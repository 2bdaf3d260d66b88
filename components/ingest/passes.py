"""The passes over the data that worker processes make: examine the images, compare some, write the shards."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from components.base.paths import replace_file
from components.ingest.bit_depth import Depths
from components.ingest.config import IngestConfig
from components.ingest.examine import MIRRORED, CompareTask, ExamineTask, Place, Settings
from components.ingest.index import Index
from components.ingest.manifest import Manifest, Shard, read_inputs
from components.ingest.plan import Plan, PlannedShard
from components.ingest.staging import shard_written, staged_path
from components.ingest.truth.counts import BoxCounts
from components.ingest.work import PartResult, PartTask, write_note
from components.ingest.workers import WorkerPool

Progress = Callable[[str, int, int], None]

# Few, so that all workers end at about the same time.
_EXAMINE_BATCH = 64
_COMPARE_BATCH = 128
# Fewer shards than this for every worker are written in parts, else the last ones keep one core busy and the
# others idle. The parts are put together: the shard's bytes do not depend on how many there were.
_TASKS_PER_WORKER = 6
_MIN_PART_RECORDS = 32
_COPY_BYTES = 1 << 20


def settings_of(config: IngestConfig) -> Settings:
    """Return what an image is examined by."""
    return Settings(config.max_pixels, config.resize_px, config.bit_depth, config.near_copies)


def take_over(
    index: Index, shown_input: str, config: IngestConfig, output: Path, former: Manifest | None, code: str
) -> None:
    """Keep what is remembered of images in the index, and what a former ingest found by the same code."""
    settings = dataclasses.asdict(settings_of(config))
    # Files are known by their paths below this folder.
    images = config.content_settings().get("images")
    index.set_origin(json.dumps([shown_input, images, code, settings]))
    if former is not None and (former.input, former.options.get("images"), former.code) == (
        shown_input,
        images,
        code,
    ):
        # A manifest lacks options that are as usual.
        had = dataclasses.asdict(settings_of(IngestConfig())) | former.options
        if settings.items() <= had.items():
            index.remember(read_inputs(output))


def examine_all(index: Index, pool: WorkerPool, progress: Progress, config: IngestConfig) -> None:
    """Read, hash and check every item of the index; takes out those that cannot be used."""
    (total,) = index.db.execute("SELECT count(*) FROM items WHERE hash IS NULL").fetchone()
    done, settings = 0, settings_of(config)

    def batches() -> Iterator[tuple[str, tuple[list[ExamineTask], Settings]]]:
        last = 0
        while True:
            rows = index.db.execute(
                "SELECT id, file, offset, size, shape FROM items WHERE id > ? AND hash IS NULL ORDER BY id "
                "LIMIT ?",
                (last, _EXAMINE_BATCH),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield (
                f"reading {os.fsdecode(rows[0][1])} and the files after it",
                ([(key, tuple(place)) for key, *place in rows], settings),
            )

    for _, answers in pool.map("components.ingest.examine:examine", batches()):
        index.set_examined([answer for answer in answers if answer.sha256 is not None])
        for answer in answers:
            if answer.sha256 is None:
                index.drop_item(answer.key, answer.reason)
        index.db.commit()
        done += len(answers)
        progress("hash", done, total)


def compare_all(index: Index, pool: WorkerPool, progress: Progress, config: IngestConfig) -> None:
    """Find the images that look the same though their bytes differ."""
    hashes, looks = bytearray(), bytearray()
    for digest, look in index.db.execute(
        "SELECT hash, look FROM items WHERE look IS NOT NULL GROUP BY hash ORDER BY hash"
    ):
        hashes += digest
        looks += look
    if not looks:
        return
    # In a worker, which has numpy already.
    ((_, pairs),) = pool.map(
        "components.ingest.looks:find_candidates", [("comparing looks", (bytes(looks),))]
    )

    def hash_of(number: int) -> bytes:
        return bytes(hashes[32 * number : 32 * number + 32])

    def place_of(number: int) -> Place:
        row: Place = index.db.execute(
            "SELECT file, offset, size, shape FROM items WHERE hash = ? ORDER BY id LIMIT 1",
            (hash_of(number),),
        ).fetchone()
        return row

    def batches() -> Iterator[tuple[str, tuple[list[CompareTask], Settings]]]:
        for first in range(0, len(pairs), _COMPARE_BATCH):
            batch = [
                (number, place_of(pairs[number][0]), place_of(pairs[number][1]), pairs[number][2])
                for number in range(first, min(first + _COMPARE_BATCH, len(pairs)))
            ]
            yield f"comparing {os.fsdecode(batch[0][1][0])} and others", (batch, settings_of(config))

    found: dict[tuple[int, ...], str] = {}
    done = 0
    if pairs:
        index.db.execute("CREATE INDEX items_by_source ON items (hash)")
    for _, answers in pool.map("components.ingest.examine:compare", batches()):
        for number, how in answers:
            if how is not None:
                # A symmetrical image may be alike both ways: then it is not a mirrored one.
                pair = pairs[number][:2]
                found[pair] = how if how != MIRRORED else found.get(pair, how)
        done += len(answers)
        progress("compare", done, len(pairs))
    index.set_alike((hash_of(one), hash_of(other), how) for (one, other), how in sorted(found.items()))


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
                            bit_depth=plan.bit_depth,
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
