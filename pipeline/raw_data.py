"""What the task Ingest reads and leaves where data or the pipeline root are in a bucket."""

from __future__ import annotations

from pathlib import Path

from components.config import DataConfig
from components.ingest.sources import source_named
from components.spans import find_span, is_pattern, parted
from pipeline.ingested_spans import is_ingested_span
from pipeline.mirror import Mirror


def fetch_raw(mirror: Mirror, config: DataConfig) -> None:
    """Fetches what `data.path` and `data.label_map` name; local paths.

    Of a path with placeholders that is the span that is taken; of a list, also what lies beside it.

    Raises:
        UsageError: There is no such span.
    """
    if config.label_map is not None:
        mirror.fetch(config.label_map)
    path = config.path
    if path is None or not mirror.copies(path):
        return
    if is_pattern(path):
        base, pattern = parted(path)
        mirror.sketch(base, pattern.count("/") + 1)
        path = find_span(path, config.span).path
    source = source_named(config.source)
    if Path(path).suffix.lower() in source.suffixes:
        path = str(source.root_of(Path(path)))
    mirror.fetch(path)


def leave_ingested(mirror: Mirror, folder: Path, root: Path) -> None:
    """Sends what was ingested to a folder below the root, and removes the spans that it replaces."""
    mirror.replace(str(folder))
    data = root / "data"
    for name in {name.partition("/")[0] for name in mirror.names(str(data))}:
        if is_ingested_span(name) and data / name != folder:
            mirror.remove(str(data / name))
