"""Files of images to ask a model about: found by their names, and identified by their contents."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.base import files
from components.base.content import FileDigests
from components.base.paths import is_remote
from components.ingest.left_out import no_image_reason
from components.prediction.asked import asked_images


def list_inputs(source: str) -> list[str]:
    """Return the paths of the TFRecord files of a source if there are any, else those of images, by names.

    Args:
        source: A folder or bucket of images, a folder or bucket of TFRecord files, or one file.
    """
    if is_remote(source):
        found = files.list_below(source) or ([source] if files.exists(source) else [])
    elif os.path.isdir(source):
        found = files.list_below(source)
    else:
        found = [source] if os.path.exists(source) else []
    if records := [path for path in found if is_records(path)]:
        return records
    if is_remote(source):
        return [path for path in found if not no_image_reason(path.rpartition("/")[2])]
    asked = [os.fsdecode(image.path) for image in asked_images([source])] if found else []
    return [path for path in asked if not os.path.isdir(path)]


def is_records(path: str) -> bool:
    """Return whether the name of a file is that of a TFRecord file."""
    name = os.path.basename(path)
    return "tfrecord" in name and bool(no_image_reason(name))


def digest_input(source: str, memory: Path | None = None) -> str | None:
    """Return a SHA-256 that changes with the input; None if there are no images.

    The content of each file counts; of a file in a bucket its size and time.

    Args:
        source: As for `list_inputs`.
        memory: Keeps the digests of files, as for `FileDigests`.
    """
    paths = list_inputs(source)
    if not paths:
        return None
    facts: Sequence[Any]
    if is_remote(source):
        facts = files.stamp(paths)
    else:
        digests = FileDigests(memory)
        facts = [digests.of(Path(path)) if os.path.isfile(path) else None for path in paths]
        digests.save()
    return hashlib.sha256(json.dumps([paths, facts]).encode()).hexdigest()
