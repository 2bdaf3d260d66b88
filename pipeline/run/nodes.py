"""Runs nodes of a pipeline, all in one process or each in its own, and reports their results."""

import importlib
import json
import re
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from components.base import serving_folder
from components.base.content import FileDigests
from components.base.errors import MiranteError, walk_causes
from components.base.os_errors import explain_os_error
from components.base.outcome import OutcomeModule, Output, RunResult, Serving
from components.base.owned import root_id
from components.base.words import format_count
from components.exporter.formats import check_formats
from components.models.anchors import find_misfit
from components.resolver.baseline import check_replaces
from pipeline.data import prepare
from pipeline.data.examples import Examples, describe
from pipeline.data.spans import remove_others
from pipeline.engines.failures import find_worker_error
from pipeline.engines.ingest_pool import make_ingest_pool
from pipeline.recipe.best import write_best
from pipeline.recipe.recipe import Recipe
from pipeline.run.console import print_note, print_row, progress_bar, show_working
from pipeline.run.node_result import CACHED, FAILED, SKIPPED, NodeResult
from pipeline.steps import step_named

# Below a run's root: the digests of the files that it reads, so that each is computed once.
DIGESTS_FILE = "digests.json"
# Linux keeps the peak memory of a process, and sets it back when asked to.
_PROCESS = Path("/proc/self")
# Runs that are looked through, the newest first; of many cached runs none says how long a node takes.
_MOST_RUNS = 20


def prepare_data(recipe: Recipe, root: Path, console: Console, *, trust_times: bool = False) -> Examples:
    """Ingest what the recipe reads where it is raw, print how much there is, and look at it.

    Raises:
        UsageError: A format of the exports is not installed; or from ingest.
        DataRefusedError: From ingest, or what it gave cannot be trained on.
    """
    if recipe.export is not None:
        check_formats(recipe.export.formats)
    digests = FileDigests(root / DIGESTS_FILE)
    pool = make_ingest_pool(recipe.beam, root)
    with progress_bar(console) as progress:
        prepared = prepare.prepare(recipe.data, root, progress, digests, trust_times=trust_times, pool=pool)
    for part in (*prepared.parts, prepared):
        for odd in part.warnings:
            print_row(console, "warning", odd)
    if prepared.span is not None:
        print_row(console, "data", f"{prepared.span} of {recipe.data.path}")
    for part in prepared.parts or (prepared,):
        if part is not prepared:
            print_row(console, "", str(part.span))
        _report_data(part, console)
    examples = describe(prepared.folder, recipe.data, recipe.task, prepared.span, digests=digests)
    recipe.training.check_classes(examples.class_names)
    _warn_of_detection(recipe, examples, console)
    what = recipe.data.path or f"source {recipe.data.source}"
    if examples.span is not None:
        what = f"{examples.span} of {what}"
    served = next(iter(serving_folder.find_served_models(recipe.push_destination(str(root)))), None)
    retired = recipe.data.retired_classes
    warning = check_replaces(what, examples.task, examples.class_names, served, retired)
    if warning:
        print_row(console, "warning", warning)
    if examples.span is not None:
        remove_others(root / "data", prepared.folders, root_id(root))
    return examples


def _report_data(prepared: prepare.Prepared, console: Console) -> None:
    ingested = prepared.ingested
    if ingested is None:
        print_row(console, "data", f"{prepared.folder} (TFRecords, read as they are)")
        return
    for warning in ingested.warnings:
        print_row(console, "warning", warning)
    counts = ", ".join(f"{split} {summary.images:,}" for split, summary in ingested.splits.items())
    how = "unchanged" if ingested.unchanged else f"ingested in {prepared.seconds:.1f} s"
    rejected = f", {ingested.rejected:,} rejected ({ingested.rejects_file})" if ingested.rejected else ""
    print_row(
        console,
        "data",
        f"{counts} images of {format_count(ingested.class_names, 'class', 'classes')}, {how}{rejected}",
    )


def _warn_of_detection(recipe: Recipe, examples: Examples, console: Console) -> None:
    misfit = find_misfit(recipe.model.detection, recipe.transform.height_px, recipe.transform.width_px)
    if misfit:
        print_row(console, "warning", misfit)
    bound = recipe.model.detection.max_boxes
    if bound is not None and bound < examples.max_boxes:
        print_row(
            console,
            "warning",
            f"model.detection.max_boxes is {bound}, an image has {examples.max_boxes} boxes: "
            "what an image has beyond is not taught and counts as background",
        )


