"""What the task Ingest reads and leaves where data, weights or the pipeline root are in a bucket."""

import os
from pathlib import Path
from typing import Any

from components.base.errors import UsageError
from components.base.owned import MARK, is_marked, root_id
from components.base.paths import is_remote
from components.ingest.config import IngestConfig
from components.ingest.sources import source_named
from components.ingest.spans import find_span, is_pattern, list_places, split_path
from pipeline.data.spans import is_ingested_span
from pipeline.recipe.paths import find_files
from pipeline.storage.mirror import Mirror


def take_weights(values: dict[str, Any], mirror: Mirror) -> list[str]:
    """Put local paths in place of buckets' addresses, and fetches the weights among them.

    Returns:
        The local paths of those, for the tasks that train.
    """
    weights: list[str] = []
    for found in find_files(values):
        if not is_remote(found.value):
            continue
        try:
            path = found.section[found.name] = mirror.local(found.value)
        except UsageError as e:
            raise UsageError(f"{found.key}: {e}") from e
        if found.mark.makes_model:
            weights += _fetch_weights(path, mirror)
    return weights


def _fetch_weights(path: str, mirror: Mirror) -> list[str]:
    """Fetch a file, a folder, or the files of a TensorFlow checkpoint, whose prefix is neither."""
    mirror.fetch(path)
    if os.path.exists(path):
        return [path]
    folder, prefix = os.path.split(path)
    parts = [os.path.join(folder, name) for name in mirror.names(folder) if name.startswith(f"{prefix}.")]
    for part in parts:
        mirror.fetch(part)
    return parts


def fetch_raw(mirror: Mirror, config: IngestConfig) -> None:
    """Fetch what `data.path`, `data.label_map` and `data.images` name; local paths.

    For a path with placeholders that is the span that is taken; for a list, the files next to it too.

    Raises:
        UsageError: There is no such span.
    """
    for named in filter(None, (config.label_map, config.images)):
        mirror.fetch(named, exact=True)
    path = config.path
    if path is None or not mirror.copies(path):
        return
    if is_pattern(path):
        base, pattern = split_path(path)
        mirror.sketch(base, pattern.count("/") + 1, list_places(path))
        path = find_span(path, config.span).path
    source = source_named(config.source)
    if source.reads_itself(Path(path)):
        path = str(source.root_of(Path(path)))
    mirror.fetch(path, exact=True)


def leave_ingested(mirror: Mirror, folder: Path, root: Path) -> None:
    """Send what was ingested to a folder below the root, and removes the spans that it replaces."""
    mirror.replace(str(folder))
    data = root / "data"
    for name in {name.partition("/")[0] for name in mirror.names(str(data))}:
        if is_ingested_span(name) and data / name != folder:
            mirror.fetch(str(data / name / MARK))
            if is_marked(data / name, root_id(root)):
                mirror.remove(str(data / name))
