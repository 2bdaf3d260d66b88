"""Finds the records that a pushed model was trained and judged on. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
import gzip
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from components.base import files
from components.base.errors import UsageError
from components.base.example import parse_example
from components.base.saved_model import class_names_of, task_of
from components.base.task import task_named
from components.base.tfrecord import iterate_records
from components.base.words import format_some
from components.ingest.manifest import is_manifest, read_manifest
from components.ingest.staging import SHARD_NAME
from components.ingest.truth import TRUTHS, Truth, truth_of
from pipeline.history.runs import PastRun, list_runs
from schemas import features

_EXAMPLES = ("ImportExampleGen", "examples")
_NAMES_SHOWN = 5


def find_records(model: Path, data: str | None = None) -> dict[str, list[str]]:
    """Return the files of records by split, of the splits train and test; empty lists if there are none.

    Args:
        model: The folder of a pushed version.
        data: A folder of records, as `mirante ingest` or ImportExampleGen writes them; the run's that pushed
            the model when None.

    Raises:
        UsageError: There are no records in `data`, or they have another task or other classes.
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
    _check_classes(str(model), data, found[features.TEST])
    return found


def _check_classes(model: str, data: str, shards: Sequence[str]) -> None:
    """Check that records have the model's task, and its classes in the order of its labels.

    Args:
        model: The folder of the model.
        data: The folder of the records.
        shards: The records to look at if there is no manifest.
    """
    kind, known = TRUTHS[task_named(task_of(model)).records], class_names_of(model)
    if known is None:
        return
    problem = ""
    if is_manifest(Path(data)):
        manifest = read_manifest(Path(data))
        assert manifest is not None
        if manifest.task not in (kind.task, *kind.includes) or tuple(manifest.class_names) != known:
            problem = f"{manifest.task} with {format_some(manifest.class_names, _NAMES_SHOWN)}"
    else:
        problem = next(filter(None, (_find_problem(record, kind, known) for record in _read(shards))), "")
    if problem:
        raise UsageError(
            f"--data {data}: expected {kind.task} with the model's classes in their order, "
            f"{format_some(known, _NAMES_SHOWN)}; got {problem}; give the data of its training"
        )


def _find_problem(record: bytes, kind: type[Truth], class_names: Sequence[str]) -> str:
    """Return what a record has instead of the model's classes; empty if nothing."""
    values = parse_example(record)
    found = truth_of(values, kind.task)
    if found is None:
        return ""
    if found is not kind:
        return found.task
    names = dict(enumerate(class_names, start=kind.first_label))
    texts = [text.decode("utf-8", "replace") for text in values.get(kind.text, [])]
    for label, text in zip(values.get(kind.label, []), texts, strict=False):
        if names.get(label) != text:
            return f"{text} as label {label}"
    return ""


def _read(shards: Sequence[str]) -> Iterator[bytes]:
    for path in shards:
        with files.open_binary(path) as raw, contextlib.ExitStack() as stack:
            unzipped = stack.enter_context(gzip.open(raw)) if path.endswith(".gz") else raw
            yield from iterate_records(cast(BinaryIO, unzipped), path)


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
