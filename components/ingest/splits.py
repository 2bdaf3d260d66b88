"""Which split an image goes to.

Splits that the data brings win. What the data does not bring (of the splits with a share above 0) is carved
out of `train` by a hash of the source, in the proportion that the shares have to that of `train`:

    missing split m takes share(m) / (share(train) + sum of the shares of all missing splits) of train's
    images

With the default 0.8, 0.1, 0.1, data without splits gives train 80 %, eval 10 %, test 10 %. Data that brings
train and test has eval missing: it takes 0.1 / (0.8 + 0.1) = 1/9 of train.

An image's place depends on its own source bytes alone: copies stay together, and more data moves no image
from one split to another. What belongs together besides copies, and what happens to classes that would have
no image in a split, is in components.ingest.carve.
"""

from collections.abc import Callable, Collection, Mapping

from schemas import features

# People's names for train and test. Names for eval are part of the data contract, in schemas.features.
_SYNONYMS: Mapping[str, str] = {
    features.TRAIN: features.TRAIN,
    "training": features.TRAIN,
    features.EVAL: features.EVAL,
    **dict.fromkeys(features.EVAL_SYNONYMS, features.EVAL),
    features.TEST: features.TEST,
    "testing": features.TEST,
}
_HASH_RANGE = 2**64
# In `split_names`: the name is no split's, though it looks like one.
NO_SPLIT = "none"


def split_named(name: str, split_names: Mapping[str, str]) -> str | None:
    """Return the split that the data calls name (case does not matter), None if name is no split's.

    split_names wins over the usual names; NO_SPLIT there says that the name is no split's.
    """
    wanted = name.strip().lower()
    for own, split in split_names.items():
        if own.strip().lower() == wanted:
            return None if split == NO_SPLIT else split
    return _SYNONYMS.get(wanted)


def missing_splits(shares: Mapping[str, float], brought: Collection[str]) -> list[str]:
    """Return the splits that are wanted and that the data does not bring: they are carved out of train."""
    return [
        split
        for split in (features.EVAL, features.TEST)
        if split not in brought and shares.get(split, 0.0) > 0
    ]


def splitter(shares: Mapping[str, float], brought: Collection[str]) -> Callable[[str | None, bytes], str]:
    """Return a function from (split that the data bring or None, SHA-256 of the source) to the split.

    Args:
        shares: Share of the images by split.
        brought: The splits that the data bring at all. Images without one count as train's.
    """
    missing = missing_splits(shares, brought)
    total = shares.get(features.TRAIN, 0.0) + sum(shares[split] for split in missing)
    bounds: list[tuple[int, str]] = []
    taken = 0.0
    for split in missing:
        taken += shares[split]
        bounds.append((round(taken / total * _HASH_RANGE), split))

    def split_of(brought_split: str | None, source_sha256: bytes) -> str:
        if brought_split not in (None, features.TRAIN):
            assert brought_split is not None
            return brought_split
        place = int.from_bytes(source_sha256[:8], "big")
        for bound, split in bounds:
            if place < bound:
                return split
        return features.TRAIN

    return split_of


def shard_of(source_sha256: bytes, shards: int) -> int:
    """Return the shard, 0 .. shards - 1; from other bits of the hash than the split's."""
    return int.from_bytes(source_sha256[8:16], "big") % shards
