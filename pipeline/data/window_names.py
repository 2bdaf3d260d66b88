"""Names of images in a window of spans: each is relative to its span, so two spans may have the same.

Where they do, the window's records have the names that its lists have (`rejects.csv` and so on): relative to
the folder of all spans. Pages and lists of an evaluation find an image by its name.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.base.arrays import Array
from components.ingest.manifest import Manifest

_DIGEST_BYTES = 8
# Of a record without a name, and one that the window leaves out.
_NONE = 0


class SpanNames:
    """The names of all records of several spans, 8 bytes each."""

    def __init__(self) -> None:
        self._of_shard: defaultdict[tuple[int, Path], array[int]] = defaultdict(lambda: array("Q"))

    def add(self, span: int, shard: Path, name: bytes | None) -> None:
        """Note the name of a shard's next record; None for one that is left out, empty for one without."""
        digest = _NONE
        if name:
            digest = int.from_bytes(hashlib.blake2b(name, digest_size=_DIGEST_BYTES).digest(), "big")
        self._of_shard[span, shard].append(digest)

    def find_shared(self) -> dict[Path, Array]:
        """Return which records have a name that another span has: bool [records], for shards with any."""
        of_span: defaultdict[int, list[Array]] = defaultdict(list)
        for (span, _), digests in self._of_shard.items():
            of_span[span].append(np.frombuffer(digests, np.uint64))
        known = [np.unique(np.concatenate(digests)) for digests in of_span.values()]
        names, spans = np.unique(np.concatenate([*known, np.zeros(0, np.uint64)]), return_counts=True)
        shared = names[(spans > 1) & (names != _NONE)]
        found = {
            shard: np.isin(np.frombuffer(digests, np.uint64), shared)
            for (_, shard), digests in self._of_shard.items()
        }
        return {shard: is_shared for shard, is_shared in found.items() if is_shared.any()}


def find_prefixes(spans: Sequence[Path], manifests: Sequence[Manifest], joined_input: str) -> list[str]:
    """Return what makes a span's paths those of the window, for each span.

    Args:
        spans: The folders of the spans.
        manifests: Theirs.
        joined_input: The folder of all inputs; empty if there is none.
    """
    prefixes = [f"{span.name}/" for span in spans]
    if joined_input:
        within = [os.path.relpath(manifest.input, joined_input) for manifest in manifests]
        prefixes = ["" if path == os.curdir else f"{path}/" for path in within]
    if len(set(prefixes)) < len(spans) or (len(spans) > 1 and "" in prefixes):
        # Ingested elsewhere, from one folder in turn, or one in another: their own folders tell them apart.
        common = os.path.commonpath(spans)
        prefixes = [f"{os.path.relpath(span, common)}/" for span in spans]
    return prefixes
