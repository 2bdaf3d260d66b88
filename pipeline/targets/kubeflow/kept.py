"""The results of runs, kept below the pipeline root so that an unchanged run repeats them in seconds.

A run is unchanged if its recipe, data, files, code and libraries are those of the last run that pushed a
model, if no other run has used the pipeline root since, and if that run's outputs and pushed model are as it
left them. Ingest finds this out once; then every task hands on what the earlier run's task gave to Kubeflow.
In all other cases TFX's cache decides node by node. Imports neither TensorFlow nor TFX.
"""

import dataclasses
import hashlib
import importlib
import json
import os
import platform
from collections.abc import Collection
from pathlib import Path

from components.base.code import LIBRARIES, PACKAGES, version_of
from components.base.content import file_sha256, weights_sha256
from components.base.outcome import Output
from components.base.paths import write_atomically
from components.bulk_inference.content import digest_images
from components.models.user_code import builder_digest
from components.pages.rendered import ConfusionMatrix, RenderedPage, Roc
from pipeline.data.examples import Examples
from pipeline.recipe.paths import list_files
from pipeline.recipe.recipe import Recipe
from pipeline.steps import step_named
from pipeline.storage.mirror import Mirror
from pipeline.targets.kubeflow.plan import run_folder

# Below the folder of a run.
PAGES = "pages"
# Below the folder of all runs: the last run that pushed a model.
_LAST = "last_pushed.json"


@dataclasses.dataclass(frozen=True)
class NodeRecord:
    """The results of a node, and what Kubeflow was shown of them.

    Attributes:
        page: Its page, with buckets' addresses and without secrets.
        outputs: Its output artifacts by channel name.
        files: Bytes and time of change of each file of its outputs, by path; of an object in a bucket its
            time alone.
    """

    page: RenderedPage
    outputs: dict[str, Output]
    files: dict[str, list[int]]


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


def write_node(folder: Path, node_id: str, record: NodeRecord) -> None:
    """Write the record of a node to its run's folder: the page as HTML, and the rest as JSON."""
    (folder / PAGES).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PAGES / f"{node_id}.html", record.page.html.encode())
    page = dataclasses.replace(record.page, html="")
    content = json.dumps(dataclasses.asdict(dataclasses.replace(record, page=page)), indent=1)
    write_atomically(folder / PAGES / f"{node_id}.json", content.encode())


def read_node(folder: Path, node_id: str) -> NodeRecord:
    """Read the record of a node.

    Raises:
        OSError, ValueError, TypeError, KeyError: There is none, or it cannot be read.
    """
    stored = json.loads((folder / PAGES / f"{node_id}.json").read_text(encoding="utf-8"))
    page = stored["page"]
    page["html"] = (folder / PAGES / f"{node_id}.html").read_text(encoding="utf-8")
    page["confusion"] = page["confusion"] and ConfusionMatrix(**page["confusion"])
    page["roc"] = page["roc"] and Roc(**page["roc"])
    outputs = {channel: Output(**output) for channel, output in stored["outputs"].items()}
    return NodeRecord(RenderedPage(**page), outputs, stored["files"])


def make_node(page: RenderedPage, outputs: dict[str, Output], mirror: Mirror) -> NodeRecord:
    """Return the record of a node that has just run."""
    plain = {
        channel: Output(
            output.uri,
            {key: value for key, value in output.properties.items() if isinstance(value, str | int | float)},
        )
        for channel, output in outputs.items()
    }
    files = {}
    for output in outputs.values():
        files.update(_list_files(output.uri, mirror))
    return NodeRecord(page, plain, files)


def _list_files(folder: str, mirror: Mirror) -> dict[str, list[int]]:
    """Return the numbers that tell a change of each file below a folder, by path."""
    if mirror.copies(folder):
        times = mirror.times(folder)
        return {os.path.join(folder, name): [mtime_secs] for name, mtime_secs in times.items()}
    found = {}
    for path in Path(folder).rglob("*"):
        if path.is_file():
            status = path.stat()
            found[str(path)] = [status.st_size, status.st_mtime_ns]
    return found


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
    base = Path(__file__).resolve().parents[3]
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((base / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(base)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def find_unchanged(
    root: str, run_id: str, fingerprint: str | None, nodes: Collection[str], mirror: Mirror
) -> str | None:
    """Return the run whose results this one has too; None if the nodes have to look for themselves.

    Args:
        root: The pipeline root, its local path.
        run_id: This run.
        fingerprint: From `fingerprint_run`.
        nodes: The pipeline's nodes.
        mirror: The buckets.
    """
    last = _read_last(root, mirror)
    if last is None or fingerprint != last.fingerprint:
        return None
    if not {*_list_runs(root, mirror)} <= {*last.runs, run_id}:
        return None
    folder = run_folder(root, last.run_id)
    mirror.fetch(str(folder))
    try:
        if not all(_is_as_left(node, read_node(folder, node), mirror) for node in nodes):
            return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if run_id not in last.runs:
        _write_last(root, dataclasses.replace(last, runs=[*last.runs, run_id]), mirror)
    return last.run_id


def note_pushed(root: str, run_id: str, fingerprint: str | None, mirror: Mirror) -> None:
    """Note that a run has pushed a model, after all records of its nodes are where they belong."""
    if fingerprint is not None:
        _write_last(root, _Last(run_id, fingerprint, _list_runs(root, mirror)), mirror)


def _is_as_left(node_id: str, record: NodeRecord, mirror: Mirror) -> bool:
    """Return whether the outputs of a node are as it left them, and still hold."""
    there: dict[str, list[int]] = {}
    for output in record.outputs.values():
        there.update(_list_files(output.uri, mirror))
    if not record.files.items() <= there.items():
        return False
    step = step_named(node_id)
    if not step.has_outcome:
        return True
    explain = getattr(importlib.import_module(f"{step.room}.outcome"), "explain_outdated", None)
    return explain is None or explain(record.outputs) is None


def _list_runs(root: str, mirror: Mirror) -> list[str]:
    folder = Path(root) / "runs"
    if mirror.copies(root):
        return sorted({name.partition("/")[0] for name in mirror.names(str(folder)) if "/" in name})
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _read_last(root: str, mirror: Mirror) -> _Last | None:
    file = Path(root) / "runs" / _LAST
    mirror.fetch(str(file))
    try:
        return _Last(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_last(root: str, last: _Last, mirror: Mirror) -> None:
    file = Path(root) / "runs" / _LAST
    write_atomically(file, json.dumps(dataclasses.asdict(last), indent=1).encode())
    mirror.send(str(file))
