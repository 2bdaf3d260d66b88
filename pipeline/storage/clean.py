"""What a pipeline root can do without: results of earlier runs, and checkpoints of finished trainings.

Whatever the newest run and the last run that pushed a model read or wrote is kept, from cache or not, and so
is every model in a folder that any run pushed to: served, or taken back. So an unchanged run finds all of its
results, and the Resolver the baseline. The evaluations of all runs stay too, since `mirante compare` reads
their lists of mistakes. Only folders that ML Metadata knows as an execution's output, or that have Mirante's
mark, are removed at all.

An output is marked in ML Metadata before its files are removed. A run that needs it later executes the node.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2

from components.base import serving_folder
from components.base.owned import is_marked
from components.base.saved_model import model_folder, same_fingerprint
from components.pusher import rollback
from pipeline.steps import STEPS

_LIVE = metadata_store_pb2.Artifact.LIVE
_MARKED = metadata_store_pb2.Artifact.MARKED_FOR_DELETION
_DELETED = metadata_store_pb2.Artifact.DELETED
_OUTPUT = metadata_store_pb2.Event.OUTPUT
_DONE = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)
_BLESSED_MODELS = ("current_model_id", "baseline_model_id")

# Node, output and execution of an artifact.
_Place = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Removable:
    """A folder that can be removed.

    Attributes:
        path: The folder.
        what: What it is, for people.
        size_bytes: What its removal frees.
        execution: The execution whose output it is; None for other folders.
    """

    path: Path
    what: str
    size_bytes: int
    execution: int | None = None


def find_removable(root: Path, store: Any) -> list[Removable]:
    """Return the folders of a root that can be removed, the largest first.

    Args:
        root: The root, which nothing else uses.
        store: Its ML Metadata.
    """
    runs = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda run: -int(run.id))
    # ML Metadata has no context of an unchanged run, whose outputs only its record names.
    local = sorted((path.parent.name for path in root.glob("runs/*/result.json")), reverse=True)
    results = {name: _read(root, name, "result.json") for name in (*local, *(run.name for run in runs))}
    pushed = next((run for run in runs if results[run.name].get("pushed_model")), None)
    kept_runs = runs[:1] + ([pushed] if pushed else [])
    kept_executions = {
        int(execution.id): execution
        for run in kept_runs
        for execution in store.get_executions_by_context(run.id)
    }
    kept = _find_kept(root, store, kept_executions, _find_destinations(root, store, results.values()))
    pushes = [name for name in local if results[name].get("pushed_model")]
    for name in (*local[:1], *pushes[:1]):
        kept |= _find_recorded(root, name)
    # Small, and `mirante compare` reads them.
    lists = [(result.get("mistakes") or {}).get("file") for result in results.values()]
    kept |= {_place(os.path.dirname(path)) for path in lists if path}
    found = list(_find_outputs(root, store, kept)) if runs else []
    newest = store.get_executions_by_context(runs[0].id) if runs else []
    found += _find_work(root, store, newest)
    return sorted(found, key=lambda item: (-item.size_bytes, item.path))


def remove(store: Any, removables: Sequence[Removable]) -> None:
    """Remove folders; ML Metadata knows of it before and after."""
    outputs = [
        artifact
        for item in removables
        if item.execution is not None
        for artifact in _outputs_of(store, item.execution)
        if _place(artifact.uri) == _place(str(item.path))
    ]
    _set_state(store, outputs, _MARKED)
    for item in removables:
        shutil.rmtree(item.path)
    _set_state(store, outputs, _DELETED)


def _set_state(store: Any, artifacts: Sequence[Any], state: Any) -> None:
    for artifact in artifacts:
        artifact.state = state
    if artifacts:
        store.put_artifacts(artifacts)


def _read(root: Path, run_id: str, name: str) -> dict[str, Any]:
    """Return what a JSON file in the folder of a run holds; nothing if there is none."""
    try:
        found = json.loads((root / "runs" / run_id / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _find_recorded(root: Path, run_id: str) -> set[_Place]:
    """Return the places of the outputs that a run's record names."""
    try:
        of_nodes = _read(root, run_id, "record.json").get("outputs", {}).values()
        return {_place(output["uri"]) for outputs in of_nodes for output in outputs.values()}
    except (AttributeError, KeyError, TypeError):  # damaged
        return set()


