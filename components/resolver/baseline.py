"""The baseline of a candidate: the served model, if it is for the same task and for some of its classes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from components.base import files, serving_folder
from components.base.common_classes import find_common
from components.base.errors import DataRefusedError
from components.base.paths import is_remote
from components.base.saved_model import (
    MODEL_FILE,
    is_saved_model,
    model_folder,
    read_fingerprint,
    same_fingerprint,
    task_of,
)
from components.base.serving_folder import ServedModel
from components.base.words import format_count, format_some

# In `data.retired_classes`: the served model may be replaced, whatever its classes.
ANY = "*"
_FEW = 5


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The baseline of a run, for users.

    Attributes:
        version: Its version in the push destination; None if there is no baseline, or if it is not served.
        model: Its folder; None if there is no baseline.
        note: Why there is no baseline, or what is unusual about it; empty for neither.
    """

    version: int | None
    model: str | None
    note: str


def explain_incomparable(
    served: ServedModel, task: str, class_names: Sequence[str], *, subject: str = "the candidate"
) -> str | None:
    """Return why a model cannot be compared with the served one; None if it can.

    Args:
        served: The served model.
        task: The other model's task.
        class_names: All classes of the other model, in the order of their labels.
        subject: The other model's name in the answer.
    """
    if served.task != task:
        return f"version {served.version} is for {served.task}, and {subject} for {task}"
    if find_common(task, class_names, served.class_names):
        return None
    return f"version {served.version} knows other classes ({_describe_difference(served, class_names)})"


def _describe_difference(served: ServedModel, class_names: Sequence[str]) -> str:
    """Name the classes that are new and those that are given up; empty if the classes are the same."""
    new = [name for name in class_names if name not in served.class_names]
    gone = [name for name in served.class_names if name not in class_names]
    parts = [f"new: {format_some(new, _FEW)}"] if new else []
    parts += [f"given up: {format_some(gone, _FEW)}"] if gone else []
    return "; ".join(parts)


def _describe_common(served: ServedModel, class_names: Sequence[str]) -> str:
    """Name the classes that both know."""
    common = find_common(served.task, class_names, served.class_names)
    return f"the {format_count(common, 'common class', 'common classes')}: {format_some(common, _FEW)}"


def check_replaces(
    what: str, task: str, class_names: Sequence[str], served: ServedModel | None, retired: Collection[str]
) -> str | None:
    """Compare data with the served model, which the next model will replace.

    Args:
        what: The data's name in messages.
        task: The recipe's.
        class_names: All classes of the data, in the order of their labels.
        served: The served model; None if there is none.
        retired: Classes that the next model may lack; `*` for all of them, and for another task.

    Returns:
        A warning, if the next model can be compared with the served one on some classes only, or not at all.

    Raises:
        DataRefusedError: The next model would lack answers that the served one gives.
    """
    if served is None:
        return None
    instead = (
        "for other data give another --root or push.destination; to replace the served model, set "
        "data.retired_classes to "
    )
    if served.task != task and ANY not in retired:
        raise DataRefusedError(
            f"{what}: expected data for {served.task}, as for the served model {served.path}, got task "
            f"{task}; {instead}['{ANY}']"
        )
    known = served.class_names
    lost = [name for name in known if name not in class_names and not {name, ANY} & set(retired)]
    if lost:
        raise DataRefusedError(
            f"{what}: expected images of the {len(known)} classes of the served model {served.path}, got "
            f"none of {len(lost)}: {format_some(lost, _FEW)}; add images of them; {instead}the classes that "
            f"the next model may lack, or to ['{ANY}']"
        )
    why = explain_incomparable(served, task, class_names, subject="the data")
    if why is None:
        if not (difference := _describe_difference(served, class_names)):
            return None
        common = _describe_common(served, class_names)
        return (
            f"version {served.version} knows other classes ({difference}): evaluation.max_regression "
            f"compares both models on {common}; evaluation.thresholds judge the next model on all of its "
            "classes"
        )
    return (
        f"{why}: the next model cannot be compared with it, so that evaluation.max_regression compares "
        "nothing and the thresholds alone decide"
    )


def describe_baseline(
    push_destination: str, candidate_uri: str, baseline_uri: str | None, class_names: Sequence[str]
) -> Baseline:
    """Describe the baseline that the Resolver found, from the files that exist.

    Args:
        push_destination: The folder that versions are pushed to.
        candidate_uri: The artifact of the model that was trained.
        baseline_uri: The artifact that the Resolver found; None if it found none.
        class_names: All classes, in the order of their labels.
    """
    served = serving_folder.find_served_models(push_destination)
    candidate = model_folder(candidate_uri)
    if baseline_uri is not None:
        folder = model_folder(baseline_uri)
        for model in served:
            if same_fingerprint(folder, model.path):
                difference = _describe_difference(model, class_names)
                common = _describe_common(model, class_names)
                note = f"{difference}; compared on {common}" if difference else ""
                return Baseline(model.version, model.path, note)
        return Baseline(None, folder, "it is not served any more")
    if not served:
        return Baseline(None, None, f"none: first model, nothing is served in {push_destination}")
    if same_fingerprint(candidate, served[0].path):
        first = "first model" if len(served) == 1 else "it was judged without one"
        return Baseline(None, None, f"none: {first}, served as version {served[0].version}")
    why = explain_incomparable(served[0], task_of(candidate), class_names)
    return Baseline(None, None, f"none: {why or 'the served model cannot be read'}")


def import_folder(imports: str, served: ServedModel) -> str:
    """Return the folder of a served model's artifact; no two models have the same one."""
    content = read_fingerprint(served.path) or b""
    return os.path.join(imports, f"version-{served.version}-{hashlib.sha256(content).hexdigest()[:12]}")


def link_served(uri: str, path: str) -> None:
    """Make an artifact's folder of the SavedModel at `path`: by a link on a disk, by a copy in a bucket."""
    folder = model_folder(uri)
    if is_remote(path) or is_remote(uri):
        if not is_saved_model(folder):
            files.copy_tree(path, folder, last=MODEL_FILE)
        return
    Path(uri).mkdir(parents=True, exist_ok=True)
    if os.path.realpath(folder) != os.path.realpath(path):
        Path(folder).unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):  # another task was faster
            os.symlink(os.path.abspath(path), folder)
