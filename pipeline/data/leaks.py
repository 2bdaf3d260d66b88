"""Images that one span of a window is trained on, and another one judged by.

A hash of an image's bytes decides its split, so most images are in one split in all spans. It does not decide
where spans bring their own splits, where a class has few images, which stay in train, and where ingest keeps
near copies or a group of images together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.base.words import format_count
from components.ingest.manifest import LEFT_OUT, Manifest
from components.ingest.truth import TRUTHS
from pipeline.data.window_names import SpanNames
from schemas import features

_SEVERAL = -1


class Leak(NamedTuple):
    """A record that a window leaves out.

    Attributes:
        filename: As the record has it.
        classes: The class of the image, its classes, or that of each box.
        split: The split of the record.
        other: The later split that another span has the image in.
    """

    filename: str
    classes: list[str]
    split: str
    other: str


# By shard, and number of the record in it.
Leaks = Mapping[Path, Mapping[int, Leak]]


def find_leaks(spans: Sequence[Path], manifests: Sequence[Manifest], names: SpanNames) -> Leaks:
    """Return the records of images that another span has in a later split: test, or eval for those in train.

    Every record is read, unless there is one span alone. What is in several splits of one span stays: the
    ingest of that span has warned about it.

    Args:
        spans: The folders of the spans.
        manifests: Theirs.
        names: Gets the names of the images that stay.

    Raises:
        DataRefusedError: A shard is damaged.
    """
    found: dict[Path, dict[int, Leak]] = defaultdict(dict)
    # The span of each image, by split and digest.
    held: dict[str, dict[bytes, int]] = {}
    for split in reversed(features.SPLITS) if len(spans) > 1 else ():
        own: dict[bytes, int] = {}
        for number, (span, manifest) in enumerate(zip(spans, manifests, strict=True)):
            shards = manifest.splits[split].shards if split in manifest.splits else ()
            for path in [span / shard.name for shard in shards]:
                for place, record in enumerate(read_records(path)):
                    values = parse_example(record)
                    digest = bytes.fromhex(values[features.SHA256][0].decode())
                    others = (later for later in held if held[later].get(digest, number) != number)
                    filename = b"".join(values.get(features.FILENAME, ())[:1])
                    if other := next(others, None):
                        classes = [name.decode() for name in values.get(TRUTHS[manifest.task].text, ())]
                        found[path][place] = Leak(filename.decode(), classes, split, other)
                        continue
                    if filename:
                        names.add(number, filename)
                    if split != features.TRAIN:
                        own[digest] = number if own.get(digest, number) == number else _SEVERAL
        held[split] = own
    return found


def about_leaks(leaks: Leaks) -> list[str]:
    """Return a sentence about all of them; none where there is nothing to tell."""
    count = sum(map(len, leaks.values()))
    if not count:
        return []
    them = "it" if count == 1 else "them"
    return [
        f"{format_count(count, 'image is', 'images are')} left out of train or eval, because another span of "
        f"the window has {them} in eval or test; {LEFT_OUT} of the window lists {them}."
    ]
