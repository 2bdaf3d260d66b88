"""What is kept from span to span: the ingested folders of those in use."""

import dataclasses
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from components.base.owned import is_marked
from components.ingest.spans import Span
from pipeline.data.window import WINDOW

_PATTERN, _VERSION = "span-{SPAN}", "-version-{VERSION}"
_INGESTED = re.compile(rf"span-[0-9]+(-version-[0-9]+)?|{WINDOW}")


def ingested_as(span: Span, folder: Path) -> Span:
    """Return the span as it is below `folder` once it is ingested."""
    pattern = _PATTERN if span.version is None else _PATTERN + _VERSION
    return dataclasses.replace(span, base=str(folder), pattern=pattern)


def remove_others(folder: Path, kept: Collection[Path], owner: str) -> None:
    """Remove the ingested spans but some: otherwise the disk becomes full, and they can be made again.

    Args:
        folder: Where a root's spans are.
        kept: Those to keep.
        owner: The root's id; what does not have its mark was put there by somebody else, and stays.
    """
    if folder.is_dir():
        for path in folder.iterdir():
            if path not in kept and is_ingested_span(path.name) and is_marked(path, owner):
                shutil.rmtree(path)


def is_ingested_span(name: str) -> bool:
    """Return whether a folder of that name, below the ingested data, is one of a span or of a window."""
    return _INGESTED.fullmatch(name) is not None
