"""Writes the model card of a run, into the run's folder and next to the pushed model."""

import json
import os
from collections.abc import Mapping
from typing import Any

from components.base import files
from components.base.paths import is_remote
from components.base.redact import redact, redact_values
from components.base.saved_model import CARD_FILES, model_folder
from components.base.task import part, task_named
from components.evaluator.evaluation import Evaluation
from components.evaluator.stored import load_evaluation
from components.ingest.page import read_manifest
from components.model_card.card import format_card, make_card
from components.model_card.config import AboutConfig
from components.model_card.facts import Facts
from pipeline.history.runs import PastRun
from pipeline.steps import INGEST

# The metric by which classes are compared, where the task has it; otherwise its first one.
_MEASURE = "f1"


def write_card(run: PastRun, about: AboutConfig) -> str | None:
    """Write the card of a run that pushed a model, as JSON and Markdown.

    Returns:
        The path of the Markdown next to the model; None if nothing was pushed.

    Raises:
        OSError: It cannot be written.
    """
    recorded = run.result.get("pushed_model")
    if recorded is None:
        return None
    pushed = str(recorded) if is_remote(str(recorded)) else str(run.find(str(recorded)))
    task = task_named(str(run.settings.get("task", "classification")))
    measure = _MEASURE if _MEASURE in task.class_metrics else next(iter(task.class_metrics), "")
    card = redact_values(make_card(about, read_facts(run, pushed), measure))
    texts = {".md": redact(format_card(card)), ".json": json.dumps(card, indent=1, allow_nan=False) + "\n"}
    for name in CARD_FILES:
        text = texts[os.path.splitext(name)[1]]
        files.write_text(os.path.join(run.folder, os.path.basename(name)), text)
        files.write_text(os.path.join(pushed, name), text)
    return os.path.join(pushed, CARD_FILES[0])


def read_facts(run: PastRun, model: str) -> Facts:
    """Read the facts of a run about its pushed model."""
    record, data, baseline = run.record, run.data, run.result.get("baseline") or {}
    evaluation = run.outputs.get("Evaluator", {}).get("evaluation")
    task = str(run.settings.get("task", "classification"))
    found = load_evaluation(evaluation.uri) if evaluation else None
    intervals = part(task, "page").find_intervals(evaluation.uri) if evaluation else {}
    exported = run.outputs.get("Trainer", {}).get("model")
    paths = files.list_below(model_folder(exported.uri)) if exported else []
    sizes = [os.path.getsize(path) for path in paths if os.path.isfile(path)]
    return Facts(
        name=str(run.result.get("pipeline") or run.root.name),
        version=os.path.basename(model),
        task=task_named(task).gives,
        run_id=run.run_id,
        date=run.began.strftime("%Y-%m-%d") if run.began else "",
        class_names=record.class_names if record else list(run.result.get("per_class") or {}),
        settings=run.settings,
        versions=record.versions if record else {},
        code=record.code if record else "",
        size_bytes=sum(sizes),
        metrics=run.metrics,
        intervals={name: each for name, each in intervals.items() if name in run.metrics},
        bounds={name: found.bounds[name][0] for name in run.metrics if name in found.bounds} if found else {},
        per_class=run.result.get("per_class") or {},
        test_images=int(run.result.get("test_images") or 0),
        counts=_count_images(run),
        images=data.get("images") or {},
        data_sha256=str(data.get("sha256") or ""),
        test_sha256=str(data.get("test_sha256") or ""),
        source=str(data.get("source") or ""),
        baseline=_name_baseline(baseline),
        baseline_metrics=baseline.get("metrics") or {},
        warnings=_list_warnings(run, found),
    )


def _name_baseline(baseline: Mapping[str, Any]) -> str | None:
    if baseline.get("version") is not None:
        return str(baseline["version"])
    return None if baseline.get("model") is None else ""  # it is not served any more


def _count_images(run: PastRun) -> Mapping[str, Mapping[str, int]]:
    data = run.outputs.get(INGEST.id, {}).get("data")
    manifest: dict[str, Any] | None = read_manifest(data.uri) if data else None
    splits = (manifest or {}).get("splits") or {}
    return {name: split["class_counts"] for name, split in splits.items()}


def _list_warnings(run: PastRun, found: Evaluation | None) -> list[str]:
    given = list(dict.fromkeys([*(found.warnings if found else []), *(run.result.get("warnings") or [])]))
    return [f"{text[:1].upper()}{text[1:]}." for text in (each.rstrip(".") for each in given) if text]