def run_nodes(
    nodes: Any,
    result: RunResult,
    console: Console,
    class_names: Sequence[str],
    push_destination: str,
    only: Iterable[str] | None = None,
    *,
    announce: bool = False,
) -> list[str]:
    """Run all nodes, or some, and put what they find out into `result`.

    Args:
        nodes: A `NodeRunner`, or the `KeptNodes` of an unchanged run.
        result: Gets the status of every node, and what the nodes find out.
        console: Gets a line for each node.
        class_names: All classes, in the order of their labels.
        push_destination: The folder that versions are pushed to.
        only: The nodes to run; those that they depend on have run.
        announce: Whether a line heads what a node logs, too.

    Returns:
        Why the model was refused, if it was.

    Raises:
        MiranteError: A node failed; the others were skipped. The message names the node, and `result.log`.
    """
    refusals: list[str] = []
    usual = read_usual_secs(Path(result.root)) if console.is_terminal else {}
    serving = Serving(push_destination, class_names)
    failed: tuple[str, BaseException] | None = None
    wanted = nodes.node_ids if only is None else [node_id for node_id in nodes.node_ids if node_id in only]
    for number, node_id in enumerate(wanted, start=1):
        if failed:
            result.components[node_id] = {"status": SKIPPED, "seconds": 0.0, "peak_memory_bytes": None}
            continue
        label = f"  [{number:2}/{len(wanted)}] {node_id:22}"
        if announce:
            console.print(f"{label} running", markup=False)
        with show_working(console, f"{escape(label.strip())} running", usual.get(node_id)):
            began = time.monotonic()
            reset_peak()
            try:
                outcome = _run_node(nodes, node_id, console)
            except KeyboardInterrupt:
                result.components[node_id] = _describe_end(FAILED, time.monotonic() - began)
                raise
        result.components[node_id] = _describe_end(outcome.status, outcome.seconds)
        console.print(f"{label} {outcome.status:10}{outcome.seconds:7.1f} s", markup=False)
        if outcome.error is not None:
            failed = node_id, outcome.error
        else:
            refusals += _take_in(node_id, outcome.outputs, result, console, serving)
    if failed:
        _raise_for(*failed, result)
    return refusals


def _run_node(nodes: Any, node_id: str, console: Console) -> NodeResult:
    """Run a node, and once more without the cache where what it kept does not hold any more."""
    outcome: NodeResult = nodes.run(node_id)
    reason = None
    if outcome.damage is not None:
        reason = f"{outcome.damage}; it runs again"
    elif outcome.status == CACHED:
        reason = _explain_outdated(node_id, outcome.outputs)
    if reason is None:
        return outcome
    print_row(console, f"{node_id}:", reason)
    again: NodeResult = nodes.run(node_id, use_cache=False)
    return again


def _describe_end(status: str, seconds: float) -> dict[str, Any]:
    return {"status": status, "seconds": round(seconds, 3), "peak_memory_bytes": read_peak_bytes()}


def _find_outcome(node_id: str) -> OutcomeModule | None:
    step = step_named(node_id)
    return importlib.import_module(f"{step.room}.outcome") if step.has_outcome else None


def _explain_outdated(node_id: str, outputs: dict[str, Output]) -> str | None:
    """Say why what a node gave at equal inputs does not hold any more; None where it does."""
    explain = getattr(_find_outcome(node_id), "explain_outdated", None)
    return explain(outputs) if explain else None


def _take_in(
    node_id: str, outputs: dict[str, Output], result: RunResult, console: Console, serving: Serving
) -> list[str]:
    """Put what a node found out into the result, and print it; return why the model is refused, if it is."""
    module = _find_outcome(node_id)
    if module is None:
        return []
    known = len(result.warnings)
    outcome = module.read_outcome(outputs, result, serving)
    if outcome.best is not None:
        write_best(outcome.best, Path(result.root) / "runs" / result.run_id)
    if outcome.note:
        print_note(console, outcome.note)
    for warning in result.warnings[known:]:
        print_row(console, "warning", warning)
    return [outcome.refusal] if outcome.refusal else []


def _raise_for(node_id: str, error: BaseException, result: RunResult) -> None:
    """Raise a node's failure in words; the component's own exception may be a cause of Beam's or TFX's."""
    traceback.print_exception(type(error), error, error.__traceback__)  # to the log
    for cause in walk_causes(error):
        # Else datasets of a training would be destroyed after the interpreter, and complain of it.
        traceback.clear_frames(cause.__traceback__)
    for cause in walk_causes(error):
        if isinstance(cause, MiranteError):
            raise type(cause)(f"{node_id}: {cause}") from error
    if (reported := find_worker_error(error)) is not None:
        raise type(reported)(f"{node_id}: {reported}") from error
    more = f"\nThe whole story is in {result.log}" if result.log else " (the whole story is above)"
    if explained := explain_os_error(error, [Path(result.root)]):
        raise MiranteError(f"{node_id}: {explained}{more}") from error
    last = traceback.format_exception_only(type(error), error)[-1].strip()
    raise MiranteError(f"{node_id} failed: {last}{more}") from error


def reset_peak() -> None:
    """Set the peak back to what the process holds now; does nothing where that is not possible."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return


def read_peak_bytes() -> int | None:
    """Return the most memory that the process held since `reset_peak`; None where that is not known."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", (_PROCESS / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


def read_usual_secs(root: Path) -> dict[str, float]:
    """Return the seconds that each node took when it was last executed; nothing for a node that never was."""
    found: dict[str, float] = {}
    for path in sorted((root / "runs").glob("*/result.json"), reverse=True)[:_MOST_RUNS]:
        try:
            components = json.loads(path.read_text(encoding="utf-8"))["components"]
            took = {
                node: float(outcome["seconds"])
                for node, outcome in components.items()
                if outcome["status"] == "completed"
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        found = {**took, **found}
    return found
