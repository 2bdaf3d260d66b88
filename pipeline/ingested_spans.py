"""What is kept from span to span: one ingested folder."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

from components.spans import Span

_PATTERN, _VERSION = "span-{SPAN}", "-version-{VERSION}"
_INGESTED = re.compile(r"span-[0-9]+(-version-[0-9]+)?")


def ingested_as(span: Span, folder: Path) -> Span:
    """The span as it lies below `folder` once it is ingested."""
    pattern = _PATTERN if span.version is None else _PATTERN + _VERSION
    return dataclasses.replace(span, base=str(folder), pattern=pattern)


def remove_others(folder: Path, kept: Path | None) -> None:
    """Removes the ingested spans but one: the disk would fill up, and they can be made again."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path != kept and is_ingested_span(path.name):
                shutil.rmtree(path)


def is_ingested_span(name: str) -> bool:
    """Whether a folder of that name, below the ingested data, is one of a span."""
    return _INGESTED.fullmatch(name) is not None
