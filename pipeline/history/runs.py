"""Finds runs: what `<root>/runs/<run id>/` keeps of each. Imports no TensorFlow."""

import dataclasses
import datetime
import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from components.base.errors import UsageError
from components.base.outcome import Output
from components.base.paths import is_remote
from components.base.printable import printable
from components.base.words import format_some
from components.pusher import rollback
from pipeline.run.record import RunRecord, read_record

DEFAULT_FOLDER = "runs"
LATEST, PUSHED = "latest", "pushed"
_RECIPE, _RESULT = "recipe.yaml", "result.json"
_NAMES_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class PastRun:
    """A run, as it is kept.

    Attributes:
        root: The root that it ran in.
        run_id: Name of its folder, `YYYYMMDDTHHMMSS.mmm` in the time of its machine.
        result: `result.json`; empty while the run is under way, and after it was killed.
    """

    root: Path
    run_id: str
    result: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.root / "runs" / self.run_id

    @property
    def began(self) -> datetime.datetime | None:
        """The time of its start; None if its name is not a time."""
        try:
            return datetime.datetime.strptime(self.run_id, "%Y%m%dT%H%M%S.%f")
        except ValueError:
            return None

    @property
    def status(self) -> str:
        """The way it ended: pushed, taken back, removed, not blessed, interrupted, failed, or unfinished.

        A version that was pushed may have been taken back, or its folder removed, since.
        """
        if not self.result:
            return "unfinished"
        if self.pushed_model:
            return _find_fate(self.pushed_model)
        if self.result.get("taken_back") is not None:
            return "taken back"
        if False in (self.result.get("blessed"), self.result.get("infra_blessed")):
            return "not blessed"
        if str(self.result.get("error") or "").startswith("interrupted"):
            return "interrupted"
        return "failed"

    @property
    def pushed_model(self) -> str | None:
        """The pushed model, which may be that of an earlier run with the same result."""
        recorded = self.result.get("pushed_model")
        return self.locate(recorded) if recorded else None

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on the test split; empty if the run did not get that far."""
        return dict(self.result.get("metrics") or {})

    @property
    def main_metric(self) -> dict[str, float]:
        """The first metric of its task; empty if there are no metrics."""
        return dict(list(self.metrics.items())[:1])

    @property
    def data(self) -> dict[str, Any]:
        """Facts about its data, as in `result.json`; empty for runs that kept none."""
        return dict(self.result.get("data") or {})

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The recipe as resolved, by dotted key."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        text = (self.folder / _RECIPE).read_text(encoding="utf-8")
        return _flatten(yaml.load(text, loader) or {})

    @cached_property
    def record(self) -> RunRecord | None:
        """The outputs of its nodes and the code that it ran; None for runs of earlier versions."""
        return read_record(self.folder)

    @cached_property
    def outputs(self) -> dict[str, dict[str, Output]]:
        """The outputs of its nodes by channel, where they are now; empty for runs of earlier versions."""
        found = self.record.outputs if self.record else {}
        return {
            node: {key: Output(str(self.find(each.uri)), each.properties) for key, each in of_node.items()}
            for node, of_node in found.items()
        }

    def find(self, recorded: str) -> Path:
        """Return where a file or folder of the run is now; the root may have been moved or copied since."""
        path, root = Path(recorded), str(self.result.get("root") or "")
        if root and path.is_relative_to(root) and (here := self.root / path.relative_to(root)).exists():
            return here
        return path

    def locate(self, recorded: str) -> str:
        """Return the same as a text; an address of a bucket is returned as it is."""
        return recorded if is_remote(recorded) else str(self.find(recorded))


def list_runs(folders: Sequence[str]) -> list[PastRun]:
    """Return the runs of the roots in `folders`, the oldest first.

    Args:
        folders: Roots, and folders with roots in them; `runs/` of the current folder if there are none.

    Raises:
        UsageError: One of the folders has no run in it.
    """
    found: dict[Path, PastRun] = {}
    for folder in folders or [DEFAULT_FOLDER]:
        runs = [run for root in _find_roots(Path(folder)) for run in _read_runs(root)]
        if not runs:
            raise UsageError(
                f"{printable(folder)}: no runs there: expected a run's root, or a folder of such roots; "
                "`mirante run` makes them below runs/"
            )
        found |= {run.folder.resolve(): run for run in runs}
    return sorted(found.values(), key=lambda run: (run.run_id, str(run.root)))


def choose_run(name: str, folders: Sequence[str]) -> PastRun:
    """Return one run.

    Args:
        name: Its ID or the beginning of it, the path of its folder, the path of a root for its latest run,
            `latest`, or `pushed` for the last one that pushed a model which is still there.
        folders: Where to look for IDs, `latest` and `pushed`, as for `list_runs`.

    Raises:
        UsageError: There is no such run, or there are several.
    """
    path = Path(os.path.abspath(name))
    if (path / _RECIPE).is_file() and path.parent.name == "runs":
        return _read_run(path.parent.parent, path.name)
    if os.sep in name or path.is_dir():
        return list_runs([name])[-1]
    runs = list_runs(folders)
    if name == LATEST:
        return runs[-1]
    if name == PUSHED:
        fitting = [run for run in runs if run.status == "pushed"][-1:]
    else:
        fitting = [run for run in runs if run.run_id.startswith(name)]
    if len(fitting) != 1:
        known = ", ".join(run.run_id for run in reversed(runs[-_NAMES_SHOWN:]))
        several = format_some([str(run.folder) for run in fitting], _NAMES_SHOWN)
        got = f"it fits {several}" if fitting else "there is none"
        raise UsageError(
            f"{printable(name)}: expected one run, but {got}; give an ID, the path of a run or a root, "
            f"{LATEST} or {PUSHED} (the newest here: {known})"
        )
    return fitting[0]


def _find_fate(version: str) -> str:
    """Return what became of a version that was pushed; in a bucket, or out of reach, it counts as there."""
    pushed = Path(version)
    if is_remote(version) or pushed.is_dir() or not pushed.parent.is_dir():
        return "pushed"
    return "taken back" if (pushed.parent / rollback.FOLDER / pushed.name).is_dir() else "removed"


def _find_roots(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [root for root in (folder, *sorted(folder.iterdir())) if any(root.glob(f"runs/*/{_RECIPE}"))]


def _read_runs(root: Path) -> list[PastRun]:
    return [_read_run(root, recipe.parent.name) for recipe in root.glob(f"runs/*/{_RECIPE}")]


def _read_run(root: Path, run_id: str) -> PastRun:
    try:
        result = json.loads((root / "runs" / run_id / _RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        result = {}
    return PastRun(root, run_id, result if isinstance(result, dict) else {})


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            found |= _flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
