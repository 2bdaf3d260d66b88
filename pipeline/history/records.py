"""Finds the records that a pushed model was trained and judged on. Imports no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from components.base import files
from components.base.errors import UsageError
from components.ingest.staging import SHARD_NAME
from pipeline.history.runs import PastRun, list_runs
from schemas import features

_EXAMPLES = ("ImportExampleGen", "examples")


def find_records(model: Path, data: str | None = None) -> dict[str, list[str]]:
    """Return the files of records by split, of the splits train and test; empty lists if there are none.

    Args:
        model: The folder of a pushed version.
        data: A folder of records, as `mirante ingest` or ImportExampleGen writes them; the run's that pushed
            the model when None.

    Raises:
        UsageError: There are no records in `data`.
    """
    splits = (features.TRAIN, features.TEST)
    if data is None:
        run = _find_run(model)
        node, key = _EXAMPLES
        output = run.outputs.get(node, {}).get(key) if run else None
        return {split: _list_split(output.uri, split) if output else [] for split in splits}
    found = {split: _list_split(data, split) for split in splits}
    if not any(found.values()):
        raise UsageError(
            f"--data {data}: expected a folder of records with the splits {' and '.join(splits)}, as "
            "`mirante ingest` writes it, got none"
        )
    return found


def _find_run(model: Path) -> PastRun | None:
    """Return the newest run that pushed a version, where its root is above the version."""
    folder = model.resolve()
    for root in folder.parents[:3]:
        try:
            runs: Sequence[PastRun] = list_runs([str(root)])
        except UsageError:
            continue
        for run in reversed(runs):
            if run.pushed_model and Path(run.pushed_model).resolve() == folder:
                return run
    return None


def _list_split(folder: str, split: str) -> list[str]:
    inner = f"{folder}/Split-{split}"
    if found := files.list_below(inner):
        return found
    matches = ((name, re.fullmatch(SHARD_NAME, name)) for name in files.list_names(folder))
    return [f"{folder}/{name}" for name, match in matches if match and name.startswith(f"{split}-")]
