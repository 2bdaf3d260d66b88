"""What is kept from span to span: one ingested folder, and the classes that the pushed model knows."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from components.errors import DataRefusedError
from components.spans import Span
from pipeline.views import files

_PATTERN, _VERSION = "span-{SPAN}", "-version-{VERSION}"
_INGESTED = re.compile(r"span-[0-9]+(-version-[0-9]+)?")
# What every pushed model has; components.trainer.export, which would import TensorFlow, writes it.
_LABELS = "assets.extra/labels.txt"
_FEW = 5


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


def served_classes(push_destination: str) -> tuple[str, list[str]] | None:
    """The model that is served from there, and the classes that it knows; None where there is none."""
    versions = [int(name) for name in files.names_in(push_destination) if name.isdigit()]
    if not versions:
        return None
    model = f"{push_destination}/{max(versions)}"
    labels = f"{model}/{_LABELS}"
    return (model, files.read_text(labels).splitlines()) if files.exists(labels) else None


def compare_classes(
    what: str, classes: Sequence[str], served: tuple[str, Sequence[str]] | None, retired: Collection[str]
) -> str | None:
    """Holds the classes of a span against those of the model that is served.

    Args:
        what: Names the span.
        classes: Those of the span.
        served: From `served_classes`.
        retired: Those that may be missing.

    Returns:
        A warning, if the span has new ones.

    Raises:
        DataRefusedError: It has not all of them.
    """
    if served is None:
        return None
    model, known = served
    lost = [name for name in known if name not in classes and name not in retired]
    if lost:
        raise DataRefusedError(
            f"{what}: {len(lost)} of the {len(known)} classes that the pushed model knows ({model}) have no "
            f"image in it: {_shown(lost)}. The next model would not know them any more. Add images of them "
            "to the span, or give them up: data.retired_classes names those that may be missing"
        )
    if list(known) == list(classes):
        return None
    changed = [f"new: {_shown(new)}"] if (new := [name for name in classes if name not in known]) else []
    changed += (
        [f"given up: {_shown(gone)}"] if (gone := [name for name in known if name not in classes]) else []
    )
    return (
        f"the classes are not those of the pushed model ({'; '.join(changed) or 'another order'}): the next "
        "one cannot be compared with it, the thresholds alone decide"
    )


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {more} more" if more > 0 else "")
