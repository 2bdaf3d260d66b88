"""Finds an earlier run whose results this run has too, before TFX is imported.

A run is unchanged if its recipe, data, files, code and libraries are those of the last run that pushed a
model, if no other run has used the pipeline root since, and if that run's outputs and pushed model are as it
left them. In all other cases TFX's cache decides node by node. Imports neither TensorFlow nor TFX.
"""

import dataclasses
import hashlib
import importlib
import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from components.base.code import LIBRARIES, PACKAGES, version_of
from components.base.content import file_sha256, weights_sha256
from components.base.errors import MiranteError
from components.base.outcome import Output
from components.base.paths import write_atomically
from components.bulk_inference.content import digest_images
from components.models.user_code import builder_digest
from pipeline.data.examples import Examples
from pipeline.recipe.paths import list_files
from pipeline.recipe.recipe import Recipe
from pipeline.run.node_result import CACHED, NodeResult
from pipeline.steps import step_named
from pipeline.storage.mirror import Mirror

# Below the folder of all runs: the last run that pushed a model.
_LAST = "last_pushed.json"


@dataclasses.dataclass(frozen=True)
class _Last:
    """The last run that pushed a model.

    Attributes:
        run_id: The run.
        fingerprint: From `fingerprint_run`.
        runs: All runs that the root had then, and those that repeated this one.
    """

    run_id: str
    fingerprint: str
    runs: list[str]


class KeptNodes:
    """The nodes of an unchanged run: a `NodeRunner` that hands on what an earlier run's nodes gave.

    Attributes:
        node_ids: All nodes, each after those that it depends on.
        results: The results of the nodes that were run, by their ids.

    Args:
        node_ids: As above.
        outputs: The outputs of each node.
        files: The files of each node's outputs, from `measure_files`.
    """

    def __init__(
        self,
        node_ids: Iterable[str],
        outputs: Mapping[str, dict[str, Output]],
        files: Mapping[str, dict[str, list[int]]],
    ):
        self.node_ids = list(node_ids)
        self.results: dict[str, NodeResult] = {}
        self._outputs = outputs
        self._files = files

    def run(self, node_id: str, use_cache: bool = True) -> NodeResult:
        """Return the result of a node.

        Raises:
            MiranteError: Its outputs have just changed.
        """
        if not use_cache:
            raise MiranteError(f"{node_id}: its outputs were changed during this run; start the run again")
        self.results[node_id] = NodeResult(CACHED, 0.0, self._outputs[node_id], files=self._files[node_id])
        return self.results[node_id]


