"""The file that ImportSchemaGen reads: the curated schema with the classes of the data."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from components.base.paths import write_atomically
from components.base.task import task_named
from schemas import features
from schemas.curated import curated_schema


def write_schema(class_names: Sequence[str], folder: Path, task: str = features.CLASSIFICATION) -> Path:
    """Write the schema of a task to `folder/<digest of its text>/schema.pbtxt` and return that path.

    TFX caches ImportSchemaGen by the path alone, so another list of classes needs another path.

    Raises:
        UsageError: No task has this name.
        ValueError: The list is empty or names a class twice.
    """
    from google.protobuf import text_format

    text = text_format.MessageToString(curated_schema(task_named(task), class_names), as_utf8=True)
    path = folder / hashlib.sha256(text.encode()).hexdigest()[:16] / "schema.pbtxt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    return path
