"""Plans the split, shard and place in it of every image, from the hashes of the sources alone.

The records of a shard are in the order of their hashes, a shuffle that is the same everywhere. A shard's
fingerprint is over everything that decides its bytes: equal fingerprints, equal files.
"""

import dataclasses
import functools
import hashlib
import itertools
import json

from components.base.code import code_digest
from components.ingest.carve import assign_splits
from components.ingest.config import IngestConfig
from components.ingest.index import Index
from components.ingest.manifest import FORMAT_VERSION
from components.ingest.splits import shard_of
from components.ingest.truth import Truth
from components.ingest.units import Copies
from schemas import features

# TensorFlow's guides advise 100 to 200 MB a shard: large enough to be read in one go, small enough to be
# shared out.
_SHARD_BYTES = 128 << 20
# Names of shards have five digits.
_MOST_SHARDS = 99_999


@dataclasses.dataclass(frozen=True)
class PlannedShard:
    """A shard that is to be written.

    Attributes:
        split, number: Which shard.
        name: Its file.
        records: Planned ones; those that do not decode will be missing in the file.
        fingerprint: Of everything that decides its bytes.
    """

    split: str
    number: int
    name: str
    records: int
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """The shards that an ingest writes.

    Attributes:
        truth: Which kind the records have.
        class_names: In the order of their labels.
        shards: By split, in order.
        cross_split_duplicates: Different images in two splits or more.
        label_conflicts: Different images with two truths or more.
        copies: Copies of originals, apart from equal bytes.
        bit_depth: The rule that images are stored by, one of components.ingest.bit_depth.RULES.
        small_classes: How many images have the classes that have fewer than there are splits; what belongs
            together counts once.
    """

    truth: type[Truth]
    class_names: list[str]
    shards: list[PlannedShard]
    cross_split_duplicates: int
    label_conflicts: int
    copies: Copies
    bit_depth: str
    small_classes: dict[str, int] = dataclasses.field(default_factory=dict)


@functools.cache
def reader_code() -> str:
    """Return the digest of the code that ingests and the libraries that decode."""
    return code_digest("components.ingest.run")


def count_shards(size_bytes: int) -> int:
    """Return the number of shards for images of this many bytes; from 12.8 TB on they are larger."""
    return min(_MOST_SHARDS, max(1, -(-size_bytes // _SHARD_BYTES)))


def make_plan(index: Index, config: IngestConfig, code: str) -> Plan:
    """Write split and shard of every item into the index; every item has its hash, `bit_depth` its number.

    Args:
        index: The items.
        config: The options.
        code: `reader_code()`, by which a former ingest's shards are known; "" if none is written.
    """
    db = index.db
    copies, small_classes = assign_splits(index, config.splits)
    sizes = dict(db.execute("SELECT split, sum(size) FROM items GROUP BY split"))
    counts = {split: config.shards or count_shards(size) for split, size in sizes.items()}
    db.create_function(
        "shard_of", 2, lambda digest, split: shard_of(digest, counts[split]), deterministic=True
    )
    db.execute("UPDATE items SET shard = shard_of(hash, split)")
    db.execute(f"CREATE INDEX items_by_shard ON items (split, shard, hash, path, {index.truth.order})")
    db.commit()

    class_names = index.class_names()
    return Plan(
        index.truth,
        class_names,
        _plan_shards(index, config, code, counts, class_names),
        _count_hashes_with_several(index, "split"),
        _count_hashes_with_several(index, "truth"),
        copies,
        config.bit_depth,
        {name: small_classes[name] for name in class_names if name in small_classes},
    )


def _plan_shards(
    index: Index, config: IngestConfig, code: str, counts: dict[str, int], class_names: list[str]
) -> list[PlannedShard]:
    label_index = {name: number for number, name in enumerate(class_names)}
    settings = json.dumps(
        [FORMAT_VERSION, code, config.resize_px, config.max_pixels, config.bit_depth]
    ).encode()
    found: dict[tuple[str, int], tuple[int, str]] = {}
    rows = index.db.execute(
        "SELECT split, shard, hash, path, truth FROM items "
        f"ORDER BY split, shard, hash, path, {index.truth.order}"
    )
    for key, group in itertools.groupby(rows, key=lambda row: (row[0], row[1])):
        digest, records = hashlib.sha256(settings), 0
        for _, _, source_sha256, path, text in group:
            labels = [label_index[name] for name in index.truth.from_text(text).classes]
            digest.update(json.dumps([source_sha256.hex(), path, labels, text]).encode())
            records += 1
        found[key] = records, digest.hexdigest()
    nothing = 0, hashlib.sha256(settings).hexdigest()
    return [
        PlannedShard(
            split,
            number,
            f"{split}-{number:05d}-of-{counts[split]:05d}",
            *found.get((split, number), nothing),
        )
        for split in features.SPLITS
        for number in range(counts.get(split, 0))
    ]


def _count_hashes_with_several(index: Index, column: str) -> int:
    """Return how many different images have more than one value in the column."""
    (count,) = index.db.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM items GROUP BY hash HAVING min({column}) < max({column}))"
    ).fetchone()
    return int(count)