def fingerprint_run(
    recipe: Recipe, examples: Examples, schema_file: Path, root: str, push_destination: str
) -> str | None:
    """Return the SHA-256 of all that decides a run's results; None for a run that always looks for itself.

    A run without the cache does so, and one that starts from a model, which may be another one each time.
    """
    if not recipe.use_cache or recipe.training.warm_start is not None:
        return None
    values = recipe.model_dump(mode="json", exclude={"beam": True, "kubeflow": True, "vertex": True})
    files = {key: path for key, path in list_files(recipe).items() if not key.startswith(("beam.", "data."))}
    facts = [
        values,
        recipe.kubeflow.metadata.model_dump(mode="json"),
        dataclasses.asdict(examples),
        [str(schema_file), file_sha256(schema_file)],
        {key: file_sha256(Path(path)) for key, path in files.items() if os.path.isfile(path)},
        weights_sha256(recipe.model.weights),
        builder_digest(recipe.model),
        digest_images(recipe.bulk_inference, os.path.join(root, step_named("BulkInference").keeps)),
        [root, push_destination],
        _digest_code(),
        {library: version_of(library) for library in LIBRARIES},
        platform.python_version(),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _digest_code() -> str:
    """Return the SHA-256 of all of Mirante's files: more than decides results, but read in no time."""
    base = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((base / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(base)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def find_unchanged(
    root: str, run_id: str, fingerprint: str | None, is_as_left: Callable[[Path], bool], mirror: Mirror
) -> str | None:
    """Return the run whose results this one has too; None if the nodes have to look for themselves.

    Args:
        root: The pipeline root, its local path.
        run_id: This run.
        fingerprint: From `fingerprint_run`.
        is_as_left: Tells of a run by its folder whether all outputs are as its nodes left them; it may raise
            OSError, ValueError, TypeError or KeyError for a run whose records cannot be read.
        mirror: The buckets.
    """
    last = _read_last(root, mirror)
    if last is None or fingerprint != last.fingerprint:
        return None
    if not {*_list_runs(root, mirror)} <= {*last.runs, run_id}:
        return None
    folder = Path(root) / "runs" / last.run_id
    mirror.fetch(str(folder))
    try:
        if not is_as_left(folder):
            return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if run_id not in last.runs:
        _write_last(root, dataclasses.replace(last, runs=[*last.runs, run_id]), mirror)
    return last.run_id


def note_pushed(
    root: str,
    run_id: str,
    fingerprint: str | None,
    mirror: Mirror,
    take_again: Callable[[], str | None] | None = None,
) -> None:
    """Note that a run has pushed a model, after all records of its nodes are where they belong.

    Args:
        root: The pipeline root, its local path.
        run_id: The run.
        fingerprint: From `fingerprint_run`, before the run.
        mirror: The buckets.
        take_again: Returns the fingerprint now. A file that changed during the run may have been read before
            or after: then nothing is noted.
    """
    if fingerprint is None:
        return
    try:
        is_same = take_again is None or take_again() == fingerprint
    except (OSError, ValueError, MiranteError):  # a file is gone
        is_same = False
    if is_same:
        _write_last(root, _Last(run_id, fingerprint, _list_runs(root, mirror)), mirror)


def measure_files(outputs: Mapping[str, Output], mirror: Mirror) -> dict[str, list[int]]:
    """Return the numbers that tell a change of each file of a node's outputs, by path.

    They are its bytes and its time of change; for an object in a bucket its time alone.
    """
    found = {}
    for output in outputs.values():
        if mirror.copies(output.uri):
            times = mirror.times(output.uri)
            found.update({os.path.join(output.uri, name): [mtime_secs] for name, mtime_secs in times.items()})
            continue
        for path in Path(output.uri).rglob("*"):
            if path.is_file():
                status = path.stat()
                found[str(path)] = [status.st_size, status.st_mtime_ns]
    return found


def holds(
    node_id: str, outputs: Mapping[str, Output], files: Mapping[str, list[int]], mirror: Mirror
) -> bool:
    """Return whether the outputs of a node are as it left them, and still hold.

    Args:
        node_id: The node.
        outputs: What it gave.
        files: From `measure_files`, when it had run.
        mirror: The buckets.
    """
    if not files.items() <= measure_files(outputs, mirror).items():
        return False
    step = step_named(node_id)
    if not step.has_outcome:
        return True
    explain = getattr(importlib.import_module(f"{step.room}.outcome"), "explain_outdated", None)
    return explain is None or explain(outputs) is None


def _list_runs(root: str, mirror: Mirror) -> list[str]:
    folder = Path(root) / "runs"
    if mirror.copies(root):
        return sorted({name.partition("/")[0] for name in mirror.names(str(folder)) if "/" in name})
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _read_last(root: str, mirror: Mirror) -> _Last | None:
    file = Path(root) / "runs" / _LAST
    mirror.fetch(str(file))
    try:
        last = _Last(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    is_whole = isinstance(last.runs, list) and all(
        isinstance(each, str) for each in (last.run_id, last.fingerprint, *last.runs)
    )
    return last if is_whole else None


def _write_last(root: str, last: _Last, mirror: Mirror) -> None:
    file = Path(root) / "runs" / _LAST
    write_atomically(file, json.dumps(dataclasses.asdict(last), indent=1).encode())
    mirror.send(str(file))
