"""A reader for the fuzz tests: a sound input, how it is changed, and how it is read."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from components.ingest import IngestConfig, ingest, run
from tests.fuzz.mutate import change, change_text
from tests.make.workers import InlinePool

Files = dict[str, bytes]
Change = Callable[[Random, Files], Files]
Read = Callable[[Path, Path], None]


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        files: A sound input: content by path.
        read: Reads the folder with the changed files; its second argument is a folder for what it writes.
        change: Returns changed files; `any_file` where nothing is known of the format.
    """

    files: Files
    read: Read
    change: Change


def of_source(source: str, given: str = "", **options: Any) -> Read:
    """Return what ingests a folder, or a file in it, with this source, and adds up the counts."""

    def read(folder: Path, output: Path) -> None:
        with (
            mock.patch.object(run, "WorkerPool", InlinePool),
            mock.patch.object(os, "fsync", return_value=None),
        ):
            given_files = {name: folder / value for name, value in options.items()}
            result = ingest(
                source,
                folder / given,
                output,
                IngestConfig(workers=1, max_reject_share=1.0, max_pixels=1_000_000, **given_files),
            )
        manifest = json.loads((output / "manifest.json").read_text())
        images = sum(split.images for split in result.splits.values())
        assert images == sum(shard["records"] for s in manifest["splits"].values() for shard in s["shards"])

    return read


def any_file(random: Random, files: Files) -> Files:
    """Changes one of the files."""
    path = random.choice(sorted(files))
    return {**files, path: change(random, files[path])}


def only(*paths: str, text: bool = False, head_bytes: int | None = None) -> Change:
    """Return what changes one of these files; text: as text, every other time."""

    def change_one(random: Random, files: Files) -> Files:
        path = random.choice(paths)
        if text and random.random() < 0.7:
            return {**files, path: change_text(random, files[path].decode("utf-8", "replace")).encode()}
        return {**files, path: change(random, files[path], head_bytes=head_bytes)}

    return change_one


def image(kind: str, mode: str = "RGB", size: tuple[int, int] = (9, 7), **options: Any) -> bytes:
    """Return an image with some pixels in it."""
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, kind, **options)
    return out.getvalue()
