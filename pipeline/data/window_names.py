"""Names of images in a window of spans: each is relative to its span, so two spans may have the same.

If any two do, all records of the window have the names that its lists have (`rejects.csv` and so on):
relative to the folder of all spans. Pages and lists of an evaluation find an image by its name.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.ingest.manifest import Manifest

_DIGEST_BYTES = 8


class SpanNames:
    """The names of all images of several spans, 8 bytes each."""

    def __init__(self) -> None:
        self._of_span: defaultdict[int, array[int]] = defaultdict(lambda: array("Q"))

    def add(self, span: int, name: bytes) -> None:
        """Note the name of an image."""
        digest = hashlib.blake2b(name, digest_size=_DIGEST_BYTES).digest()
        self._of_span[span].append(int.from_bytes(digest, "big"))

    def are_shared(self) -> bool:
        """Return whether two spans have an image of one name."""
        known = [np.unique(np.frombuffer(digests, np.uint64)) for digests in self._of_span.values()]
        return bool(known) and len(np.unique(np.concatenate(known))) < sum(map(len, known))


def find_prefixes(spans: Sequence[Path], manifests: Sequence[Manifest], joined_input: str) -> list[str]:
    """Return what makes a span's paths those of the window, for each span.

    With several spans none is the beginning of another one, so no path of one span becomes that of another.

    Args:
        spans: The folders of the spans.
        manifests: Theirs.
        joined_input: The folder of all inputs; empty if there is none.
    """
    inputs = [_below(manifest.input, joined_input) for manifest in manifests] if joined_input else []
    # Where they were ingested from one folder in turn, or one in another, their own folders.
    common = os.path.commonpath([span.parent for span in spans])
    folders = [_below(str(span), common) for span in spans]
    numbers = [f"{number}/" for number in range(1, len(spans) + 1)]
    return next(found for found in (inputs, folders, numbers) if found and _are_apart(found))


def _below(path: str, folder: str) -> str:
    within = os.path.relpath(path, folder)
    return "" if within == os.curdir else f"{within}/"


def _are_apart(prefixes: Sequence[str]) -> bool:
    """Return whether no prefix is the beginning of another one, or its equal."""
    return not any(after.startswith(before) for before, after in itertools.pairwise(sorted(prefixes)))