def _find_destinations(root: Path, store: Any, results: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the folders of all versions that the root has pushed: served ones, and those taken back."""
    pushed = [push.custom_properties["pushed_destination"].string_value for push in _find_pushes(store)]
    folders = {str(root / "serving"), *(os.path.dirname(path) for path in pushed if path)}
    for result in results:
        path, former = result.get("pushed_model"), result.get("root")
        if not path:
            continue
        folders.add(os.path.dirname(path))
        if former and Path(path).is_relative_to(former):  # the root may have been moved since
            folders.add(str(root / os.path.relpath(os.path.dirname(path), former)))
    return folders | {os.path.join(folder, rollback.FOLDER) for folder in folders}


def _find_pushes(store: Any) -> list[Any]:
    try:
        return list(store.get_artifacts_by_type("PushedModel"))
    except errors.NotFoundError:
        return []


def _find_kept(
    root: Path, store: Any, executions: Collection[int], destinations: Collection[str]
) -> set[_Place]:
    """Return the places of all artifacts that are to be kept."""
    kept = {int(event.artifact_id) for event in store.get_events_by_execution_ids(list(executions))}
    for blessing in store.get_artifacts_by_id(list(kept)):
        kept |= {
            blessing.custom_properties[name].int_value
            for name in _BLESSED_MODELS
            if name in blessing.custom_properties
        }
    served = [path for folder in destinations for path in serving_folder.list_versions(folder).values()]
    places = {int(artifact.id): _place(artifact.uri) for artifact in store.get_artifacts()}
    return {
        place
        for number, place in places.items()
        # Below this root: ML Metadata may have paths of before it was moved.
        if number in kept
        or any(same_fingerprint(model_folder(str(root.joinpath(*place))), path) for path in served)
    }


def _find_outputs(root: Path, store: Any, kept: Collection[_Place]) -> Iterator[Removable]:
    """Yield the outputs of executions that are not kept: `<root>/<node>/<output>/<execution>`."""
    outputs = {_place(artifact.uri)[:2] for artifact in store.get_artifacts()}
    for context in store.get_contexts_by_type("node"):
        node_id = context.name.rpartition(".")[2]
        numbers = {int(execution.id) for execution in store.get_executions_by_context(context.id)}
        for path in (root / node_id).glob("*/*"):
            name = path.name
            if not name.isdecimal() or int(name) not in numbers or path.is_symlink() or not path.is_dir():
                continue
            place = _place(str(path))
            if place[:2] in outputs and place not in kept:
                yield Removable(path, f"{node_id} of an earlier run", _measure(path), int(name))


def _find_work(root: Path, store: Any, newest: Collection[Any]) -> Iterator[Removable]:
    """Yield the checkpoints and searches of a root; of a node that has yet to succeed, without the latest."""
    done = {
        context.name.rpartition(".")[2]
        for execution in newest
        if execution.last_known_state in _DONE
        for context in store.get_contexts_by_execution(execution.id)
    }
    for step in STEPS:
        folder = root / step.keeps
        if not step.keeps or not folder.is_dir():
            continue
        # A training marks its own folder with the folder's name.
        works = [path for path in folder.iterdir() if not path.is_symlink() and is_marked(path, path.name)]
        works.sort(key=lambda path: -path.stat().st_mtime_ns)
        for path in works if step.id in done else works[1:]:
            yield Removable(path, f"{step.keeps} of a finished or earlier {step.id}", _measure(path))


def _outputs_of(store: Any, execution: int) -> list[Any]:
    events = store.get_events_by_execution_ids([execution])
    return list(store.get_artifacts_by_id([event.artifact_id for event in events if event.type == _OUTPUT]))


def _place(uri: str) -> _Place:
    """Return node, output and execution of an artifact: its place in a root, wherever that is."""
    return tuple(uri.rstrip("/").split("/")[-3:])


def _measure(folder: Path) -> int:
    """Return the bytes that are freed by the removal of a folder; files with other hard links stay."""
    total = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        if status.st_nlink == 1 and not path.is_dir():
            total += status.st_size
    return total
